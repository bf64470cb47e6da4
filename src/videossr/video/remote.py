"""Videos on other machines: parts of a file are fetched when ffmpeg asks for them, and never twice.

Exercised by `videossr index s3://BUCKET/VIDEOS --out CORPUS`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, TypeAlias

from videossr.storage.paths import AnyPath, reaching

_BLOCK = 1 << 18
"""Bytes fetched at least: what a seek to one picture costs."""

_AHEAD = 1 << 23
"""Bytes fetched at once at most, where a file is read on and on: few requests."""


class Remote:
    """A remote file as ffmpeg reads it. What has been fetched is kept until the file is closed.

    A failure of the transport looks like the end of the file to ffmpeg, and must not be taken for the video's.

    Attributes:
        failure: what the transport failed with.
        blank: whether zeros are given instead of fetching anything.
    """

    def __init__(self, file: BinaryIO, kept: BinaryIO) -> None:
        """`kept` is an empty file of our own."""
        self._file, self._kept = file, kept
        self._size = file.seek(0, 2)
        self._blocks: set[int] = set()
        self._at = 0
        self._run = range(0)
        self.failure: Exception | None = None
        self.blank = False

    def read(self, size: int) -> bytes:
        size = min(size, self._size - self._at)
        if self.failure is not None or size <= 0:
            return b""
        if self.blank:
            data = bytes(size)
        else:
            try:
                data = self._fetch(size)
            except Exception as error:  # whatever a file system of whatever kind raises
                self.failure = error
                return b""
        self._at += len(data)
        return data

    def _fetch(self, size: int) -> bytes:
        """Read `size` bytes; of a run that goes on, twice as many as so far are fetched at a time."""
        start, stop = self._at, self._at + size
        if not self._run.start <= start <= self._run.stop:
            self._run = range(start, stop)
        elif stop > self._run.stop:
            self._run = range(self._run.start, self._run.stop + min(max(size, len(self._run)), _AHEAD))
        wanted = range(start // _BLOCK, -(-min(self._run.stop, self._size) // _BLOCK))
        for missing, blocks in groupby(wanted, lambda block: block not in self._blocks):
            if missing:
                part = list(blocks)
                self._file.seek(part[0] * _BLOCK)
                data = self._file.read(min((part[-1] + 1) * _BLOCK, self._size) - part[0] * _BLOCK)
                self._kept.seek(part[0] * _BLOCK)
                self._kept.write(data)
                self._blocks.update(part)
        self._kept.seek(start)
        return self._kept.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at


Source: TypeAlias = Path | Remote
"""What a video is read from."""


@contextmanager
def reachable(place: AnyPath) -> Iterator[Source]:
    """The source of a video, which can be opened again and again without fetching anything twice.

    Raises OSError where a remote file cannot be reached; that says nothing about the video.
    """
    if isinstance(place, Path):
        yield place
        return
    with ExitStack() as stack:
        try:
            with reaching(place):
                file = stack.enter_context(place.open("rb", cache_type="none"))
            remote = Remote(file, stack.enter_context(tempfile.TemporaryFile()))
        except Exception as error:
            raise outage(place, error) from error
        try:
            yield remote
        finally:
            if remote.failure is not None:
                raise outage(place, remote.failure) from remote.failure


def outage(place: AnyPath, error: Exception) -> OSError:
    """In one kind, whatever the file system raises. Its own text is left out: it may quote an address with a key."""
    known = (FileNotFoundError, PermissionError)
    kind = next((kind for kind in known if isinstance(error, kind)), ConnectionError)
    return kind(f"{place} could not be read: {type(error).__name__}")
