"""Find the video files under a folder, local or remote. The first step of `videossr index DIR --out CORPUS`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from upath import UPath

from videossr.store import Place, file_hash
from videossr.video.pack import CorpusError, Rejection

_ENDINGS = """
.3g2 .3gp .asf .avi .divx .dv .f4v .flv .gif .m1v .m2p .m2ts .m2v .m4v .mjpeg .mjpg .mk3d .mkv .mov .mp4 .mpe .mpeg .mpg
.mpv .mts .mxf .nut .ogg .ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .y4m
"""
EXTENSIONS = frozenset(_ENDINGS.split())
"""File names that end so, in upper or lower case, are taken for videos."""


_Listed: TypeAlias = tuple[PurePosixPath, Place, Mapping[str, Any] | None]
"""The path of a file below the folder, where it is, and what the listing of a store tells of it."""


@dataclass(frozen=True, slots=True)
class File:
    """A file to read.

    Attributes:
        path: relative to the folder that is indexed, as text that can be stored.
        place: where it is.
        size: bytes.
        stamp: what changes when the file does: the times of its last changes, or its tag in an object store.
    """

    path: str
    place: Place
    size: int
    stamp: str

    def is_same(self) -> bool:
        """Whether it is there still, unchanged since it was found."""
        try:
            return _seen(self.path, self.place, None) == self
        except (FileNotFoundError, PermissionError):
            return False

    def hash(self) -> str:
        """SHA-256 of its bytes. Raises OSError."""
        return file_hash(self.place)


def find(source: Place, out: Place) -> tuple[list[File], list[Rejection]]:
    """Files to read in the order of their paths, and those that are rejected unread.

    Links are followed, each folder is entered once. Raises FileNotFoundError or CorpusError.
    """
    if str(out).rstrip("/") == str(source).rstrip("/") or (
        isinstance(out, Path) and isinstance(source, Path) and out.resolve() == source.resolve()
    ):
        raise CorpusError(f"{out} is the folder of the videos: name another folder for the corpus with --out")
    files: list[File] = []
    rejected: list[Rejection] = []
    listed = _walk(source, out, rejected) if isinstance(source, Path) else _list(source, out)
    for relative, file, facts in listed:
        path = _text(relative)
        if any(part.startswith(".") for part in relative.parts):
            rejected.append(Rejection(path, None, "hidden", "its name or a folder's starts with a dot"))
            continue
        try:
            if isinstance(file, Path) and not file.is_file():
                raise FileNotFoundError
            found = _seen(path, file, facts)
        except FileNotFoundError:
            rejected.append(Rejection(path, None, "unreadable", "it is not a file, or a link that leads nowhere"))
        except PermissionError:
            rejected.append(Rejection(path, None, "unreadable", "the system refuses access to it"))
        else:
            if found.size:
                files.append(found)
            else:
                rejected.append(Rejection(path, None, "unreadable", "it is empty", 0, 1))
    if not files:
        seen = f"; {len(rejected)} hidden or empty ones" if rejected else ""
        raise FileNotFoundError(f"{source} has no videos (mp4, mov, mkv, webm, avi, ts, mpg, flv, …){seen}")
    return sorted(files, key=lambda file: file.path), rejected


def _walk(source: Path, out: Place, rejected: list[Rejection]) -> Iterator[_Listed]:
    """Every file of a local folder that is named like a video, but for those in `out`."""
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is not a folder of videos")
    entered = {source.resolve()} | ({out.resolve()} if isinstance(out, Path) else set())

    def locked(error: OSError) -> None:
        path = _text(PurePosixPath(Path(error.filename).relative_to(source)))
        rejected.append(Rejection(path, None, "unreadable", "the system refuses to list this folder"))

    for folder, folders, names in os.walk(source, onerror=locked, followlinks=True):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if (here / name).resolve() not in entered)
        entered.update((here / name).resolve() for name in folders)
        for name in sorted(names):
            if Path(name).suffix.lower() in EXTENSIONS:
                yield PurePosixPath((here / name).relative_to(source)), here / name, None


def _list(source: UPath, out: Place) -> Iterator[_Listed]:
    """Every file of a remote folder that is named like a video, but for those in `out`."""
    root = source.path.rstrip("/") + "/"
    skipped = None if isinstance(out, Path) or out.protocol != source.protocol else out.path.rstrip("/") + "/"
    for name, facts in source.fs.find(source.path, detail=True).items():
        if name.startswith(root) and PurePosixPath(name).suffix.lower() in EXTENSIONS:
            relative = PurePosixPath(name.removeprefix(root))
            if skipped is None or not name.startswith(skipped):
                yield relative, source / relative.as_posix(), facts


def _seen(path: str, file: Place, facts: Mapping[str, Any] | None) -> File:
    """A file as it is now, or as the listing of its store tells it. Raises FileNotFoundError or PermissionError."""
    if isinstance(file, Path):
        status = file.stat()
        # `cp -p` and `mv` keep the time of the content; the system alone sets the other one.
        return File(path, file, status.st_size, f"{status.st_mtime_ns} {status.st_ctime_ns}")
    if facts is None or facts["size"] is None:  # as on the page of a web server
        facts = file.fs.info(file.path)
    stamp = next((facts[name] for name in ("ETag", "etag", "LastModified", "mtime", "created") if facts.get(name)), "")
    return File(path, file, int(facts["size"] or 0), str(stamp))


def _text(path: PurePosixPath) -> str:
    """A path as text that can be stored: bytes that are no UTF-8 are written out, and backslashes doubled before."""
    return os.fsencode(path.as_posix().replace("\\", "\\\\")).decode("utf-8", "backslashreplace")
