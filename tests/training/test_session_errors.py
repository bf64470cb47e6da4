"""What a run says of itself is true, and what it recommends can be used."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.training import RecordingObserver
from tests.training.test_session import StopAt, StoppedError, figures, same, spoiled
from videossr.rewards import Scorer, Scores, scorer
from videossr.training import optim, rollouts
from videossr.training.config import TrainConfig
from videossr.training.runs.health import rewards_are_equal
from videossr.training.runs.records import Rollouts, Step, read_train_run
from videossr.training.session import train

Make = Callable[..., TrainConfig]
EQUAL = "in every group of the first 3 steps all rewards are equal"


def scoring(monkeypatch: pytest.MonkeyPatch, score: Scorer) -> None:
    monkeypatch.setattr(rollouts, "scorer", lambda data_source: score)


def constant(text: str, gold: str) -> Scores:
    return Scores(0.0, 0.0, parsed=False)


def told(asked: TrainConfig, out: Path) -> str:
    observer = RecordingObserver()
    train(asked, out, observer=observer)
    return "\n".join(observer.messages)


def test_a_supervised_run_is_not_told_of_rewards(config: Make, tmp_path: Path) -> None:
    assert EQUAL not in told(config(run__method="sft", run__steps=3), tmp_path / "run")


def test_equal_rewards_are_told_by_all_of_the_first_steps(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(run__steps=3, log__save_every=1)
    with pytest.raises(StoppedError):
        train(asked, tmp_path / "differ", observer=StopAt(2))
    scoring(monkeypatch, constant)
    assert EQUAL not in told(asked, tmp_path / "differ")  # in the first step they were not
    first, *later = read_train_run(tmp_path / "differ").steps
    assert not rewards_are_equal([first])
    assert rewards_are_equal(later)
    with pytest.raises(StoppedError):
        train(asked, tmp_path / "equal", observer=StopAt(2))
    assert EQUAL in told(asked, tmp_path / "equal")


def test_steps_without_answers_say_nothing_of_rewards() -> None:
    def step(zero_variance: float | None) -> Step:
        drawn = None if zero_variance is None else Rollouts(1, 0, 0, 0, zero_variance, 0, 1, 1, 0, 0, 0)
        return Step(1, 1, 0.1, 0.0, 0.0, 0.0, 0.0, all=drawn)

    assert not rewards_are_equal([])
    assert not rewards_are_equal([step(None)])
    assert rewards_are_equal([step(None), step(1.0)])
    assert not rewards_are_equal([step(1.0), step(0.9)])


def test_answers_that_are_left_out_are_not_told_as_equal(config: Make, raw: Path, tmp_path: Path) -> None:
    cut = {"grpo__kl": 0, "grpo__drop_truncated": "true", "grpo__aggregate": "constant", "grpo__max_tokens": 1}
    done = train(config(model__path=f'"{raw}"', run__steps=1, **cut), tmp_path / "run")
    assert [step.skipped for step in done.steps] == ["every answer is left out"]


def test_what_a_killed_run_had_half_removed_goes_even_if_it_is_complete(config: Make, tmp_path: Path) -> None:
    asked = config(run__steps=2)
    train(asked, tmp_path / "run")
    left = tmp_path / "run/checkpoints/.step-000001.partial"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    train(asked, tmp_path / "run")
    assert [each.name for each in left.parent.iterdir()] == ["step-000002"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise", r"raised ZeroDivisionError: .*test_session_errors.py, line \d+\) for the answer"),
        ("nan", r"gave nan \(strict: 0.0\), no finite reward, for the answer"),
        ("type", r"raised AttributeError"),
    ],
)
def test_a_scorer_that_fails_names_the_question_and_nothing_is_lost(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    asked = config(run__steps=3, log__save_every=0)
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

    monkeypatch.setattr(rollouts, "scorer", score)
    named = r"question \S+: the scorer of videossr/\w+ "
    with pytest.raises(ValueError, match=named + said + r".*The last checkpoint is .*checkpoints/step-000002$"):
        train(asked, tmp_path / "run")
    monkeypatch.undo()
    done = train(asked, tmp_path / "run")
    assert figures(done) == figures(train(asked, tmp_path / "whole"))
    assert same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("method", ["grpo", "sft"])
def test_a_model_with_weights_that_are_no_numbers_is_refused(
    config: Make, model: Path, tmp_path: Path, method: str
) -> None:
    broken = spoiled(model, tmp_path / "broken")
    with pytest.raises(
        ValueError, match=r"broken: 1 of \d+ weights hold values that are not finite.*layers.1.mlp.down"
    ):
        train(config(model__path=f'"{broken}"', run__method=method), tmp_path / "run")
    assert not (tmp_path / "run/model").exists()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"run__method": "sft"}, r"step 6: the gradient is no number for 3 steps\. .*--optim.lr"),
        ({"run__method": "sft", "run__steps": 4}, r"step 4: the gradient is no number for 1 steps\. .*--optim.lr"),
        ({}, r"the model's scores are no numbers: the weights are spoilt\. .*--optim.lr"),
    ],
)
def test_what_is_recommended_has_weights_that_worked(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], said: str
) -> None:
    """The third update spoils the weights, so checkpoints from the third on are of no use."""
    monkeypatch.setattr(optim, "learning_rate", lambda number, *_: 1e-3 if number < 3 else 1e30)
    with pytest.raises(ValueError, match=said + r".*Its --model.path may be .*step-000002$"):
        train(config(log__save_every=1, log__keep=9, **how), tmp_path / "run")
    assert str((tmp_path / "run/model").readlink()) == "checkpoints/step-000002"
    assert all(torch.isfinite(each).all() for each in load_file(tmp_path / "run/model/model.safetensors").values())


def test_where_no_weights_worked_none_are_recommended(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optim, "learning_rate", lambda *_: 1e30)
    with pytest.raises(ValueError, match="There is no checkpoint from before that"):
        train(config(log__save_every=1, run__method="sft"), tmp_path / "run")
    assert not (tmp_path / "run/model").is_symlink()
