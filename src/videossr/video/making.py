"""The beginning and the end of making a corpus, for `videossr index` and `videossr corpus merge`."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import av
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

from videossr.store import UNFINISHED, Place, make_folder, replacing, write_text
from videossr.video.corpus import MANIFEST, CorpusManifest, ShardTable, corpus_hash, pack_file
from videossr.video.pack import CorpusError, Pack, Rejection
from videossr.video.packing import packs_of

FORMAT = 2

REJECTED = "rejected.parquet"
_REJECTED = pa.schema(
    [(name, pa.string()) for name in ("path", "content", "reason", "detail")]
    + [(name, pa.float64()) for name in ("value", "threshold")]
)


_BEGUN = (UNFINISHED, ".config.toml.partial")
"""What a run that was killed at its very first step leaves."""


def claim(out: Place, config: Mapping[str, Any]) -> None:
    """Make `out` ours, or check that it is. Raises CorpusError."""
    saved = out / "config.toml"
    if saved.is_file():
        old = tomllib.loads(saved.read_text("utf-8"))
        if "plan" not in old:
            raise CorpusError(f"{out} holds something that is not a corpus: name a new folder with --out")
        changed = sorted(flat(old).items() ^ flat(config).items())
        if changed:
            names = ", ".join(dict.fromkeys(f"{name} is {flat(old).get(name)}" for name, _ in changed))
            raise CorpusError(f"{out} was indexed with another configuration ({names}): index into a new folder")
    elif out.exists() and (not out.is_dir() or any(entry.name not in _BEGUN for entry in out.iterdir())):
        raise CorpusError(f"{out} holds something that is not a corpus: name a new folder with --out")
    else:
        make_folder(out)
        write_text(saved, tomli_w.dumps(dict(config)))
    make_folder(out / "packs")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A configuration with dotted names and values as text."""
    found: dict[str, str] = {}
    for name, value in config.items():
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {prefix + name: str(value)}
    return found


def complete(out: Place, plan: Mapping[str, Any], unread: Sequence[Rejection]) -> CorpusManifest:
    """Write what the packs of `out` and `unread`, the files that are in none, say as a whole; the manifest last."""
    shards: dict[str, ShardTable] = {}
    rejected = list(unread)
    slots: set[int] = set()
    for shard in sorted(packs_of(out)):
        found = Pack(pack_file(out, shard))
        shards[shard] = {"videos": len(found), "bytes": found.size, "hash": found.hash}
        rejected += found.rejected
        slots |= found.slots
    rejected.sort(key=lambda row: (row.path, row.reason))
    manifest = CorpusManifest(
        format=FORMAT,
        plan=dict(plan),
        videos=sum(shard["videos"] for shard in shards.values()),
        slots=sorted(slots),
        shards=shards,
        rejected=dict(sorted(Counter(row.reason for row in rejected).items())),
        hash=corpus_hash(shards),
        versions=_versions(),
    )
    table = pa.Table.from_pylist([asdict(row) for row in rejected], _REJECTED)
    if not _says(out, manifest, table):
        (out / MANIFEST).unlink(missing_ok=True)
        with replacing(out / REJECTED) as partial:
            pq.write_table(table, partial)
        write_text(out / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return manifest


def _says(out: Place, manifest: CorpusManifest, rejected: pa.Table) -> bool:
    """Whether `out` says this already, whatever the versions that it was made with."""
    try:
        old = json.loads((out / MANIFEST).read_text("utf-8"))
        with (out / REJECTED).open("rb") as file:
            same = pq.read_table(file).equals(rejected)
    except (FileNotFoundError, ValueError):
        return False
    return same and {**old, "versions": None} == {**manifest, "versions": None}


def _versions() -> dict[str, str]:
    """Of everything that has a say in the bytes of a pack."""
    libraries = {name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()}
    packages = ("videossr", "av", "numpy", "opencv-python-headless", "pyarrow", "simplejpeg")
    return libraries | {name: version(name) for name in packages}
