"""Warnings and errors of a training run, and the checkpoints that they recommend."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.training import RecordingObserver
from tests.training.test_session import (
    StopAt,
    StoppedError,
    comparable_steps,
    copy_with_nan_weight,
    have_equal_weights,
)
from videossr.rewards import Scorer, Scores, scorer
from videossr.training import optim, scoring
from videossr.training.config import TrainConfig
from videossr.training.runs.health import rewards_are_equal
from videossr.training.runs.records import Rollouts, Step, read_train_run
from videossr.training.session import train

Make = Callable[..., TrainConfig]
EQUAL = "in every group of the first 3 steps all rewards are equal"


def replace_scorer(monkeypatch: pytest.MonkeyPatch, score: Scorer) -> None:
    monkeypatch.setattr(scoring, "scorer", lambda data_source: score)


def score_zero(text: str, gold: str) -> Scores:
    return Scores(0.0, 0.0, parsed=False)


def messages_of(train_config: TrainConfig, out: Path) -> str:
    observer = RecordingObserver()
    train(train_config, out, observer=observer)
    return "\n".join(observer.messages)


def test_train_with_sft_gives_no_warning_of_equal_rewards(config: Make, tmp_path: Path) -> None:
    assert EQUAL not in messages_of(config(run__method="sft", run__steps=3), tmp_path / "run")


def test_train_warns_of_equal_rewards_only_if_all_first_steps_have_them(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_config = config(run__steps=3, log__save_every=1)
    with pytest.raises(StoppedError):
        train(train_config, tmp_path / "differ", observer=StopAt(2))
    replace_scorer(monkeypatch, score_zero)
    assert EQUAL not in messages_of(train_config, tmp_path / "differ")  # in the first step they differ
    first, *later = read_train_run(tmp_path / "differ").steps
    assert not rewards_are_equal([first])
    assert rewards_are_equal(later)
    with pytest.raises(StoppedError):
        train(train_config, tmp_path / "equal", observer=StopAt(2))
    assert EQUAL in messages_of(train_config, tmp_path / "equal")


def test_rewards_are_equal_ignores_steps_without_answers() -> None:
    def make_step(zero_variance: float | None) -> Step:
        rollouts_of_step = None if zero_variance is None else Rollouts(1, 0, 0, 0, zero_variance, 0, 1, 1, 0, 0, 0)
        return Step(1, 1, 0.1, 0.0, 0.0, 0.0, 0.0, all=rollouts_of_step)

    assert not rewards_are_equal([])
    assert not rewards_are_equal([make_step(None)])
    assert rewards_are_equal([make_step(None), make_step(1.0)])
    assert not rewards_are_equal([make_step(1.0), make_step(0.9)])


def test_train_gives_left_out_answers_as_the_reason_of_a_skipped_step(config: Make, raw: Path, tmp_path: Path) -> None:
    settings = {"grpo__kl": 0, "grpo__drop_truncated": "true", "grpo__aggregate": "constant", "grpo__max_tokens": 1}
    run = train(config(model__path=f'"{raw}"', run__steps=1, **settings), tmp_path / "run")
    assert [step.skipped for step in run.steps] == ["every answer is left out"]


def test_train_removes_a_partial_checkpoint_of_a_complete_run(config: Make, tmp_path: Path) -> None:
    train_config = config(run__steps=2)
    train(train_config, tmp_path / "run")
    partial = tmp_path / "run/checkpoints/.step-000001.partial"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(b"half")
    train(train_config, tmp_path / "run")
    assert [checkpoint.name for checkpoint in partial.parent.iterdir()] == ["step-000002"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raise", r"raised ZeroDivisionError: .*test_session_errors.py, line \d+\) for the answer"),
        ("nan", r"gave nan \(strict: 0.0\), no finite reward, for the answer"),
        ("type", r"raised AttributeError"),
    ],
)
def test_train_names_the_question_of_a_failing_scorer_and_resumes_exactly(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    train_config = config(run__steps=3, log__save_every=0)
    answers = 0

    def score(source: str) -> Scorer:
        def failing(text: str, gold: str) -> Any:
            nonlocal answers
            answers += 1
            if answers <= 30:  # two steps of three groups of four, and half of the next one
                return scorer(source)(text, gold)
            if fault == "raise":
                return 1 // 0
            return Scores(math.nan, 0.0, parsed=True) if fault == "nan" else "0.5"

        return failing

    monkeypatch.setattr(scoring, "scorer", score)
    question = r"question \S+: the scorer of videossr/\w+ "
    with pytest.raises(ValueError, match=question + message + r".*The last checkpoint is .*checkpoints/step-000002$"):
        train(train_config, tmp_path / "run")
    monkeypatch.undo()
    run = train(train_config, tmp_path / "run")
    assert comparable_steps(run) == comparable_steps(train(train_config, tmp_path / "whole"))
    assert have_equal_weights(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("method", ["grpo", "sft"])
def test_train_refuses_a_model_with_weights_that_are_not_finite(
    config: Make, model: Path, tmp_path: Path, method: str
) -> None:
    broken = copy_with_nan_weight(model, tmp_path / "broken")
    with pytest.raises(
        ValueError, match=r"broken: 1 of \d+ weights hold values that are not finite.*layers.1.mlp.down"
    ):
        train(config(model__path=f'"{broken}"', run__method=method), tmp_path / "run")
    assert not (tmp_path / "run/model").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run__method": "sft"}, r"step 6: the gradient is no number for 3 steps\. .*--optim.lr"),
        ({"run__method": "sft", "run__steps": 4}, r"step 4: the gradient is no number for 1 steps\. .*--optim.lr"),
        ({}, r"the model's scores are no numbers: the weights are spoilt\. .*--optim.lr"),
    ],
)
def test_train_recommends_the_last_checkpoint_with_finite_weights(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    """The third update makes the weights not finite, so checkpoints from the third on cannot be used."""
    monkeypatch.setattr(optim, "learning_rate", lambda number, *_: 1e-3 if number < 3 else 1e30)
    with pytest.raises(ValueError, match=message + r".*Its --model.path may be .*step-000002$"):
        train(config(log__save_every=1, log__keep=9, **changes), tmp_path / "run")
    assert str((tmp_path / "run/model").readlink()) == "checkpoints/step-000002"
    assert all(torch.isfinite(tensor).all() for tensor in load_file(tmp_path / "run/model/model.safetensors").values())


def test_train_recommends_no_checkpoint_if_none_has_finite_weights(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optim, "learning_rate", lambda *_: 1e30)
    with pytest.raises(ValueError, match="There is no checkpoint from before that"):
        train(config(log__save_every=1, run__method="sft"), tmp_path / "run")
    assert not (tmp_path / "run/model").is_symlink()
