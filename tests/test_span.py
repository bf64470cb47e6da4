"""Intervals of time are read in any usual spelling, and in no unusual one."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossr.answers.interval import SPAN
from videossr.rewards import compute_score, parse_span
from videossr.tasks.base import answer_type_of

SOURCE = "videossr/span"


@pytest.mark.parametrize(
    "text",
    ["24.3 - 30.4", "24.3-30.4", "24.3s-30.4s", "from 24.3s to 30.4s", "From 24.3 s to 30.4 s.",
     "24.3 seconds to 30.4 secs",
     "24.3\u201330.4", "24.3 \u2014 30.4", "24.3 \u2212 30.4", "24.3 ~ 30.4", "24.3 -- 30.4",
     "between 24.3 and 30.4 seconds",
     "24.3 until 30.4", "[24.3, 30.4]", "(24.3 s, 30.4 s)", "00:24.3 - 00:30.4", "0:00:24.3 to 0:00:30.4",
     "The event happens from 24.3 to 30.4 seconds.", "It lasts 6 s: 24.3-30.4", "<think>1-2 or 3-4</think>24.3-30.4",
     "<answer>24.3-30.4</answer>, not 1-2", "24.3-30.4, that is 00:24.3 to 00:30.4", "**24.3-30.4**", "24.3 - 30.4\n",
     "Answer: 24.3 - 30.4", "24,3 - 30,4", "start: 24.3, end: 30.4", "Start time: 24.3s; End time: 30.4s"],
)  # fmt: skip
def test_usual_spellings_are_read(text: str) -> None:
    assert parse_span(text) == (24.3, 30.4)
    assert compute_score(SOURCE, text, "24.3-30.4") == {"score": 1, "smooth": 1, "strict": 1, "parsed": 1}


@pytest.mark.parametrize(
    "text",
    ["", "24.3", "24.3s", "24.3, 30.4", "-5 - 10", "10-20-30", "10 - 20 - 30", "2024-10-18", "30.4-24.3", "1-2 and 3-4",
     "1-2\n3-4", "1-2 or 3-4", "a1-2", "1.2.3-4", "1-2x", "1:2-1:3", "10:99999-4", "minute 1 to minute 2", "one to two",
     "<answer></answer>1-2", "[1, 2, 3]", "1e3-2e3", "<think>1-2",
     "1-2,3-4"],
)  # fmt: skip
def test_what_names_no_interval_or_two_is_not_read(text: str) -> None:
    assert parse_span(text) is None
    assert compute_score(SOURCE, text, "1-2") == {"score": 0, "smooth": 0, "strict": 0, "parsed": 0}


def test_hours_minutes_and_seconds_are_seconds() -> None:
    assert parse_span("1:02:03 - 1:02:10") == (3723.0, 3730.0)
    assert parse_span("00:24-00:30") == (24.0, 30.0)


def test_gold_answers_have_the_exact_form() -> None:
    assert compute_score(SOURCE, "from 10 to 20 s", "15-20")["score"] == 0.5
    with pytest.raises(ValueError, match="is not an interval of seconds"):
        compute_score(SOURCE, "1-2", "from 1 to 2")


def test_span_is_an_answer_type() -> None:
    assert answer_type_of(SOURCE) == SPAN
    assert SPAN.parse("from 1 to 2", "1-2") == (1.0, 2.0)
    assert SPAN.metric == "miou"


@given(st.text(max_size=200) | st.text(st.sampled_from("0123456789.:-~, []()stoand<>/\n"), max_size=60))
def test_any_text_is_scored(text: str) -> None:
    span = parse_span(text)
    assert compute_score(SOURCE, text, "1-2")["parsed"] == (span is not None)
    assert span is None or 0 <= span[0] <= span[1]


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_two_numbers_are_read_as_they_are(one: float, other: float) -> None:
    start, end = sorted((round(one, 3), round(other, 3)))
    for text in (f"{start:.3f}-{end:.3f}", f"from {start:.3f}s to {end:.3f}s", f"[{start:.3f}, {end:.3f}]"):
        assert parse_span(text) == (start, end)


@pytest.mark.parametrize("piece", ["1-", "1 ", "1 - ", "(", "1:00", "[1,", "1 to ", "9", ". ", "- ", "s ", "1s"])
def test_parse_span_takes_linear_time(piece: str) -> None:
    """Linear time is about a second; quadratic time would be hours."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("parse_span did not return within two minutes"))
    signal.alarm(120)
    try:
        assert parse_span(piece * (2_000_000 // len(piece)) + "x1-") is None
    finally:
        signal.alarm(0)
