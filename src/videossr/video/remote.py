"""Videos on other machines: parts of a file are fetched when ffmpeg reads them, and never twice.

`videossr.video.decoding` opens each video through `reachable`, as for `videossr index s3://BUCKET/VIDEOS`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, TypeAlias

from videossr.errors import ServerError
from videossr.storage.paths import AnyPath, reaching

_BLOCK = 1 << 18
"""Bytes of the smallest request, as for a seek to one picture."""

_AHEAD = 1 << 23
"""Bytes of the largest request, where a file is read from one end to the other."""


class Remote:
    """A remote file as ffmpeg reads it. Blocks that were fetched are cached until the file is closed.

    To ffmpeg a failure of the transport looks like the end of the file; it says nothing about the video.

    Attributes:
        failure: the error of the transport, None while there is none.
        blank: whether reads return zeros instead of fetching anything.
    """

    def __init__(self, file: BinaryIO, cache: BinaryIO) -> None:
        """Read `file` through `cache`, an empty local file."""
        self._file = file
        self._cache = cache
        self._size = file.seek(0, 2)
        self._blocks: set[int] = set()
        self._at = 0
        self._run = range(0)
        self.failure: Exception | None = None
        self.blank = False

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; none after a failure of the transport."""
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
        """Read `size` bytes; each request of a sequential read is as large as all before it together."""
        start = self._at
        stop = start + size
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
                self._cache.seek(part[0] * _BLOCK)
                self._cache.write(data)
                self._blocks.update(part)
        self._cache.seek(start)
        return self._cache.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position, relative to the start (0), the position (1) or the end (2); return it."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at


Source: TypeAlias = Path | Remote
"""A file from which a video is read."""


@contextmanager
def reachable(path: AnyPath) -> Iterator[Source]:
    """Open a video as a source that can be read several times without fetching anything twice.

    Args:
        path: of the video, local or remote.

    Yields:
        The path itself where it is local, else the remote file.

    Raises:
        OSError: the remote file cannot be reached, which says nothing about the video.
    """
    if isinstance(path, Path):
        yield path
        return
    with ExitStack() as stack:
        try:
            with reaching(path):
                file = stack.enter_context(path.open("rb", cache_type="none"))
            remote = Remote(file, stack.enter_context(tempfile.TemporaryFile()))
        except Exception as error:
            raise outage(path, error) from error
        try:
            yield remote
        finally:
            if remote.failure is not None:
                raise outage(path, remote.failure) from remote.failure


def outage(path: AnyPath, error: Exception) -> OSError:
    """Make an OSError of any error of a file system, without its text, which may quote an address with a key."""
    if isinstance(error, ServerError):  # its text is ours
        return error
    known = (FileNotFoundError, PermissionError)
    kind = next((kind for kind in known if isinstance(error, kind)), ConnectionError)
    return kind(f"{path} could not be read: {type(error).__name__}")
