"""Standard output and standard error that survive unknown characters and a reader that has gone.

Try `PYTHONIOENCODING=ascii videossr --help | head -1`.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from videossr.untrusted import plain_text

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def prepare_streams() -> None:
    r"""Make standard output and standard error safe to write to, where they are those of the process.

    A character that the encoding lacks is written as an escape such as ``\u2026``. When the reader of a pipe has gone,
    as behind `| head`, the rest of the output is dropped and the work goes on, so that the exit status is that of the
    work. Streams that the caller has replaced, such as those of a test, are left as they are.
    """
    sys.stdout = _prepared(sys.stdout, sys.__stdout__)
    sys.stderr = _prepared(sys.stderr, sys.__stderr__)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _write_traceback


def write_error(message: str) -> None:
    """Write a message of the command on standard error, which may quote names and texts of unknown origin.

    Control characters are escaped. Further lines of a message are indented, so that no part of it passes for another.
    """
    sys.stderr.write(f"videossr: {plain_text(message)}".replace("\n", "\n  ") + "\n")


def _write_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write the traceback of an error that nothing has handled, with the control characters of its texts escaped."""
    sys.stderr.write(plain_text("".join(traceback.format_exception(kind, error, trace))))


def _prepared(stream: TextIO | None, original: TextIO | None) -> TextIO:
    """Return a stream that is safe to write to, in place of one of the process."""
    if stream is None:  # it was closed when the process began
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 (it is open as long as the process)
    if stream is not original or not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    raw = _Output(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Output(io.FileIO):
    """A file descriptor that accepts and drops all output once its reader has gone."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes, and drop them once the reader of a pipe has gone.

        Raises:
            OSError: the bytes cannot be written, as on a full disk. It is raised once; later output is dropped.
        """
        try:
            return super().write(data)
        except OSError as error:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())
            os.close(nothing)
            if isinstance(error, BrokenPipeError):
                return memoryview(data).nbytes
            raise
