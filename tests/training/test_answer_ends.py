"""Benchmark, sampling and supervised training agree on where an answer ends, whatever names the ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers.training import RecordingObserver
from videossr.engine.checkpoint import open_checkpoint
from videossr.engine.generation import GeneratedAnswer
from videossr.models.base import Decoding, Request
from videossr.models.transformers_model import TransformersModel, TransformersSettings
from videossr.question_set import open_questions
from videossr.training.config import TrainConfig
from videossr.training.policy import load_policy
from videossr.training.session import train

Make = Callable[..., TrainConfig]


@pytest.fixture
def odd(model: Path, tmp_path: Path) -> Path:
    """A model that ends its turns as the template does, while settings and tokenizer name another end alone."""
    folder: Path = shutil.copytree(model, tmp_path / "odd")
    other = open_checkpoint(str(model)).tokenizer.convert_tokens_to_ids("<|endoftext|>")
    for name, key, value in (
        ("generation_config.json", "eos_token_id", other),
        ("tokenizer_config.json", "eos_token", "<|endoftext|>"),
    ):
        table = json.loads((folder / name).read_text("utf-8"))
        (folder / name).write_text(json.dumps({**table, key: value}), "utf-8")
    return folder


def test_an_answer_ends_where_the_template_ends_a_turn(config: Make, odd: Path, small: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(odd))
    turn, text = (checkpoint.tokenizer.convert_tokens_to_ids(each) for each in ("<|im_end|>", "<|endoftext|>"))
    assert checkpoint.tokenizer.eos_token_id == text

    questions = open_questions(str(small / "data"))
    asks = [
        Request(index, questions.question(index), questions.category(index), lambda index=index: questions.clips(index))  # type: ignore[misc]
        for index in range(3)
    ]
    local = TransformersModel(str(odd), TransformersSettings(device="cpu"), questions)
    assert [reply.finish for reply in local.answer(asks, Decoding(max_tokens=10))] == [("stop",)] * 3

    asked = config(model__path=f'"{odd}"', run__steps=1)
    policy = load_policy(checkpoint, asked.model, device=torch.device("cpu"))
    assert policy.answer("12")[-1] == turn
    assert policy.ends == local._ends == {turn, text}

    observer = RecordingObserver()
    (step,) = train(asked, tmp_path / "run", observer=observer).steps
    assert step.all is not None
    assert step.all.truncated < 0.5
    assert step.all.parsed > 0
    assert any("answers also end at <|im_end|>" in text for text in observer.messages)
    saved = json.loads((tmp_path / "run/model/generation_config.json").read_text("utf-8"))
    assert saved == {**json.loads((odd / "generation_config.json").read_text("utf-8")), "eos_token_id": [text, turn]}


def test_an_end_that_the_model_cannot_write_is_refused(config: Make, model: Path, tmp_path: Path) -> None:
    folder: Path = shutil.copytree(model, tmp_path / "grown")
    tokenizer = open_checkpoint(str(folder)).tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|stop|>"]})
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "<|stop|>")
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match=r"answers end with <\|stop\|> \(token \d+\), which the model cannot write"):
        train(config(model__path=f'"{folder}"', run__method="sft"), tmp_path / "run")


def test_the_token_that_ends_an_answer_is_not_scored() -> None:
    assert GeneratedAnswer([5, 6, 7], [0.0] * 3, ended=True).content == [5, 6]
    assert GeneratedAnswer([5, 6, 7], [0.0] * 3, ended=False).content == [5, 6, 7]
