"""Parquet files are read in the calling thread: a thread that holds Python objects can abort an ending process."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import videossr
from videossr.errors import DataError
from videossr.storage.parquet import read_batches, read_parquet
from videossr.storage.paths import AnyPath, to_path

TABLE = pa.table({"number": list(range(10_000)), "word": ["a", "b"] * 5_000})


@pytest.fixture(params=["local", "remote"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> AnyPath:
    path = to_path(str(tmp_path / "rows.parquet") if request.param == "local" else "memory://rows.parquet")
    data = io.BytesIO()
    pq.write_table(TABLE, data, row_group_size=1_000)
    path.write_bytes(data.getvalue())
    return path


def test_read_parquet_and_read_batches_give_all_rows(written: AnyPath) -> None:
    assert read_parquet(written).equals(TABLE)
    encoded = read_parquet(written, dictionary=["word"])
    assert pa.types.is_dictionary(encoded["word"].type)
    assert sum(batch.num_rows for batch in read_batches(written, 700, ["word"])) == len(TABLE)


def test_read_parquet_reads_a_remote_file_in_the_calling_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    path = to_path("memory://threads.parquet")
    data = io.BytesIO()
    pq.write_table(TABLE, data, row_group_size=1_000)
    path.write_bytes(data.getvalue())
    readers = set()

    def read(file: io.BytesIO, size: int = -1) -> bytes:
        readers.add(threading.get_ident())
        return io.BytesIO.read(file, size)

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFile.read", read, raising=False)
    assert read_parquet(path).equals(TABLE)
    assert readers == {threading.get_ident()}


def test_read_parquet_refuses_a_file_that_is_not_parquet(tmp_path: Path) -> None:
    for data in (b"", b"no table at all"):
        (tmp_path / "rows.parquet").write_bytes(data)
        with pytest.raises(DataError, match=r"rows\.parquet: not a Parquet file"):
            read_parquet(tmp_path / "rows.parquet")
    with pytest.raises(FileNotFoundError):
        read_parquet(tmp_path / "missing.parquet")


def test_only_storage_parquet_reads_parquet_files() -> None:
    root = Path(videossr.__file__).parent
    calls = ("pq.read_table", "pq.ParquetFile", "parquet.read_table", "parquet.ParquetFile")
    modules = {str(path.relative_to(root)) for path in root.rglob("*.py") if any(w in path.read_text() for w in calls)}
    assert modules == {"storage/parquet.py"}


def test_read_parquet_and_read_batches_name_a_missing_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "rows.parquet")
    assert read_parquet(tmp_path / "rows.parquet", required=["a"]).num_rows == 1
    for read in (
        lambda path: read_parquet(path, required=["a", "c"]),
        lambda path: read_parquet(path, dictionary=["c"]),
        lambda path: list(read_batches(path, 8, ["b", "c"])),
    ):
        with pytest.raises(DataError, match=r"rows\.parquet has no column .?.?c"):
            read(tmp_path / "rows.parquet")
