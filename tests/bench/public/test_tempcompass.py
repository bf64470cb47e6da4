"""TempCompass: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public import Folder
from tests.helpers.public.scored import figures, load, rows_of
from tests.helpers.public.tempcompass import write_hub
from videossr.answers.option import score_option
from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BadRow, Row
from videossr.bench.public.general.tempcompass import FORMATS, Format, TempCompass, TempCompassSettings, official
from videossr.errors import ConfigError

CHOICE = "A. left\nA. left\nB. right"
YES = "yes\nyes\nno"
MATCHING = "Caption A: It falls.\nCaption A: It falls.\nCaption B: It rises."
NUMBERED = "Option 1: It falls.\nOption 1: It falls.\nOption 2: It rises."


def test_rows_of_three_formats(tmp_path: Path) -> None:
    rows = {row.id: row for row in rows_of("tempcompass", tmp_path)}
    assert list(rows) == [
        "multi-choice/41/direction/1",
        "multi-choice/41/direction/2",
        "multi-choice/41_reverse/direction/1",
        "yes_no/41/direction/1",
        "yes_no/7_concat_0/order/1",
        "caption_matching/41/direction/1",
        "caption_matching/41/direction/2",
        "caption_matching/41/direction/3",
    ]
    choice = rows["multi-choice/41_reverse/direction/1"]
    assert (choice.template, choice.answer.splitlines()[0]) == ("choice_inside", "B. it turns right")
    assert choice.footage[0].paths == ("videos/41_reverse.mp4",)
    assert (choice.category, choice.groups) == ("multi-choice", {"aspect": "direction"})
    assert rows["yes_no/7_concat_0/order/1"].answer == "no\nyes\nno"
    matching = rows["caption_matching/41/direction/2"]
    assert (matching.template, matching.question) == ("label", "Which one tells what the clip shows?")
    assert matching.options == ("Sentence A: A wheel turns right.", "Sentence B: A wheel turns left.")
    assert matching.answer.splitlines()[0] == "Sentence B: A wheel turns left."


def test_a_question_without_an_answer_is_a_bad_row(tmp_path: Path) -> None:
    (bad,) = (row for row in load("tempcompass", tmp_path) if isinstance(row, BadRow))
    assert "multi-choice.json, clip 41, speed 1: answer must be a text" in bad.error


def test_the_files_of_the_hub_give_the_same_questions(tmp_path: Path) -> None:
    wanted = {row.id: row for row in rows_of("tempcompass", tmp_path / "own", formats=["multi-choice"])}
    write_hub(Folder(tmp_path / "hub"))
    data = Data(tmp_path / "hub", "")
    rows = [row for row in TempCompass().load(data, TempCompassSettings(("multi-choice",))) if isinstance(row, Row)]
    assert {row.id: row for row in rows} == wanted


@pytest.mark.parametrize(
    ("formats", "questions"),
    [(FORMATS, 5536), (("multi-choice",), 1580), (("caption_matching", "yes_no"), 3956), (("yes_no", "yes_no"), 2453)],
)
def test_the_chosen_formats_have_their_published_number(formats: tuple[Format, ...], questions: int) -> None:
    assert TempCompass().size(TempCompassSettings(formats)) == (questions, 410)


def test_captioning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="formats"):
        rows_of("tempcompass", tmp_path, formats=["captioning"])


def test_headline_is_the_mean_of_all_questions(tmp_path: Path) -> None:
    rows = rows_of("tempcompass", tmp_path)
    answers = {
        "multi-choice/41/direction/1": "A",
        "multi-choice/41/direction/2": "A",
        "multi-choice/41_reverse/direction/1": "it turns right",
        "yes_no/41/direction/1": "Yes, it does.",
        "yes_no/7_concat_0/order/1": "Yes",
        "caption_matching/41/direction/1": "1",
        "caption_matching/41/direction/2": "B",
        "caption_matching/41/direction/3": "Caption B",
    }
    found = figures("tempcompass", rows, answers)
    assert found["accuracy"] == pytest.approx(5 / 8)
    assert found["multi-choice: accuracy"] == pytest.approx(2 / 3)
    assert found["direction: accuracy"] == pytest.approx(5 / 7)
    assert found["order: accuracy"] == 0.0
    assert found["yes_no, direction: accuracy"] == 1.0
    assert figures("tempcompass", rows, answers, "macro")["accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)


@pytest.mark.parametrize(
    ("text", "gold", "value"),
    [
        ("Caption A", MATCHING, 1),
        ("Caption A.", MATCHING, 1),
        ("A", MATCHING, 1),
        ("(A)", MATCHING, 1),
        ("B", MATCHING, 0),
        ("Caption A: It falls.", MATCHING, 1),
        ("It falls.", MATCHING, 1),
        ("It rises", MATCHING, 0),
        ("1", NUMBERED, 1),
        ("Option 1", NUMBERED, 1),
        ("option 2.", NUMBERED, 0),
        ("It falls", NUMBERED, 1),
    ],
)
def test_labels_of_captions_are_read(text: str, gold: str, value: int) -> None:
    scores = score_option(text, gold)
    assert (scores.strict, scores.parsed) == (value, True)


@pytest.mark.parametrize(
    ("text", "gold", "value"),
    [
        ("A. left", CHOICE, 1),
        ("A", CHOICE, 1),
        ("A) to the left</s>", CHOICE, 1),
        ("B. left", CHOICE, 0),
        ("left", CHOICE, None),
        ("(A)", CHOICE, None),
        ("Yesterday", YES, 1),
        ("No.", YES, 0),
        ("It does: yes", YES, None),
        ("Caption A", MATCHING, 1),
        ("A.", MATCHING, 1),
        ("It falls.", MATCHING, 1),
        ("B) It falls.", MATCHING, 1),
        ("Caption B: It rises.", MATCHING, 0),
        ("1", NUMBERED, 1),
        ("caption a", MATCHING, None),
        ("It falls", MATCHING, None),
    ],
)
def test_official_rules_on_their_traps(text: str, gold: str, value: float | None) -> None:
    assert official(text, gold) == value


def test_official_rule_counts_what_it_cannot_read_as_wrong(tmp_path: Path) -> None:
    rows = rows_of("tempcompass", tmp_path, formats=["yes_no"])
    answers = {"yes_no/41/direction/1": "yes", "yes_no/7_concat_0/order/1": "The answer is no"}
    assert figures("tempcompass", rows, answers, "official")["accuracy"] == pytest.approx(1 / 2)
