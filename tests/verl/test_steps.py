"""What verl logs of a step becomes a step of a run, and what it does not measure is absent."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.helpers.training_runs import group_metrics
from videossr.config import plain
from videossr.errors import DataError
from videossr.export.trainer import Cluster
from videossr.question_set import open_questions
from videossr.training.config import load_config
from videossr.training.metrics import summarize
from videossr.training.runs.observer import SilentObserver
from videossr.training.runs.records import SkipReason, read_train_run
from videossr.verl.run import State, _Run
from videossr.verl.steps import LogReader, metrics_of, step_of

CONFIG = load_config("train-paper", {"run.batch": 4})
ROWS = 18
CATEGORIES = ("grounding/mirror", "jigsaw/6", "jigsaw/6")
SUMMARY = summarize([group_metrics(category, 5) for category in CATEGORIES])

LOGGED: dict[str, Any] = {
    "actor/entropy": 6.05,
    "training/rollout_probs_diff_max": 8.4e-09,
    "actor/pg_loss": -0.1,
    "actor/kl_loss": 0.002,
    "actor/loss": -0.098,
    "actor/grad_norm": 2.5,
    "actor/lr": 1e-6,
    "actor/perf/max_memory_allocated_gb": 71.5,
    "perf/mfu/actor": 0.3,
    "training/global_step": 3,
    "training/epoch": 0,
    "critic/score/mean": 0.4,
    "timing_s/gen": 6.0,
    "timing_s/old_log_prob": 2.0,
    "timing_s/ref": 1.0,
    "timing_s/adv": 0.5,
    "timing_s/update_actor": 4.0,
    "timing_s/update_weights": 0.25,
    "timing_s/step": 16.0,
    **metrics_of(SUMMARY, asked=4),
}
"""Names as verl 0.9.1 writes them, with values of our own."""


def test_step_of_takes_what_verl_measures() -> None:
    step = step_of(3, LOGGED, CONFIG, ROWS)
    assert (step.step, step.batches, step.epoch) == (3, 3, 3 / 4)
    assert (step.loss, step.lr, step.grad_norm) == (-0.098, 1e-6, 2.5)
    assert step.failed == 1
    assert (step.wall, step.prompts_per_second) == (16.0, 0.25)
    assert step.seconds == {
        "gen": 6.0,
        "old_log_prob": 2.0,
        "ref": 1.0,
        "adv": 0.5,
        "update_actor": 4.0,
        "update_weights": 0.25,
    }
    assert step.memory_gib == 71.5
    assert step.all is not None
    assert (step.all.kl, step.all.entropy) == (0.002, 6.05)
    for name in ("groups", "smooth", "strict", "parsed", "zero_variance", "noise", "distinct", "tokens", "truncated"):
        assert getattr(step.all, name) == getattr(SUMMARY.all, name)
        assert getattr(step.tasks["jigsaw"], name) == getattr(SUMMARY.tasks["jigsaw"], name)
        assert getattr(step.categories["jigsaw/6"], name) == getattr(SUMMARY.categories["jigsaw/6"], name)
    assert list(step.tasks) == ["grounding", "jigsaw"]
    assert list(step.categories) == ["grounding/mirror", "jigsaw/6"]


def test_step_of_leaves_out_what_verl_does_not_measure() -> None:
    step = step_of(3, LOGGED, CONFIG, ROWS)
    assert (step.changed, step.gap, step.mfu) == (None, None, None)
    assert step.tasks["jigsaw"].kl is None
    assert step.tasks["jigsaw"].entropy is None
    without_kl = {name: value for name, value in LOGGED.items() if name != "actor/kl_loss"}
    means = step_of(3, without_kl, CONFIG, ROWS).all
    assert means is not None
    assert means.kl is None
    assert step_of(3, LOGGED | {"actor/perf/max_memory_allocated_gb": 0.0}, CONFIG, ROWS).memory_gib is None


def test_step_of_takes_no_kl_that_is_no_mean_over_tokens() -> None:
    means = step_of(3, LOGGED, load_config("train-paper", {"run.batch": 4, "grpo.aggregate": "answer"}), ROWS).all
    assert means is not None
    assert (means.kl, means.entropy) == (None, None)


def test_step_of_counts_no_batches_where_verl_asks_without_bound() -> None:
    dynamic = load_config("train-paper", {"run.batch": 4, "grpo.dynamic_sampling": 10})
    assert step_of(3, LOGGED, dynamic, ROWS).batches is None


def test_a_norm_that_is_not_finite_is_a_step_that_verl_skips() -> None:
    step = step_of(3, LOGGED | {"actor/grad_norm": None}, CONFIG, ROWS)  # JSON has no nan
    assert math.isnan(step.grad_norm)
    assert step.skipped == SkipReason.NOT_FINITE


@pytest.mark.parametrize("name", ["actor/loss", "timing_s/step", "videossr/failed", "videossr/all/smooth"])
def test_step_of_refuses_the_log_of_another_trainer(name: str) -> None:
    with pytest.raises(DataError, match=r"verl's log|verl logs no"):
        step_of(3, {key: value for key, value in LOGGED.items() if key != name}, CONFIG, ROWS)
    with pytest.raises(DataError, match="no number"):
        step_of(3, LOGGED | {"actor/loss": "high"}, CONFIG, ROWS)


def test_log_reader_yields_each_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    read = LogReader(path)
    assert list(read()) == []
    lines = [json.dumps({"step": number, "data": {"a": number}}) + "\n" for number in (1, 2, 3)]
    path.write_text(lines[0] + lines[1][:9])
    assert list(read()) == [(1, {"a": 1})]
    assert list(read()) == []
    path.write_text("".join(lines))
    assert list(read()) == [(2, {"a": 2}), (3, {"a": 3})]
    with path.open("a") as file:
        file.write('{"step": 4}\n')
    with pytest.raises(DataError, match=r"steps\.jsonl: a line is damaged"):
        list(read())


def test_steps_that_verl_made_after_its_starter_was_killed_are_recorded(dataset: Path, tmp_path: Path) -> None:
    """verl runs in a session of its own, so that it may reach the last step alone."""
    config = load_config("train-paper", {"run.batch": 4, "run.steps": 2, "data.path": str(dataset)})
    (tmp_path / "config.toml").write_text(tomli_w.dumps(plain(config)))
    home = tmp_path / "verl"
    (home / "checkpoints/global_step_2").mkdir(parents=True)
    (home / "checkpoints/latest_checkpointed_iteration.txt").write_text("2")
    (home / "steps.jsonl").write_text("".join(json.dumps({"step": step, "data": LOGGED}) + "\n" for step in (1, 2)))
    questions = open_questions(dataset)
    state = State(questions.hash, ROWS, 8192, 1)
    (home / "state.json").write_text(json.dumps(asdict(state)))
    _Run(tmp_path, config, questions, Cluster(1, 1), 2, SilentObserver()).make_steps([], {})
    assert [step.step for step in read_train_run(tmp_path).steps] == [1, 2]
