"""JSON lines: a kill loses no written line, and errors name a damaged line."""

from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from videossr.errors import DataError, OutputError
from videossr.storage import jsonl
from videossr.storage.jsonl import JsonlWriter, filter_jsonl, json_line, read_json, read_jsonl
from videossr.storage.paths import write_bytes


@dataclass(frozen=True)
class Record:
    """A line of the files in these tests."""

    step: int
    loss: float = 0.0
    text: str = ""


def read_records(path: Path) -> list[Record]:
    return list(read_jsonl(Record, path))


def test_read_jsonl_returns_what_jsonl_writer_wrote(tmp_path: Path) -> None:
    written = [Record(1, 0.5, "a\nb\u2028\r\n{"), Record(2, math.inf), Record(3, -math.inf, "é😀")]
    with JsonlWriter(tmp_path / "lines.jsonl") as file:
        for record in written:
            file.append(record)
    assert read_records(tmp_path / "lines.jsonl") == written
    assert math.isnan(next(read_jsonl(Record, _write_lines(tmp_path, json_line(Record(1, math.nan)) + "\n"))).loss)
    assert (tmp_path / "lines.jsonl").read_bytes().isascii()


def test_read_jsonl_of_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none.jsonl") == []
    assert read_json(Record, tmp_path / "none.json") is None


def test_jsonl_writer_loses_no_line_when_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from videossr.storage.jsonl import JsonlWriter;"
        "file = JsonlWriter(Path(sys.argv[1]));"
        "[file.append({'step': n}) for n in (1, 2, 3)]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    path = tmp_path / "lines.jsonl"
    completed = subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=False)
    assert completed.returncode == -signal.SIGKILL
    assert read_records(path) == [Record(1), Record(2), Record(3)]


@pytest.mark.parametrize("torn", ['{"step":2,"lo', "x" * 200_000])
@pytest.mark.parametrize("whole", ["", '{"step":1}\n'])
def test_jsonl_writer_removes_a_cut_off_line_on_reopening(whole: str, torn: str, tmp_path: Path) -> None:
    path = _write_lines(tmp_path, whole + torn)
    assert read_records(path) == [Record(1)] * bool(whole)
    with JsonlWriter(path) as file:
        file.append(Record(7))
    assert read_records(path) == [Record(1)] * bool(whole) + [Record(7)]


def test_jsonl_writer_syncs_at_intervals_and_on_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with JsonlWriter(tmp_path / "lines.jsonl") as file:
        monkeypatch.setattr(jsonl, "SYNC", 3600.0)
        assert not file.append(Record(1))
        assert not synced
        monkeypatch.setattr(jsonl, "SYNC", -1.0)
        assert file.append(Record(2))
        assert len(synced) == 1
    assert len(synced) == 2, "closing the file syncs it too"


def test_write_errors_of_a_full_disk_name_the_file(tmp_path: Path) -> None:
    path, limits = tmp_path / "lines.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    with JsonlWriter(path) as file:
        file.append(Record(1))
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * size // 2, limits[1]))
        try:
            with pytest.raises(OSError, match="too large") as line_error:
                file.append(Record(2))
            with pytest.raises(OSError, match="too large") as file_error:
                write_bytes(tmp_path / "whole", bytes(2 * size))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert line_error.value.filename == str(path)
    assert file_error.value.filename == str(tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
    assert read_records(path) == [Record(1)]


def test_read_jsonl_names_or_skips_a_damaged_line(tmp_path: Path) -> None:
    path = _write_lines(tmp_path, '{"step":1}\n\0\0\n{"step":"x"}\n{"step":2}\n')
    with pytest.raises(DataError, match=r"lines\.jsonl:2: no step: "):
        list(read_jsonl(Record, path, fault="no step"))
    assert list(read_jsonl(Record, path, skip_damaged=True)) == [Record(1), Record(2)]
    (tmp_path / "record.json").write_text("[]")
    with pytest.raises(DataError, match=r"record\.json: damaged, or of another version"):
        read_json(Record, tmp_path / "record.json")


def test_filter_jsonl_removes_lines_and_keeps_the_bytes_of_the_others(tmp_path: Path) -> None:
    path = _write_lines(tmp_path, '{"step" : 1}\n{"step":2}\n{"step":3}\n{"st')
    filter_jsonl(path, lambda record: record["step"] != 2)
    assert path.read_text() == '{"step" : 1}\n{"step":3}\n'
    _write_lines(tmp_path, before := '{"step":1}\n{"epoch":2}\n')
    with pytest.raises(DataError, match=r"lines\.jsonl:2: damaged: 'step'"):
        filter_jsonl(path, lambda record: record["step"] < 1)
    assert path.read_text() == before, "nothing is removed"
    filter_jsonl(tmp_path / "none.jsonl", lambda record: False)
    assert not (tmp_path / "none.jsonl").exists()


def _write_lines(folder: Path, text: str) -> Path:
    path = folder / "lines.jsonl"
    path.write_text(text)
    return path


def test_lines_are_not_written_to_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine\nwithout an end")
    (tmp_path / "lines.jsonl").symlink_to("precious")
    with pytest.raises(OutputError, match=r"lines\.jsonl is a link, pipe or device"):
        JsonlWriter(tmp_path / "lines.jsonl")
    assert (tmp_path / "precious").read_text() == "mine\nwithout an end"
    (tmp_path / "new.jsonl").symlink_to("nowhere")
    with pytest.raises(OutputError, match="is a link"):
        JsonlWriter(tmp_path / "new.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(OutputError, match="pipe"):
        JsonlWriter(tmp_path / "pipe.jsonl")
    assert {path.name for path in tmp_path.iterdir()} == {"precious", "lines.jsonl", "new.jsonl", "pipe.jsonl"}
