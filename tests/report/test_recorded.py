"""A report of a run that somebody else has made opens nothing that only the run names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.training_runs import step_of, write_run
from videossr.bench.evaluation import evaluate
from videossr.bench.records import Run, read_run
from videossr.cli import report
from videossr.errors import DataError
from videossr.report.benchmark.table import gather
from videossr.report.recorded import recorded_place
from videossr.report.training.examples import _picture
from videossr.report.training.figures import named
from videossr.storage.paths import to_path
from videossr.training.runs.records import PICTURES, ShownSample


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("PROJECT/bench", True),
        ("PROJECT/deep/er/bench", True),
        ("bench", True),
        ("RUNS/bench", True),
        ("RUNS/run/bench", True),
        ("PROJECT/../private", False),
        ("PROJECT/alias", False),
        ("/", False),
        ("/etc", False),
        ("../private", False),
        ("RUNS", True),
        ("RUNS/../private", False),
        ("memory://bucket/bench", False),
    ],
)
def test_which_places_a_report_looks_at(
    address: str, allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, runs = tmp_path / "project", tmp_path / "runs"
    for folder in (project, runs, tmp_path / "private"):
        folder.mkdir()
    (project / "alias").symlink_to("../private")
    monkeypatch.chdir(project)
    address = address.replace("PROJECT", str(project)).replace("RUNS", str(runs))
    if allowed:
        assert recorded_place(runs / "run", address) == to_path(address)
    else:
        with pytest.raises(DataError, match="which is not opened: a report looks only below the current folder"):
            recorded_place(runs / "run", address)


def test_a_remote_run_names_questions_beside_it() -> None:
    run = to_path("memory://bucket/runs/one")
    assert recorded_place(run, "memory://bucket/runs/bench") == to_path("memory://bucket/runs/bench")
    for address in ("memory://bucket/bench", "memory://bucket/runs-of-others/bench", "memory://other/runs/bench"):
        with pytest.raises(DataError, match="which is not opened"):
            recorded_place(run, address)


def test_a_report_looks_at_other_places_only_when_they_are_named(
    runs: dict[str, Run],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run = runs["chance"]
    assert run.config.questions == str(dataset)
    (opened,) = report.opened(gather([run]), None, None).values()
    assert isinstance(opened, str)
    assert opened.startswith(f"the run names {dataset}, which is not opened")
    assert "name the questions with --questions" in opened
    assert "no frames on the page" in capsys.readouterr().err
    (opened,) = report.opened(gather([run]), str(dataset), None).values()
    assert not isinstance(opened, str)
    monkeypatch.chdir(dataset.parent)
    (opened,) = report.opened(gather([run]), None, None).values()
    assert not isinstance(opened, str)


def test_rows_beside_a_received_run_show_no_file_of_the_user(tmp_path: Path) -> None:
    """The rows and the run come together, and their hash is the right one."""
    (tmp_path / "private.jpg").write_bytes(b"\xff\xd8 of the user")
    received = tmp_path / "received"
    received.mkdir()
    row = {
        "data_source": "counting",
        "prompt": [{"role": "user", "content": "<video>?"}],
        "videos": [{"video": [str(tmp_path / "private.jpg")]}],
        "reward_model": {"ground_truth": "1,1,1"},
    }
    (received / "rows.jsonl").write_text(json.dumps(row) + "\n")
    run = evaluate(received / "rows.jsonl", "chance", received / "run")
    (opened,) = report.opened(gather([run]), None, None).values()
    assert not isinstance(opened, str)
    with pytest.raises(DataError, match=r"private.jpg does not exist below"):
        opened.clips(0)
    assert read_run(received / "run") == run


def test_a_picture_of_a_training_run_is_in_the_run(tmp_path: Path) -> None:
    (tmp_path / "private.jpg").write_bytes(b"of the user")
    written = write_run(tmp_path / "run", [step_of(1, ("counting/easy",))])
    (written.path / PICTURES).mkdir()
    (written.path / PICTURES / "1-0.jpg").symlink_to("../../private.jpg")
    (named_run,) = named([written])
    shown = ShownSample(1, 0, "counting/easy", "", "", (), (), (), frames="1-0.jpg", slots=(((0, 1),),))
    with pytest.raises(DataError, match=r"1-0.jpg is a link that leads out of the run"):
        _picture(named_run, shown)
