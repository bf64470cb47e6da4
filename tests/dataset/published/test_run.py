"""Published rows are run, scored and reported without conversion, like a benchmark of this package."""

from __future__ import annotations

from pathlib import Path

import pytest

from videossr.bench.records import read_run
from videossr.cli import main


def exit_status(*arguments: str | Path) -> object:
    """Run a command and return its exit status."""
    with pytest.raises(SystemExit) as exit_info:
        main([str(word) for word in arguments])
    return exit_info.value.code


def test_bench_run_and_report_commands_accept_published_rows(released: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "run", tmp_path / "report.html"
    assert (
        exit_status("bench", "run", released / "rows", "--corpus", released, "--model", "constant", "--out", out) == 0
    )
    run = read_run(out)
    assert run.manifest is not None
    assert run.manifest["answered"] == run.config.size == len(run.predictions) == 7
    assert exit_status("report", out, "--corpus", released, "--out", page) == 0
    assert run.predictions[0].id in page.read_text("utf-8")


def test_probe_command_accepts_published_rows_without_a_recipe(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        "bench",
        "probe",
        released / "rows",
        "--corpus",
        released,
        "--model",
        "chance",
        "--out",
        tmp_path / "probe",
    )
    assert exit_status(*arguments, "--recipe", tmp_path / "half.toml") == 2
    assert "recipe" in capsys.readouterr().err
    assert exit_status(*arguments) == 0
    assert (tmp_path / "probe/probe.json").is_file()
