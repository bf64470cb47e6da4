"""Which packets must be decoded for the frames that are wanted. Pure: no file is opened here.

Packets are numbered in decode order. A picture *needs* a start: a packet from which on everything that it depends on
is decoded. Exercised by `videossr index DIR --out CORPUS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from videossr.video.nal import PacketInfo


class PacketRow(NamedTuple):
    """What one demuxing pass tells of a packet.

    Attributes:
        time: when its picture is shown, in ticks.
        place: byte at which it lies in the file; with `time` and `size` it is recognized after a seek.
        size: in bytes.
        key: whether the container says that a decode can start here.
        hidden: whether an edit list keeps its picture from being shown.
        info: what its own bytes say.
    """

    time: int
    place: int
    size: int
    key: bool
    hidden: bool
    info: PacketInfo


class DecodeCost(IntEnum):
    """What it takes to decode a picture, in the order in which the plan ``snap`` prefers them."""

    START = 0
    REFERENCE = 1
    SPARE = 2


@dataclass(frozen=True, slots=True)
class Group:
    """Packets to feed one after the other into a fresh decoder.

    Attributes:
        start: the first of them, at which a decode can start.
        last: the last of them.
        skipped: those between that are left out.
    """

    start: int
    last: int
    skipped: frozenset[int]


@dataclass(frozen=True, slots=True)
class Packets:
    """All packets of a video, in decode order.

    Attributes:
        rows: one for each packet.
        needs: for each packet, the start that its picture needs.
        spare: for each packet, whether nothing refers to its picture.
    """

    rows: tuple[PacketRow, ...]
    needs: tuple[int, ...]
    spare: tuple[bool, ...]

    def cost(self, number: int) -> DecodeCost:
        """What it takes to decode the picture of one packet."""
        if self.needs[number] == number:
            return DecodeCost.START
        return DecodeCost.SPARE if self.spare[number] else DecodeCost.REFERENCE

    def groups(self, wanted: Collection[int]) -> list[Group]:
        """What to decode for the pictures of the packets `wanted`."""
        return grouped(self.needs, self.spare, wanted)


def analyze_packets(rows: Sequence[PacketRow]) -> Packets | None:
    """Work out what each packet needs; None where a picture that is to be shown needs more than the file holds.

    A start is a packet of which both the container and its own bytes say so. A leading picture comes after a start in
    decode order but is shown before it, and may refer to the group before; everything else needs its own start only.
    """
    top = max((row.info.top for row in rows), default=0)
    needs: list[int] = []
    before = start = -1
    for number, row in enumerate(rows):
        if row.key and row.info.start:
            before, start = start, number
        need = before if row.info.leads and start >= 0 and row.time < rows[start].time else start
        if need < 0 and not row.hidden:
            return None
        needs.append(need)
    spare = tuple(row.info.layer == top for row in rows)
    marks = {(row.time, row.place, row.size) for row in rows}
    return Packets(tuple(rows), tuple(needs), spare) if len(marks) == len(rows) else None


def grouped(needs: Sequence[int], spare: Sequence[bool], wanted: Iterable[int]) -> list[Group]:
    """The fewest packets that give the wanted pictures, as groups in decode order that do not overlap.

    Groups between which nothing would be left out are one. In a group, pictures that nobody wants are skipped where
    nothing refers to them, and where they need more than the group holds.
    """
    kept = set(wanted)
    spans: list[tuple[int, int]] = []
    for start, number in sorted((needs[number], number) for number in kept):
        if spans and (start <= spans[-1][1] or all(spare[spans[-1][1] + 1 : start])):
            spans[-1] = (spans[-1][0], max(number, spans[-1][1]))
        else:
            spans.append((start, number))
    return [
        Group(
            first,
            last,
            frozenset(n for n in range(first, last + 1) if n not in kept and (spare[n] or needs[n] < first)),
        )
        for first, last in spans
    ]
