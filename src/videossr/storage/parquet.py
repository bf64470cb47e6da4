"""Read Parquet files, local or remote, so that none of Arrow's threads holds a Python object.

By default Arrow reads ahead in threads of its own. One that lets go of a Python buffer while the interpreter ends
aborts the whole process ("terminate called without an active exception"). Exercised by
`videossr dataset info DATASET --gates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from videossr.errors import DataError
from videossr.storage import limits
from videossr.storage.paths import AnyPath, check_regular, is_local


def read_parquet(
    path: AnyPath, *, required: Sequence[str] | pa.Schema = (), dictionary: Sequence[str] = ()
) -> pa.Table:
    """Read a whole file; a local one is mapped into memory.

    Args:
        path: of the file.
        required: columns that it must have, by name, or with their types.
        dictionary: columns that are read dictionary-encoded.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is no Parquet file, damaged, or lacks a column or has it with another type.
    """
    with _opened(path, required, dictionary) as source:
        table = source.read(use_threads=is_local(path))
        table.validate(full=True)
        return table


def read_batches(
    path: AnyPath, rows: int, columns: Sequence[str] | pa.Schema | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield at most `rows` rows at a time, of all columns or of some, by name or with their types.

    Raises as `read_parquet`.
    """
    required = () if columns is None else columns
    columns = columns.names if isinstance(columns, pa.Schema) else columns
    with _opened(path, required, columns=columns) as source:
        for batch in source.iter_batches(rows, columns=columns, use_threads=is_local(path)):
            batch.validate(full=True)
            yield batch


def count_rows(path: AnyPath) -> int:
    """Return the number of rows of a file. Raises as `read_parquet`."""
    with _opened(path, (), columns=()) as source:
        rows: int = source.metadata.num_rows
        return rows


@contextmanager
def _opened(
    path: AnyPath,
    required: Sequence[str] | pa.Schema,
    dictionary: Sequence[str] = (),
    columns: Sequence[str] | None = None,
) -> Iterator[pq.ParquetFile]:
    """Open a file of which all columns will be read, or some. Arrow's threads must not read a remote one.

    It is a Python object to them.
    """
    check_regular(path)
    with ExitStack() as stack:
        with arrow_damage(lambda what: DataError(f"{path}: not a Parquet file: {what}; {_AGAIN}")):
            file = path if is_local(path) else stack.enter_context(path.open("rb"))
            size = path.stat().st_size

            def opened(encoded: Sequence[str]) -> pq.ParquetFile:
                source = pq.ParquetFile(file, memory_map=is_local(path), read_dictionary=[*encoded], pre_buffer=False)
                return stack.enter_context(source)

            try:
                source = opened(dictionary)
            except KeyError as error:
                raise DataError(f"{path} has no column {error}") from error
            present = source.schema_arrow.names
        names = required.names if isinstance(required, pa.Schema) else required
        if absent := [name for name in names if name.partition(".")[0] not in present]:
            raise DataError(f"{path} has no column {', '.join(absent)}; it has {', '.join(present)}")
        for field in required if isinstance(required, pa.Schema) else ():
            if not _alike(stored := source.schema_arrow.field(field.name).type, field.type):
                raise DataError(
                    f"{path}: the column {field.name} has values of {stored}, not of {field.type}; {_AGAIN}"
                )
        with arrow_damage(lambda what: DataError(f"{path}: damaged: {what}; {_AGAIN}")):
            _check_size(source, path, size, opened, columns)
            yield source


def _alike(stored: pa.DataType, wanted: pa.DataType) -> bool:
    """Tell whether two types have the same values in Python, whatever their encoding and the size of their offsets."""
    if pa.types.is_dictionary(stored):
        return _alike(stored.value_type, wanted)
    if pa.types.is_struct(wanted) and pa.types.is_struct(stored):
        names = [field.name for field in wanted]
        return [field.name for field in stored] == names and all(
            _alike(stored.field(name).type, wanted.field(name).type) for name in names
        )
    for is_kind in ((pa.types.is_list, pa.types.is_large_list), (pa.types.is_string, pa.types.is_large_string)):
        if any(kind(wanted) for kind in is_kind):
            same = any(kind(stored) for kind in is_kind)
            return same and (not pa.types.is_list(wanted) or _alike(stored.value_type, wanted.value_type))
    return bool(stored == wanted)


_AGAIN = "build it again, or copy it again"


@contextmanager
def arrow_damage(named: Callable[[str], DataError]) -> Iterator[None]:
    """Raise the error that `named` makes of Arrow's words where the block fails because data is damaged.

    Arrow tells damage by an `ArrowException`, by an OSError without the number of a system's error, and, of names that
    are not UTF-8, by a UnicodeDecodeError.
    """
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise named(str(error).rstrip(".")) from error
    except OSError as error:
        if type(error) is not OSError or error.errno is not None:
            raise
        raise named(str(error).rstrip(".")) from error


_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}
"""Bytes of a decoded value; of a text those of its offset."""

_BATCH = 4096
"""Rows whose lengths are summed up at once."""


def _check_size(
    source: pq.ParquetFile,
    path: AnyPath,
    size: int,
    reopen: Callable[[Sequence[str]], pq.ParquetFile],
    columns: Sequence[str] | None,
) -> None:
    """Refuse a file whose decoded columns would be too large, before they are.

    A run of equal values takes a few bytes of the file, however long it is, and a text that many rows share is stored
    once. The numbers of values and the stored sizes are in the metadata. Where texts that are shared might be too much,
    those columns are read as numbers of shared texts, and the lengths are summed up.

    Args:
        source: the file.
        path: of the file.
        size: bytes of the file.
        reopen: opens it once more, with columns that are read dictionary-encoded.
        columns: names of those that will be read; None for all.
    """
    most = limits.TABLE_BYTES + limits.TABLE_RATIO * size
    decoded = 0
    shared: list[str] = []
    metadata = source.metadata
    for index in range(metadata.num_columns):
        schema = metadata.schema.column(index)
        if columns is not None and schema.path.partition(".")[0] not in columns:
            continue
        chunks = [metadata.row_group(group).column(index) for group in range(metadata.num_row_groups)]
        stored = sum(max(0, chunk.total_uncompressed_size) for chunk in chunks)
        values = sum(max(0, chunk.num_values) for chunk in chunks)
        levels = 4 if schema.max_repetition_level else 0
        decoded += stored + values * (levels + _WIDTHS.get(schema.physical_type, schema.length))
        if schema.physical_type == "BYTE_ARRAY" and values * stored > most:
            if any("DELTA_BYTE_ARRAY" in chunk.encodings for chunk in chunks):
                raise DataError(f"{path}: texts of the column {schema.path} are stored as differences; write it anew")
            shared.append(schema.path)
    _compare(decoded, most, path)
    if shared:
        outer = sorted({name.partition(".")[0] for name in shared})
        for batch in reopen(shared).iter_batches(_BATCH, columns=outer, use_threads=False):
            decoded += sum(map(_shared_bytes, batch.columns))
            _compare(decoded, most, path)


def _compare(decoded: int, most: int, path: AnyPath) -> None:
    """Raise DataError where a file has more decoded bytes than it may."""
    if decoded > most:
        what = f"decoded bytes, {limits.TABLE_RATIO} for each of its own not counted,"
        spare = decoded - (most - limits.TABLE_BYTES)
        raise DataError(f"{path}: {limits.exceeds(what, spare, 'TABLE_BYTES')}")


def _shared_bytes(array: pa.Array) -> int:
    """Count the bytes of all texts of an array whose shared texts are dictionary-encoded, at any depth."""
    if pa.types.is_dictionary(array.type):
        lengths = pc.binary_length(array.dictionary)
        counted: int | None = pc.sum(lengths.take(array.indices)).as_py()
        return counted or 0
    if pa.types.is_struct(array.type):
        return sum(map(_shared_bytes, array.flatten()))
    if pa.types.is_list(array.type) or pa.types.is_map(array.type) or pa.types.is_large_list(array.type):
        return _shared_bytes(array.flatten())
    return 0
