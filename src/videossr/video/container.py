"""Containers: open a video file, read its streams, orientation and shape, and the declared times of its frames.

`videossr.video.decoding` and its neighbours read files only through this module.
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

from videossr.storage import limits
from videossr.video.bitstream import reader_of
from videossr.video.crop import WHOLE, Edges
from videossr.video.gop import DecodeCost, PacketRow, Packets, analyze_packets
from videossr.video.nal import START, PacketInfo
from videossr.video.plan import FrameChoice, RejectedError, Timeline
from videossr.video.remote import Remote, Source
from videossr.video.sample_table import check_declared

_TABLED = {"avc1", "hvc1", "vp09", "av01"}
"""Codec tags in mp4 and mov whose packets must not change the parameters that the container stores for the stream."""

_TRUSTED = {"mov", "mp4", "matroska", "webm"}
"""Containers whose packets carry true presentation times. Files of AVI, TS, PS and FLV are decoded to find them."""

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
    """Facts about a source file that the corpus stores; reading its frames needs none of them.

    Attributes:
        container: short name of the format, e.g. ``mov`` or ``matroska``.
        codec: name of the codec, e.g. ``h264``.
        pix_fmt: ffmpeg's name of the format of the decoded pixels, e.g. ``yuv420p10le``.
        transfer: ffmpeg's name of the curve from light to values, e.g. ``bt709`` or ``smpte2084``.
        width: of the decoded picture, in its own pixels, before it is cropped and turned.
        height: of the same picture.
        crop: pixels of that picture that are hidden at its left, top, right and bottom edge.
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
        """Degrees by which the picture is turned counter-clockwise: 0, 90, 180 or 270."""
        return 90 * self.turn

    @property
    def display(self) -> tuple[int, int]:
        """(width, height) of the picture in square pixels, as a player shows it."""
        left, top, right, bottom = self.crop
        width = max(1, round((self.width - left - right) * self.aspect))
        height = self.height - top - bottom
        return (height, width) if self.turn % 2 else (width, height)


_LOCAL_FILE = {
    "protocol_whitelist": "file",
    "format_whitelist": "asf,av1,avi,dv,flv,gif,h264,hevc,ivf,live_flv,m4v,matroska,webm,mjpeg,mov,mp4,m4a,3gp,3g2,mj2,"
    "mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,swf,vob,wtv,yuv4mpegpipe",
    "max_pixels": str(limits.PICTURE_PIXELS),
}
"""Options that keep ffmpeg to one file, whose hash identifies the video: it opens no addresses and no playlists.

Decoders refuse larger pictures before they reserve memory for them.
"""


@contextmanager
def open_video(source: Source) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its best video stream for an exact decode in one thread.

    Args:
        source: a local file, or a remote one, which is read from its start.

    Yields:
        The container and the stream; packets of all other streams are dropped.

    Raises:
        RejectedError: ``unreadable``, ``no_video``, ``unsupported`` or ``damaged``.
    """
    if isinstance(source, Remote):
        source.seek(0)
    file = f"file:{source.absolute()}" if isinstance(source, Path) else source
    try:
        check_declared(source)
        container = av.open(file, "r", metadata_errors="replace", options=_LOCAL_FILE)
    except (FFmpegError, OSError, ValueError) as error:
        raise RejectedError("unreadable", f"ffmpeg cannot open it: {_error_text(error)}") from error
    with container:
        stream = _best(container)
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        if stream.codec_context is None:
            raise RejectedError("unsupported", "there is no decoder for its codec")
        context = stream.codec_context
        if excess := limits.picture_excess(context.height, context.width):
            raise RejectedError("unsupported", excess, context.width * context.height, limits.PICTURE_PIXELS)
        context.thread_type = "NONE"
        context.thread_count = 1
        # The decoder hands the number of a packet on to its frame: damage is then known frame by frame.
        context.copy_opaque = True
        # Verify checksums where a stream carries them.
        context.options = {
            **context.options,
            "err_detect": "crccheck",
            "max_pixels": str(limits.PICTURE_PIXELS),
        }
        yield container, stream


def _best(container: InputContainer) -> VideoStream:
    """Choose the video stream that ffmpeg prefers, but no cover picture."""
    best = container.streams.best("video")
    videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not videos:
        raise RejectedError("no_video", f"streams: {', '.join(stream.type for stream in container.streams) or 'none'}")
    return next((stream for stream in videos if best is not None and stream.index == best.index), videos[0])


def _error_text(error: BaseException) -> str:
    """Return the text of an error without the path, so that records do not depend on where the files lie."""
    return str(getattr(error, "strerror", None) or type(error).__name__)


def facts_of(container: InputContainer, stream: VideoStream, frame: VideoFrame, crop: Edges = WHOLE) -> StreamFacts:
    """Collect the facts about a file.

    Args:
        container: the open file.
        stream: its video stream.
        frame: a decoded frame, which gives format, shape and orientation.
        crop: hidden edges of the picture, see `videossr.video.crop.crop_of`.

    Raises:
        RejectedError: ``unsupported``: the picture is turned by another angle than a multiple of 90 degrees.
    """
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
    """Read from the display matrix the turns by 90 degrees counter-clockwise, and whether it mirrors before."""
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

    PyAV finds the object by its identity, which equal integers may share, so each packet gets an object of its own.
    """

    number: int


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield the stream's packets up to its end, or to the position from which on the file cannot be read.

    Packets without data are left out, because a decoder takes one for the end of the stream.
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
    """The frames and times that a container declares, before one frame is decoded.

    Attributes:
        timeline: when the frames are shown if every packet gives one.
        packets: the packets and what each needs; None where only a decode from the start is known to be exact.
        numbers: for each frame of the timeline, the number of its packet in decode order; empty without `packets`.
    """

    timeline: Timeline
    packets: Packets | None
    numbers: tuple[int, ...]

    @property
    def costs(self) -> tuple[DecodeCost, ...] | None:
        """Return how much must be decoded for each frame of the timeline; None without `packets`."""
        packets = self.packets
        return None if packets is None else tuple(packets.cost(number) for number in self.numbers)

    def all_starts(self, choice: FrameChoice) -> bool:
        """Return whether each frame of a choice can be decoded alone."""
        packets = self.packets
        return packets is not None and all(packets.cost(self.numbers[k]) == DecodeCost.START for k in choice.frames)


PacketParser: TypeAlias = "Callable[[Packet[VideoStream]], PacketInfo | None]"


def declared_timeline(container: InputContainer, stream: VideoStream) -> DeclaredTimeline | None:
    """Read the times of all frames from the packets. The whole file is read, and nothing is decoded.

    Packets that an edit list hides do not count.

    Returns:
        The timeline; None where the container cannot be trusted for it.
    """
    if _TRUSTED.isdisjoint(container.format.name.split(",")):
        return None
    return _read_timeline(container, stream, packet_parser(stream))


def timeline_from_index(source: Remote) -> DeclaredTimeline | None:
    """Read the times of all frames without fetching the packets, from a container with one table of all of them.

    The packets' own bytes are not known then: every key frame is taken for a start, and no picture for one that can be
    left out. The decode must confirm it, see `videossr.video.seeking.frames_by_groups`.

    Returns:
        The timeline; None where the container has no such table.

    Raises:
        RejectedError: the file cannot be opened, see `open_video`.
    """
    with open_video(source) as (container, stream):
        if stream.codec_tag not in _TABLED or stream.frames != len(stream.index_entries):
            return None
        keys = {(entry.pos, entry.size) for entry in stream.index_entries if entry.is_keyframe}

        def parse(packet: Packet[VideoStream]) -> PacketInfo | None:
            if _changes_extradata(packet):
                return None
            packet.is_keyframe = (packet.pos, packet.size) in keys  # not as ffmpeg finds it in the missing bytes
            return START if packet.is_keyframe else PacketInfo(start=False, leads=True)

        source.blank = True
        try:
            return _read_timeline(container, stream, parse)
        finally:
            source.blank = False


def packet_parser(stream: VideoStream) -> PacketParser:
    """Make the parser of a stream's packets; it returns None for a packet that it does not understand."""
    context = stream.codec_context
    read = reader_of(context.codec.canonical_name, context.extradata)
    return lambda packet: None if read is None or _changes_extradata(packet) else read(bytes(packet))


def _changes_extradata(packet: Packet[VideoStream]) -> bool:
    """Return whether the data that the container stores once for the stream changes with this packet."""
    return next(packet.iter_sidedata(), None) is not None and packet.has_sidedata("new_extradata")


def _read_timeline(container: InputContainer, stream: VideoStream, parse: PacketParser) -> DeclaredTimeline | None:
    """Read all packets of a stream; None where one has no time of its own or is corrupt."""
    shown: dict[int, int] = {}
    numbers: dict[int, int] = {}
    rows: list[PacketRow] = []
    understood = True
    for packet in packets_of(container, stream):
        hidden = packet.is_discard
        if not hidden:
            if packet.pts is None or packet.pts in shown or packet.is_corrupt:
                return None
            if len(shown) == limits.VIDEO_FRAMES:
                raise too_many_frames()
            shown[packet.pts] = packet.duration or 0
            numbers[packet.pts] = len(rows)
        info = parse(packet) if understood else None
        if info is None or packet.pts is None or packet.pos is None:
            understood = False
        else:
            rows.append(PacketRow(packet.pts, packet.pos, packet.size, packet.is_keyframe, hidden, info))
    if not shown:
        return None
    timeline = timeline_of(stream, shown)
    if stream.codec_context.has_b_frames and all(now.time < after.time for now, after in pairwise(rows)):
        understood = False  # pictures are reordered, which the times do not show: the times are in doubt
    packets = analyze_packets(rows) if understood else None
    return DeclaredTimeline(
        timeline, packets, tuple(numbers[time] for time in timeline.times) if packets is not None else ()
    )


def too_many_frames() -> RejectedError:
    """Make the rejection of a video that has more frames than are held."""
    frames = limits.VIDEO_FRAMES + 1
    return RejectedError(
        "unsupported", limits.exceeds("frames or more", frames, "VIDEO_FRAMES"), frames, limits.VIDEO_FRAMES
    )


def timeline_of(stream: VideoStream, shown: dict[int, int]) -> Timeline:
    """Make a timeline of the times and durations of all frames.

    Args:
        stream: the video stream, which gives the time base.
        shown: time of each frame -> its duration, in ticks; not empty. A last frame without a duration lasts as long
            as the one before it.
    """
    assert stream.time_base is not None
    times = sorted(shown)
    last_duration = shown[times[-1]]
    if last_duration <= 0:
        rate = stream.guessed_rate or Fraction(25)
        last_duration = times[-1] - times[-2] if len(times) > 1 else round(1 / (rate * stream.time_base))
    return Timeline(tuple(times), times[-1] + max(1, last_duration), stream.time_base)
