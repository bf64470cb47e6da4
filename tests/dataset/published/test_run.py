"""Published rows are asked, scored and reported as they are, as a benchmark of this package would be."""

from __future__ import annotations

from pathlib import Path

import pytest

from videossr.bench.records import read_run
from videossr.cli import main


def status(*words: str | Path) -> object:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def test_published_rows_are_run_scored_and_reported(released: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "run", tmp_path / "report.html"
    assert status("bench", "run", released / "rows", "--corpus", released, "--model", "constant", "--out", out) == 0
    run = read_run(out)
    assert run.manifest is not None
    assert run.manifest["answered"] == run.config.size == len(run.predictions) == 7
    assert status("report", out, "--corpus", released, "--out", page) == 0
    assert run.predictions[0].id in page.read_text("utf-8")


def test_they_are_probed_but_tell_no_config(released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
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
    assert status(*words, "--recipe", tmp_path / "half.toml") == 2
    assert "recipe" in capsys.readouterr().err
    assert status(*words) == 0
    assert (tmp_path / "probe/probe.json").is_file()
