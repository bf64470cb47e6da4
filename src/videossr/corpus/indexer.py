"""Decode every video once, into a corpus of frame packs. Exercised by `videossr index DIR --out CORPUS`.

Workers hash and decode; only this process writes. Their results are kept in the staging directory, and a pack is
written whole as soon as all its videos are there. So a run can be killed at any moment and goes on where it stopped,
new files are added to a complete corpus, and what is written depends neither on the workers nor on the order of the
files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

from upath import UPath

from videossr.corpus.decode_worker import DecodeWorker, Piece
from videossr.corpus.entry import RejectedFile
from videossr.corpus.index_state import IndexState
from videossr.corpus.jpeg import CHROMA, QUALITY, Chroma
from videossr.corpus.manifest import begin, corpus_versions, is_begun, recorded_versions, reopen, write_corpus_manifest
from videossr.corpus.pack import FORMAT
from videossr.corpus.pack_builder import PackBuilder
from videossr.corpus.source_id import check_expression, source_ids
from videossr.corpus.sources import Input, find
from videossr.errors import ConfigError
from videossr.runners import start
from videossr.runners.base import Runner, WorkerCrash
from videossr.storage.output_dir import OutputDir
from videossr.storage.paths import AnyPath, is_local, to_path
from videossr.video.plan import Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one file, for progress reports.

    Attributes:
        path: under which the corpus knows it; empty while files are looked for and hashed.
        rejected: why it is not in the corpus; None when it is.
        phase: "folders" (of a web server), "hashes" or "videos".
        done, total: how many files, or folders, are through this phase, and how many there are.
    """

    path: str
    rejected: RejectedFile | None
    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of `index_videos`.

    Attributes:
        videos: in the corpus now.
        gone: how many of them are not among the sources, or not any more.
        decoded: how many files this run has decoded, rejected ones included.
        rejected: reason -> how many files.
        hash: of the corpus.
    """

    videos: int
    gone: int
    decoded: int
    rejected: Mapping[str, int]
    hash: str


def index_videos(
    source: str | AnyPath | Sequence[str | AnyPath],
    out: str | AnyPath,
    plan: Plan | None = None,
    *,
    image_fps: float | Fraction | None = None,
    quality: int = QUALITY,
    chroma: Chroma = CHROMA,
    workers: int = 1,
    ray: str | None = None,
    isolated: bool = True,
    source_id: str | None = None,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> Summary:
    """Make or complete the corpus `out` from all videos of `source`. Nothing is written anywhere else.

    A complete corpus of the same configuration and the same files is left alone; of new files only those are decoded.
    Videos whose file is gone stay in the corpus.

    Args:
        source: a folder, a file, or several of them, local or remote. Folders are searched through all their folders;
            hidden files are recorded but not read. A folder that holds images and no video files is one video.
        out: the corpus; new, or made by this function with the same configuration.
        plan: which frames are kept; the default plan when None.
        image_fps: frames a second of folders of images, which are rejected where it is None.
        quality: of the JPEGs, 1..100.
        chroma: sampling of the JPEGs, "444", "422" or "420".
        workers: processes, one video each. They are spawned: a script that calls this needs a ``__main__`` guard.
        ray: address of a Ray cluster whose processors do the work instead, or "local".
        isolated: decode in worker processes even if there is only one, so that a file that crashes the decoder is
            rejected and the others go on. False decodes in this process, where `workers` is 1.
        source_id: regular expression searched in each relative path; its group 1 names the footage a clip is from.
        progress: called for each file when it is hashed, and again when it is finished.

    Raises:
        NotFoundError: a folder or file of `source` is not there, or none has a video.
        CorpusError: the corpus in `out` is damaged.
        OSError: the disk is full, or a remote place cannot be reached; the same call goes on.
        ConfigError: a setting is out of range, the search for `source_id` does not end, or `source` has folders of
            images only and no `image_fps`, or an `image_fps` and no folder of images.
        OutputError: `out` holds something else, or a corpus of another configuration, or another run is at work there.
    """
    out = to_path(out)
    plan = plan or Plan()
    if source_id is not None:
        check_expression(source_id)
    config = _config(plan, quality, chroma, source_id)
    files, unread = find(
        _places(source),
        out,
        _rate(image_fps),
        lambda done, known: progress(Outcome("", None, "folders", done, known)),
    )
    named = {} if source_id is None else source_ids(source_id, [file.path for file in files])
    output = OutputDir(out, "index", "corpus")
    begun = is_begun(output, config)
    with start(DecodeWorker(plan, quality, chroma), workers, ray, isolated=isolated) as runner:
        runner.check([file.sample for file in (files[0], files[-1])])
        with output.open({"config": config, "versions": corpus_versions()}, reopen=begun) as staging:
            begin(output, config)
            with IndexState(staging) as state:
                total = len(files) + len(unread)
                contents = _hash(runner, state, files, unread, progress)
                packs = PackBuilder(out, state, _by_content(contents), named)
                if not packs.complete:
                    reopen(out, staging)
                decoded = _fill(runner, packs, unread, total, progress)
            manifest = write_corpus_manifest(out, asdict(plan), unread, recorded_versions(out, staging))
    return Summary(manifest["videos"], packs.gone, decoded, manifest["rejected"], manifest["hash"])


def _places(source: str | AnyPath | Sequence[str | AnyPath]) -> list[AnyPath]:
    """Return the sources as paths. Raises ConfigError where none is named, or one has no name."""
    several = [source] if isinstance(source, str | Path | UPath) else source
    paths = [to_path(place) for place in several]
    if not paths:
        raise ConfigError("no video was named: name files, or folders of videos")
    return [path.absolute() if is_local(path) else path for path in paths]  # the machines of a cluster work elsewhere


def _rate(image_fps: float | Fraction | None) -> Fraction | None:
    """Return frames a second exactly as they are written: 29.97 is 2997/100. Raises ConfigError."""
    if image_fps is None:
        return None
    if not 0 < image_fps < float("inf"):
        raise ConfigError(f"image_fps must be above 0, got {image_fps}")
    return Fraction(str(image_fps))


def _config(plan: Plan, quality: int, chroma: Chroma, source_id: str | None) -> dict[str, Any]:
    """Return the resolved configuration. Raises ConfigError for a setting out of range."""
    if not 1 <= quality <= 100:
        raise ConfigError(f"quality must be 1..100, got {quality}")
    if chroma not in ("444", "422", "420"):
        raise ConfigError(f"chroma must be 444, 422 or 420, got {chroma!r}")
    config: dict[str, Any] = {"format": FORMAT, "quality": quality, "chroma": chroma}
    if source_id is not None:
        config["source_id"] = source_id
    return config | {"plan": asdict(plan)}


def _hash(
    runner: Runner[DecodeWorker],
    state: IndexState,
    files: Sequence[Input],
    unread: list[RejectedFile],
    progress: Callable[[Outcome], None],
) -> list[tuple[str, Input]]:
    """Return the content hash of each file, with the file; what cannot be read is added to `unread`."""
    known = state.hashes(files)
    waiting = [file for file in files if file.path not in known]
    for done, (file, content) in enumerate(runner.run(DecodeWorker.hash, waiting), len(known) + 1):
        if isinstance(content, str):
            known[file.path] = content
            state.add_hash(file, content)
        elif isinstance(content, RejectedFile):
            unread.append(content)
        else:
            unread.append(RejectedFile(file.path, None, "unreadable", "reading it killed the process"))
        progress(Outcome("", None, "hashes", done, len(files)))
    return [(known[file.path], file) for file in files if file.path in known]


def _by_content(contents: Sequence[tuple[str, Input]]) -> dict[str, list[Input]]:
    """Group files by content, in the order of the paths: the first one is taken, the others are its copies."""
    files: dict[str, list[Input]] = {}
    for content, file in contents:
        files.setdefault(content, []).append(file)
    return files


def _fill(
    runner: Runner[DecodeWorker],
    packs: PackBuilder,
    unread: list[RejectedFile],
    total: int,
    progress: Callable[[Outcome], None],
) -> int:
    """Decode what the packs lack, and return how many files that were. What is in no pack is added to `unread`."""
    waiting = packs.waiting()
    decoded = 0
    done = count(total - len(unread) - len(waiting) - len(packs.copies()) + 1)
    for rejection in unread:
        progress(Outcome(rejection.path, rejection, "videos", next(done), total))
    packs.write_ready()
    while waiting:
        for (content, file), result in runner.stream(DecodeWorker.stage, waiting):
            if isinstance(result, Piece):
                packs.add_jpegs(content, result)
                continue
            if isinstance(result, WorkerCrash):
                result = RejectedFile(file.path, content, "unreadable", "decoding it killed the process")
            packs.add_result(content, result)
            rejected = result if isinstance(result, RejectedFile) else None
            if rejected and not rejected.lasts:
                unread.append(rejected)
            decoded += 1
            progress(Outcome(file.path, rejected, "videos", next(done), total))
        waiting = packs.waiting()  # copies of files that have changed or vanished
    for rejection in packs.copies():
        unread.append(rejection)
        progress(Outcome(rejection.path, rejection, "videos", next(done), total))
    return decoded
