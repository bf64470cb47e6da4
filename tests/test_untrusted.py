"""Text of others, made safe for terminals, pages and tables."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossr.untrusted import csv_cell, markdown_cell, markdown_code, one_line, plain_text

ANY = st.text(st.characters(exclude_categories=())).filter(lambda text: len(text) < 200)


@given(ANY)
def test_no_character_reaches_a_terminal_that_is_not_printed_by_itself(text: str) -> None:
    unseen = {"\x1b", "\x9b", "\r", "\x07", "\x08", "\u202e", "\u2066", "\u2028", "\ud800"}
    assert not unseen & set(plain_text(text))
    assert not {*unseen, "\n", "\t"} & set(one_line(text))


def test_a_text_that_is_cut_says_so() -> None:
    assert plain_text("é😀\n" * 3, 3) == "é😀\n … (9 characters)"
    assert one_line("a\r\nb\tc", 4) == "a\\r\\nb…"
    assert one_line("\x1b[2J[bold]") == "\\x1b[2J[bold]"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝", "＋"])  # noqa: RUF001
def test_a_cell_is_no_formula(start: str) -> None:
    file = io.StringIO()
    csv.writer(file).writerow(map(csv_cell, [f'{start}HYPERLINK("http://evil","a")\n', -1.5, 3, "plain"]))
    first, *others = next(csv.reader(io.StringIO(file.getvalue())))
    assert first.startswith("'")
    assert first.endswith("\\n")
    assert others == ["-1.5", "3", "plain"]


@given(ANY)
def test_a_cell_of_markdown_keeps_its_place(text: str) -> None:
    for cell in (markdown_cell(text), markdown_code(text)):
        assert "\n" not in cell
        assert "\r" not in cell
        assert not cell.replace("\\\\", "").replace("\\|", "").count("|")


def test_code_is_not_left_by_backticks() -> None:
    assert markdown_code("a/b") == "`a/b`"
    assert markdown_code("a`<script>``|x\n# b") == "``` a`<script>``\\|x # b ```"
