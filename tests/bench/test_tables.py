"""What is printed: the paper's layout, what failed, and nothing that a model could do to a terminal."""

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


def test_text_of_others_is_made_safe() -> None:
    made = safe(HOSTILE)
    assert made.isprintable()
    assert made.startswith("\\x1b[31mred\\x1b]0;title\\x07\\r\\n\\u202edrow")
    assert safe("é 😀 [bold]x[/bold]") == "é 😀 [bold]x[/bold]"
    assert len(safe("a" * 10_000)) < 300


def test_halves_are_rounded_as_the_paper_does() -> None:
    assert [percent(share) for share in (1 / 16, 1 / 9, 0.1395, 1.0, 0.0, 0.9995)] == [
        "6.3", "11.1", "14.0", "100.0", "0.0", "100.0",
    ]  # fmt: skip


def test_a_run_is_printed_without_any_of_what_a_model_may_send(
    built: VideoSSRDataset, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.says = lambda ask: Response(ask.index, error=f"{HOSTILE} {ask.index % 7}")
    done = evaluate(built, script.spec(), tmp_path / "run\x1b[31m")
    done = replace(done, predictions=tuple(replace(each, category=HOSTILE) for each in done.predictions))
    print_scores([(done, score(done))], paper=True)
    print_details(score(done))
    print_failures(done)
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.split("\n"))
    assert "all 8 questions failed" in printed
    assert "8 questions failed. The command that made this run asks them again" in printed
    assert "8 x \\x1b[31mred" in printed, "what differs by a number alone is one reason"
    assert "0.0" not in printed


def test_many_reasons_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    made = [prediction(k, "jigsaw/6", "341562", error="broken " + "abcdefg"[k]) for k in range(7)]
    print_failures(a_run(*made))
    assert "and 2 other reasons" in capsys.readouterr().out


def test_the_papers_rows_are_marked_and_a_part_is_called_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    other = prediction(1, "x", "12", "12", data_source="jigsaw")
    made = a_run(prediction(0, "counting/easy", "1,1,1", "1,1,1"), other, size=9)
    print_scores([(made, score(made))], paper=True)
    print_failures(made)
    printed = capsys.readouterr().out
    (row,) = (line for line in printed.splitlines() if "GPT-5" in line)
    assert row.split() == ["GPT-5", "†", "88.4", "-", "58.7"]
    assert "on other videos: not comparable" in printed
    assert "7 questions are still open" in printed


def test_one_question_has_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    made = a_run(prediction(0, "counting/easy", "1,1,1", "1,1,1"))
    print_scores([(made, score(made))])
    print_details(score(made))
    printed = capsys.readouterr().out
    assert "100.0" in printed
    assert "100-100" not in printed
    assert "100.0 [-]" in printed


def test_a_stopped_run_without_an_answer_has_no_scores_of_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    made = [prediction(k, "jigsaw/6", "341562", error="refused") for k in range(3)]
    print_failures(a_run(*made, size=9))
    printed = capsys.readouterr().out
    assert "6 questions are still open\n" in printed
    assert "scores" not in printed
    assert "wrong" not in printed
    print_failures(a_run(*made, prediction(3, "jigsaw/6", "341562", "341562"), size=9))
    printed = capsys.readouterr().out
    assert "3 questions failed (each counts as wrong)" in printed
    assert "5 questions are still open: the scores are those of a part of the benchmark" in printed


def test_sentences_are_not_broken_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    made = [prediction(k, "jigsaw/6", "341562", "no idea at all, sorry") for k in range(3)]
    failed = prediction(3, "jigsaw/6", "341562", error="status 400: " + "too many images " * 8)
    run_ = a_run(*made, failed)
    print_scores([(run_, score(run_))])
    print_failures(run_)
    lines = capsys.readouterr().out.splitlines()
    assert score(run_).outcomes.line() in lines
    assert any(line.startswith("  1 x status 400") and line.endswith("(question q3, jigsaw/6)") for line in lines)


def command(*words: str) -> str:
    """What `videossr bench` prints, in a process of its own."""
    code = "import sys; from videossr.cli.bench import app; app(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_verbs_work_on_what_lies_on_the_disk(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    chance, right = (
        evaluate(built, CHANCE, tmp_path / "chance"),
        evaluate(built, script.spec(), tmp_path / "right"),
    )
    text = command("score", str(chance.path), str(right.path), "--paper")
    for shown in ("chance", "(uniform", "VideoSSR-8B †", "coverage 100.0%"):
        assert shown in text
    boards = json.loads(command("score", str(right.path), "--json"))
    assert boards[0]["overall"]["value"] == 1
    assert "(Holm)" in command("compare", str(chance.path), str(right.path))
    (found,) = json.loads(command("compare", str(chance.path), str(right.path), "--json"))
    assert found["overall"]["second"] == 1
    assert "uniform guess" in command("chance", str(built.path))
    rows = json.loads(command("chance", str(built.path), "--json"))
    assert {row["category"] for row in rows} == {built.category(index) for index in range(len(built))}
