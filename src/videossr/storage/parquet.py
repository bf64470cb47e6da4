"""Read Parquet files, local or remote, so that none of Arrow's threads holds a Python object.

By default Arrow reads ahead in threads of its own. One that lets go of a Python buffer while the interpreter ends
aborts the whole process ("terminate called without an active exception"). Exercised by
`videossr dataset info DATASET --gates`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from videossr.errors import DataError
from videossr.storage.paths import AnyPath, is_local


def read_parquet(path: AnyPath, *, required: Sequence[str] = (), dictionary: Sequence[str] = ()) -> pa.Table:
    """Read a whole file; a local one is mapped into memory.

    Args:
        path: of the file.
        required: columns that it must have.
        dictionary: columns that are read dictionary-encoded.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is no Parquet file, damaged, or lacks a column.
    """
    with _opened(path, required, dictionary) as source:
        return source.read(use_threads=is_local(path))


def read_batches(path: AnyPath, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield at most `rows` rows at a time, of all columns or of some. Raises as `read_parquet`."""
    with _opened(path, columns or ()) as source:
        yield from source.iter_batches(rows, columns=columns, use_threads=is_local(path))


@contextmanager
def _opened(path: AnyPath, required: Sequence[str], dictionary: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a file. Arrow's threads must not read a remote one, which is a Python object."""
    with ExitStack() as stack:
        try:
            file = path if is_local(path) else stack.enter_context(path.open("rb"))
            source = stack.enter_context(
                pq.ParquetFile(file, memory_map=is_local(path), read_dictionary=[*dictionary], pre_buffer=False)
            )
        except KeyError as error:
            raise DataError(f"{path} has no column {error}") from error
        except FileNotFoundError:
            raise
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(path, "not a Parquet file", error) from error
        present = source.schema_arrow.names
        if absent := [name for name in required if name.partition(".")[0] not in present]:
            raise DataError(f"{path} has no column {', '.join(absent)}; it has {', '.join(present)}")
        try:
            yield source
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(path, "damaged", error) from error


def _damaged(path: AnyPath, fault: str, error: Exception) -> Exception:
    """Make a DataError; an error of the system, which has a number, stays what it is. Arrow raises OSError for both."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    return DataError(f"{path}: {fault}: {error}; build it again, or copy it again")
