"""One function shows a step of GRPO, minibatches lose no group, and each part gets its own settings."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import videossr.training
from videossr.prompt.base import Prompt
from videossr.question import Question
from videossr.training.loader import PreparedQuestion
from videossr.training.optim import OptimizerFacts
from videossr.training.rollouts import AnswerGroup, Rollout
from videossr.training.runs.records import SkipReason
from videossr.training.trainer import Trainer, Update, merge_updates, split_minibatches

WHOLE = {
    "checkpoints/checkpoint.py",
    "cost/memory.py",
    "plan.py",
    "runs/records.py",
    "runs/resume.py",
    "session.py",
}
"""Modules that read a run's whole configuration: to resolve it, to write or compare it, or to try others."""


def group(position: int, *, kept: bool = True) -> AnswerGroup:
    prompt = Prompt.__new__(Prompt)  # nothing looks at it
    question = Question("q", "videossr/counting", "", "How many?", "1", ())
    prepared = PreparedQuestion(position, question, "counting/easy", "counting", prompt, position)
    return AnswerGroup(Rollout(prepared, [], [], None), [], [], [], kept, kept)


def test_a_step_of_grpo_is_shown_in_one_function() -> None:
    source = textwrap.dedent(inspect.getsource(Trainer.grpo_step))
    assert len(source.splitlines()) <= 60
    calls = sorted((node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)), key=lambda c: c.lineno)
    names = [ast.unparse(call.func).rpartition(".")[2] for call in calls]
    heart = (
        "rollout",
        "score_answers",
        "group_advantages",
        "reference_logprobs",
        "losses",
        "backward",
        "_optimizer_step",
    )
    assert [name for name in names if name in heart] == list(heart)


def test_each_part_gets_its_own_settings() -> None:
    root = Path(str(videossr.training.__file__)).parent
    taking = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "TrainConfig" for alias in node.names)
    }
    assert taking == WHOLE


def test_a_single_minibatch_is_sampled_while_it_is_learned_from() -> None:
    sampled: list[int] = []

    def sampling() -> Iterator[AnswerGroup]:
        for position in range(3):
            sampled.append(position)
            yield group(position)

    (minibatch,) = split_minibatches(sampling(), 1)
    assert sampled == []
    for number, each in enumerate(minibatch):
        assert each.rollout.prepared.position == number
        assert sampled == list(range(number + 1))


@pytest.mark.parametrize("updates", [2, 3, 5])
def test_minibatches_hold_every_group_once_by_its_position(updates: int) -> None:
    groups = [group(position, kept=position != 1) for position in range(7)]
    parts = [list(part) for part in split_minibatches(iter(groups), updates)]
    assert len(parts) == updates
    assert sorted(each.rollout.prepared.position for part in parts for each in part) == list(range(7))
    assert parts[0][0] is groups[1], "what does not count is measured before the first update"
    for update, part in enumerate(parts):
        assert all(each.rollout.prepared.position % updates == update for each in part if each.kept)


def test_updates_of_a_batch_are_one_step() -> None:
    facts = [OptimizerFacts(1e-6, norm, clipped=False, changed=norm / 10, refused=False) for norm in (1.0, 3.0)]
    merged = merge_updates([Update(facts[0]), Update(None, SkipReason.EQUAL.value), Update(facts[1])])
    assert merged.skipped == ""
    assert merged.facts is not None
    assert (merged.facts.grad_norm, merged.facts.changed) == (2.0, 0.3)
    skipped = Update(None, SkipReason.LEFT_OUT.value)
    assert merge_updates([Update(None, SkipReason.EQUAL.value), skipped]) == skipped
    bad = OptimizerFacts(1e-6, float("inf"), clipped=False, changed=0.0, refused=True)
    assert merge_updates([Update(facts[0]), Update(bad, SkipReason.NOT_FINITE.value)]).skipped == SkipReason.NOT_FINITE
