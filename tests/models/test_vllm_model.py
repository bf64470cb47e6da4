"""The requests for vLLM in this process. vLLM itself needs a GPU; see docs/how-to/servers.md."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

from videossr.clock import Clock, uniform_clock
from videossr.errors import MissingExtraError
from videossr.models.base import Decoding
from videossr.models.tiny import make_tiny
from videossr.models.vllm_model import VLLMModel, VLLMSettings, check_version, placeholder, request, sampling
from videossr.prompt import checkpoint_config
from videossr.prompt.chat import Chat
from videossr.prompt.qwen3_vl import pair_times
from videossr.question import Clip, Question
from videossr.question_set import QuestionSet

NO_QUESTIONS: QuestionSet = None  # type: ignore[assignment]  # a model in vLLM does not look at them
TRIPLE = "<|vision_start|><|video_pad|><|vision_end|>"


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Chat:
    folder = make_tiny(tmp_path_factory.mktemp("tiny"))
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    return Chat(checkpoint_config(folder), tokenizer)


def test_request_gives_each_clip_its_frames_place_and_times(chat: Chat) -> None:
    clocks = (uniform_clock(8, 3_733), Clock((0, 40, 1_000, 1_250, 5_333), 6_000))
    question = Question("q", "videossr/jigsaw", "Be short.", "Clip 1: <video>\nClip 2: <video>\nWhich?", "12", clocks)
    clips = [Clip(np.full((len(clock), 32, 64, 3), index, np.uint8), clock) for index, clock in enumerate(clocks)]
    vllm_request = request(chat, question, clips, TRIPLE)
    assert vllm_request["prompt"] == (
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\n"
        f"Clip 1: {TRIPLE}\nClip 2: {TRIPLE}\nWhich?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert vllm_request["mm_processor_kwargs"] == {"do_sample_frames": False, "do_resize": False}
    for clip, (frames, metadata) in zip(clips, vllm_request["multi_modal_data"]["video"], strict=True):
        assert frames is clip.frames
        assert metadata["do_sample_frames"] is False
        # The processor computes the times of its markers from these numbers.
        arithmetic: Any = Qwen3VLProcessor._calculate_timestamps
        times = arithmetic(None, metadata["frames_indices"], metadata["fps"], 2)
        assert times == pair_times(clip.clock)
        assert metadata["total_num_frames"] >= metadata["frames_indices"][-1] + 1


def test_placeholder_depends_on_the_version_of_transformers() -> None:
    assert [placeholder(version) for version in ("4.57.6", "5.9.0", "5.10.0", "5.23.0", "6.0")] == [
        *(TRIPLE, TRIPLE),
        *("<|video_pad|>",) * 3,
    ]


def test_sampling_draws_a_greedy_answer_once() -> None:
    assert sampling(Decoding(n=4), {9, 7}) == {
        "n": 1,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": -1,
        "max_tokens": 64,
        "stop_token_ids": [7, 9],
        "seed": None,
    }
    sampled = sampling(Decoding(n=4, temperature=0.5, top_p=0.9, top_k=20, seed=3, max_tokens=7), {7})
    settings = {"n": 4, "temperature": 0.5, "top_p": 0.9, "top_k": 20, "max_tokens": 7, "stop_token_ids": [7]}
    assert sampled == {**settings, "seed": 3}


@pytest.mark.parametrize(("version", "refused"), [("0.10.2", True), ("0.11.0", False), ("0.1.dev3", False)])
def test_check_version_refuses_old_versions(version: str, refused: bool) -> None:
    if refused:
        with pytest.raises(ValueError, match=f"vLLM {version} does not know Qwen3-VL.*from 0.11 on"):
            check_version(version)
    else:
        check_version(version)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed")
def test_vllm_model_names_the_missing_package(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match="pip install vllm"):
        VLLMModel(str(tmp_path), VLLMSettings(), NO_QUESTIONS)
