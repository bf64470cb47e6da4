"""Find the video files under a folder, and hash them. The first step of `videossr index DIR --out CORPUS`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from videossr.video.pack import CorpusError
from videossr.video.plan import Reason

_ENDINGS = """
.3g2 .3gp .asf .avi .divx .dv .f4v .flv .gif .m1v .m2p .m2ts .m2v .m4v .mjpeg .mjpg .mk3d .mkv .mov .mp4 .mpe .mpeg .mpg
.mpv .mts .mxf .nut .ogg .ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .y4m
"""
EXTENSIONS = frozenset(_ENDINGS.split())
"""File names that end so, in upper or lower case, are taken for videos."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One row of ``rejected.parquet``; `content` is None where the file was not read."""

    path: str
    content: str | None
    reason: Reason
    detail: str
    value: float | None = None
    threshold: float | None = None


def find(source: Path, out: Path) -> tuple[dict[str, Path], list[Rejection]]:
    """Files to read, by their path relative to `source`, and those that are rejected unread.

    Links are followed, each folder is entered once. Raises FileNotFoundError or CorpusError.
    """
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is not a folder of videos")
    if out.resolve() == source.resolve():
        raise CorpusError(f"{out} is the folder of the videos: name another folder for the corpus with --out")
    files: dict[str, Path] = {}
    rejected: list[Rejection] = []
    entered = {source.resolve(), out.resolve()}

    def locked(error: OSError) -> None:
        path = _text(Path(error.filename).relative_to(source))
        rejected.append(Rejection(path, None, "unreadable", "the system refuses to list this folder"))

    for folder, folders, names in os.walk(source, onerror=locked, followlinks=True):
        place = Path(folder)
        folders[:] = sorted(name for name in folders if (place / name).resolve() not in entered)
        entered.update((place / name).resolve() for name in folders)
        for name in sorted(names):
            file = place / name
            if file.suffix.lower() not in EXTENSIONS:
                continue
            relative = file.relative_to(source)
            path = _text(relative)
            if any(part.startswith(".") for part in relative.parts):
                rejected.append(Rejection(path, None, "hidden", "its name or a folder's starts with a dot"))
            elif not file.is_file():
                rejected.append(Rejection(path, None, "unreadable", "it is not a file, or a link that leads nowhere"))
            elif file.stat().st_size == 0:
                rejected.append(Rejection(path, None, "unreadable", "it is empty", 0, 1))
            else:
                files[path] = file
    if not files:
        seen = f"; {len(rejected)} hidden or empty ones" if rejected else ""
        raise FileNotFoundError(f"{source} has no videos (mp4, mov, mkv, webm, avi, ts, mpg, flv, …){seen}")
    return files, rejected


def _text(path: Path) -> str:
    """A path as text that can be stored: bytes that are no UTF-8 are written out, and backslashes doubled before."""
    return os.fsencode(path.as_posix().replace("\\", "\\\\")).decode("utf-8", "backslashreplace")


def hash_all(files: Mapping[str, Path], rejected: list[Rejection], workers: int) -> dict[str, str]:
    """Relative path -> SHA-256 of the file; what cannot be read is added to `rejected`."""
    contents: dict[str, str] = {}
    with ThreadPoolExecutor(workers) as pool:  # hashing lets other threads run
        for path, digest in zip(files, pool.map(_hash, files.values()), strict=True):
            if digest is None:
                rejected.append(Rejection(path, None, "unreadable", "the system refuses to read it"))
            else:
                contents[path] = digest
    return contents


def _hash(file: Path) -> str | None:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
