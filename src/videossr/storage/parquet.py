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


@contextmanager
def open_parquet(path: AnyPath, *, dictionary: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; a local one is mapped into memory. Read a remote one with `use_threads=False`.

    Args:
        path: of the file.
        dictionary: columns that are read dictionary-encoded.

    Raises FileNotFoundError, and `pa.ArrowInvalid`, which is a ValueError, when it is no Parquet file.
    """
    options = {"read_dictionary": [*dictionary], "pre_buffer": False}
    if is_local(path):
        with pq.ParquetFile(path, memory_map=True, **options) as source:
            yield source
    else:
        with path.open("rb") as file, pq.ParquetFile(file, **options) as source:
            yield source


def read_parquet(path: AnyPath, *, dictionary: Sequence[str] = ()) -> pa.Table:
    """Read a whole file, as `open_parquet`."""
    with open_parquet(path, dictionary=dictionary) as source:
        return source.read(use_threads=is_local(path))
