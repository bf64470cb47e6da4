"""The live table of a training run, at a terminal and where there is none."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from tests.helpers.training_runs import step_of
from videossr.cli import train_table
from videossr.cli.train_table import ROWS, Live

CATEGORIES = ("counting/easy", "grounding/mirror", "jigsaw/6")


def make_terminal(width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, markup=False, emoji=False, highlight=False)


def read_output(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def last_screen(console: Console) -> list[str]:
    """Return the lines that stay on the terminal, which are those after it was last erased."""
    text = re.split(r"\x1b\[1A\x1b\[2K|\x1b\[2K", read_output(console))[-1]
    return re.sub(r"\x1b\[[0-9;?]*[a-z]", "", text, flags=re.IGNORECASE).splitlines()


def test_live_table_shows_the_last_steps_and_the_remaining_time() -> None:
    console = make_terminal()
    with Live(console) as live:
        live.on_group(0, 64)
        for number in range(1, 31):
            live.on_step(step_of(number, CATEGORIES, skipped="all alike" if number == 29 else ""), 470)
            live.on_group(3, 64)
    lines = last_screen(console)
    heads = lines[0].split()
    assert heads == [
        "step",
        "reward",
        "counting",
        "grounding",
        "jigsaw",
        "strict",
        "parsed",
        "KL",
        "norm",
        "mismatch",
        "s",
    ]
    rows = [line.split() for line in lines[1 : ROWS + 1]]
    assert [row[0] for row in rows] == [str(number) for number in range(21, 31)]
    last = step_of(30, CATEGORIES)
    assert last.all is not None
    assert rows[-1][1:6] == [f"{100 * last.all.smooth:.1f}"] * 4 + [f"{100 * last.all.strict:.1f}"]
    assert rows[-2][8] == "skip"
    assert all(len(line) <= 80 for line in lines)
    assert "…" not in "".join(lines)
    rest = " ".join(lines[ROWS + 1 :])
    assert "step 30 of 470, epoch 0.75, 2.50 prompts/s, MFU 30.0%, 1.5 GiB, 0:29:20 left" in rest
    assert "seconds a step: wait 0.10, vision 0.20" in rest
    assert "with equal rewards" in rest
    assert "3 of 64 groups" not in rest, "the step that was not finished is no longer told"
    assert "step 30: 3 of 64 groups" in read_output(console)
    assert "in the first step: 0 of 64 groups" in read_output(console)


def test_live_table_shows_the_loss_of_supervised_steps() -> None:
    console = make_terminal()
    with Live(console) as live:
        live.on_step(replace(step_of(1, CATEGORIES), all=None, tasks={}, categories={}, loss=1.25), 9)
    lines = last_screen(console)
    assert lines[0].split() == ["step", "loss", "lr", "norm", "mismatch", "s"]
    assert lines[1].split()[:3] == ["1", "1.2500", "1.0e-06"]


def test_live_table_prints_a_line_a_step_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), width=40, markup=False, emoji=False, highlight=False)
    with Live(console) as live:
        live.on_group(1, 64)
        live.on_step(step_of(1, CATEGORIES), 3)
        live.on_step(step_of(2, CATEGORIES, skipped="the loss is\x1b[2J no number", failed=2), 3)
        monkeypatch.setattr(train_table, "SILENCE", -1.0)
        live.on_group(7, 64)
    lines = read_output(console).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["step 1 of 3", "step 2 of 3", "in step 3"]
    assert "(counting " in lines[0]
    assert lines[0].endswith("0:00:08 left")
    assert r"no step: the loss is\x1b[2J no number, 2 questions failed" in lines[1]
    assert lines[2] == "in step 3: 7 of 64 groups"


def test_live_table_draws_nothing_before_the_first_step() -> None:
    console = make_terminal()
    with pytest.raises(ValueError, match="no such data"), Live(console):
        raise ValueError("no such data")
    assert read_output(console) == ""
