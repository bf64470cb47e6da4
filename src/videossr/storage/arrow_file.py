"""Find out whether an Arrow IPC file is compressed before it is read, as the table of a pack must not be."""

from __future__ import annotations

import pyarrow as pa

HEAD = 8
"""Bytes of an Arrow IPC file before its messages, which are those of an IPC stream."""

_HEADER, _COMPRESSION = 2, 3
"""Numbers of the fields `header` of a message and `compression` of a record batch, in Arrow's flatbuffers."""


def is_compressed(data: bytes | memoryview) -> bool:
    """Tell whether the messages of an Arrow IPC file are compressed, so that reading it may take any memory.

    Uncompressed ones are read where they lie. Messages of another kind than a schema and batches count as compressed.
    """
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(data)[HEAD:]):
        if message.type == "record batch":
            metadata = message.metadata.to_pybytes()
            header = _field(metadata, _offset(metadata, 0), _HEADER)
            if not header or _field(metadata, header + _offset(metadata, header), _COMPRESSION):
                return True
        elif message.type != "schema":
            return True
    return False


def _offset(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "little")


def _field(data: bytes, table: int, number: int) -> int:
    """Return where a field of a flatbuffers table lies; 0 where the table lacks it."""
    names = table - int.from_bytes(data[table : table + 4], "little", signed=True)
    at = names + 4 + 2 * number
    if at + 2 > names + int.from_bytes(data[names : names + 2], "little"):
        return 0
    inside = int.from_bytes(data[at : at + 2], "little")
    return table + inside if inside else 0
