"""Read Parquet files, local or remote, so that none of Arrow's threads holds a Python object.

By default Arrow reads ahead in threads of its own. One that lets go of a Python buffer while the interpreter ends
aborts the whole process ("terminate called without an active exception"). Exercised by
`videossr dataset info DATASET --gates`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from videossr.storage.paths import AnyPath, is_local


def read_parquet(path: AnyPath, *, dictionary: Sequence[str] = ()) -> pa.Table:
    """Read a whole file; a local one is mapped into memory.

    Args:
        path: of the file.
        dictionary: columns that are read dictionary-encoded.

    Raises FileNotFoundError, and `pa.ArrowInvalid`, which is a ValueError, when it is no Parquet file.
    """
    with _opened(path, dictionary) as source:
        return source.read(use_threads=is_local(path))


def read_batches(path: AnyPath, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield at most `rows` rows at a time, of all columns or of some. Raises as `read_parquet`."""
    with _opened(path) as source:
        yield from source.iter_batches(rows, columns=columns, use_threads=is_local(path))


@contextmanager
def _opened(path: AnyPath, dictionary: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a file. Arrow's threads must not read a remote one, which is a Python object."""
    options = {"read_dictionary": [*dictionary], "pre_buffer": False}
    if is_local(path):
        with pq.ParquetFile(path, memory_map=True, **options) as source:
            yield source
    else:
        with path.open("rb") as file, pq.ParquetFile(file, **options) as source:
            yield source
