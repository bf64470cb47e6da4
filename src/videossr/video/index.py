"""Decode every video of a folder once, into a corpus of frame packs. Exercised by `videossr index DIR --out CORPUS`.

Each finished video is staged as one file under ``OUT/parts``; at the end the parts are merged into shards in the order
of their content hash. So a run that was killed goes on where it stopped, new files are added to a complete corpus, and
what is written does not depend on the number of workers or on the order of the files.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import av
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

from videossr.store import replacing, write_bytes
from videossr.video.decode import decode
from videossr.video.fingerprint import fingerprint
from videossr.video.pack import (
    CHROMA,
    MANIFEST,
    QUALITY,
    Chroma,
    CorpusError,
    Entry,
    corpus_hash,
    encode,
    entry_of,
    pack_file,
    read_table,
    shard_of,
    table_file,
    write_table,
)
from videossr.video.plan import Plan, RejectedError
from videossr.video.scan import Rejection, find, hash_all
from videossr.workers import Died, Pool

_SHARDS = "0123456789abcdef"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file, for progress reports.

    Attributes:
        path: relative to the source folder.
        rejected: why it is not in the corpus; None when it is.
        done, total: how many files of this run are finished, and how many there are.
    """

    path: str
    rejected: RejectedError | None
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


_REJECTED = pa.schema(
    [(name, pa.string()) for name in ("path", "content", "reason", "detail")]
    + [(name, pa.float64()) for name in ("value", "threshold")]
)


def index(
    source: Path,
    out: Path,
    plan: Plan | None = None,
    *,
    quality: int = QUALITY,
    chroma: Chroma = CHROMA,
    workers: int = 1,
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
        source_id: regular expression searched in each relative path; its group 1 names the footage a clip is from.
        progress: called for each file when it is finished.

    Raises:
        FileNotFoundError: there is no folder `source`, or no video in it.
        CorpusError: `out` holds something else, or a corpus of another configuration.
        ValueError: a knob is out of range.
    """
    plan = plan or Plan()
    config = _config(plan, quality, chroma, source_id, workers)
    files, rejected = find(source, out)
    _prepare(out, config)

    total = len(files) + len(rejected)
    contents = hash_all(files, rejected, workers)
    first: dict[str, str] = {}
    for path in sorted(contents):
        original = first.setdefault(contents[path], path)
        if original != path:
            rejected.append(Rejection(path, contents[path], "duplicate", f"it has the same bytes as {original}"))
    known = {entry.content: entry for shard in _SHARDS for entry in _rows(out, shard)}
    before = _read_rejected(out)
    refused = {row.content: row for row in before if row.content is not None and row.reason != "duplicate"}
    wanted = [content for content in first if content not in known and content not in refused]
    waiting = {content: files[first[content]] for content in wanted if not _part(out, content).exists()}

    done = count(total - len(waiting) - len(rejected) + 1)
    for row in rejected:
        progress(Outcome(row.path, RejectedError(row.reason, row.detail), next(done), total))
    stage = partial(_stage, out=out, plan=plan, quality=quality, chroma=chroma)
    for content, error in _stage_all(stage, waiting, out, workers):
        progress(Outcome(first[content], error, next(done), total))

    for content in wanted:
        part = _read_part(out, content)
        if isinstance(part, Entry):
            known[content] = part
        else:
            refused[content] = part
    rejected += [replace(refused[content], path=path) for content, path in first.items() if content in refused]
    rejected.sort(key=lambda row: row.path)
    pattern = re.compile(source_id) if source_id else None
    rows = [_named(known[content], first, pattern) for content in sorted(known)]
    return _merge(out, rows, rejected, before, decoded=len(waiting))


def _stage_all(
    stage: Callable[[Path, str], None], files: Mapping[str, Path], out: Path, workers: int
) -> Iterator[tuple[str, RejectedError | None]]:
    """Stage every file, the largest first; yield its content hash and, if it was rejected, why."""
    (out / "parts").mkdir(exist_ok=True)
    order = sorted(files, key=lambda content: (-files[content].stat().st_size, content))
    with Pool(stage, workers) as pool:
        for (_, content), outcome in pool.run(_call, ((files[content], content) for content in order)):
            if isinstance(outcome, Died):
                _write_part(out, content, {"reason": "unreadable", "detail": "decoding it killed the process"})
            part = _read_part(out, content)
            if isinstance(part, Rejection):
                yield content, RejectedError(part.reason, part.detail, part.value, part.threshold)
            else:
                yield content, None


def _call(stage: Callable[[Path, str], None], item: tuple[Path, str]) -> None:
    stage(*item)


def _config(plan: Plan, quality: int, chroma: Chroma, source_id: str | None, workers: int) -> dict[str, Any]:
    """The resolved configuration. Raises ValueError for a knob out of range."""
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1..100, got {quality}")
    if chroma not in ("444", "422", "420"):
        raise ValueError(f"chroma must be 444, 422 or 420, got {chroma!r}")
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    config: dict[str, Any] = {"format": _FORMAT, "quality": quality, "chroma": chroma}
    if source_id is not None:
        try:
            groups = re.compile(source_id).groups
        except re.error as error:
            raise ValueError(f"source_id {source_id!r} is not a regular expression: {error}") from error
        if not groups:
            raise ValueError(f"source_id {source_id!r} needs a group in parentheses: it names the footage")
        config["source_id"] = source_id
    return config | {"plan": asdict(plan)}


def _prepare(out: Path, config: dict[str, Any]) -> None:
    """Make `out` ours, or check that it is, and finish or undo what a killed run left. Raises CorpusError."""
    saved = out / "config.toml"
    if saved.is_file():
        old = tomllib.loads(saved.read_text("utf-8"))
        if "plan" not in old:
            raise CorpusError(f"{out} holds something that is not a corpus: name a new folder with --out")
        changed = sorted(_flat(old).items() ^ _flat(config).items())
        if changed:
            names = ", ".join(dict.fromkeys(f"{name} is {_flat(old).get(name)}" for name, _ in changed))
            raise CorpusError(f"{out} was indexed with another configuration ({names}): index into a new folder")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CorpusError(f"{out} holds something that is not a corpus: name a new folder with --out")
    (out / "packs").mkdir(parents=True, exist_ok=True)
    if not saved.is_file():
        write_bytes(saved, tomli_w.dumps(config).encode())
    for shard in _SHARDS:
        pack, table = _new(pack_file(out, shard)), _new(table_file(out, shard))
        if pack.exists():
            table.unlink(missing_ok=True)
            pack.unlink()
        elif table.exists():
            table.replace(table_file(out, shard))


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {prefix + name: str(value)}
    return flat


def _stage(file: Path, content: str, *, out: Path, plan: Plan, quality: int, chroma: Chroma) -> None:
    """Decode one video and write its part: a row or a reason."""
    try:
        video = decode(file, plan)
    except RejectedError as error:
        reason = {"reason": error.reason, "detail": error.detail, "value": error.value, "threshold": error.threshold}
        _write_part(out, content, reason)
        return
    jpegs = encode(video.frames, quality, chroma)
    facts, timeline, choice = video.facts, video.timeline, video.choice
    entry = Entry(
        content=content,
        pack=hashlib.sha256(b"".join(jpegs)).hexdigest(),
        path="",
        source_id=None,
        bytes=file.stat().st_size,
        container=facts.container,
        codec=facts.codec,
        pix_fmt=facts.pix_fmt,
        source_width=facts.width,
        source_height=facts.height,
        rotation=facts.rotation,
        mirrored=facts.mirrored,
        pixel_aspect=facts.aspect.as_integer_ratio(),
        duration_ms=round(timeline.seconds * 1000),
        fps=float(len(timeline.times) / timeline.seconds),
        source_frames=len(timeline.times),
        time_base=timeline.base.as_integer_ratio(),
        ticks=tuple(timeline.times[frame] for frame in choice.frames),
        times_ms=choice.clock.times_ms,
        end_ms=choice.clock.end_ms,
        height=video.frames.shape[1],
        width=video.frames.shape[2],
        offset=0,
        frame_bytes=tuple(map(len, jpegs)),
        fingerprints=tuple(fingerprint(video.frames).tolist()),
    )
    _write_part(out, content, asdict(entry), jpegs)


def _part(out: Path, content: str) -> Path:
    return out / "parts" / content


def _write_part(out: Path, content: str, row: dict[str, Any], jpegs: Sequence[bytes] = ()) -> None:
    """One line of JSON, then the JPEGs."""
    write_bytes(_part(out, content), json.dumps(row).encode() + b"\n" + b"".join(jpegs))


def _read_part(out: Path, content: str) -> Entry | Rejection:
    with _part(out, content).open("rb") as file:
        row = json.loads(file.readline())
    return Rejection("", content, **row) if "reason" in row else entry_of(row)


def _named(entry: Entry, first: Mapping[str, str], pattern: re.Pattern[str] | None) -> Entry:
    """The entry under the path at which its file lies now."""
    path = first.get(entry.content, entry.path)
    match = pattern.search(path) if pattern else None
    return replace(entry, path=path, source_id=match[1] if match else None)


def _merge(
    out: Path, rows: list[Entry], rejected: list[Rejection], before: list[Rejection], *, decoded: int
) -> Summary:
    """Bring all files of the corpus to what `rows` and `rejected` say; the manifest goes first and comes last."""
    shards: dict[str, list[Entry]] = {shard: [] for shard in _SHARDS}
    ends: Counter[str] = Counter()
    for row in rows:
        shard = shard_of(row.content)
        shards[shard].append(replace(row, offset=ends[shard]))
        ends[shard] += sum(row.frame_bytes)
    changed = [shard for shard in _SHARDS if shards[shard] != _rows(out, shard)]
    counts = Counter(row.reason for row in rejected)
    summary = Summary(len(rows), decoded, dict(sorted(counts.items())), corpus_hash(rows))
    if changed or rejected != before or not (out / MANIFEST).exists():
        (out / MANIFEST).unlink(missing_ok=True)
        for shard in changed:
            _write_shard(out, shard, shards[shard])
        table = pa.Table.from_pylist([asdict(row) for row in rejected], _REJECTED)
        with replacing(out / "rejected.parquet") as partial:
            pq.write_table(table, partial)
        manifest = {
            "format": _FORMAT,
            "videos": summary.videos,
            "rejected": summary.rejected,
            "hash": summary.hash,
            "versions": _versions(),
        }
        write_bytes(out / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n")
    shutil.rmtree(out / "parts")
    return summary


def _write_shard(out: Path, shard: str, rows: list[Entry]) -> None:
    """Write pack and table anew under temporary names. Renaming the pack commits both, see `_prepare`."""
    pack, table = pack_file(out, shard), table_file(out, shard)
    staged = [row.content for row in rows if _part(out, row.content).exists()]
    old = {row.content: row.offset for row in _rows(out, shard)}
    with _new(pack).open("wb") as target:
        for row in rows:
            if row.content in old:
                with pack.open("rb") as file:
                    file.seek(old[row.content])
                    _copy(file, target, row, pack)
            else:
                with _part(out, row.content).open("rb") as file:
                    file.readline()
                    _copy(file, target, row, _part(out, row.content))
    write_table(_new(table), rows)
    _new(pack).replace(pack)
    _new(table).replace(table)
    for content in staged:
        _part(out, content).unlink()


def _copy(file: BinaryIO, target: BinaryIO, row: Entry, name: Path) -> None:
    data = file.read(sum(row.frame_bytes))
    if hashlib.sha256(data).hexdigest() != row.pack:
        raise CorpusError(f"{name} is damaged where the frames of {row.path} should be: index into a new folder")
    target.write(data)


def _rows(out: Path, shard: str) -> list[Entry]:
    table = table_file(out, shard)
    return read_table(table) if table.exists() else []


def _read_rejected(out: Path) -> list[Rejection]:
    table = out / "rejected.parquet"
    return [Rejection(**row) for row in pq.read_table(table).to_pylist()] if table.exists() else []


def _versions() -> dict[str, str]:
    """Of everything that has a say in the bytes of a pack."""
    libraries = {name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()}
    packages = ("videossr", "av", "numpy", "opencv-python-headless", "pyarrow", "simplejpeg")
    return libraries | {name: version(name) for name in packages}


def _new(path: Path) -> Path:
    return path.with_name(path.name + ".new")
