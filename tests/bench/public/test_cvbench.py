"""CVBench: rows, figures against values worked out by hand, and the rules of other scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.helpers.public import write
from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BadRow, NoSettings, Row
from videossr.bench.public.reasoning.cvbench import CVBench, exact, first_mention

YES = "Yes\nYes\nNo"
LETTER = "B. Two.\nA. One.\nB. Two."


def test_videos_are_shown_in_order_without_nulls(tmp_path: Path) -> None:
    first, second, third, *_ = rows_of("cvbench", tmp_path)
    assert [footage.paths[0] for footage in first.footage] == [f"CVBench/7/{letter}.mp4" for letter in "abcd"]
    assert (len(second.footage), len(third.footage)) == (3, 2)


def test_yes_and_no_are_asked_without_letters_and_odd_rows_are_read(tmp_path: Path) -> None:
    rows = {row.id: row for row in rows_of("cvbench", tmp_path)}
    assert set(CVBench.odd) < set(rows)
    assert [row.id for row in rows.values() if row.template == "yes_or_no"] == ["1", "2"]
    assert rows["1"].answer == "No\nYes\nNo"
    assert {number: row.answer.splitlines()[0] for number, row in rows.items()} == {
        "0": "C. Three.",
        "1": "No",
        "2": "Yes",
        "223": "B. No.",
        "322": "A. Video 1.",
        "386": "B. Video 2.",
        "431": "D. A book.",
        "996": "D. None.",
    }
    assert rows["431"].options == ("A. A cup.", "B. A vase.", "B. A lamp.", "D. A book.")
    assert rows["996"].options == ("A. Two.", "B. Six.", "C. Ten.", "D. None.")
    (bad,) = (row for row in load("cvbench", tmp_path) if isinstance(row, BadRow))
    assert "options" in bad.error


def test_options_are_the_same_without_a_blank_behind_the_label(tmp_path: Path) -> None:
    wanted = rows_of("cvbench", tmp_path)
    path = tmp_path / "CVBench.json"
    path.write_text(re.sub(r"\b([A-D])\. ", r"\1.", path.read_text("utf-8")), "utf-8")
    assert "A.Two., B.Six." in path.read_text("utf-8")
    assert [row for row in CVBench().load(Data(tmp_path, ""), NoSettings()) if isinstance(row, Row)] == wanted


def test_more_options_than_letters_are_a_bad_row(tmp_path: Path) -> None:
    write("cvbench", tmp_path)
    path = tmp_path / "CVBench.json"
    row, *_ = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps([{**row, "options": [f"{number} ducks" for number in range(27)]}]), "utf-8")
    (bad,) = CVBench().load(Data(tmp_path, ""), NoSettings())
    assert isinstance(bad, BadRow)
    assert bad.error.endswith("row 1: there are 27 options, and 26 letters")


def test_letters_that_skip_the_answer_give_way_to_places(tmp_path: Path) -> None:
    write("cvbench", tmp_path)
    path = tmp_path / "CVBench.json"
    rows = json.loads(path.read_text("utf-8"))
    rows[6]["answer"] = "C"
    path.write_text(json.dumps(rows), "utf-8")
    found = CVBench().load(Data(tmp_path, ""), NoSettings())
    (row,) = (row for row in found if isinstance(row, Row) and row.id == "431")
    assert row.answer == "C. A lamp.\nA. A cup.\nB. A vase.\nC. A lamp.\nD. A book."


def test_figures_are_the_mean_the_groups_and_the_task_types(tmp_path: Path) -> None:
    rows = rows_of("cvbench", tmp_path)
    found = figures(
        "cvbench", rows, {"0": "C", "1": "No.", "2": "no", "223": "B", "322": "B", "431": "D", "996": "None."}
    )
    assert list(found)[:3] == ["accuracy", "object association: accuracy", "event association: accuracy"]
    assert found["accuracy"] == pytest.approx(5 / 8)
    assert found["object association: accuracy"] == 1
    assert found["event association: accuracy"] == pytest.approx(3 / 6)
    assert found["Cross-video Scene Recognition: accuracy"] == pytest.approx(1 / 3)
    assert figures("cvbench", rows, {"0": "C", "1": "No.", "2": "Yes"}, "official")["accuracy"] == pytest.approx(2 / 8)


@pytest.mark.parametrize(
    ("text", "gold", "value"),
    [
        ("B", LETTER, 1),
        ("B.", LETTER, 0),
        ("<think>A</think> <answer> B </answer>", LETTER, 1),
        ("Yes", YES, 1),
        ("yes", YES, 0),
        ("", YES, 0),
    ],
)
def test_official_rule_wants_the_exact_answer(text: str, gold: str, value: int) -> None:
    assert exact(text, gold) == value


@pytest.mark.parametrize(
    ("text", "gold", "value"),
    [
        ("The best answer is b", LETTER, 1),
        ("It is Two: B", LETTER, 1),
        ("Answer: B", LETTER, 0),
        ("yes, it does", YES, 1),
        ("I do not know", YES, 0),
        ("?", LETTER, None),
    ],
)
def test_lmms_eval_rule_takes_the_first_mention(text: str, gold: str, value: int | None) -> None:
    assert first_mention(text, gold) == value
