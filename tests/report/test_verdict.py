"""The verdict on a training run in words, and the constant answers that it is compared with."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.training_runs import step_of, write_run
from videossr.models.answer_distribution import answer_distributions
from videossr.question_set import open_questions
from videossr.report.training.figures import NamedRun
from videossr.report.training.page import write_training
from videossr.report.training.verdict import EQUAL, Constant, Verdict, constant_of, verdict
from videossr.training.runs.records import Step

CATEGORIES = ("grounding/mirror", "jigsaw/6")
UNKNOWN = Constant({}, "no dataset")


def make_steps(rewards: list[float], zero_variance: float = 0.25, parsed: float = 1.0) -> list[Step]:
    """Make a step for each mean reward, both of all groups and of every category."""
    result = []
    for number, reward in enumerate(rewards, 1):
        step = step_of(number, CATEGORIES)
        assert step.all is not None
        rollouts = replace(step.all, smooth=reward, zero_variance=zero_variance, parsed=parsed)
        result.append(replace(step, all=rollouts))
    return result


def noisy_curve(start: float, end: float, count: int = 60, noise: float = 0.03) -> list[float]:
    rng = random.Random(7)
    return [start + (end - start) * number / (count - 1) + rng.gauss(0, noise) for number in range(count)]


def verdict_of(tmp_path: Path, run_steps: list[Step], constant: Constant = UNKNOWN, **set_to: str) -> Verdict:
    settings = {name.replace("__", "."): value for name, value in set_to.items()}
    return verdict(NamedRun("run", write_run(tmp_path / "run", run_steps, set_to=settings)), constant)


@pytest.mark.parametrize(
    ("start", "end", "constant_reward", "tone", "head"),
    [
        (0.1, 0.6, 0.4, "good", "It learned, and is above the best constant answers"),
        (0.1, 0.3, 0.4, "open", "It learned, but is not above the best constant answers"),
        (0.1, 0.6, 0.59, "open", "It learned, but is not above the best constant answers"),
        (0.1, 0.6, None, "good", "It learned"),
        (0.3, 0.3, 0.2, "bad", "It did not learn: the reward changed by no more than noise"),
        (0.6, 0.1, 0.2, "bad", "It became worse"),
    ],
)
def test_verdict_compares_the_end_with_the_start_and_the_constant(
    tmp_path: Path, start: float, end: float, constant_reward: float | None, tone: str, head: str
) -> None:
    constant = UNKNOWN if constant_reward is None else Constant(dict.fromkeys(CATEGORIES, constant_reward))
    result = verdict_of(tmp_path, make_steps(noisy_curve(start, end)), constant)
    assert (result.tone, result.head) == (tone, head)
    text = " ".join(result.reasons)
    assert (f"would earn {constant_reward:.1%}" if constant_reward is not None else "not known: no dataset") in text
    assert "At the end all rewards are equal in 25% of the groups" in text


def test_verdict_reports_equal_rewards_in_every_group(tmp_path: Path) -> None:
    result = verdict_of(tmp_path, make_steps([0.0] * 20, zero_variance=1.0, parsed=0.0))
    assert (result.tone, result.head) == ("bad", f"Nothing could be learned: {EQUAL}")
    assert "0.0% of the answers can be parsed" in result.reasons[0]


def test_verdict_reports_rewards_that_become_equal(tmp_path: Path) -> None:
    all_steps = make_steps(noisy_curve(0.1, 0.9))
    last_steps = [replace(step, all=replace(step.all, zero_variance=1.0)) for step in all_steps[-10:] if step.all]
    result = verdict_of(tmp_path, [*all_steps[:-10], *last_steps])
    assert result.head == "It learned"
    assert f"At the end {EQUAL}: there is nothing more to learn from." in result.reasons


def test_verdict_of_a_supervised_run_depends_on_its_loss_alone(tmp_path: Path) -> None:
    def supervised(losses: list[float]) -> list[Step]:
        return [
            replace(step_of(number, CATEGORIES), all=None, tasks={}, categories={}, loss=loss)
            for number, loss in enumerate(losses, 1)
        ]

    for number, (losses, tone) in enumerate(
        [(noisy_curve(3, 1), "good"), (noisy_curve(2, 2), "bad"), ([3.0, 1.0], "open")]
    ):
        result = verdict_of(tmp_path / str(number), supervised(losses), run__method="sft")
        assert result.tone == tone
        assert EQUAL not in f"{result}"
        assert "has no rewards" in " ".join(result.reasons)
    broken = verdict_of(tmp_path / "nan", supervised([float("nan")] * 12), run__method="sft")
    assert broken.tone == "bad"


def test_verdict_of_few_steps_is_open(tmp_path: Path) -> None:
    result = verdict_of(tmp_path, make_steps([0.1, 0.2, 0.9]))
    assert (result.tone, result.head) == ("open", "3 steps are too few to tell whether it learned")
    assert verdict_of(tmp_path / "none", []).head == "No step is done yet"


def test_constant_of_uses_the_dataset_and_the_mix_of_categories(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dataset.parents[1])
    questions = open_questions(dataset)
    run = write_run(
        tmp_path / "run", make_steps(noisy_curve(0.1, 0.6)), set_to={"data.path": str(dataset)}, complete=False
    )
    constant = constant_of(run)
    known = {
        category: distribution.expected_score("smooth").smooth
        for category, distribution in answer_distributions(questions).items()
    }
    assert constant.rewards == known
    assert constant.over(run.steps) == pytest.approx((known["grounding/mirror"] + known["jigsaw/6"]) / 2)
    complete = write_run(tmp_path / "complete", make_steps([0.1]), set_to={"data.path": str(dataset)})
    assert complete.manifest is not None
    other = replace(complete, manifest=replace(complete.manifest, questions=str(dataset)))
    assert "other questions" in constant_of(other).missing
    missing = replace(complete, manifest=replace(complete.manifest, questions=str(tmp_path / "gone")))
    assert "gone" in constant_of(missing).missing
    strange = replace(run, steps=tuple(make_steps([0.1])))
    assert Constant({"grounding/mirror": 0.3}).over(strange.steps) is None


def test_write_training_draws_the_constant_on_the_chart(dataset: Path, tmp_path: Path) -> None:
    copied = tmp_path / "dataset"
    shutil.copytree(dataset, copied)
    run = write_run(
        tmp_path / "run", make_steps(noisy_curve(0.1, 0.6)), set_to={"data.path": str(copied)}, complete=False
    )
    pages = []
    for name in ("with", "without"):
        write_training([run], tmp_path / f"{name}.html", most=0)
        pages.append((tmp_path / f"{name}.html").read_text())
        shutil.rmtree(copied, ignore_errors=True)
    assert ["stroke-dasharray" in page for page in pages] == [True, False]
    assert ["Dashed: the expected reward of the best constant" in page for page in pages] == [True, False]
    assert "would earn is not known" in pages[1]


def test_a_dataset_that_only_the_run_names_is_not_opened(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = write_run(
        tmp_path / "run", make_steps(noisy_curve(0.1, 0.6)), set_to={"data.path": str(dataset)}, complete=False
    )
    constant = constant_of(run)
    assert not constant.rewards
    assert str(dataset) in constant.missing
    assert "which is not opened" in constant.missing
    assert constant_of(run, str(dataset)).rewards
