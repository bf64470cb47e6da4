"""Guesses score as computed, checks notice cues that reveal an answer, and `chain` finds the cheapest order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise, permutations
from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from tests.helpers.synthetic_samples import (
    counting_sample,
    draw_counts,
    draw_grounding_samples,
    draw_order,
    grounding_sample,
)
from videossr.answers import interval
from videossr.answers.checks import Check
from videossr.answers.counts import count_distribution
from videossr.answers.interval import INTERVAL
from videossr.clock import uniform_clock
from videossr.question import Clip, Frames
from videossr.rewards import score_order
from videossr.sample import Sample, VideoKey
from videossr.tasks.base import Video, answer_type_of, open_task
from videossr.tasks.jigsaw import Jigsaw, JigsawConfig
from videossr.validation import shortcuts

ANSWERS = 2800


def check_durations(category: str, samples: Sequence[Sample]) -> list[Check]:
    return list(shortcuts.shortcut_checks(category, samples, open_task("grounding")))


def check_drawn_shapes(category: str, samples: Sequence[Sample]) -> list[Check]:
    return list(shortcuts.shortcut_checks(category, samples, open_task("counting")))


def scores_by_check(findings: list[Check]) -> dict[str, dict[str, float]]:
    """Return {"chance": {"smooth": ..., "strict": ..., "each shape": ...}, ...}."""
    return {
        finding.name: {name: float(value) for name, value in re.findall(r"(smooth|strict|each shape) ([\d.]+)", text)}
        for finding in findings
        for text in [finding.text]
    }


def mean_scores_by_check(task: str, answers: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return means over groups of answers, since `shortcuts.guesses` takes only some answers at a time."""
    parts = [
        scores_by_check(list(shortcuts.guesses("c", answer_type_of(task), answers[start : start + shortcuts.MOST])))
        for start in range(0, len(answers), shortcuts.MOST)
    ]
    return {
        check: {name: fmean(part[check][name] for part in parts) for name in values}
        for check, values in parts[0].items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(("most", "chance", "constant", "smooth"), [(3, 0.139, 0.198, 0.58), (4, 0.085, 0.122, 0.55)])
def test_guesses_of_counts_score_as_computed(most: int, chance: float, constant: float, smooth: float) -> None:
    probabilities = count_distribution(most, most)
    assert max(probabilities.values()) == pytest.approx(constant, abs=0.0005)
    assert sum(p * p for p in probabilities.values()) == pytest.approx(chance, abs=0.0005)
    rows = draw_counts(np.random.default_rng(most), most, ANSWERS)
    scores = mean_scores_by_check("counting", [",".join(map(str, row)) for row in rows])
    assert scores["chance"]["each shape"] == pytest.approx(chance, abs=0.01)
    assert scores["best constant"]["smooth"] == pytest.approx(smooth, abs=0.02)
    assert scores["best constant"]["each shape"] < constant + 0.01
    mode = max(probabilities, key=lambda count: probabilities[count])
    assert np.mean(np.array(rows) == mode) == pytest.approx(constant, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("pieces", "floor"), [(6, 0.352), (8, 0.344)])
def test_guesses_of_permutations_score_as_computed(pieces: int, floor: float) -> None:
    rng = np.random.default_rng(pieces)
    answers = ["".join(str(k + 1) for k in draw_order(rng, pieces)) for _ in range(ANSWERS)]
    scores = mean_scores_by_check("jigsaw", answers)
    assert scores["chance"]["smooth"] == pytest.approx(floor, abs=0.01)
    assert scores["chance"]["strict"] < 0.01
    assert scores["best constant"]["smooth"] == pytest.approx(floor, abs=0.04)


def test_guesses_of_segments_score_as_computed() -> None:
    rng = np.random.default_rng(0)
    samples = [
        grounding_sample(sample.integer("first"), sample.integer("last"))
        for sample in draw_grounding_samples(rng, ANSWERS)
    ]
    scores = mean_scores_by_check("grounding", [sample.answer for sample in samples])
    assert scores["chance"]["smooth"] == pytest.approx(0.216, abs=0.01)
    assert scores["best constant"]["smooth"] == pytest.approx(0.279, abs=0.015)
    best_share = scores_by_check(list(check_durations("g", draw_grounding_samples(rng, shortcuts.MOST))))[
        "best constant share"
    ]
    assert best_share["smooth"] == pytest.approx(0.279, abs=0.03)


def test_guesses_score_a_constant_on_other_answers_than_it_was_chosen_from() -> None:
    """Every other answer is unique, so a constant chosen among them can be right on none of the rest."""
    answers = [f"{k}-{k + 1}" if k % 2 else "500-501" for k in range(100)]
    (_, constant) = shortcuts.guesses("g", INTERVAL, answers)
    assert constant.text == "500-501: smooth 0.000, strict 0.000"


def verdicts_by_check(findings: list[Check]) -> dict[str, bool | None]:
    return {finding.name: finding.holds for finding in findings if finding.name not in ("best constant share",)}


CUES: dict[str, tuple[Callable[[np.random.Generator, int], list[Check]], set[str]]] = {}


def cue(name: str, *wrong: str) -> Callable[[Callable[[np.random.Generator, int], list[Check]]], None]:
    def add(make: Callable[[np.random.Generator, int], list[Check]]) -> None:
        CUES[name] = make, set(wrong)

    return add


def check_durations_with_clocks(rng: np.random.Generator, count: int, clock: Callable[[Sample], int]) -> list[Check]:
    drawn = draw_grounding_samples(rng, count)
    samples = [grounding_sample(sample.integer("first"), sample.integer("last"), clock(sample)) for sample in drawn]
    return list(check_durations("g", samples))


@cue("no cue in a clip")
def _(rng: np.random.Generator, count: int) -> list[Check]:
    return list(check_durations("g", draw_grounding_samples(rng, count)))


@cue("long clips are altered late", "duration tells the place")
def _(rng: np.random.Generator, count: int) -> list[Check]:
    return check_durations_with_clocks(rng, count, lambda sample: int(sample.integer("first") + rng.integers(0, 40)))


@cue("long clips are altered for long", "duration tells the length")
def _(rng: np.random.Generator, count: int) -> list[Check]:
    def clock(sample: Sample) -> int:
        return 3 * (sample.integer("last") - sample.integer("first")) + int(rng.integers(0, 20))

    return check_durations_with_clocks(rng, count, clock)


@cue("no cue in a shape")
def _(rng: np.random.Generator, count: int) -> list[Check]:
    return list(check_drawn_shapes("c", [counting_sample(rng, row) for row in draw_counts(rng, 3, count)]))


@cue("many are small", "size tells the count")
def _(rng: np.random.Generator, count: int) -> list[Check]:
    samples = [counting_sample(rng, row, size=lambda n: -0.5 * n) for row in draw_counts(rng, 3, count)]
    return list(check_drawn_shapes("c", samples))


@cue("many are bright", "color tells the count")
def _(rng: np.random.Generator, count: int) -> list[Check]:
    samples = [counting_sample(rng, row, color=lambda n: 6 * n) for row in draw_counts(rng, 3, count)]
    return list(check_drawn_shapes("c", samples))


@pytest.mark.slow
@pytest.mark.parametrize("name", CUES)
def test_shortcut_checks_notice_cues(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interval, "SHARES", 2)  # the best share takes most of the time, and other tests measure it
    make, wrong = CUES[name]
    for seed in range(50 if not wrong else 10):
        verdicts = verdicts_by_check(make(np.random.default_rng(seed), 300))
        assert None not in verdicts.values()
        assert {check for check, holds in verdicts.items() if not holds} == wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", ["no cue in a clip", "no cue in a shape"])
def test_shortcut_checks_have_uniform_p_values_without_a_cue(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interval, "SHARES", 2)
    p_values: dict[str, list[float]] = {}
    for seed in range(200):
        for finding in CUES[name][0](np.random.default_rng(seed), 60):
            if finding.holds is not None:
                p_values.setdefault(finding.name, []).append(float(finding.text.rpartition(" p ")[2]))
    assert len(p_values) == 2
    for check, values_of_check in p_values.items():
        assert stats.kstest(values_of_check, "uniform").pvalue > 0.005, check


def test_shortcut_checks_and_guesses_of_few_samples_give_no_verdict() -> None:
    rng = np.random.default_rng(0)
    assert set(verdicts_by_check(list(check_durations("g", draw_grounding_samples(rng, 3)))).values()) == {None}
    assert set(verdicts_by_check(list(check_drawn_shapes("c", [counting_sample(rng, [1, 2, 3])]))).values()) == {None}
    assert list(shortcuts.guesses("g", INTERVAL, ["1-2"])) == []
    one_clock = [grounding_sample(first, first + 9, clock=3) for first in range(30)]
    assert set(verdicts_by_check(list(check_durations("g", one_clock))).values()) == {None}


def pan(frames: int, speed: float, seed: int = 0) -> Frames:
    """Pan over smooth random color at `speed` landmarks per frame."""
    rng = np.random.default_rng(seed)
    marks = rng.uniform(0, 255, (int(frames * speed) + 4, 4, 3))
    places = np.arange(frames) * speed
    whole, part = places.astype(int), (places % 1)[:, None, None]
    categories = (1 - part) * marks[whole] + part * marks[whole + 1]
    return np.repeat(np.repeat(categories[:, :, None], 16, axis=1), 32, axis=2).round().astype(np.uint8)


def solve(frames: Frames, gap: int, seed: int) -> tuple[str, str]:
    """Return the solver's order and the answer, for a jigsaw of 6 pieces that the task draws from 48 frames."""
    config = JigsawConfig(pieces=6, gap=gap)
    video = Video(VideoKey("a" * 64, "b" * 64), uniform_clock(48, 24000), frames)
    task = Jigsaw()
    sample = task.draw(video, "j", config, np.random.default_rng(seed), [])
    assert isinstance(sample, Sample)
    clips = task.render(frames[[frame for _, frame in sample.slots]], sample)
    return shortcuts.chain(clips), sample.answer


def test_chain_solves_a_smooth_pan_but_not_one_with_gaps() -> None:
    smooth = [solve(pan(48, 0.25, seed), 0, seed) for seed in range(20)]
    assert all(order == answer for order, answer in smooth)
    gapped = [score_order(*solve(pan(48, 0.25, seed), 4, seed)) for seed in range(20)]
    assert fmean(scores.strict for scores in gapped) <= 0.2
    assert fmean(scores.smooth for scores in gapped) < 0.75


@pytest.mark.parametrize("pieces", [3, 5, 6])
def test_chain_is_the_cheapest_of_all_orders(pieces: int) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, (pieces, 2, 1, 1, 3)).astype(np.uint8)
        clips = [Clip(np.broadcast_to(pair, (2, 16, 16, 3)), uniform_clock(2, 1000)) for pair in pixels]
        ends = pixels.astype(float).reshape(pieces, 2, 3)
        cost = [[float(np.abs(last - first).mean()) for first, _ in ends] for _, last in ends]
        cheapest = min(permutations(range(pieces)), key=lambda order: sum(cost[a][b] for a, b in pairwise(order)))
        assert shortcuts.chain(clips) == "".join(str(position + 1) for position in cheapest)
