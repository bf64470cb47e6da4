"""MVBench: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, rows_of
from videossr.answers.option import options_in
from videossr.bench.public.annotations import Data, RowError
from videossr.bench.public.base import NoSettings
from videossr.bench.public.general.mvbench import MVBench, first_word


def test_rows_have_bounds_folders_of_images_and_the_last_of_equal_candidates(tmp_path: Path) -> None:
    first, second, pose, episode, single = rows_of("mvbench", tmp_path)
    assert first.answer.splitlines()[0] == "C. Opened a drawer."
    assert (first.footage[0].start, first.footage[0].end) == (1.0, 99.5)
    assert first.footage[0].paths == ("video/star/Charades_v1_480/AB12C.mp4",)
    assert second.id == "action_sequence/2"
    assert pose.footage[0].end is None
    assert episode.footage[0].fps == 3.0
    assert single.options == ("A. Nothing.",)


def test_headline_is_the_mean_of_the_tasks(tmp_path: Path) -> None:
    rows = rows_of("mvbench", tmp_path)
    answers = {"action_sequence/1": "C", "action_sequence/2": "A", "episodic_reasoning/1": "A dog"}
    macro = figures("mvbench", rows, answers)
    assert macro["accuracy"] == pytest.approx((0.5 + 1.0 + 0.0 + 0.0) / 4)
    assert macro["action_sequence: accuracy"] == 0.5
    assert figures("mvbench", rows, answers, "micro")["accuracy"] == pytest.approx(2 / 5)


@pytest.mark.parametrize(("text", "value"), [("B", 1), ("(B) x", 1), ("b.", 1), ("A", 0), ("", 0), ("Answer: B", 0)])
def test_official_rule_reads_the_first_word(text: str, value: int) -> None:
    assert first_word(text, "B. x\nA. w\nB. x") == value


def test_options_are_found_at_the_end_of_a_question() -> None:
    assert options_in("Who?\nA. x\nB. y\nA. p\nB. q\nC. r") == ("A. p", "B. q", "C. r")
    assert options_in("Who is A. Smith?") == ()


def test_more_options_than_letters_are_a_fault_of_the_row(tmp_path: Path) -> None:
    rows_of("mvbench", tmp_path)
    record, *_ = MVBench().records(Data(tmp_path, "there"), NoSettings())
    options = [f"no. {number}" for number in range(27)]
    with pytest.raises(RowError, match="row 1: there are 27 options"):
        MVBench().row(
            replace(record, fields={**record.fields, "candidates": options, "answer": "no. 26"}), NoSettings()
        )
