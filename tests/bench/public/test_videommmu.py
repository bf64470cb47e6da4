"""VideoMMMU: rows of three tracks, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.base import BadRow
from videossr.bench.public.reasoning.videommmu import DISCIPLINES, gain


def test_rows_lie_by_discipline_and_have_up_to_fourteen_options(tmp_path: Path) -> None:
    math, art, hub, adapted = rows_of("videommmu", tmp_path)
    assert [math.id, hub.id] == ["Perception/validation_Math_15", "Comprehension/validation_Math_15"]
    assert math.answer.splitlines()[0] == "N. hive 14"
    assert math.footage[0].paths == ("Science/validation_Math_15.mp4",)
    assert art.options == ("A. oak", "B. elm", "C. fir", "D. ash")
    assert art.footage[0].paths == ("Art/dev_Art_Theory_2.mp4",)
    assert adapted.answer.splitlines()[0] == "J. hive 10"
    assert adapted.groups == {"discipline": "Medicine", "subject": "Clinical_Medicine"}


def test_only_adaptation_must_show_the_last_frame(tmp_path: Path) -> None:
    assert [row.footage[0].last for row in rows_of("videommmu", tmp_path)] == [False, False, False, True]


def test_open_rows_and_rows_of_no_type_are_left_out_and_an_unknown_subject_is_a_bad_row(tmp_path: Path) -> None:
    found = load("videommmu", tmp_path)
    (bad,) = (row for row in found if isinstance(row, BadRow))
    assert "new_Astrology_1" in bad.error
    assert len(found) == 5


def test_question_only_asks_adaptation_alone_about_other_files(tmp_path: Path) -> None:
    (row,) = rows_of("videommmu", tmp_path, video="question_only")
    assert row.id == "Adaptation/test_Clinical_Medicine_9"
    assert row.footage[0].paths == ("question_only/test_Clinical_Medicine_9_image.mp4",)
    assert (tmp_path / row.footage[0].paths[0]).exists()


def test_figures_are_over_all_questions_and_by_track_and_discipline(tmp_path: Path) -> None:
    rows = rows_of("videommmu", tmp_path)
    answers = {"Perception/validation_Math_15": "N", "Comprehension/validation_Math_15": "A", rows[3].id: "(J)"}
    found = figures("videommmu", rows, answers)
    assert found["accuracy"] == 2 / 4
    assert (found["Perception: accuracy"], found["Comprehension: accuracy"]) == (1 / 2, 0.0)
    assert found["Adaptation: accuracy"] == 1.0
    assert (found["discipline: Science: accuracy"], found["discipline: Art: accuracy"]) == (1 / 2, 0.0)


def test_gain_is_the_part_of_what_was_missing() -> None:
    assert gain(40, 55) == 25.0
    assert gain(50, 40) == -20.0
    with pytest.raises(ValueError, match="nothing to gain"):
        gain(100, 100)


def test_thirty_subjects_are_in_one_discipline_each() -> None:
    subjects = [subject for group in DISCIPLINES.values() for subject in group]
    assert len(subjects) == len(set(subjects)) == 30
