"""The answer types of public benchmarks: options, sequences and windows."""

from __future__ import annotations

import numpy as np
import pytest

from videossr.answers.base import ANSWER_TYPES
from videossr.answers.option import OPTION, labelled, option_answer, options_in, parse_option
from videossr.answers.sequence import parse_sequence
from videossr.answers.windows import MOMENTS, WINDOWS, read_windows, window_answer
from videossr.clock import Clock
from videossr.question import Question

CARS = option_answer(labelled(["A red car", "a blue  car", "a dog"]), 1)
CAPTIONS = "Caption B: It rises.\nCaption A: It falls.\nCaption B: It rises."
NUMBERED = "Option 2: fast\nOption 1: slow\nOption 2: fast"
YES = "yes\nyes\nno"
LABELLED_YES = "A. Yes.\nA. Yes.\nB. No."
EQUAL = "C. a\nA. a\nB. b\nC. a"
FOURTEEN = option_answer(labelled([f"option {k}" for k in range(14)]), 13)


@pytest.mark.parametrize(
    ("gold", "text", "chosen"),
    [
        (CARS, "B", "b"),
        (CARS, " (b) ", "b"),
        (CARS, "**B**", "b"),
        (CARS, "Answer: B", "b"),
        (CARS, "B. a blue car", "b"),
        (CARS, "B) a blue car", "b"),
        (CARS, "A blue car.", "b"),
        (CARS, '"a blue car"', "b"),
        (CARS, "A red car", "a"),
        (CARS, "A green car", None),
        (CARS, "A or B", None),
        (CARS, "A, B", None),
        (CARS, "D", None),
        (CARS, "a blue car or a dog", None),
        (CARS, "<think>A or C</think>B", "b"),
        (CARS, "It is A.</think><answer>B</answer>", "b"),
        (CARS, "B\nThe car is blue.", "b"),
        (CARS, "", None),
        (CAPTIONS, "Caption A", "caption a"),
        (CAPTIONS, "A", "caption a"),
        (CAPTIONS, "Answer: A", "caption a"),
        (CAPTIONS, "The answer is Caption A.", "caption a"),
        (CAPTIONS, "It falls.", "caption a"),
        (CAPTIONS, "Caption A: It falls.", "caption a"),
        (CAPTIONS, "A. It falls.", "caption a"),
        (CAPTIONS, "Caption C", None),
        (NUMBERED, "1", "option 1"),
        (NUMBERED, "Option 1", "option 1"),
        (NUMBERED, "Answer: 1", "option 1"),
        (NUMBERED, "1 or 2", None),
        (YES, "Yes", "yes"),
        (YES, "No, it does not.", "no"),
        (YES, "Not at all", None),
        (YES, "yes and no", None),
        (LABELLED_YES, "No", "b"),
        (LABELLED_YES, "A", "a"),
        (EQUAL, "a", "a"),
        (EQUAL, "C", "c"),
        (FOURTEEN, "N", "n"),
        (FOURTEEN, "option 13", "n"),
        ("D", "D. whatever", "d"),
        ("D", "whatever", None),
    ],
)
def test_option_is_read_by_label_or_text_and_never_guessed(gold: str, text: str, chosen: str | None) -> None:
    assert parse_option(text, gold) == chosen
    scores = OPTION.score(text, gold)
    assert scores.parsed == (chosen is not None)


def test_right_option_scores_one_and_any_other_zero() -> None:
    assert OPTION.score("B", CARS).strict == 1
    assert OPTION.score("C", CARS).strict == 0
    assert OPTION.score("no", "No\nYes\nNo").strict == 1
    assert OPTION.score("d", "D").strict == 1


@pytest.mark.parametrize("gold", ["", "B. b\nA. a\nC. c", "a word", "\nA. a"])
def test_malformed_gold_option_is_an_error(gold: str) -> None:
    with pytest.raises(ValueError, match="is not an option"):
        OPTION.score("A", gold)


def test_options_at_the_end_of_a_question_are_found() -> None:
    assert options_in("Who?\nA. x\nB. y\nPick one:\n(A) p\n(B) q\n(C) r") == ("(A) p", "(B) q", "(C) r")
    assert options_in("Who is A. Smith?\nB. y") == ()


def test_guesses_of_options_score_what_is_expected() -> None:
    golds = [CARS, CARS, option_answer(labelled(["x", "y"]), 0), "no\nyes\nno"]
    clock = Clock((0,), 1)
    questions = [Question(str(k), "videossr/option", "", "<video>", gold, (clock,)) for k, gold in enumerate(golds)]
    distribution = OPTION.distribution(questions)
    rng = np.random.default_rng(0)
    for guess in ("uniform", "prior", "constant"):
        said = [(OPTION.guess(distribution, guess, rng, q), q.answer) for _ in range(3000) for q in questions]
        scores = [OPTION.score(text, gold) for text, gold in said]
        assert all(score.parsed for score in scores)
        assert np.mean([score.strict for score in scores]) == pytest.approx(
            distribution.expected_score(guess).score, abs=0.02
        )
    assert distribution.expected_score("uniform").score == pytest.approx((1 / 3 + 1 / 3 + 1 / 2 + 1 / 2) / 4)
    assert distribution.expected_score("constant").score == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("3, 1, 2", (3, 1, 2)),
        ("312", (3, 1, 2)),
        ("3 -> 1 -> 2", (3, 1, 2)),
        ("Clip 3\nClip 1\nClip 2", (3, 1, 2)),
        ("First clip 1, then clip 2, then clip 3.\nCorrect order: 3, 1, 2", (3, 1, 2)),
        ("**Correct order:** 3, 1, 2.", (3, 1, 2)),
        ("The 3 clips, in order: 3, 1, 2", (3, 1, 2)),
        ("<think>1, 2, 3</think>3, 1, 2", (3, 1, 2)),
        ("1, 2, 3\n3, 2, 1", None),
        ("3, 1", None),
        ("3, 1, 2, 2", None),
        ("0, 1, 2", None),
        ("9" * 5000, None),
        ("", None),
        ("<think>Correct order: 3, 1, 2", None),
    ],
)
def test_sequence_is_read_in_any_spelling_that_says_one_order(text: str, order: tuple[int, ...] | None) -> None:
    assert parse_sequence(text, 3) == order


def test_sequence_is_scored_by_place() -> None:
    scores = ANSWER_TYPES.get("sequence").score("3, 1, 2", "3,2,1")
    assert scores.parts == (1.0, 0.0, 0.0)
    assert scores.strict == 0
    twelve = "12,11,1,2,3,4,5,6,7,8,9,10"
    assert ANSWER_TYPES.get("sequence").score(twelve.replace(",", " then "), twelve).strict == 1
    with pytest.raises(ValueError, match="not a permutation"):
        ANSWER_TYPES.get("sequence").score("1", "1,3")


def test_windows_are_scored_by_the_best_and_moments_by_their_union() -> None:
    gold = window_answer([(82, 150), (0, 10.25)])
    assert gold == "82-150, 0-10.25"
    assert read_windows(gold) == [(82.0, 150.0), (0.0, 10.25)]
    assert WINDOWS.score("from 0 to 10.25 seconds", gold).strict == 1
    assert WINDOWS.score("82 - 116", gold).smooth == pytest.approx(0.5)
    assert not WINDOWS.score("82-150, 0-10", gold).parsed
    assert MOMENTS.score("82-150, 0-10.25", gold).strict == 1
    assert MOMENTS.score("82-150", gold).smooth == pytest.approx(68 / 78.25)
    assert MOMENTS.score("82-120, 110-150", "82-150").smooth == 1
    assert not MOMENTS.score("none", gold).parsed
    with pytest.raises(ValueError, match="not intervals"):
        WINDOWS.score("1-2", "82-150; 0-10")


def test_more_options_than_letters_are_refused() -> None:
    with pytest.raises(ValueError, match="27 options"):
        labelled(["x"] * 27)


def test_a_guess_of_windows_is_one_interval_within_the_video() -> None:
    clock = Clock((0, 5000), 10_000)
    golds = ["0-4, 6-8", "2-3", "9-99"]
    questions = [Question(str(k), "videossr/windows", "", "<video>", gold, (clock,)) for k, gold in enumerate(golds)]
    distribution = WINDOWS.distribution(questions)
    rng = np.random.default_rng(0)
    for question in questions * 30:
        text = WINDOWS.guess(distribution, "uniform", rng, question)
        assert WINDOWS.score(text, question.answer).parsed
        assert 0 <= read_windows(text)[0][0] < read_windows(text)[0][1] <= 10
