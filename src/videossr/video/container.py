"""What a video file says of itself: streams, turn, shape, and when its frames are shown.

Exercised by `videossr index DIR --out CORPUS`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias, cast

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import SideDataContainer
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from videossr.video.bitstream import reader_of
from videossr.video.crop import WHOLE, Edges
from videossr.video.gop import DecodeCost, PacketRow, Packets, analyze_packets
from videossr.video.nal import START, PacketInfo
from videossr.video.plan import FrameChoice, RejectedError, Timeline
from videossr.video.remote import Remote, Source

_TABLED = {"avc1", "hvc1", "vp09", "av01"}
"""Kinds of streams in mp4 and mov of which no packet may change what the container says once for all of them."""

_TRUSTED = {"mov", "mp4", "matroska", "webm"}
"""Containers whose packets carry true presentation times. AVI, TS, PS and FLV are decoded to learn theirs."""

_TRANSFERS = {
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}
"""AVColorTransferCharacteristic -> ffmpeg's name."""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What is stored about a source file; nothing of it is needed to read its frames.

    Attributes:
        container: short name of the format, e.g. ``mov`` or ``matroska``.
        codec: name of the codec, e.g. ``h264``.
        pix_fmt: ffmpeg's name of the decoded pixels, e.g. ``yuv420p10le``.
        transfer: ffmpeg's name of the curve from light to values, e.g. ``bt709`` or ``smpte2084``.
        width, height: of the decoded picture, in its own pixels, before it is cropped and turned.
        crop: pixels of that picture that are not shown at its left, top, right and bottom edge.
        aspect: width of one of these pixels over its height.
        turn: how often the picture is turned by 90 degrees counter-clockwise, after `mirrored`.
        mirrored: whether the picture is mirrored left to right before it is turned.
    """

    container: str
    codec: str
    pix_fmt: str
    transfer: str
    width: int
    height: int
    crop: Edges
    aspect: Fraction
    turn: int
    mirrored: bool

    @property
    def rotation(self) -> int:
        """Degrees counter-clockwise: 0, 90, 180 or 270."""
        return 90 * self.turn

    @property
    def display(self) -> tuple[int, int]:
        """(width, height) in square pixels, as a player shows it."""
        left, top, right, bottom = self.crop
        width, height = max(1, round((self.width - left - right) * self.aspect)), self.height - top - bottom
        return (height, width) if self.turn % 2 else (width, height)


_ALONE = {
    "protocol_whitelist": "file",
    "format_whitelist": "asf,av1,avi,dv,flv,gif,h264,hevc,ivf,live_flv,m4v,matroska,webm,mjpeg,mov,mp4,m4a,3gp,3g2,mj2,"
    "mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,swf,vob,wtv,yuv4mpegpipe",
}
"""A video is one file, and its hash stands for it: no name is taken for an address, no list of files is followed."""


@contextmanager
def open_video(source: Source) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its best video stream, ready for an exact decode in one thread.

    Raises RejectedError ``unreadable``, ``no_video`` or ``unsupported``.
    """
    if isinstance(source, Remote):
        source.seek(0)
    file = f"file:{source.absolute()}" if isinstance(source, Path) else source
    try:
        container = av.open(file, "r", metadata_errors="replace", options=_ALONE)
    except (FFmpegError, OSError, ValueError) as error:
        raise RejectedError("unreadable", f"ffmpeg cannot open it: {_plain(error)}") from error
    with container:
        stream = _best(container)
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        if stream.codec_context is None:
            raise RejectedError("unsupported", "there is no decoder for its codec")
        context = stream.codec_context
        context.thread_type = "NONE"
        context.thread_count = 1
        # The decoder hands the number of a packet on to its frame: damage is then known frame by frame.
        context.copy_opaque = True
        # Check sums are looked at where a stream carries them.
        context.options = {**context.options, "err_detect": "crccheck"}
        yield container, stream


def _best(container: InputContainer) -> VideoStream:
    best = container.streams.best("video")
    videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not videos:
        raise RejectedError("no_video", f"streams: {', '.join(stream.type for stream in container.streams) or 'none'}")
    return next((stream for stream in videos if best is not None and stream.index == best.index), videos[0])


def _plain(error: BaseException) -> str:
    """The text of an error without the path in it: a record must not depend on where the files lie."""
    return str(getattr(error, "strerror", None) or type(error).__name__)


def facts_of(container: InputContainer, stream: VideoStream, frame: VideoFrame, crop: Edges = WHOLE) -> StreamFacts:
    """The facts, with shape and turn taken from a decoded frame. Raises RejectedError ``unsupported``."""
    turn, mirrored = _orientation(frame)
    aspect = stream.sample_aspect_ratio
    return StreamFacts(
        container=container.format.name.split(",")[0],
        codec=stream.codec_context.codec.canonical_name,
        pix_fmt=frame.format.name,
        transfer=_TRANSFERS.get(frame.color_trc, "unknown"),
        width=frame.width,
        height=frame.height,
        crop=crop,
        aspect=aspect if aspect is not None and aspect > 0 else Fraction(1),
        turn=turn,
        mirrored=mirrored,
    )


def _orientation(frame: VideoFrame) -> tuple[int, bool]:
    """(turns by 90 degrees counter-clockwise, mirrored first) of the display matrix."""
    try:
        side_data = cast(SideDataContainer, frame.side_data)
        matrix = struct.unpack("=9i", bytes(side_data["DISPLAYMATRIX"])[:36])
    except KeyError:
        return 0, False
    a, b, _, c, d = matrix[:5]
    turns = {(1, 0, 0, 1): 0, (0, -1, 1, 0): 1, (-1, 0, 0, -1): 2, (0, 1, -1, 0): 3}
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    scale = max(map(abs, (a, b, c, d)))
    signs = tuple(0 if abs(x) * 1000 < scale else (x > 0) - (x < 0) for x in (a, b, c, d))
    if scale == 0 or signs not in turns:
        raise RejectedError("unsupported", f"its display matrix {(a, b, c, d)} is no multiple of 90 degrees")
    return turns[signs], mirrored


@dataclass(frozen=True, slots=True, eq=False)
class PacketTag:
    """The number of a packet, which the decoder hands on to its frame.

    PyAV knows what it hands on by its identity, and equal whole numbers may share theirs: each packet has its own.
    """

    number: int


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The stream's packets up to its end, or to the place from which on the file cannot be read.

    Packets without data are left out: a decoder would take one for the end of the stream.
    """
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, FFmpegError):
            return
        if packet.size:
            yield packet


@dataclass(frozen=True, slots=True)
class DeclaredTimeline:
    """What a container says of its frames before one is decoded.

    Attributes:
        timeline: when they are shown if every packet gives one.
        packets: what each frame needs; None where only a decode from the start is known to be exact.
        numbers: for each frame of the timeline, the number of its packet in decode order; empty without `packets`.
    """

    timeline: Timeline
    packets: Packets | None
    numbers: tuple[int, ...]

    @property
    def costs(self) -> tuple[DecodeCost, ...] | None:
        """For each frame of the timeline, what it takes to decode it."""
        packets = self.packets
        return None if packets is None else tuple(packets.cost(number) for number in self.numbers)

    def all_starts(self, choice: FrameChoice) -> bool:
        """Whether each frame of a choice can be decoded alone."""
        packets = self.packets
        return packets is not None and all(packets.cost(self.numbers[k]) == DecodeCost.START for k in choice.frames)


PacketParser: TypeAlias = "Callable[[Packet[VideoStream]], PacketInfo | None]"


def declared_timeline(container: InputContainer, stream: VideoStream) -> DeclaredTimeline | None:
    """When the frames are shown, or None where the container cannot be trusted for that.

    Packets that an edit list hides do not count. Reads the whole file, decodes nothing.
    """
    if _TRUSTED.isdisjoint(container.format.name.split(",")):
        return None
    return _promise(container, stream, packet_parser(stream))


def timeline_from_index(source: Remote) -> DeclaredTimeline | None:
    """The same without fetching the packets, where the container has one table of all of them; else None.

    What the packets say of themselves is not known then: every key frame is taken for a start, and no picture for one
    that can be left out. Whoever decodes must confirm it, see `frames_by_groups`.
    """
    with open_video(source) as (container, stream):
        if stream.codec_tag not in _TABLED or stream.frames != len(stream.index_entries):
            return None
        keys = {(entry.pos, entry.size) for entry in stream.index_entries if entry.is_keyframe}

        def look_at(packet: Packet[VideoStream]) -> PacketInfo | None:
            if _changes(packet):
                return None
            packet.is_keyframe = (packet.pos, packet.size) in keys  # not as ffmpeg finds it in the missing bytes
            return START if packet.is_keyframe else PacketInfo(start=False, leads=True)

        source.blank = True
        try:
            return _promise(container, stream, look_at)
        finally:
            source.blank = False


def packet_parser(stream: VideoStream) -> PacketParser:
    """What tells of a stream's packets what they are; it gives None where that is not understood."""
    context = stream.codec_context
    read = reader_of(context.codec.canonical_name, context.extradata)
    return lambda packet: None if read is None or _changes(packet) else read(bytes(packet))


def _changes(packet: Packet[VideoStream]) -> bool:
    """Whether what the container stores once for the stream changes with this packet."""
    return next(packet.iter_sidedata(), None) is not None and packet.has_sidedata("new_extradata")


def _promise(container: InputContainer, stream: VideoStream, look_at: PacketParser) -> DeclaredTimeline | None:
    shown: dict[int, int] = {}
    numbers: dict[int, int] = {}
    rows: list[PacketRow] = []
    understood = True
    for packet in packets_of(container, stream):
        hidden = packet.is_discard
        if not hidden:
            if packet.pts is None or packet.pts in shown or packet.is_corrupt:
                return None
            shown[packet.pts] = packet.duration or 0
            numbers[packet.pts] = len(rows)
        look = look_at(packet) if understood else None
        if look is None or packet.pts is None or packet.pos is None:
            understood = False
        else:
            rows.append(PacketRow(packet.pts, packet.pos, packet.size, packet.is_keyframe, hidden, look))
    if not shown:
        return None
    timeline = timeline_of(stream, shown)
    if stream.codec_context.has_b_frames and all(now.time < after.time for now, after in pairwise(rows)):
        understood = False  # pictures that change places, in a container that does not say so: its times are in doubt
    packets = analyze_packets(rows) if understood else None
    return DeclaredTimeline(
        timeline, packets, tuple(numbers[time] for time in timeline.times) if packets is not None else ()
    )


def timeline_of(stream: VideoStream, shown: dict[int, int]) -> Timeline:
    """From the time and duration of every frame, in ticks; `shown` is not empty.

    A last frame without a duration lasts as long as the one before it.
    """
    assert stream.time_base is not None
    times = sorted(shown)
    lasts = shown[times[-1]]
    if lasts <= 0:
        rate = stream.guessed_rate or Fraction(25)
        lasts = times[-1] - times[-2] if len(times) > 1 else round(1 / (rate * stream.time_base))
    return Timeline(tuple(times), times[-1] + max(1, lasts), stream.time_base)
