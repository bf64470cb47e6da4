"""Printed tables: the paper's layout, failures, and text of models made safe for a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.conftest import CHANCE, Script, a_run, prediction
from videossr.bench.evaluation import evaluate
from videossr.bench.scoring import percent, score
from videossr.cli.bench.tables import print_details, print_failures, print_scores
from videossr.cli.console import safe
from videossr.dataset.dataset import VideoSSRDataset
from videossr.models.base import Response

HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\n\u202edrowkcab \ud800\x9b2J"


def test_safe_escapes_control_characters_and_cuts_long_text() -> None:
    escaped = safe(HOSTILE)
    assert escaped.isprintable()
    assert escaped.startswith("\\x1b[31mred\\x1b]0;title\\x07\\r\\n\\u202edrow")
    assert safe("é 😀 [bold]x[/bold]") == "é 😀 [bold]x[/bold]"
    assert len(safe("a" * 10_000)) < 300


def test_percent_rounds_halves_as_the_paper() -> None:
    assert [percent(share) for share in (1 / 16, 1 / 9, 0.1395, 1.0, 0.0, 0.9995)] == [
        "6.3", "11.1", "14.0", "100.0", "0.0", "100.0",
    ]  # fmt: skip


def test_print_functions_escape_hostile_text(
    built: VideoSSRDataset, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.respond = lambda request: Response(request.index, error=f"{HOSTILE} {request.index % 7}")
    run = evaluate(built, script.spec(), tmp_path / "run\x1b[31m")
    run = replace(run, predictions=tuple(replace(prediction, category=HOSTILE) for prediction in run.predictions))
    print_scores([(run, score(run))], paper=True)
    print_details(score(run))
    print_failures(run)
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.split("\n"))
    assert "all 8 questions failed" in printed
    assert "8 questions failed. The command that made this run asks them again" in printed
    assert "8 x \\x1b[31mred" in printed, "what differs by a number alone is one reason"
    assert "0.0" not in printed


def test_print_failures_cuts_a_long_list_of_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    predictions = [prediction(index, "jigsaw/6", "341562", error="broken " + "abcdefg"[index]) for index in range(7)]
    print_failures(a_run(*predictions))
    assert "and 2 other reasons" in capsys.readouterr().out


def test_print_scores_marks_the_papers_rows_and_an_incomplete_run(capsys: pytest.CaptureFixture[str]) -> None:
    other = prediction(1, "x", "12", "12", data_source="jigsaw")
    run = a_run(prediction(0, "counting/easy", "1,1,1", "1,1,1"), other, size=9)
    print_scores([(run, score(run))], paper=True)
    print_failures(run)
    printed = capsys.readouterr().out
    (row,) = (line for line in printed.splitlines() if "GPT-5" in line)
    assert row.split() == ["GPT-5", "†", "88.4", "-", "58.7"]
    assert "on other videos: not comparable" in printed
    assert "7 questions are still open" in printed


def test_print_scores_gives_no_interval_for_one_question(capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(prediction(0, "counting/easy", "1,1,1", "1,1,1"))
    print_scores([(run, score(run))])
    print_details(score(run))
    printed = capsys.readouterr().out
    assert "100.0" in printed
    assert "100-100" not in printed
    assert "100.0 [-]" in printed


def test_print_failures_mentions_scores_only_if_there_are_answers(capsys: pytest.CaptureFixture[str]) -> None:
    predictions = [prediction(index, "jigsaw/6", "341562", error="refused") for index in range(3)]
    print_failures(a_run(*predictions, size=9))
    printed = capsys.readouterr().out
    assert "6 questions are still open\n" in printed
    assert "scores" not in printed
    assert "wrong" not in printed
    print_failures(a_run(*predictions, prediction(3, "jigsaw/6", "341562", "341562"), size=9))
    printed = capsys.readouterr().out
    assert "3 questions failed (each counts as wrong)" in printed
    assert "5 questions are still open: the scores are those of a part of the benchmark" in printed


def test_print_functions_do_not_wrap_lines_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    unparsed = [prediction(index, "jigsaw/6", "341562", "no idea at all, sorry") for index in range(3)]
    failed = prediction(3, "jigsaw/6", "341562", error="status 400: " + "too many images " * 8)
    run = a_run(*unparsed, failed)
    print_scores([(run, score(run))])
    print_failures(run)
    lines = capsys.readouterr().out.splitlines()
    assert score(run).outcomes.line() in lines
    assert any(line.startswith("  1 x status 400") and line.endswith("(question q3, jigsaw/6)") for line in lines)


def run_bench(*arguments: str) -> str:
    """Run `videossr bench` in a process of its own and return its output."""
    code = "import sys; from videossr.cli.bench import app; app(sys.argv[1:])"
    process = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_bench_commands_read_runs_from_disk(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    chance, right = (
        evaluate(built, CHANCE, tmp_path / "chance"),
        evaluate(built, script.spec(), tmp_path / "right"),
    )
    text = run_bench("score", str(chance.path), str(right.path), "--paper")
    for expected in ("chance", "(uniform", "VideoSSR-8B †", "coverage 100.0%"):
        assert expected in text
    boards = json.loads(run_bench("score", str(right.path), "--json"))
    assert boards[0]["overall"]["value"] == 1
    assert "(Holm)" in run_bench("compare", str(chance.path), str(right.path))
    (comparison,) = json.loads(run_bench("compare", str(chance.path), str(right.path), "--json"))
    assert comparison["overall"]["second"] == 1
    assert "uniform guess" in run_bench("chance", str(built.path))
    rows = json.loads(run_bench("chance", str(built.path), "--json"))
    assert {row["category"] for row in rows} == {built.category(index) for index in range(len(built))}
