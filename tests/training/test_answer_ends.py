"""Benchmark, sampling and supervised training agree on where an answer ends, whichever file names the end token."""

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
def model_with_another_end(model: Path, tmp_path: Path) -> Path:
    """A model that ends turns as its template does, although its settings and tokenizer name only another end."""
    folder: Path = shutil.copytree(model, tmp_path / "odd")
    other = open_checkpoint(str(model)).tokenizer.convert_tokens_to_ids("<|endoftext|>")
    for name, key, value in (
        ("generation_config.json", "eos_token_id", other),
        ("tokenizer_config.json", "eos_token", "<|endoftext|>"),
    ):
        table = json.loads((folder / name).read_text("utf-8"))
        (folder / name).write_text(json.dumps({**table, key: value}), "utf-8")
    return folder


def test_answers_end_where_the_template_ends_a_turn_in_models_and_training(
    config: Make, model_with_another_end: Path, small: Path, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(str(model_with_another_end))
    turn, other_end = (checkpoint.tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>"))
    assert checkpoint.tokenizer.eos_token_id == other_end

    questions = open_questions(str(small / "data"))
    asks = [
        Request(index, questions.question(index), questions.category(index), lambda index=index: questions.clips(index))  # type: ignore[misc]
        for index in range(3)
    ]
    local = TransformersModel(str(model_with_another_end), TransformersSettings(device="cpu"), questions)
    assert [reply.finish for reply in local.answer(asks, Decoding(max_tokens=10))] == [("stop",)] * 3

    train_config = config(model__path=f'"{model_with_another_end}"', run__steps=1)
    policy = load_policy(checkpoint, train_config.model, device=torch.device("cpu"))
    assert policy.checkpoint.answer_ids("12")[-1] == turn
    assert policy.ends == local._ends == {turn, other_end}

    observer = RecordingObserver()
    (step,) = train(train_config, tmp_path / "run", observer=observer).steps
    assert step.all is not None
    assert step.all.truncated < 0.5
    assert step.all.parsed > 0
    assert any("answers also end at <|im_end|>" in message for message in observer.messages)
    saved = json.loads((tmp_path / "run/model/generation_config.json").read_text("utf-8"))
    assert saved == {
        **json.loads((model_with_another_end / "generation_config.json").read_text("utf-8")),
        "eos_token_id": [other_end, turn],
    }


def test_train_refuses_an_end_token_that_the_model_cannot_write(config: Make, model: Path, tmp_path: Path) -> None:
    folder: Path = shutil.copytree(model, tmp_path / "grown")
    tokenizer = open_checkpoint(str(folder)).tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|stop|>"]})
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "<|stop|>")
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match=r"answers end with <\|stop\|> \(token \d+\), which the model cannot write"):
        train(config(model__path=f'"{folder}"', run__method="sft"), tmp_path / "run")


def test_generated_answer_content_leaves_out_the_end_token() -> None:
    assert GeneratedAnswer([5, 6, 7], [0.0] * 3, ended=True).content == [5, 6]
    assert GeneratedAnswer([5, 6, 7], [0.0] * 3, ended=False).content == [5, 6, 7]
