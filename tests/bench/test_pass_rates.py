"""The figures of a probe against distributions that are known in closed form."""

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

from tests.helpers.probe_runs import prediction
from tests.helpers.probe_runs import probe_run as sampled
from videossr.bench.intervals import wilson_share
from videossr.bench.pass_rates import measure_pass_rates
from videossr.report.probe import draw_probe, draw_settings
from videossr.rewards import score_order


def guessed(pieces: int, questions: int, n: int = 8, seed: int = 0):
    """A run whose answers are uniform permutations, the same for every question."""
    rng = np.random.default_rng(seed)
    digits = np.arange(1, pieces + 1)

    def order() -> str:
        return "".join(map(str, rng.permutation(digits)))

    return sampled([prediction(index, order(), [order() for _ in range(n)]) for index in range(questions)], n)


@pytest.mark.parametrize(("pieces", "questions"), [(3, 4000), (6, 4000)])
def test_uniform_permutations_have_the_variance_that_combinatorics_says(pieces: int, questions: int) -> None:
    n = 8
    found = measure_pass_rates(guessed(pieces, questions, n)).overall
    p = 1 / factorial(pieces)
    strict = (1 - p) ** n + p**n
    rewards = Counter(round(score_order("".join(map(str, order)), "123456789"[:pieces]).smooth, 12)
                      for order in permutations(range(1, pieces + 1)))  # fmt: skip
    # All n rewards are the same one; and none strictly right, yet not all the same.
    smooth = sum((count * p) ** n for count in rewards.values())
    graded = (1 - p) ** n - sum((count * p) ** n for reward, count in rewards.items() if reward < 1)
    assert rewards[1.0] == 1
    for estimate, exact in (
        (found.strict.flat, strict),
        (found.smooth_flat, smooth),
        (found.graded, graded),
        (found.strict.rate, p),
    ):
        error = 4 * (exact * (1 - exact) / questions) ** 0.5 + 1e-12
        assert abs(estimate.value - exact) <= error, (estimate, exact)
    expected = np.array([comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]) * questions
    seen = np.array(found.strict.histogram)
    cut = int((expected > 5).sum())
    seen, expected = (np.append(counts[: cut - 1], counts[cut - 1 :].sum()) for counts in (seen, expected))
    assert stats.chisquare(seen, expected).pvalue > 1e-4
    assert found.questions == questions
    assert found.unparsed.value == 0


def test_the_figures_of_a_few_questions_by_hand() -> None:
    run = sampled(
        [
            prediction(0, "123", ["123", "123", "132", "x"], difficulty={"pieces": 3}),  # rewards 1, 1, .5, 0
            prediction(1, "123", ["321", "231", "312", "321"], difficulty={"pieces": 3}),  # all 0: the whole way off
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
    assert [(found.label, found.figures) for found in bins] == [("3", three), ("4", four)]
    assert json.loads(probe.to_json())["categories"]["jigsaw/3"]["strict"]["histogram"] == [2, 0, 1, 0, 0]
    strict_only = measure_pass_rates(run, success_iou=0.75).tasks["grounding"].overlap
    assert strict_only is not None
    assert strict_only.histogram == (0, 1, 0, 0, 0)


def test_rewards_that_differ_by_rounding_alone_are_the_same() -> None:
    texts = ["1,3,3", "3,1,3", "3,3,1"] * 2
    found = measure_pass_rates(sampled([prediction(0, "3,3,3", texts, "counting", "counting/easy")], 6)).overall
    assert found.smooth_flat.value == 1
    assert found.graded.value == 0


def test_settings_are_grouped_by_value_by_quantile_and_by_word() -> None:
    run = sampled(
        [
            prediction(index, "123", ["123"] * (index % 3) + ["321"] * (2 - index % 3),
                       difficulty={"seconds": index / 10, "kind": "ab"[index % 2], "pieces": 3})
            for index in range(100)
        ],
        n=2,
    )  # fmt: skip
    settings = measure_pass_rates(run).settings["jigsaw"]
    assert set(settings) == {"seconds", "kind"}  # all have three pieces: nothing to compare
    assert [found.label for found in settings["kind"]] == ["a", "b"]
    assert [found.figures.questions for found in settings["seconds"]] == [24, 25, 25, 26]
    assert [(found.low, found.high) for found in settings["seconds"]] == [(0, 2.3), (2.4, 4.8), (4.9, 7.3), (7.4, 9.9)]
    assert sum(sum(found.figures.strict.histogram) for found in settings["seconds"]) == 100


def test_a_run_of_one_answer_and_one_without_any_are_refused() -> None:
    with pytest.raises(ValueError, match="one answer a question"):
        measure_pass_rates(sampled([prediction(0, "123", ["123"])], 1))
    with pytest.raises(ValueError, match="no question has its 8 answers: no frames"):
        measure_pass_rates(sampled([prediction(0, "123", [])], 8))


def test_the_interval_of_single_answers_on_videos_of_their_own_is_wilsons() -> None:
    for successes, count in ((7, 100), (0, 20), (5, 5), (1, 2)):
        found = wilson_share([True] * successes + [False] * (count - successes), [""] * count)
        known = stats.binomtest(successes, count).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((known.low, known.high))
    with pytest.raises(ValueError, match="no questions"):
        wilson_share([], [])


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.3), (1, 9), (8, 8), (1000, 1000)])
@pytest.mark.parametrize(("videos", "each"), [(12, 1), (60, 1), (30, 4)])
def test_an_interval_holds_the_truth_as_often_as_it_says(a: float, b: float, videos: int, each: int) -> None:
    """Questions on one video are equally hard here, which is the worst case for the interval."""
    rng = np.random.default_rng(1)
    n, rounds, truth = 8, 600, a / (a + b)
    sources = [str(video) for video in range(videos) for _ in range(each)]
    inside, widths = 0, []
    for _ in range(rounds):
        means = rng.binomial(n, np.repeat(rng.beta(a, b, videos), each)) / n
        found = wilson_share([float(mean) for mean in means], sources, n)
        inside += found.low <= truth <= found.high
        widths.append(found.high - found.low)
    assert inside / rounds >= 0.92
    variance = truth * (1 - truth) / videos * (1 / (n * each) + (1 - 1 / (n * each)) / (a + b + 1))
    assert np.mean(widths) <= 1.35 * 2 * 1.96 * variance**0.5  # nor is it much wider than it must be


@pytest.mark.slow
def test_the_pictures_show_every_task_and_setting_and_stay_the_same() -> None:
    hostile = "</svg><script>alert(1)</script> $\\frac{$ \x00\x1b[2J \ud800 \u6f22"
    run = sampled(
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
