"""The samples that an mp4 or mov file declares, against its bytes: ffmpeg reserves memory for each when it opens one.

`videossr.video.container` asks before it opens a file.
"""

from __future__ import annotations

from collections.abc import Iterator

from videossr.video.crop import BinaryFile, boxes, opened, read_at
from videossr.video.plan import RejectedError
from videossr.video.remote import Remote, Source

_SPARE = 1 << 20
_RATIO = 64
"""Samples of one size that a file may declare: so many, and so many more for each of its bytes.

Old sound tracks declare a sample of one byte for each that is played, of which a codec packs some twenty into a byte.
"""


def check_declared(source: Source) -> None:
    """Refuse a file whose tables declare more samples of one size than it has room for.

    Samples with sizes of their own take four bytes each of the file, so that they cannot be many. Tables may also be
    compressed, as QuickTime wrote them in the nineties; such files are refused as well.

    Raises:
        RejectedError: ``damaged`` or ``unsupported``.
    """
    with opened(source) as (file, end):
        if next(boxes(file, 0, end, b"moov", b"cmov"), None):
            raise RejectedError("unsupported", "its tables are compressed (cmov): write it anew with ffmpeg -c copy")
        count = sum(_declared(file, end, fragments=not isinstance(source, Remote)))
        most = _SPARE + _RATIO * end
        if count > most:
            raise RejectedError("damaged", f"it declares {count} samples in {end} bytes", count, most)


def _declared(file: BinaryFile, end: int, *, fragments: bool) -> Iterator[int]:
    """Yield the numbers of samples without sizes of their own; those of fragments lie anywhere in the file."""
    for _, start, stop in boxes(file, 0, end, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz"):
        table = read_at(file, start, min(12, stop - start))
        if len(table) == 12 and any(table[4:8]):
            yield int.from_bytes(table[8:12])
    if not fragments:
        return
    for _, start, stop in boxes(file, 0, end, b"moof", b"traf", b"trun"):
        run = read_at(file, start, min(8, stop - start))
        if len(run) == 8 and not int.from_bytes(run[1:4]) & _OF_EACH:
            yield int.from_bytes(run[4:8])


_OF_EACH = 0xF00
"""Flags of a `trun` box that say that each of its samples has a number of its own."""
