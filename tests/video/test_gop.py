"""Decoding by groups of pictures: which packets are fed, and what is read from the packets of each codec.

Every stream is encoded here and decoded from its start; decoding by groups must give the same planes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossr.video import full_scan, seeking
from videossr.video.bitstream import reader_of
from videossr.video.container import DeclaredTimeline, PacketTag, declared_timeline, open_video
from videossr.video.decoding import pick
from videossr.video.gop import DecodeCost, PacketRow, analyze_packets, grouped
from videossr.video.nal import PLAIN, START, PacketInfo
from videossr.video.plan import Plan

FRAMES = 72


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[PacketRow], list[set[int]]]:
    """Draw packets of some groups of pictures, and for each packet the packets that its picture refers to."""
    rows: list[PacketRow] = []
    refs: list[set[int]] = []

    def add(time: int, look: PacketInfo, wanted: set[int]) -> None:
        rows.append(PacketRow(time, len(rows), 1, look.start, False, look))
        refs.append(wanted)

    def some(of: list[int]) -> set[int]:
        return set(draw(st.lists(st.sampled_from(of), max_size=3))) if of else set()

    last_references: list[int] = []
    for group in range(draw(st.integers(1, 5))):
        references = [len(rows)]
        leading = draw(st.integers(0, 3)) if group else 0
        add(100 * group + 50, START, set())
        for k in range(leading):
            spare = draw(st.booleans())
            add(
                100 * group + 40 + k,
                PacketInfo(False, leads=True, layer=0 if spare else -1),
                some(last_references + references),
            )
            if not spare:
                last_references = [*last_references, len(rows) - 1]
        for k in range(draw(st.integers(0, 6))):
            spare = draw(st.booleans())
            add(100 * group + 60 + k, PacketInfo(False, layer=0 if spare else -1), some(references))
            if not spare:
                references.append(len(rows) - 1)
        last_references = references
    return rows, refs


@given(streams(), st.data())
def test_groups_feed_all_references_of_wanted_pictures_and_little_else(
    stream: tuple[list[PacketRow], list[set[int]]], data: st.DataObject
) -> None:
    rows, refs = stream
    packets = analyze_packets(rows)
    assert packets is not None
    wanted = data.draw(st.sets(st.sampled_from(range(len(rows))), min_size=1))
    groups = packets.groups(wanted)
    covered: set[int] = set()
    for group in groups:
        assert rows[group.start].info.start
        assert group.last in wanted
        fed_numbers = [n for n in range(group.start, group.last + 1) if n not in group.skipped]
        assert fed_numbers[0] == group.start
        for number in fed_numbers:
            assert refs[number] <= set(fed_numbers[: fed_numbers.index(number)]), (
                "all references are fed before the picture"
            )
        covered |= wanted & set(fed_numbers)
        assert not wanted & group.skipped
        assert all(packets.spare[n] or packets.needs[n] < group.start for n in group.skipped)
    assert covered == wanted
    for group, after in pairwise(groups):
        assert group.last < after.start
        assert not all(packets.spare[group.last + 1 : after.start]), (
            "two groups with only spare packets between them should be one"
        )


def test_groups_and_costs_by_hand() -> None:
    """There are two groups, of which the second is open: packet 5 is shown before the start of its group, packet 4."""
    rows = [
        PacketRow(time, number, 1, look.start, False, look)
        for number, (time, look) in enumerate(
            [
                (0, START),
                (30, PLAIN),
                (10, PacketInfo(False, layer=0)),
                (20, PacketInfo(False, layer=0)),
                (60, START),
                (40, PacketInfo(False, leads=True, layer=0)),
                (90, PLAIN),
                (80, PacketInfo(False, layer=0)),
            ]
        )
    ]
    packets = analyze_packets(rows)
    assert packets is not None
    assert [packets.cost(n) for n in (0, 1, 2, 5)] == [
        DecodeCost.START,
        DecodeCost.REFERENCE,
        DecodeCost.SPARE,
        DecodeCost.SPARE,
    ]

    def plan(*wanted: int) -> list[tuple[int, int, set[int]]]:
        return [(group.start, group.last, set(group.skipped)) for group in packets.groups(wanted)]

    assert plan(6) == [(4, 6, {5})]
    assert plan(5) == [(0, 5, {2, 3})]
    assert plan(0, 7) == [(0, 0, set()), (4, 7, {5})]
    assert plan(1, 4) == [(0, 4, {2, 3})]
    assert plan(4, 5) == [(0, 5, {2, 3})]


def test_analyze_packets_refuses_pictures_before_the_first_start() -> None:
    shown = [PacketRow(0, 0, 1, True, False, PLAIN), PacketRow(1, 1, 1, True, False, START)]
    assert analyze_packets(shown) is None
    assert analyze_packets([shown[0]._replace(hidden=True), shown[1]]) is not None
    leading = [shown[1], PacketRow(0, 2, 1, False, False, PacketInfo(False, leads=True))]
    assert analyze_packets(leading) is None
    assert analyze_packets([shown[1], shown[1]]) is None, "packets that cannot be told apart"


def test_analyze_packets_marks_only_the_highest_layer_as_spare() -> None:
    looks = [START, PacketInfo(False, layer=1, top=1), PacketInfo(False, layer=2, top=2), PacketInfo(False, top=2)]
    packets = analyze_packets([PacketRow(n, n, 1, look.start, False, look) for n, look in enumerate(looks)])
    assert packets is not None
    assert packets.spare == (False, False, True, False)
    assert grouped(packets.needs, packets.spare, [3])[0].skipped == {2}


@dataclass
class FedPackets:
    """Numbers of the packets that were fed to a decoder, by groups (`fast`) and from the start (`slow`)."""

    fast: list[int] = field(default_factory=list)
    slow: list[int] = field(default_factory=list)


@pytest.fixture
def fed_packets(monkeypatch: pytest.MonkeyPatch) -> FedPackets:
    record = FedPackets()

    def counting(numbers: list[int]) -> type[PacketTag]:
        class Counted(PacketTag):
            def __init__(self, number: int) -> None:
                numbers.append(number)
                super().__init__(number)

        return Counted

    monkeypatch.setattr(seeking, "PacketTag", counting(record.fast))
    monkeypatch.setattr(full_scan, "PacketTag", counting(record.slow))
    return record


@cache
def pictures() -> list[np.ndarray]:
    """Make pictures of a moving texture, in which noise appears and vanishes."""
    rng = np.random.default_rng(1)
    texture = rng.integers(0, 255, (24, 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    result = []
    for n in range(FRAMES):
        picture = np.ascontiguousarray(np.roll(texture, (3 * n, 5 * n), (0, 1))[:96, :160])
        picture[10:40, 2 * n % 100 :][:, :20] = rng.integers(0, 255, (30, 20, 3))
        result.append(picture)
    return result


def write(path: Path, codec: str, options: dict[str, str], muxer: dict[str, str] | None = None, more: int = 0) -> Path:
    """Encode the pictures; `more` smaller video streams run beside them."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        streams = [cast(av.VideoStream, container.add_stream(codec, rate=25, options=options))]
        streams[0].width, streams[0].height = 160, 96
        for _ in range(more):
            streams.append(container.add_stream("libx264", rate=25))
            streams[-1].width = streams[-1].height = 32
        for stream in streams:
            stream.pix_fmt = "yuv420p"
            stream.codec_context.thread_count = 1
        for time, picture in enumerate(pictures()):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(picture).reformat(stream.width, stream.height, "yuv420p")
                frame.pts, frame.time_base = time, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def planes(frame: av.VideoFrame) -> bytes:
    return frame.to_ndarray().tobytes()


def decode_all(path: Path) -> dict[int | None, bytes]:
    """Decode all frames from the start with PyAV alone, and return them by their times."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        assert isinstance(stream, av.VideoStream)
        return {frame.pts: planes(frame) for frame in container.decode(stream)}


def declared(path: Path) -> DeclaredTimeline:
    with open_video(path) as (container, stream):
        promise = declared_timeline(container, stream)
    assert promise is not None
    return promise


PLANS = [
    Plan(frames=5, margin=0.2, min_step=0.001),
    Plan(frames=2, margin=0.31, min_step=0.001),
    Plan(frames=30, margin=0, min_step=0.001),
    Plan(kind="snap", frames=6, min_step=0.001),
    Plan(kind="fps", frames=9, fps=2),
]


def check_frames_of_all_plans(path: Path) -> None:
    """Check that every plan gives the frames of a full decode."""
    frames = decode_all(path)
    for plan in PLANS:
        _, timeline, choice, pictures_by_time = pick(path, plan, lambda _, frame: (frame.pts, planes(frame)))
        assert timeline.times == tuple(sorted(time for time in frames if time is not None))
        assert [time for time, _ in pictures_by_time] == [timeline.times[k] for k in dict.fromkeys(choice.frames)]
        assert all(picture == frames[time] for time, picture in pictures_by_time)


X = "keyint=24:min-keyint=24:scenecut=0:bframes=3"
X265 = X + ":log-level=none:pools=1:frame-threads=1"

BY_GROUPS: dict[str, tuple[str, dict[str, str], int, int]] = {
    # name: codec, options, number of starts, least number of packets that nothing refers to
    "pyramid.mp4": ("libx264", {"x264-params": X + ":b-pyramid=normal"}, 3, 20),
    "pyramid.mkv": ("libx264", {"x264-params": X + ":b-pyramid=normal"}, 3, 20),
    "slices.mov": ("libx264", {"x264-params": X + ":slices=4"}, 3, 20),
    "open.mp4": ("libx264", {"x264-params": X + ":open-gop=1"}, 1, 20),
    "open.mkv": ("libx264", {"x264-params": X + ":open-gop=1"}, 1, 20),
    "refresh.mp4": ("libx264", {"x264-params": "intra-refresh=1:keyint=24:bframes=0"}, 1, 0),
    "single.mp4": ("libx264", {"x264-params": "keyint=infinite:scenecut=0"}, 1, 20),
    "open_hevc.mp4": ("libx265", {"x265-params": X265 + ":open-gop=1"}, 3, 20),
    "open_hevc.mkv": ("libx265", {"x265-params": X265 + ":open-gop=1"}, 3, 20),
    "radl.mp4": ("libx265", {"x265-params": X265 + ":open-gop=0:radl=2"}, 3, 20),
    "layers.mp4": ("libx265", {"x265-params": X265 + ":open-gop=1:temporal-layers=3"}, 3, 20),
    "headers.mkv": ("libx265", {"x265-params": X265 + ":open-gop=1:repeat-headers=1"}, 3, 20),
    "vp9.webm": ("libvpx-vp9", {"g": "24", "cpu-used": "8", "lag-in-frames": "16", "auto-alt-ref": "1"}, 3, 0),
    "vp8.webm": ("libvpx", {"g": "24", "cpu-used": "8"}, 3, 0),
    "av1.mp4": ("libsvtav1", {"g": "24", "preset": "12"}, 3, 0),
    "av1.mkv": ("libsvtav1", {"g": "24", "preset": "12"}, 3, 0),
    "mpeg4.mp4": ("mpeg4", {"g": "24"}, 3, 0),
    "mpeg2.mkv": ("mpeg2video", {"g": "24", "bf": "2"}, 4, 0),
}


@pytest.mark.parametrize("name", BY_GROUPS)
def test_pick_by_groups_equals_a_full_decode(tmp_path: Path, fed_packets: FedPackets, name: str) -> None:
    codec, options, starts, spare = BY_GROUPS[name]
    path = write(tmp_path / name, codec, options)
    packets = declared(path).packets
    assert packets is not None
    assert len(set(packets.needs)) == starts
    assert sum(packets.spare) >= spare
    check_frames_of_all_plans(path)
    assert fed_packets.slow == []
    fed_packets.fast.clear()
    pick(path, PLANS[1], lambda _, frame: frame.pts)
    last = FRAMES * 2 // 3 + 4
    assert len(fed_packets.fast) < last - (spare > 0) * 10 - (starts > 1) * 10, "more was decoded than needed"


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("fields.mp4", "libx264", {"x264-params": X + ":interlaced=1"}),
        ("between.mp4", "mpeg4", {"g": "24", "bf": "2"}),
        ("ours.avi", "libx264", {"x264-params": X + ":bframes=0"}),
        ("ours.ts", "libx264", {"x264-params": X}),
        ("ours.flv", "libx264", {"x264-params": X}),
        ("lossless.mkv", "ffv1", {}),
    ],
)
def test_pick_decodes_other_streams_from_their_start(
    tmp_path: Path, fed_packets: FedPackets, name: str, codec: str, options: dict[str, str]
) -> None:
    path = write(tmp_path / name, codec, options)
    frames = decode_all(path)
    _, timeline, choice, pictures_by_time = pick(path, PLANS[0], lambda _, frame: (frame.pts, planes(frame)))
    assert [time for time, _ in pictures_by_time] == [timeline.times[k] for k in choice.frames]
    assert all(picture == frames[time] for time, picture in pictures_by_time)
    assert fed_packets.slow
    assert not fed_packets.fast


def test_pick_by_groups_with_fragments_and_several_streams(tmp_path: Path, fed_packets: FedPackets) -> None:
    options = {"x264-params": X}
    check_frames_of_all_plans(
        write(tmp_path / "fragments.mp4", "libx264", options, {"movflags": "frag_keyframe+empty_moov"})
    )
    check_frames_of_all_plans(write(tmp_path / "second.mp4", "libx264", options, more=1))
    assert not fed_packets.slow


def remux(source: Path, target: Path, change: Callable[[int, av.Packet[av.VideoStream]], None]) -> Path:
    """Copy the packets of a video, changed one by one."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in container.demux(stream) if p.size):
            change(number, packet)
            packet.stream = copy
            out.mux(packet)
    return target


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_pick_by_groups_with_wrong_key_flags(tmp_path: Path, fed_packets: FedPackets, ending: str) -> None:
    """Key flags are on every packet, or on the first alone; decoding starts only where flags and bytes agree."""
    path = write(tmp_path / "plain.mp4", "libx264", {"x264-params": X + ":open-gop=1"})
    closed = write(tmp_path / "closed.mp4", "libx264", {"x264-params": X})

    def all_keys(_: int, packet: av.Packet[av.VideoStream]) -> None:
        packet.is_keyframe = True

    def one_key(number: int, packet: av.Packet[av.VideoStream]) -> None:
        packet.is_keyframe = number == 0

    check_frames_of_all_plans(remux(path, tmp_path / f"all.{ending}", all_keys))
    check_frames_of_all_plans(remux(closed, tmp_path / f"one.{ending}", one_key))
    assert fed_packets.fast
    assert not fed_packets.slow


def test_pick_takes_times_in_packet_order_as_decode_times(tmp_path: Path, fed_packets: FedPackets) -> None:
    """The container lost the display order, so the k-th displayed picture has the k-th time."""
    path = write(tmp_path / "plain.mp4", "libx264", {"x264-params": X})

    def set_decode_times(number: int, packet: av.Packet[av.VideoStream]) -> None:
        packet.pts = packet.dts = 512 * number

    without_order = remux(path, tmp_path / "lost.mp4", set_decode_times)
    results = [pick(file, PLANS[0], lambda _, frame: frame.to_ndarray()) for file in (path, without_order)]
    (_, _, choice, frames), (_, _, choice_without_order, frames_without_order) = results
    assert choice.clock == choice_without_order.clock
    assert len(frames) == len(frames_without_order) == PLANS[0].frames
    assert all(map(np.array_equal, frames, frames_without_order))


def hevc_units(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the units of an HEVC packet start, and their types."""
    at = 0
    while at < len(data):
        yield at + 4, data[at + 4] >> 1 & 63
        at += 4 + int.from_bytes(data[at : at + 4], "big")


def test_pick_falls_back_to_a_full_decode_for_wrong_picture_types(tmp_path: Path, fed_packets: FedPackets) -> None:
    """Leading pictures are marked as trailing ones; decoding by groups then lacks their references."""
    path = write(tmp_path / "open.mp4", "libx265", {"x265-params": X265 + ":open-gop=1"})
    changed = 0

    def mark_as_trailing(_: int, packet: av.Packet[av.VideoStream]) -> None:
        nonlocal changed
        data = bytearray(bytes(packet))
        for place, kind in hevc_units(bytes(data)):
            if kind in (8, 9):
                data[place] = (kind - 8) << 1 | data[place] & 1
                changed += 1
        packet.update(bytes(data))

    wrong_types = remux(path, tmp_path / "lying.mp4", mark_as_trailing)
    assert changed >= 4
    frames = decode_all(path)
    fallbacks = 0
    for count in range(4, 36, 4):
        fed_packets.slow.clear()
        pictures_by_time = pick(
            wrong_types, Plan(frames=count, min_step=0.001), lambda _, frame: (frame.pts, planes(frame))
        )[3]
        assert all(picture == frames[time] for time, picture in pictures_by_time)
        fallbacks += bool(fed_packets.slow)
    assert fallbacks


def test_frames_by_groups_raises_where_packets_do_not_match(tmp_path: Path) -> None:
    path = write(tmp_path / "plain.mp4", "libx264", {"x264-params": X})
    with open_video(path) as (container, stream):
        promise = declared_timeline(container, stream)
        assert promise is not None
        packets = promise.packets
        assert packets is not None
        for changed_rows in (
            [row._replace(position=row.position + 1) for row in packets.rows],
            [row._replace(size=row.size + (number == 30)) for number, row in enumerate(packets.rows)],
            [row._replace(time=row.time + (number == 24)) for number, row in enumerate(packets.rows)],
        ):
            wrong = replace(packets, rows=tuple(changed_rows))
            with pytest.raises(seeking.TimelineMismatchError):
                list(seeking.frames_by_groups(container, stream, wrong, [promise.numbers[40]], []))
        right = list(seeking.frames_by_groups(container, stream, packets, [promise.numbers[40]], []))
    assert [frame.pts for frame in right] == [promise.timeline.times[40]]


def test_reader_of_h264_refuses_changed_parameter_sets(tmp_path: Path) -> None:
    """A parameter set in a packet must be one of those that the container holds."""
    path = write(tmp_path / "plain.mp4", "libx264", {"x264-params": X})
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata
        packet = bytes(next(container.demux(stream)))
    assert extradata is not None
    read = reader_of("h264", extradata)
    assert read is not None
    length = int.from_bytes(extradata[6:8], "big")
    parameter_set = extradata[8 : 8 + length]
    other_parameter_set = parameter_set[:-1] + bytes([parameter_set[-1] ^ 1])
    assert read(packet) == START
    assert read(length.to_bytes(4, "big") + parameter_set + packet) == START
    assert read(length.to_bytes(4, "big") + other_parameter_set + packet) is None
    assert reader_of("h264", extradata[:12]) is None, "cut short"
    assert reader_of("h264", b"\0\0\0\1" + parameter_set) is None, "units with start codes"
    assert reader_of("h264", None) is None
    assert reader_of("theora", None) is None


def test_reader_of_h264_reads_whether_a_picture_is_spare(tmp_path: Path) -> None:
    path = write(tmp_path / "plain.mp4", "libx264", {"x264-params": X})
    with av.open(str(path)) as container:
        read = reader_of("h264", container.streams.video[0].codec_context.extradata)
    assert read is not None

    def unit(head: int) -> bytes:
        return b"\0\0\0\3" + bytes([head, 1, 1])

    spare, reference, idr, note, partition, view = (unit(head) for head in (0x01, 0x41, 0x65, 0x06, 0x02, 0x74))
    assert read(note + spare + spare) == PacketInfo(start=False, layer=0)
    assert read(spare + reference) == PLAIN
    assert read(idr + idr) == START
    for refused in (idr + spare, note, partition, reference + view, reference[:-1], b"\0\0\0\0", b""):
        assert read(refused) is None


def test_reader_of_h264_refuses_film_grain(tmp_path: Path) -> None:
    """Film grain depends on where decoding starts; SEI messages of other types are skipped."""
    path = write(tmp_path / "plain.mp4", "libx264", {"x264-params": X})
    with av.open(str(path)) as container:
        read = reader_of("h264", container.streams.video[0].codec_context.extradata)
    assert read is not None
    picture, other, grain, long = b"\0\0\0\3\x41\1\1", b"\5\2\x13\x13", b"\x13\1\0", b"\5\xff\1" + bytes([19] * 256)
    for notes, refused in ((other, False), (grain, True), (other + grain, True), (long, False), (long + grain, True)):
        unit = b"\6" + notes + b"\x80"
        assert (read(len(unit).to_bytes(4, "big") + unit + picture) is None) == refused


def test_reader_of_mpeg4_refuses_changed_layers() -> None:
    layer, head = b"\0\0\1\x20abc", b"\0\0\1\xb6"
    read = reader_of("mpeg4", b"\0\0\1\xb0x" + layer)
    assert read is not None
    picture = head + bytes(20)
    assert read(picture) == read(layer + picture) == START
    assert read(head + b"\x40" + bytes(20)) == PLAIN
    for refused in (layer[:-1] + b"d" + picture, head + b"\x80" + bytes(20), picture + picture, head + bytes(3), b""):
        assert read(refused) is None


def test_readers_of_vp9_vp8_and_av1_refuse_hidden_frames() -> None:
    vp9, vp8, av1 = (reader_of(codec, None) for codec in ("vp9", "vp8", "av1"))
    assert vp9 is not None
    assert vp8 is not None
    assert av1 is not None
    key, shown, hidden, repeated = b"\x82\x49", b"\x86\x00", b"\x84\x00", b"\x88"

    def several(*frames: bytes) -> bytes:
        marker = bytes([0xC0 | len(frames) - 1])
        return b"".join(frames) + marker + b"".join(bytes([len(frame)]) for frame in frames) + marker

    assert vp9(key) == START
    assert vp9(shown) == vp9(repeated) == vp9(several(hidden, shown)) == PLAIN
    assert vp9(hidden) is None
    assert vp9(several(shown, shown)) is None
    assert vp9(several(key, hidden)) == START
    assert vp8(b"\x11" + bytes(20)) == PLAIN
    assert vp8(b"\x01" + bytes(20)) is None
    sequence, frame = b"\x0a\x01\x00", b"\x32\x01"
    assert av1(sequence + frame + b"\x10") == START
    assert av1(frame + b"\x10") == av1(frame + b"\x30") == av1(frame + b"\x80") == PLAIN
    assert av1(frame + b"\x20") is None
    assert av1(frame + b"\x30" + frame + b"\x30") is None
