"""Decode every video of a folder once, into a corpus of frame packs. Exercised by `videossr index DIR --out CORPUS`.

Workers hash and decode; this process alone writes. What they return is kept in the workshop, and as soon as all videos
of a pack are there, the pack is written whole. So a run can be killed at any moment and goes on where it stopped, new
files are added to a complete corpus, and what is written depends neither on the workers nor on the order of the files.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from videossr.store import Place, is_local, workshop
from videossr.video.jpeg import CHROMA, QUALITY, Chroma
from videossr.video.making import claim, complete, is_known, open_up, versions, versions_of
from videossr.video.pack import FORMAT, Rejection
from videossr.video.packing import Packing
from videossr.video.plan import Plan
from videossr.video.scan import File, find
from videossr.video.shop import Shop
from videossr.video.stage import Piece, Stager
from videossr.workers import Died, Runner, start


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
        gone: how many of them have no file in the source any more.
        decoded: how many files this run has decoded, rejected ones included.
        rejected: reason -> how many files.
        hash: of the corpus.
    """

    videos: int
    gone: int
    decoded: int
    rejected: Mapping[str, int]
    hash: str


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
    source = source.absolute() if is_local(source) else source  # the machines of a cluster work elsewhere
    files, unread = find(source, out)
    known = is_known(out, config)
    with start(Stager(plan, quality, chroma), workers, ray) as runner:
        runner.check([file.place for file in (files[0], files[-1])])
        with workshop(out, {"verb": "index", "config": config, "versions": versions()}, ours=known) as folder:
            claim(out, config)
            with Shop(folder) as shop:
                total = len(files) + len(unread)
                contents = _hash(runner, shop, files, unread, progress)
                packs = Packing(out, shop, _by_content(contents), pattern)
                if not packs.complete:
                    open_up(out, folder)
                decoded = _fill(runner, packs, unread, total, progress)
            manifest = complete(out, asdict(plan), unread, versions_of(out, folder))
            shutil.rmtree(folder)
    return Summary(manifest["videos"], packs.gone, decoded, manifest["rejected"], manifest["hash"])


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
    config: dict[str, Any] = {"format": FORMAT, "quality": quality, "chroma": chroma}
    if source_id is not None:
        config["source_id"] = source_id
    return config | {"plan": asdict(plan)}


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


def _by_content(contents: Sequence[tuple[str, File]]) -> dict[str, list[File]]:
    """For each content its files in the order of the paths; the first one is taken, the others are its copies."""
    files: dict[str, list[File]] = {}
    for content, file in contents:
        files.setdefault(content, []).append(file)
    return files


def _fill(
    runner: Runner[Stager], packs: Packing, unread: list[Rejection], total: int, progress: Callable[[Outcome], None]
) -> int:
    """Decode what the packs lack; how many files that were. What is in no pack is added to `unread`."""
    waiting = packs.waiting()
    decoded = 0
    done = count(total - len(unread) - len(waiting) - len(packs.copies()) + 1)
    for rejection in unread:
        progress(Outcome(rejection.path, rejection, "videos", next(done), total))
    packs.write_ready()
    while waiting:
        for (content, file), result in runner.stream(Stager.stage, waiting):
            if isinstance(result, Piece):
                packs.add(content, result)
                continue
            staged = result
            if isinstance(staged, Died):
                staged = Rejection(file.path, content, "unreadable", "decoding it killed the process")
            packs.keep(content, staged)
            rejected = staged if isinstance(staged, Rejection) else None
            if rejected and not rejected.lasts:
                unread.append(rejected)
            decoded += 1
            progress(Outcome(file.path, rejected, "videos", next(done), total))
        waiting = packs.waiting()  # copies of files that have changed or vanished
    for rejection in packs.copies():
        unread.append(rejection)
        progress(Outcome(rejection.path, rejection, "videos", next(done), total))
    return decoded
