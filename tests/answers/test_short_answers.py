"""Every answer type on which labelled rows are trained: its gold answer scores 1, garbage scores 0, texts are read."""

from __future__ import annotations

import time

import pytest

from videossr.answers.base import ANSWER_TYPES
from videossr.answers.number import parse_number
from videossr.answers.yes_no import parse_yes_no
from videossr.rewards import compute_score
from videossr.tasks.base import answer_type_of

GOLDS = {
    "choice": ("B", "C"),
    "yes_no": ("no", "yes"),
    "number": ("-2.5", "3"),
    "span": ("14.5-26.2", "50-60"),
    "interval": ("14.5-26.2", "50-60"),
    "moments": ("3-4, 10-12.5", "20-22"),
    "sequence": ("3,1,2,4", "2, 4, 1"),
    "order": ("3124", "3124 or 1234"),
    "counts": ("3,0,2", "7 8"),
}
"""By answer type, a gold answer, and an answer without any worth."""

GARBAGE = ("", "no idea, said the model", "<think>" + "a" * 50, "\\boxed{", "٣ and \x00", "{]" * 40)


@pytest.mark.parametrize("kind", GOLDS)
def test_a_gold_answer_scores_one_and_garbage_zero(kind: str) -> None:
    gold, wrong = GOLDS[kind]
    source = f"videossr/{kind}"
    assert answer_type_of(source) is ANSWER_TYPES.get(kind)
    assert compute_score(source, gold, gold) == {"score": 1, "smooth": 1, "strict": 1, "parsed": 1}
    assert compute_score(source, wrong, gold)["score"] == 0
    for text in GARBAGE:
        scores = compute_score(source, text, gold)
        if kind != "yes_no" or not text.startswith("no"):
            assert scores["score"] == scores["parsed"] == 0, text
    with pytest.raises(ValueError, match="gold answer 'what\\?'"):
        compute_score(source, gold, "what?")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3", 3),
        ("The answer is 3.", 3),
        ("<think>7 or 8</think><answer> 3 </answer>", 3),
        ("about 1,200 m", 1200),
        ("12,345,678.25", 12345678.25),
        ("\u22122.5 °C", -2.5),
        ("-4", -4),
        ("3 of them, so 3", 3),
        ("1 + 2 = \\boxed{3}", 3),
        ("12s", 12),
        ("1,5", None),
        ("1.2.3", None),
        ("10-20", None),
        ("3 or 4", None),
        ("three", None),
        ("A3", None),
        ("9" * 400, None),
    ],
)
def test_parse_number_reads_one_number(text: str, number: float | None) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    ("answer", "gold", "smooth", "strict"),
    [("8", "10", 0.8, 0), ("12", "10", 0.8, 0), ("-10", "10", 0, 0), ("0.1", "0", 0, 0), ("10.0", "10", 1, 1)],
)
def test_a_number_is_scored_by_its_relative_error(answer: str, gold: str, smooth: float, strict: float) -> None:
    scores = compute_score("videossr/number", answer, gold)
    assert scores["smooth"] == pytest.approx(smooth)
    assert scores["strict"] == strict


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("**The answer is: Yes**, it does not.", "yes"),
        ("No dog is shown.", "no"),
        ("<answer>TRUE</answer>", "yes"),
        ("so \\boxed{no}", "no"),
        ("<think>yes</think> False", "no"),
        ("yes or no", None),
        ("Yes/No", None),
        ("Nothing", None),
        ("I cannot say yes", None),
    ],
)
def test_parse_yes_no_reads_the_first_word(text: str, said: str | None) -> None:
    assert parse_yes_no(text) == said


@pytest.mark.parametrize("kind", ["number", "yes_no"])
@pytest.mark.parametrize("text", ["1" * 300_000, "1," * 200_000, "the " * 200_000, "\\boxed{" * 100_000, "-" * 400_000])
def test_long_texts_are_scored_in_no_time(kind: str, text: str) -> None:
    begun = time.monotonic()
    assert compute_score(f"videossr/{kind}", text, GOLDS[kind][0])["parsed"] == 0
    assert time.monotonic() - begun < 2
