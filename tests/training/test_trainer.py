"""The structure of `grpo_step`, the split into minibatches, and which modules read the whole configuration."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import videossr.training
from videossr.prompt.base import Prompt
from videossr.question import Question
from videossr.training.loader import PreparedQuestion
from videossr.training.optim import OptimizerFacts
from videossr.training.rollouts import AnswerGroup, Rollout
from videossr.training.runs.records import SkipReason
from videossr.training.trainer import Trainer, Update, merge_updates, split_minibatches, used_gib

TRAIN_CONFIG_READERS = {
    "checkpoints/checkpoint.py",
    "cost/memory.py",
    "plan.py",
    "runs/comparison.py",
    "runs/records.py",
    "runs/resume.py",
    "session.py",
}
"""Modules that read a run's whole configuration: to resolve it, to write or compare it, or to try others."""


def group(position: int, *, kept: bool = True) -> AnswerGroup:
    prompt = Prompt.__new__(Prompt)  # no code reads its attributes
    question = Question("q", "videossr/counting", "", "How many?", "1", ())
    prepared = PreparedQuestion(position, question, "counting/easy", "counting", prompt, position)
    return AnswerGroup(Rollout(prepared, [], [], None), [], [], [], kept, kept)


def test_grpo_step_calls_the_parts_of_a_step_in_order() -> None:
    source = textwrap.dedent(inspect.getsource(Trainer.grpo_step))
    assert len(source.splitlines()) <= 60
    calls = sorted((node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)), key=lambda c: c.lineno)
    names = [ast.unparse(call.func).rpartition(".")[2] for call in calls]
    parts = (
        "rollouts",
        "score_answers",
        "group_advantages",
        "reference_logprobs",
        "backward",
        "_optimizer_step",
    )
    assert [name for name in names if name in parts] == list(parts)


def test_only_few_modules_import_the_whole_train_config() -> None:
    root = Path(str(videossr.training.__file__)).parent
    modules = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "TrainConfig" for alias in node.names)
    }
    assert modules == TRAIN_CONFIG_READERS


def test_split_minibatches_yields_a_single_minibatch_lazily() -> None:
    sampled: list[int] = []

    def sample_groups() -> Iterator[AnswerGroup]:
        for position in range(3):
            sampled.append(position)
            yield group(position)

    (minibatch,) = split_minibatches(sample_groups(), 1)
    assert sampled == []
    for number, answer_group in enumerate(minibatch):
        assert answer_group.rollout.prepared.position == number
        assert sampled == list(range(number + 1))


@pytest.mark.parametrize("updates", [2, 3, 5])
def test_split_minibatches_holds_every_group_once_by_its_position(updates: int) -> None:
    groups = [group(position, kept=position != 1) for position in range(7)]
    minibatches = [list(minibatch) for minibatch in split_minibatches(iter(groups), updates)]
    assert len(minibatches) == updates
    assert sorted(
        answer_group.rollout.prepared.position for minibatch in minibatches for answer_group in minibatch
    ) == list(range(7))
    assert minibatches[0][0] is groups[1], "a group that is left out belongs to the first minibatch"
    for update, minibatch in enumerate(minibatches):
        assert all(
            answer_group.rollout.prepared.position % updates == update
            for answer_group in minibatch
            if answer_group.kept
        )


def test_merge_updates_makes_one_step_of_the_updates_of_a_batch() -> None:
    facts = [OptimizerFacts(1e-6, norm, clipped=False, changed=norm / 10, refused=False) for norm in (1.0, 3.0)]
    merged = merge_updates([Update(facts[0]), Update(None, SkipReason.EQUAL.value), Update(facts[1])])
    assert merged.skipped == ""
    assert merged.facts is not None
    assert (merged.facts.grad_norm, merged.facts.changed) == (2.0, 0.3)
    skipped = Update(None, SkipReason.LEFT_OUT.value)
    assert merge_updates([Update(None, SkipReason.EQUAL.value), skipped]) == skipped
    not_finite = OptimizerFacts(1e-6, float("inf"), clipped=False, changed=0.0, refused=True)
    assert (
        merge_updates([Update(facts[0]), Update(not_finite, SkipReason.NOT_FINITE.value)]).skipped
        == SkipReason.NOT_FINITE
    )


OWN_MEMORY = """
import torch
from videossr.training.trainer import used_gib
print(used_gib(torch.device("cpu")))
"""


def test_used_gib_leaves_out_the_process_that_started_this_one() -> None:
    torch.ones(2**28)  # 1 GiB: freed at once, it stays in the peak of this process
    child = subprocess.run([sys.executable, "-c", OWN_MEMORY], stdout=subprocess.PIPE, check=True, text=True)
    assert 0.1 < float(child.stdout) < 1
    assert used_gib(torch.device("cpu")) > 1
