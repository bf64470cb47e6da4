"""What is said of a training run in words, and what it is held against."""

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


def steps(rewards: list[float], zero_variance: float = 0.25, parsed: float = 1.0) -> list[Step]:
    """A step for each mean reward, both of all groups and of every category."""
    made = []
    for number, reward in enumerate(rewards, 1):
        step = step_of(number, CATEGORIES)
        assert step.all is not None
        told = replace(step.all, smooth=reward, zero_variance=zero_variance, parsed=parsed)
        made.append(replace(step, all=told))
    return made


def noisy(start: float, end: float, count: int = 60, noise: float = 0.03) -> list[float]:
    rng = random.Random(7)
    return [start + (end - start) * at / (count - 1) + rng.gauss(0, noise) for at in range(count)]


def judge(tmp_path: Path, made: list[Step], constant: Constant = UNKNOWN, **set_to: str) -> Verdict:
    settings = {name.replace("__", "."): value for name, value in set_to.items()}
    return verdict(NamedRun("run", write_run(tmp_path / "run", made, set_to=settings)), constant)


@pytest.mark.parametrize(
    ("start", "end", "worth", "tone", "head"),
    [
        (0.1, 0.6, 0.4, "good", "It learned, and is above the best constant answers"),
        (0.1, 0.3, 0.4, "open", "It learned, but is not above the best constant answers"),
        (0.1, 0.6, 0.59, "open", "It learned, but is not above the best constant answers"),
        (0.1, 0.6, None, "good", "It learned"),
        (0.3, 0.3, 0.2, "bad", "It did not learn: the reward changed by no more than noise"),
        (0.6, 0.1, 0.2, "bad", "It became worse"),
    ],
)
def test_the_end_is_held_against_the_start_and_the_constant(
    tmp_path: Path, start: float, end: float, worth: float | None, tone: str, head: str
) -> None:
    constant = UNKNOWN if worth is None else Constant(dict.fromkeys(CATEGORIES, worth))
    found = judge(tmp_path, steps(noisy(start, end)), constant)
    assert (found.tone, found.head) == (tone, head)
    text = " ".join(found.reasons)
    assert (f"would earn {worth:.1%}" if worth is not None else "not known: no dataset") in text
    assert "At the end all rewards are equal in 25% of the groups" in text


def test_equal_rewards_in_every_group_are_told(tmp_path: Path) -> None:
    found = judge(tmp_path, steps([0.0] * 20, zero_variance=1.0, parsed=0.0))
    assert (found.tone, found.head) == ("bad", f"Nothing could be learned: {EQUAL}")
    assert "0.0% of the answers can be parsed" in found.reasons[0]


def test_rewards_that_become_equal_are_told(tmp_path: Path) -> None:
    made = steps(noisy(0.1, 0.9))
    ended = [replace(step, all=replace(step.all, zero_variance=1.0)) for step in made[-10:] if step.all]
    found = judge(tmp_path, [*made[:-10], *ended])
    assert found.head == "It learned"
    assert f"At the end {EQUAL}: there is nothing more to learn from." in found.reasons


def test_a_supervised_run_is_judged_by_its_loss_alone(tmp_path: Path) -> None:
    def supervised(losses: list[float]) -> list[Step]:
        return [
            replace(step_of(number, CATEGORIES), all=None, tasks={}, categories={}, loss=loss)
            for number, loss in enumerate(losses, 1)
        ]

    for at, (losses, tone) in enumerate([(noisy(3, 1), "good"), (noisy(2, 2), "bad"), ([3.0, 1.0], "open")]):
        found = judge(tmp_path / str(at), supervised(losses), run__method="sft")
        assert found.tone == tone
        assert EQUAL not in f"{found}"
        assert "has no rewards" in " ".join(found.reasons)
    broken = judge(tmp_path / "nan", supervised([float("nan")] * 12), run__method="sft")
    assert broken.tone == "bad"


def test_few_steps_tell_nothing(tmp_path: Path) -> None:
    found = judge(tmp_path, steps([0.1, 0.2, 0.9]))
    assert (found.tone, found.head) == ("open", "3 steps are too few to tell whether it learned")
    assert judge(tmp_path / "none", []).head == "No step is done yet"


def test_the_constant_follows_from_the_dataset_and_the_mix_of_categories(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dataset.parents[1])
    questions = open_questions(dataset)
    run = write_run(tmp_path / "run", steps(noisy(0.1, 0.6)), set_to={"data.path": str(dataset)}, complete=False)
    constant = constant_of(run)
    known = {
        category: distribution.expected_score("smooth").smooth
        for category, distribution in answer_distributions(questions).items()
    }
    assert constant.rewards == known
    assert constant.over(run.steps) == pytest.approx((known["grounding/mirror"] + known["jigsaw/6"]) / 2)
    complete = write_run(tmp_path / "complete", steps([0.1]), set_to={"data.path": str(dataset)})
    assert complete.manifest is not None
    other = replace(complete, manifest=replace(complete.manifest, questions=str(dataset)))
    assert "other questions" in constant_of(other).missing
    gone = replace(complete, manifest=replace(complete.manifest, questions=str(tmp_path / "gone")))
    assert "gone" in constant_of(gone).missing
    strange = replace(run, steps=tuple(steps([0.1])))
    assert Constant({"grounding/mirror": 0.3}).over(strange.steps) is None


def test_the_constant_is_on_the_chart(dataset: Path, tmp_path: Path) -> None:
    copied = tmp_path / "dataset"
    shutil.copytree(dataset, copied)
    run = write_run(tmp_path / "run", steps(noisy(0.1, 0.6)), set_to={"data.path": str(copied)}, complete=False)
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
    run = write_run(tmp_path / "run", steps(noisy(0.1, 0.6)), set_to={"data.path": str(dataset)}, complete=False)
    constant = constant_of(run)
    assert not constant.rewards
    assert str(dataset) in constant.missing
    assert "which is not opened" in constant.missing
    assert constant_of(run, str(dataset)).rewards
