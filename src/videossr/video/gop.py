"""Groups of pictures: the packets that must be decoded for the frames that are wanted.

Packets are numbered in decode order. A picture *needs* a start: a packet from which on everything that it depends on
is decoded. The functions are pure; `videossr.video.container` reads the packets, and `videossr.video.seeking` decodes
the groups.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from videossr.video.nal import PacketInfo


class PacketRow(NamedTuple):
    """Facts about a packet that one demuxing pass gives.

    Attributes:
        time: when its picture is shown, in ticks.
        position: of its first byte in the file; with `time` and `size` it identifies the packet after a seek.
        size: in bytes.
        key: whether the container says that a decode can start here.
        hidden: whether an edit list keeps its picture from being shown.
        info: its own bytes, parsed.
    """

    time: int
    position: int
    size: int
    key: bool
    hidden: bool
    info: PacketInfo


class DecodeCost(IntEnum):
    """The decoding work for a picture, in the order in which the plan ``snap`` prefers them."""

    START = 0
    """The picture can be decoded alone."""
    REFERENCE = 1
    """Other pictures refer to it, so that it is decoded for them as well."""
    SPARE = 2
    """No picture refers to it."""


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
        """Return how much must be decoded for the picture of one packet."""
        if self.needs[number] == number:
            return DecodeCost.START
        return DecodeCost.SPARE if self.spare[number] else DecodeCost.REFERENCE

    def groups(self, wanted: Collection[int]) -> list[Group]:
        """Find what to decode for the pictures of the packets `wanted`, see `grouped`."""
        return grouped(self.needs, self.spare, wanted)


def analyze_packets(rows: Sequence[PacketRow]) -> Packets | None:
    """Find the start that each packet needs.

    A packet is a start if both the container and its own bytes say so. A leading picture comes after a start in decode
    order but is shown before it, and may refer to the group before; every other picture needs its own start only.

    Args:
        rows: all packets, in decode order.

    Returns:
        The packets; None where a picture that is to be shown needs more than the file holds, or two packets cannot be
        told apart.
    """
    top = max((row.info.top for row in rows), default=0)
    needs: list[int] = []
    before = -1
    start = -1
    for number, row in enumerate(rows):
        if row.key and row.info.start:
            before, start = start, number
        need = before if row.info.leads and start >= 0 and row.time < rows[start].time else start
        if need < 0 and not row.hidden:
            return None
        needs.append(need)
    spare = tuple(row.info.layer == top for row in rows)
    identities = {(row.time, row.position, row.size) for row in rows}
    return Packets(tuple(rows), tuple(needs), spare) if len(identities) == len(rows) else None


def grouped(needs: Sequence[int], spare: Sequence[bool], wanted: Iterable[int]) -> list[Group]:
    """Find the fewest packets that give the wanted pictures.

    Groups between which nothing would be left out are merged. In a group, unwanted pictures are skipped where nothing
    refers to them, and where they need more than the group holds.

    Args:
        needs: for each packet, the start that its picture needs.
        spare: for each packet, whether nothing refers to its picture.
        wanted: numbers of packets.

    Returns:
        Groups in decode order that do not overlap.
    """
    numbers = set(wanted)
    spans: list[tuple[int, int]] = []
    for start, number in sorted((needs[number], number) for number in numbers):
        if spans and (start <= spans[-1][1] or all(spare[spans[-1][1] + 1 : start])):
            spans[-1] = (spans[-1][0], max(number, spans[-1][1]))
        else:
            spans.append((start, number))
    return [
        Group(
            first,
            last,
            frozenset(n for n in range(first, last + 1) if n not in numbers and (spare[n] or needs[n] < first)),
        )
        for first, last in spans
    ]
