"""Packs of a corpus altered as somebody who knows the format would: their tables, with the checksum behind them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from videossr.corpus import pack
from videossr.corpus.corpus import MANIFEST, corpus_hash, pack_file
from videossr.corpus.entry import SCHEMA, rows_hash


def split_pack(data: bytes) -> tuple[bytes, bytes]:
    """Return the bytes of a pack before its table, and those of its table."""
    length, _, _ = pack._TAIL.unpack(data[-pack._TAIL.size :])
    start = len(data) - pack._TAIL.size - length
    return data[:start], data[start : -pack._TAIL.size]


def join_pack(frames: bytes, table: bytes) -> bytes:
    """Return the bytes of a pack whose checksum is that of its table."""
    return frames + table + pack._TAIL.pack(len(table), hashlib.sha256(table).digest(), pack._MAGIC)


def write_table(path: Path, frames: bytes, table: pa.Table) -> None:
    """Write a pack with this table, which is not checked."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    path.write_bytes(join_pack(frames, sink.getvalue().to_pybytes()))


def alter_packs(
    corpus: Path, change: Callable[[dict[str, Any]], object], *, pack_hashes: bool = False, manifest: bool = False
) -> None:
    """Change what the packs of a corpus say of each video.

    Args:
        corpus: its folder.
        change: changes the fields of a video in place.
        pack_hashes: whether each pack states the hash of what it says now.
        manifest: whether the manifest states the hashes of the packs as they are now, and their sizes; not its own.
    """
    stated = json.loads((corpus / MANIFEST).read_text())
    for shard in stated["shards"]:
        path = pack_file(corpus, shard)
        assert isinstance(path, Path)
        opened = pack.Pack(path)
        rows, metadata = opened.table.to_pylist(), dict(opened.table.schema.metadata)
        for row in rows:
            change(row)
        if pack_hashes:
            metadata[b"hash"] = rows_hash(rows).encode()
        write_table(path, split_pack(path.read_bytes())[0], pa.Table.from_pylist(rows, SCHEMA.with_metadata(metadata)))
        stated["shards"][shard]["bytes"] = path.stat().st_size
        if manifest:
            stated["shards"][shard]["hash"] = metadata[b"hash"].decode()
    (corpus / MANIFEST).write_text(json.dumps(stated))


def rehash(corpus: Path) -> None:
    """Make the manifest of a corpus state the hash of what it says of its packs."""
    stated = json.loads((corpus / MANIFEST).read_text())
    (corpus / MANIFEST).write_text(json.dumps({**stated, "hash": corpus_hash(stated["shards"])}))
