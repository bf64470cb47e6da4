"""Begin and complete the folder of a corpus, for `videossr index` and `videossr corpus merge`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w
from typing_extensions import TypedDict

from videossr.config import changes, plain
from videossr.corpus.corpus import MANIFEST, REJECTED, CorpusManifest, ShardTable, corpus_hash, pack_file
from videossr.corpus.entry import RejectedFile
from videossr.corpus.pack import FORMAT, Pack
from videossr.corpus.pack_builder import packs_of
from videossr.errors import CorpusError, DataError
from videossr.storage.jsonl import read_json
from videossr.storage.output_dir import OutputDir
from videossr.storage.parquet import read_parquet
from videossr.storage.parsing import load_json, load_toml
from videossr.storage.paths import AnyPath, atomic_write, make_folder, write_text
from videossr.storage.provenance import ffmpeg_versions, installed_versions, merge_versions

_PACKAGES = ("videossr", "av", "numpy", "opencv-python-headless", "pyarrow", "simplejpeg")

_REJECTED = pa.schema(
    [(name, pa.string()) for name in ("path", "content", "reason", "detail")]
    + [(name, pa.float64()) for name in ("value", "threshold")]
)


_BEFORE = "before.json"
"""In the staging directory: the manifest that a corpus had when it began to grow."""


def is_begun(output: OutputDir, config: Mapping[str, Any]) -> bool:
    """Say whether a folder holds a corpus of this configuration, complete or not.

    Raises:
        OutputError: it holds a corpus of another configuration, or something else.
        CorpusError: its `config.toml` is damaged.
    """
    saved = output.path / "config.toml"
    if not saved.is_file():
        return False
    try:
        old = load_toml(saved)
    except ValueError as error:
        raise CorpusError(f"{saved}: not valid TOML: {error}") from error
    if "plan" not in old:
        output.check_free()
        return False
    output.refuse_differences(changes(old, plain(config)))
    return True


def begin(output: OutputDir, config: Mapping[str, Any]) -> None:
    """Make a folder the beginning of a corpus, if it is none. Raises OutputError and CorpusError as `is_begun`."""
    if not is_begun(output, config):
        write_text(output.path / "config.toml", tomli_w.dumps(dict(config)))
    make_folder(output.path / "packs")


def reopen(out: AnyPath, staging: Path) -> None:
    """Move the manifest of a corpus that is about to change into the staging directory."""
    manifest = out / MANIFEST
    if manifest.exists():
        write_text(staging / _BEFORE, manifest.read_text("utf-8"))
        manifest.unlink()


def write_corpus_manifest(
    out: AnyPath, plan: Mapping[str, object], unread: Sequence[RejectedFile], made_with: Mapping[str, str]
) -> CorpusManifest:
    """Sum up the packs of a corpus in `rejected.parquet` and, last, in `manifest.json`.

    Args:
        out: folder of the corpus.
        plan: which frames were kept, as a table.
        unread: rejected files that are in no pack.
        made_with: versions of the libraries that made the packs.

    Returns:
        The manifest. The files are not written again where they say the same already.
    """
    shards: dict[str, ShardTable] = {}
    rejected = list(unread)
    slots: set[int] = set()
    for shard in sorted(packs_of(out)):
        pack = Pack(pack_file(out, shard))
        shards[shard] = {"videos": len(pack), "bytes": pack.size, "hash": pack.hash}
        rejected += pack.rejected
        slots |= pack.slots
    rejected.sort(key=lambda row: (row.path, row.reason))
    manifest = CorpusManifest(
        format=FORMAT,
        plan=dict(plan),
        videos=sum(shard["videos"] for shard in shards.values()),
        slots=sorted(slots),
        shards=shards,
        rejected=dict(sorted(Counter(row.reason for row in rejected).items())),
        hash=corpus_hash(shards),
        versions=dict(made_with),
    )
    table = pa.Table.from_pylist([asdict(row) for row in rejected], _REJECTED)
    if not _is_recorded(out, manifest, table):
        (out / MANIFEST).unlink(missing_ok=True)
        with atomic_write(out / REJECTED) as partial:
            pq.write_table(table, partial)
        write_text(out / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return manifest


def _is_recorded(out: AnyPath, manifest: CorpusManifest, rejected: pa.Table) -> bool:
    """Say whether the files of a corpus hold this already."""
    try:
        old = load_json(out / MANIFEST)
        return bool(old == manifest and read_parquet(out / REJECTED).equals(rejected))
    except (FileNotFoundError, ValueError):
        return False


def corpus_versions() -> dict[str, str]:
    """Return the versions of everything that decides the bytes of a pack."""
    return ffmpeg_versions() | installed_versions(_PACKAGES)


class _Recorded(TypedDict):
    """The part of a manifest that says which versions made the packs."""

    versions: dict[str, str]


def recorded_versions(out: AnyPath, staging: Path) -> dict[str, str]:
    """Return the versions that made the packs of a corpus, for its manifest.

    They are those that it records where it has not changed, else these and those that it recorded before.
    """
    for manifest in (out / MANIFEST, staging / _BEFORE):
        try:
            recorded = read_json(_Recorded, manifest, way_out="index into another folder")
        except DataError as error:
            raise CorpusError(str(error)) from error
        if recorded is not None:
            versions = recorded["versions"]
            return versions if manifest.name == MANIFEST else merge_versions([versions, corpus_versions()])
    return corpus_versions()
