"""Rewards: equal to the paper's released functions where those are defined, and defined for all other texts."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.plugins import write_entry_points
from videossr import rewards
from videossr.rewards import (
    compute_score,
    parse_counts,
    parse_interval,
    parse_order,
    score_counts,
    score_interval,
    score_order,
)

CONFORMANCE = json.loads((Path(__file__).parent / "data" / "rewards_conformance.json").read_text("utf-8"))
GOLD = {"grounding": "14.5-26.2", "counting": "3,1,4", "jigsaw": "341562"}
SOURCES = [(f"videossr/{task}", gold) for task, gold in GOLD.items()]

Span = tuple[int, int]

tasks = st.sampled_from(SOURCES)
milliseconds = st.integers(0, 10_000_000)
spans = st.tuples(milliseconds, milliseconds).filter(lambda span: span[0] < span[1])
counts = st.lists(st.integers(0, 50), min_size=1, max_size=6)
orders = st.integers(1, 9).flatmap(lambda n: st.permutations("123456789"[:n])).map("".join)
near_misses = st.text(st.sampled_from("0123456789.,- \n\u2013+e_²³٣½①x<>"), max_size=24)


def write(span: Span) -> str:
    return f"{span[0] / 1000}-{span[1] / 1000}"


def check_scores(scores: dict[str, float]) -> None:
    assert 0 <= scores["strict"] <= scores["smooth"] <= scores["parsed"] <= 1
    assert scores["strict"] in (0, 1)
    assert scores["parsed"] in (0, 1)
    assert all(type(value) is float for value in scores.values())


@pytest.mark.parametrize(("source", "text", "gold", "value"), CONFORMANCE["well_formed"] + CONFORMANCE["other_text"])
def test_compute_score_equals_the_released_functions(source: str, text: str, gold: str, value: float) -> None:
    for name in (source, f"videossr/{source}"):
        assert compute_score(name, text, gold)["smooth"] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(("source", "text", "gold", "released", "ours", "why"), CONFORMANCE["differs"])
def test_compute_score_differs_from_the_released_functions_as_documented(
    source: str, text: str, gold: str, released: object, ours: object, why: str
) -> None:
    assert released != ours
    assert why
    if ours == "raises ValueError":
        with pytest.raises(ValueError, match="gold answer"):
            compute_score(source, text, gold)
    else:
        assert compute_score(source, text, gold)["smooth"] == pytest.approx(ours)


def test_score_functions_follow_their_equations() -> None:
    assert score_interval("10-20", "15-25").smooth == pytest.approx(5 / 15)
    assert score_interval("0-10", "10-20").smooth == 0
    assert score_counts("2,1,8", "3,1,4").smooth == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert score_counts("1,0,0", "0,0,0").smooth == pytest.approx(2 / 3)
    # Pieces 1 and 6 stand in each other's place: 5 + 5 of at most 18.
    assert score_order("623451", "123456").smooth == pytest.approx(1 - 10 / 18)
    assert score_order("654321", "123456").smooth == 0


def test_score_functions_give_scores_of_parts() -> None:
    assert score_counts("3,2,4", "3,1,4").parts == (1, 0, 1)
    assert score_counts("none", "3,1,4").parts == (0, 0, 0)
    assert score_order("321", "123").parts == (0, 1, 0)
    assert score_order("", "123").parts == (0, 0, 0)
    assert score_interval("1-2", "1-2").parts == ()


def test_compute_score_strict_is_equality_of_values() -> None:
    assert compute_score("grounding", " 014.50 - 26.200\n", "14.5-26.2", reward="strict")["score"] == 1
    assert compute_score("grounding", "14.5-26.3", "14.5-26.2", reward="strict")["score"] == 0
    assert compute_score("counting", "03 and 1 and 4", "3,1,4", reward="strict")["score"] == 1
    assert compute_score("jigsaw", "341526", "341562", reward="strict")["score"] == 0


def test_compute_score_argument_reward_chooses_only_the_score() -> None:
    smooth = compute_score("counting", "3,1,3", "3,1,4")
    strict = compute_score("counting", "3,1,3", "3,1,4", {"split": "train"}, reward="strict")
    assert smooth == {"score": smooth["smooth"], "smooth": pytest.approx(11 / 12), "strict": 0, "parsed": 1}
    assert strict == {**smooth, "score": 0}


def test_compute_score_of_an_interval_without_length_is_zero() -> None:
    assert compute_score("grounding", "5-5", "5-5") == {"score": 0, "smooth": 0, "strict": 0, "parsed": 1}
    assert compute_score("grounding", "5-5", "4-6") == {"score": 0, "smooth": 0, "strict": 0, "parsed": 1}
    assert compute_score("grounding", "4-6", "5-5") == {"score": 0, "smooth": 0, "strict": 0, "parsed": 1}


def test_parsers_of_intervals_counts_and_orders() -> None:
    assert parse_interval("\t1. - .5e") is None
    assert parse_interval(".5 -\n1.") == (0.5, 1)
    assert parse_interval("1-" + "9" * 400) is None
    assert parse_counts("circles: -3; squares 0001, triangles " + "9" * 5000, 3) == (3, 1, 10**15)
    assert parse_counts("3.5", 1) is None
    assert parse_counts("²", 1) is None
    assert parse_order(" 312 ", 3) == (3, 1, 2)
    assert parse_order("1234567891", 10) is None
    assert parse_order("٣١٢", 3) is None


@given(tasks, st.text() | near_misses)
def test_compute_score_accepts_any_text(task: tuple[str, str], text: str) -> None:
    check_scores(compute_score(task[0], text, task[1]))


@given(spans, near_misses)
def test_parse_interval_gives_ordered_finite_numbers_or_none(span: Span, text: str) -> None:
    parsed = parse_interval(write(span) + text)
    assert parsed is None or (parsed[0] <= parsed[1] and math.isfinite(parsed[1]))


@pytest.mark.parametrize("unit", ["9", "0", ".", "-", " ", "1 ", "1-", "3,", "1.", "\n", "²", "٣", "\ud800", "\0", "a"])
@pytest.mark.parametrize(("source", "gold"), SOURCES)
def test_compute_score_of_megabytes_takes_linear_time_and_prints_nothing(
    source: str, gold: str, unit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # Quadratic time would take hours.
    long = unit * (1_000_000 // len(unit))
    for text in (long, gold + long, long + gold, long + "-" + long):
        check_scores(compute_score(source, text, gold))
    assert capsys.readouterr() == ("", "")


@given(spans, spans)
def test_compute_score_of_grounding_is_symmetric_and_1_for_equal_spans(span: Span, gold_span: Span) -> None:
    scores = compute_score("grounding", write(span), write(gold_span))
    check_scores(scores)
    assert scores["smooth"] == compute_score("grounding", write(gold_span), write(span))["smooth"]
    assert (scores["smooth"] == 1) == (scores["strict"] == 1) == (span == gold_span)
    assert (scores["smooth"] > 0) == (max(span[0], gold_span[0]) < min(span[1], gold_span[1]))


@given(counts, st.data())
def test_compute_score_of_counting_is_1_for_equal_counts(gold: list[int], data: st.DataObject) -> None:
    answer = data.draw(st.lists(st.integers(0, 50), min_size=len(gold), max_size=len(gold)))
    scores = compute_score("counting", ",".join(map(str, answer)), ",".join(map(str, gold)))
    check_scores(scores)
    assert scores["parsed"] == 1
    assert (scores["smooth"] == 1) == (scores["strict"] == 1) == (answer == gold)
    assert compute_score("counting", ",".join(map(str, [*answer, 0])), ",".join(map(str, gold)))["parsed"] == 0


@given(orders, st.data())
def test_compute_score_of_jigsaw_is_symmetric_and_1_for_equal_orders(gold: str, data: st.DataObject) -> None:
    answer = "".join(data.draw(st.permutations(gold)))
    scores = compute_score("jigsaw", answer, gold)
    check_scores(scores)
    assert scores["smooth"] == compute_score("jigsaw", gold, answer)["smooth"]
    assert (scores["smooth"] == 1) == (scores["strict"] == 1) == (answer == gold)


def test_score_order_has_its_minimum_at_0() -> None:
    for n in range(2, 7):
        digits = "123456789"[:n]
        values = [score_order("".join(order), digits).smooth for order in itertools.permutations(digits)]
        assert min(values) == pytest.approx(0, abs=1e-12)
        assert min(values) >= 0
    assert score_order("1", "1").smooth == 1


@given(spans, counts, orders)
def test_compute_score_of_the_gold_answer_is_1(span: Span, numbers: list[int], order: str) -> None:
    for source, gold in [("grounding", write(span)), ("counting", ",".join(map(str, numbers))), ("shuffled", order)]:
        assert compute_score(source, gold, gold) == {"score": 1, "smooth": 1, "strict": 1, "parsed": 1}


@pytest.mark.parametrize(
    ("source", "gold"),
    [
        *itertools.product(["grounding"], ["", "5", "2-1", "1-2-3", "-1-2", "nan-nan", "0-1e3", "1s-2s"]),
        *itertools.product(["counting"], ["", "3,,4", "3;1;4", "3,1,4.0", "²,1,4", "1,-1,2", "9" * 5000]),
        *itertools.product(["jigsaw"], ["", "0", "133", "124", "12345678910", "1234567891", "٣١٢"]),
    ],
)
def test_compute_score_refuses_a_malformed_gold_answer(source: str, gold: str) -> None:
    with pytest.raises(ValueError, match="gold answer"):
        compute_score(source, "1", gold)


def test_compute_score_of_unknown_names_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'videossr/grouding'.*Known: counting, .*videossr/grounding"):
        compute_score("videossr/grouding", "1-2", "1-2")
    with pytest.raises(ValueError, match="'other/grounding'"):
        compute_score("other/grounding", "1-2", "1-2")
    with pytest.raises(ValueError, match=r"'lenient'.*smooth, strict"):
        compute_score("grounding", "1-2", "1-2", reward="lenient")  # type: ignore[arg-type]


def test_compute_score_finds_scorers_of_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = write_entry_points(tmp_path, "parity", "[videossr.rewards]\nparity = parity_rewards:score\n")
    (tmp_path / "parity_rewards.py").write_text(
        "from videossr.rewards import Scores\n\n\n"
        "def score(answer, gold):\n"
        "    right = float(answer == gold)\n"
        "    return Scores(right, right, answer in ('odd', 'even'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert compute_score("videossr/parity", "odd", "odd") == {"score": 1, "smooth": 1, "strict": 1, "parsed": 1}
    assert compute_score("videossr/parity", "blue", "odd") == {"score": 0, "smooth": 0, "strict": 0, "parsed": 0}
    with pytest.raises(ValueError, match=r"Known: .*videossr/parity"):
        compute_score("parity", "odd", "odd")
    # The scorer is looked up once, not for every answer.
    declared.unlink()
    assert compute_score("videossr/parity", "even", "odd")["parsed"] == 1


def test_rewards_module_can_be_loaded_by_its_path() -> None:
    assert rewards.__file__ is not None
    spec = importlib.util.spec_from_file_location("not_in_sys_modules", rewards.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.compute_score("jigsaw", "21", "12")["smooth"] == 0


@pytest.mark.parametrize(
    ("task", "gold"), [("grounding", "1-2"), ("counting", "1,2"), ("jigsaw", "21"), ("choice", "B")]
)
def test_compute_score_marks_an_unreadable_answer_as_not_parsed(task: str, gold: str) -> None:
    assert compute_score(f"videossr/{task}", "no idea", gold) == {"score": 0, "smooth": 0, "strict": 0, "parsed": 0}
    assert compute_score(f"videossr/{task}", gold, gold)["parsed"] == 1


def test_compute_score_refuses_gold_counts_that_floats_cannot_hold() -> None:
    assert compute_score("videossr/counting", "1", str(10**15 - 1))["parsed"] == 1
    with pytest.raises(ValueError, match="is not counts below"):
        compute_score("videossr/counting", "1", str(10**15))
