"""Decode every video of a folder once, into a corpus of frame packs. Exercised by `videossr index DIR --out CORPUS`.

Workers hash and decode; this process alone writes. What they return is kept in the workshop, and as soon as all videos
of a pack are there, the pack is written whole. So a run can be killed at any moment and goes on where it stopped, new
files are added to a complete corpus, and what is written depends neither on the workers nor on the order of the files.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import count
from typing import Any

import av
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

from videossr.store import UNFINISHED, Place, make_folder, replacing, workshop, write_text
from videossr.video.corpus import MANIFEST, CorpusManifest, ShardTable, corpus_hash, pack_file
from videossr.video.pack import CHROMA, QUALITY, Chroma, CorpusError, Pack, Rejection
from videossr.video.packing import Packing, packs_of
from videossr.video.plan import Plan
from videossr.video.scan import File, find
from videossr.video.shop import Shop
from videossr.video.stage import Stager
from videossr.workers import Died, Runner, start

_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file, for progress reports.

    Attributes:
        path: relative to the source folder; empty while files are hashed.
        rejected: why it is not in the corpus; None when it is.
        phase: "hashes" or "videos".
        done, total: how many files are through this phase, and how many there are.
    """

    path: str
    rejected: Rejection | None
    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What `index` has done.

    Attributes:
        videos: in the corpus now.
        decoded: how many files this run has decoded, rejected ones included.
        rejected: reason -> how many files.
        hash: of the corpus.
    """

    videos: int
    decoded: int
    rejected: Mapping[str, int]
    hash: str


REJECTED = "rejected.parquet"
_REJECTED = pa.schema(
    [(name, pa.string()) for name in ("path", "content", "reason", "detail")]
    + [(name, pa.float64()) for name in ("value", "threshold")]
)


def index(
    source: Place,
    out: Place,
    plan: Plan | None = None,
    *,
    quality: int = QUALITY,
    chroma: Chroma = CHROMA,
    workers: int = 1,
    ray: str | None = None,
    source_id: str | None = None,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> Summary:
    """Make or complete the corpus `out` from all videos under `source`. Nothing is written anywhere else.

    A complete corpus of the same configuration and the same files is left alone; of new files only those are decoded.
    Videos whose file is gone stay in the corpus.

    Args:
        source: searched through all its folders; hidden files are recorded but not read.
        out: the corpus; new, or made by this function with the same configuration.
        plan: which frames are kept; the default plan when None.
        quality: of the JPEGs, 1..100.
        chroma: sampling of the JPEGs, "444", "422" or "420".
        workers: processes, one video each. They are spawned: a script that calls this needs a ``__main__`` guard.
        ray: address of a Ray cluster whose processors do the work instead, or "local".
        source_id: regular expression searched in each relative path; its group 1 names the footage a clip is from.
        progress: called for each file when it is hashed, and again when it is finished.

    Raises:
        FileNotFoundError: there is no folder `source`, or no video in it.
        CorpusError: `out` holds something else, or a corpus of another configuration.
        OSError: the disk is full, or a remote place cannot be reached; the same call goes on.
        ValueError: a knob is out of range, or another run is at work on `out`.
    """
    plan = plan or Plan()
    pattern = _pattern(source_id)
    config = _config(plan, quality, chroma, source_id)
    files, unread = find(source, out)
    _claim(out, config)
    with workshop(out) as folder:
        with start(Stager(plan, quality, chroma), workers, ray) as runner, Shop(folder) as shop:
            total = len(files) + len(unread)
            contents = _hash(runner, shop, files, unread, progress)
            packs = Packing(out, shop, _first(contents, unread), pattern)
            if not packs.complete:
                (out / MANIFEST).unlink(missing_ok=True)
            decoded = _fill(runner, packs, unread, total, progress)
        summary = _finish(out, plan, unread, decoded)
        shutil.rmtree(folder)
    return summary


def _pattern(source_id: str | None) -> re.Pattern[str] | None:
    """Raises ValueError for a regular expression that names no footage."""
    if source_id is None:
        return None
    try:
        pattern = re.compile(source_id)
    except re.error as error:
        raise ValueError(f"source_id {source_id!r} is not a regular expression: {error}") from error
    if not pattern.groups:
        raise ValueError(f"source_id {source_id!r} needs a group in parentheses: it names the footage")
    return pattern


def _config(plan: Plan, quality: int, chroma: Chroma, source_id: str | None) -> dict[str, Any]:
    """The resolved configuration. Raises ValueError for a knob out of range."""
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1..100, got {quality}")
    if chroma not in ("444", "422", "420"):
        raise ValueError(f"chroma must be 444, 422 or 420, got {chroma!r}")
    config: dict[str, Any] = {"format": _FORMAT, "quality": quality, "chroma": chroma}
    if source_id is not None:
        config["source_id"] = source_id
    return config | {"plan": asdict(plan)}


def _claim(out: Place, config: dict[str, Any]) -> None:
    """Make `out` ours, or check that it is. Raises CorpusError."""
    saved = out / "config.toml"
    if saved.is_file():
        old = tomllib.loads(saved.read_text("utf-8"))
        if "plan" not in old:
            raise CorpusError(f"{out} holds something that is not a corpus: name a new folder with --out")
        changed = sorted(_flat(old).items() ^ _flat(config).items())
        if changed:
            names = ", ".join(dict.fromkeys(f"{name} is {_flat(old).get(name)}" for name, _ in changed))
            raise CorpusError(f"{out} was indexed with another configuration ({names}): index into a new folder")
    elif out.exists() and (not out.is_dir() or any(entry.name != UNFINISHED for entry in out.iterdir())):
        raise CorpusError(f"{out} holds something that is not a corpus: name a new folder with --out")
    else:
        make_folder(out / "packs")
        write_text(saved, tomli_w.dumps(config))


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {prefix + name: str(value)}
    return flat


def _hash(
    runner: Runner[Stager],
    shop: Shop,
    files: Sequence[File],
    unread: list[Rejection],
    progress: Callable[[Outcome], None],
) -> list[tuple[str, File]]:
    """The content hash of each file, with the file; what cannot be read is added to `unread`."""
    known = shop.hashes(files)
    waiting = [file for file in files if file.path not in known]
    for done, (file, content) in enumerate(runner.run(Stager.hash, waiting), len(known) + 1):
        if isinstance(content, str):
            known[file.path] = content
            shop.keep_hash(file, content)
        elif isinstance(content, Rejection):
            unread.append(content)
        else:
            unread.append(Rejection(file.path, None, "unreadable", "reading it killed the process"))
        progress(Outcome("", None, "hashes", done, len(files)))
    return [(known[file.path], file) for file in files if file.path in known]


def _first(contents: Sequence[tuple[str, File]], unread: list[Rejection]) -> dict[str, File]:
    """For each content the first file in the order of the paths; the others are added to `unread`."""
    first: dict[str, File] = {}
    for content, file in contents:
        original = first.setdefault(content, file)
        if original is not file:
            detail = f"it has the same bytes as {original.path}"
            unread.append(Rejection(file.path, content, "duplicate", detail))
    return first


def _fill(
    runner: Runner[Stager], packs: Packing, unread: list[Rejection], total: int, progress: Callable[[Outcome], None]
) -> int:
    """Decode what the packs lack; how many files that were."""
    waiting = packs.waiting()
    done = count(total - len(waiting) - len(unread) + 1)
    for rejection in unread:
        progress(Outcome(rejection.path, rejection, "videos", next(done), total))
    packs.write_ready()
    for (content, file), result in runner.run(Stager.stage, waiting):
        staged = result
        if isinstance(staged, Died):
            staged = Rejection(file.path, content, "unreadable", "decoding it killed the process")
        packs.keep(content, staged)
        rejected = staged if isinstance(staged, Rejection) else None
        if rejected and rejected.content is None:
            unread.append(rejected)
        progress(Outcome(file.path, rejected, "videos", next(done), total))
    return len(waiting)


def _finish(out: Place, plan: Plan, unread: Sequence[Rejection], decoded: int) -> Summary:
    """Write what the packs and `unread` say of the corpus as a whole, the manifest last."""
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
        format=_FORMAT,
        plan=asdict(plan),
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
    return Summary(manifest["videos"], decoded, manifest["rejected"], manifest["hash"])


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
