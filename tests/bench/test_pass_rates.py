"""Pass rates of a probe, compared with distributions that are known in closed form."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import replace
from itertools import permutations
from math import comb, factorial

import numpy as np
import pytest
from scipy import stats

from tests.helpers.probe_runs import prediction, probe_run
from videossr.bench.intervals import wilson_share
from videossr.bench.pass_rates import measure_pass_rates
from videossr.report.probe import draw_probe, draw_settings
from videossr.rewards import score_order


def run_of_guesses(pieces: int, questions: int, n: int = 8, seed: int = 0):
    """Make a run whose answers are uniform permutations, drawn alike for every question."""
    rng = np.random.default_rng(seed)
    digits = np.arange(1, pieces + 1)

    def draw_order() -> str:
        return "".join(map(str, rng.permutation(digits)))

    return probe_run(
        [prediction(index, draw_order(), [draw_order() for _ in range(n)]) for index in range(questions)], n
    )


@pytest.mark.parametrize(("pieces", "questions"), [(3, 4000), (6, 4000)])
def test_measure_pass_rates_agrees_with_combinatorics_on_uniform_permutations(pieces: int, questions: int) -> None:
    n = 8
    overall = measure_pass_rates(run_of_guesses(pieces, questions, n)).overall
    p = 1 / factorial(pieces)
    strict = (1 - p) ** n + p**n
    rewards = Counter(round(score_order("".join(map(str, order)), "123456789"[:pieces]).smooth, 12)
                      for order in permutations(range(1, pieces + 1)))  # fmt: skip
    # `smooth`: all n rewards are equal; `graded`: none is strictly right, but they are not all equal.
    smooth = sum((count * p) ** n for count in rewards.values())
    graded = (1 - p) ** n - sum((count * p) ** n for reward, count in rewards.items() if reward < 1)
    assert rewards[1.0] == 1
    for estimate, exact in (
        (overall.strict.flat, strict),
        (overall.smooth_flat, smooth),
        (overall.graded, graded),
        (overall.strict.rate, p),
    ):
        error = 4 * (exact * (1 - exact) / questions) ** 0.5 + 1e-12
        assert abs(estimate.value - exact) <= error, (estimate, exact)
    expected = np.array([comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]) * questions
    histogram = np.array(overall.strict.histogram)
    cut = int((expected > 5).sum())
    histogram, expected = (np.append(counts[: cut - 1], counts[cut - 1 :].sum()) for counts in (histogram, expected))
    assert stats.chisquare(histogram, expected).pvalue > 1e-4
    assert overall.questions == questions
    assert overall.unparsed.value == 0


def test_measure_pass_rates_of_a_few_questions_computed_by_hand() -> None:
    run = probe_run(
        [
            prediction(0, "123", ["123", "123", "132", "x"], difficulty={"pieces": 3}),  # rewards 1, 1, .5, 0
            prediction(1, "123", ["321", "231", "312", "321"], difficulty={"pieces": 3}),  # all 0
            prediction(2, "123", ["132", "213", "132", "132"], difficulty={"pieces": 3}),  # all .5
            prediction(3, "1234", ["1243"] * 3 + ["4321"], difficulty={"pieces": 4}),
            prediction(4, "1234", ["1234"] * 4, difficulty={"pieces": 4}),
            prediction(5, "1234", [], difficulty={"pieces": 4}),
            prediction(6, "2.0-4.0", ["2.0-4.0", "2.0-3.0", "3.5-6.0", "soon"], "grounding", "grounding/mirror"),
        ],
        n=4,
    )
    probe = measure_pass_rates(run)
    three, four = probe.categories["jigsaw/3"], probe.categories["jigsaw/4"]
    assert three.strict.histogram == (2, 0, 1, 0, 0)
    assert three.strict.rate.value == pytest.approx(2 / 12)
    assert three.strict.flat.value == pytest.approx(2 / 3)
    assert three.smooth_flat.value == pytest.approx(2 / 3)
    assert three.graded.value == 0
    assert three.unparsed.value == pytest.approx(1 / 12)
    assert three.overlap is None
    assert four.questions == 2
    assert four.strict.histogram == (1, 0, 0, 0, 1)
    assert four.smooth_flat.value == four.graded.value == 0.5
    assert probe.failed == {"jigsaw/4": 1}
    grounding = probe.tasks["grounding"]
    assert grounding.strict.histogram == (0, 1, 0, 0, 0)
    assert grounding.overlap is not None
    assert grounding.overlap.histogram == (0, 0, 1, 0, 0)  # 1.0 and exactly 0.5; the third one is 0.125
    assert grounding.success is grounding.overlap
    assert probe.tasks["jigsaw"].success is probe.tasks["jigsaw"].strict
    assert probe.overall.overlap is None
    assert probe.overall.questions == 6
    bins = probe.settings["jigsaw"]["pieces"]
    assert [(group.label, group.figures) for group in bins] == [("3", three), ("4", four)]
    assert json.loads(probe.to_json())["categories"]["jigsaw/3"]["strict"]["histogram"] == [2, 0, 1, 0, 0]
    strict_only = measure_pass_rates(run, success_iou=0.75).tasks["grounding"].overlap
    assert strict_only is not None
    assert strict_only.histogram == (0, 1, 0, 0, 0)


def test_measure_pass_rates_treats_rewards_that_differ_by_rounding_as_equal() -> None:
    texts = ["1,3,3", "3,1,3", "3,3,1"] * 2
    overall = measure_pass_rates(probe_run([prediction(0, "3,3,3", texts, "counting", "counting/easy")], 6)).overall
    assert overall.smooth_flat.value == 1
    assert overall.graded.value == 0


def test_measure_pass_rates_groups_settings_by_value_quantile_and_word() -> None:
    run = probe_run(
        [
            prediction(index, "123", ["123"] * (index % 3) + ["321"] * (2 - index % 3),
                       difficulty={"seconds": index / 10, "kind": "ab"[index % 2], "pieces": 3})
            for index in range(100)
        ],
        n=2,
    )  # fmt: skip
    settings = measure_pass_rates(run).settings["jigsaw"]
    assert set(settings) == {"seconds", "kind"}  # all have three pieces: nothing to compare
    assert [group.label for group in settings["kind"]] == ["a", "b"]
    assert [group.figures.questions for group in settings["seconds"]] == [24, 25, 25, 26]
    assert [(group.low, group.high) for group in settings["seconds"]] == [(0, 2.3), (2.4, 4.8), (4.9, 7.3), (7.4, 9.9)]
    assert sum(sum(group.figures.strict.histogram) for group in settings["seconds"]) == 100


def test_measure_pass_rates_refuses_runs_of_one_answer_or_none() -> None:
    with pytest.raises(ValueError, match="one answer a question"):
        measure_pass_rates(probe_run([prediction(0, "123", ["123"])], 1))
    with pytest.raises(ValueError, match="no question has its 8 answers: no frames"):
        measure_pass_rates(probe_run([prediction(0, "123", [])], 8))


def test_wilson_share_is_the_wilson_interval_for_independent_answers() -> None:
    for successes, count in ((7, 100), (0, 20), (5, 5), (1, 2)):
        interval = wilson_share([True] * successes + [False] * (count - successes), [""] * count)
        expected = stats.binomtest(successes, count).proportion_ci(method="wilson")
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    with pytest.raises(ValueError, match="no questions"):
        wilson_share([], [])


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.3), (1, 9), (8, 8), (1000, 1000)])
@pytest.mark.parametrize(("videos", "per_video"), [(12, 1), (60, 1), (30, 4)])
def test_wilson_share_covers_the_true_rate_as_often_as_claimed(a: float, b: float, videos: int, per_video: int) -> None:
    """Questions on one video are equally hard here, which is the worst case for the interval."""
    rng = np.random.default_rng(1)
    n, rounds, truth = 8, 600, a / (a + b)
    sources = [str(video) for video in range(videos) for _ in range(per_video)]
    covered, widths = 0, []
    for _ in range(rounds):
        means = rng.binomial(n, np.repeat(rng.beta(a, b, videos), per_video)) / n
        interval = wilson_share([float(mean) for mean in means], sources, n)
        covered += interval.low <= truth <= interval.high
        widths.append(interval.high - interval.low)
    assert covered / rounds >= 0.92
    variance = truth * (1 - truth) / videos * (1 / (n * per_video) + (1 - 1 / (n * per_video)) / (a + b + 1))
    assert np.mean(widths) <= 1.35 * 2 * 1.96 * variance**0.5  # nor is it much wider than it must be


@pytest.mark.slow
def test_draw_probe_and_draw_settings_are_complete_and_deterministic() -> None:
    hostile = "</svg><script>alert(1)</script> $\\frac{$ \x00\x1b[2J \ud800 \u6f22"
    run = probe_run(
        [
            prediction(0, "123", ["123", "321"], difficulty={"seconds": 1.5, "kind": hostile}),
            prediction(1, "123", ["123", "123"], difficulty={"seconds": 2.5, "kind": "b"}),
            prediction(2, "1-2", ["1-2", "1-3"], "grounding", hostile, {hostile: 1}),
            prediction(3, "1-2", ["1-2", "1-3"], "grounding", hostile, {hostile: 2}),
        ],
        n=2,
    )
    probe = replace(measure_pass_rates(run), model=hostile)
    tasks, settings = draw_probe(probe), draw_settings(probe)
    assert (tasks, settings) == (draw_probe(probe), draw_settings(probe))
    for text in (tasks, settings):
        root = ElementTree.fromstring(text.encode())
        assert not [node for node in root.iter() if node.tag.endswith("script")]
        assert "alert(1)" in "".join(root.itertext())
        assert not re.search(r'(?:href|src)="(?!#)', text)
    assert "jigsaw: 2 questions" in tasks
    assert "IoU &gt;= 0.5" in tasks
    assert f"{probe.overall.strict.flat.value:.0%}" in tasks
    assert "jigsaw: seconds" in settings
    assert "<svg" in draw_settings(replace(probe, settings={}))
