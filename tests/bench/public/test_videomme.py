"""Video-MME: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.answers.option import score_option
from videossr.bench.public.annotations import Data, RowError
from videossr.bench.public.base import BadRow, NoSettings
from videossr.bench.public.lettered import lettered
from videossr.bench.public.long.videomme import VideoMME, first_letter


def test_files_are_named_by_the_id_of_youtube_and_not_by_the_running_number(tmp_path: Path) -> None:
    first, second, other, _ = rows_of("videomme", tmp_path)
    assert [first.id, second.id] == ["001-1", "001-2"]
    assert first.footage[0].paths[0] == "data/kite_AAAA-1.mp4"
    assert any((tmp_path / path).exists() for path in other.footage[0].paths)
    assert first.options[1] == "B. A blue one."
    assert first.answer.splitlines() == ["B. A blue one.", *first.options]
    assert first.groups == {"duration": "short", "domain": "Knowledge"}


def test_a_right_letter_of_no_option_is_a_bad_row(tmp_path: Path) -> None:
    (bad,) = (row for row in load("videomme", tmp_path) if isinstance(row, BadRow))
    assert "row 5: answer 'E' is the letter of none of the 4 options" in bad.error


@pytest.mark.parametrize(
    "form", ["{}. {}", "{}.{}", "{}) {}", "{}){}", "({}) {}", "({}){}", "{}: {}", "{}:{}", "[{}]{}"]
)
def test_labels_of_any_form_become_letters_with_a_dot_and_a_blank(tmp_path: Path, form: str) -> None:
    rows_of("videomme", tmp_path)
    record, *_ = VideoMME().records(Data(tmp_path, "there"), NoSettings())
    options = [form.format(letter, text) for letter, text in zip("ABCD", ("red", "blue", "Green", "7"), strict=True)]
    row = VideoMME().row(replace(record, fields={**record.fields, "options": options}), NoSettings())
    assert row.options == ("A. red", "B. blue", "C. Green", "D. 7")
    assert row.answer.splitlines() == ["B. blue", *row.options]
    assert [score_option(text, row.answer).strict for text in ("B", "blue", "A", "red")] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["B. x", "A. y"], ("A. B. x", "B. A. y")),
        (["A. x", "y"], ("A. A. x", "B. y")),
        (["A.M. radio", "B.C. times"], ("A. A.M. radio", "B. B.C. times")),
        (["A.", "B."], ("A.", "B.")),
    ],
)
def test_labels_out_of_order_belong_to_the_text(options: Sequence[str], shown: Sequence[str]) -> None:
    assert lettered(options) == shown


def test_more_options_than_letters_are_a_fault_of_the_row(tmp_path: Path) -> None:
    rows_of("videomme", tmp_path)
    record, *_ = VideoMME().records(Data(tmp_path, "there"), NoSettings())
    options = [f"kite {number}" for number in range(27)]
    with pytest.raises(RowError, match="row 1: there are 27 options"):
        VideoMME().row(replace(record, fields={**record.fields, "options": options}), NoSettings())


def test_figures_are_over_all_questions_and_by_length_domain_and_task(tmp_path: Path) -> None:
    rows = rows_of("videomme", tmp_path)
    found = figures("videomme", rows, {"001-1": "B", "001-2": "A", "301-1": "(A)", "601-1": "A red car"})
    assert list(found)[:4] == ["accuracy", "short: accuracy", "medium: accuracy", "long: accuracy"]
    assert found["accuracy"] == 2 / 4
    assert (found["short: accuracy"], found["medium: accuracy"], found["long: accuracy"]) == (0.5, 1.0, 0.0)
    assert (found["domain: Knowledge: accuracy"], found["domain: Sports: accuracy"]) == (0.5, 0.5)
    assert found["OCR Problems: accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("B", 1),
        ("Best answer: B", 1),
        ("Answer: B", 0),
        ("A red car", 0),
        ("The answer is (B).", 1),
        ("b", None),
        ("", None),
    ],
)
def test_official_rule_takes_the_first_capital_anywhere(text: str, value: float | None) -> None:
    assert first_letter(text, "B. x\nA. w\nB. x") == value


def test_official_rule_leaves_unread_answers_out(tmp_path: Path) -> None:
    rows = rows_of("videomme", tmp_path)
    answers = {"001-1": "B", "001-2": "none of these", "301-1": "A red car"}
    assert figures("videomme", rows, answers, "official")["accuracy"] == 2 / 2
    assert figures("videomme", rows, answers)["accuracy"] == 1 / 4
