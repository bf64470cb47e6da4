"""Decoded frames compared bit for bit with an independent full decode of every test video, and damaged videos."""

from __future__ import annotations

import random
import subprocess
import sys
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import pytest
from av.sidedata.sidedata import SideDataContainer

from videossr.video.decoding import decode, pick
from videossr.video.plan import Plan, RejectedError, Timeline, choose_frames

TABLE = Path(__file__).parents[2] / "docs/results/indexing.md"

DAMAGED = ("corrupt_mid", "corrupted", "trunc_faststart")
"""Damaged videos. Damage after the last wanted frame is not noticed, so declared times may lack their frames."""


def random_plan(rng: random.Random) -> Plan:
    return Plan(
        kind=rng.choices(("uniform", "fps", "snap"), (5, 3, 2))[0],
        frames=rng.randint(2, 60),
        fps=rng.uniform(0.3, 40),
        margin=rng.choice([0.0, 0.05, 0.31]),
        min_step=0.001,
        tolerance=rng.uniform(0, 0.5),
        max_pixels=1024,
    )


def video_names(folder: Path) -> list[str]:
    paths = sorted(str(path.relative_to(folder)) for path in folder.glob("*/*") if path.suffix != ".md")
    assert len(paths) >= 30, f"{folder} has only {len(paths)} videos"
    return paths


def planes(frame: av.VideoFrame) -> tuple[bytes, ...]:
    """Return the bytes of every plane, without the padding at the end of each line."""
    parts = []
    for plane, component in zip(frame.planes, frame.format.components, strict=False):
        line = component.width * ((component.bits + 7) // 8)
        lines = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
        parts.append(lines[: component.height, :line].tobytes())
    return tuple(parts)


@cache
def reference(path: Path) -> tuple[Timeline, list[int]]:
    """Decode all packets in order with a new decoder, and return the times and plane hashes of all frames."""
    shown: dict[int | None, int] = {}
    decoded: list[int] = []
    duration = 0
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        assert isinstance(stream, av.VideoStream)
        assert stream.time_base is not None
        stream.codec_context.thread_type = av.codec.context.ThreadType.NONE
        for packet in container.demux(stream):
            decoded += [packet.dts] if packet.size and packet.dts is not None else []
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                continue
            for frame in frames:
                shown[frame.pts] = hash(planes(frame))
                duration = frame.duration
        times = tuple(time for time in shown if time is not None)
        if path.suffix == ".avi" and list(times) != sorted(times):
            # AVI stores decode times: the k-th displayed picture has the k-th of them.
            assert len(decoded) == len(times)
            times = tuple(decoded)
        assert len(shown) == len(times)
        assert list(times) == sorted(times)
        return Timeline(times, times[-1] + duration, stream.time_base), list(shown.values())


def test_pick_equals_a_full_decode_for_every_video(each_videos: Path) -> None:
    """Each video is compared under five random plans."""
    compared = plans = 0
    for name in video_names(each_videos):
        rng = random.Random(name)
        for _ in range(5):
            compared += count_equal_frames(each_videos / name, random_plan(rng))
            plans += 1
        reference.cache_clear()
    assert plans >= 150
    assert compared > 10 * plans, f"only {compared} frames could be compared"


def count_equal_frames(path: Path, plan: Plan) -> int:
    """Check the frames of a plan against a full decode, and return how many were compared."""
    timeline, hashes = reference(path)
    rejected: RejectedError | None = None
    try:
        _, picked_timeline, choice, picked_hashes = pick(path, plan, lambda _, frame: hash(planes(frame)))
    except RejectedError as error:
        rejected = error
    if rejected is not None and rejected.reason in ("too_short", "still"):
        with pytest.raises(RejectedError):
            choose_frames(timeline, plan)
        return 0
    if rejected is not None:
        assert rejected.reason == "damaged"
        assert path.stem in DAMAGED
        return 0
    if path.stem not in DAMAGED:
        assert picked_timeline == timeline, path
    if plan.kind == "snap":
        assert choice.frames == tuple(picked_timeline.at(offset) for offset in choice.offsets())
    else:
        assert choice == choose_frames(picked_timeline, plan)
    hash_at = dict(zip(timeline.times, hashes, strict=True))
    assert picked_hashes == [hash_at[picked_timeline.times[frame]] for frame in dict.fromkeys(choice.frames)], path
    return len(picked_hashes)


def test_decode_of_every_odd_file_has_the_documented_outcome(shared_videos: Path) -> None:
    rows = []
    for path in sorted((shared_videos / "edge").iterdir()):
        try:
            decoded = decode(path, Plan())
        except RejectedError as error:
            rows.append(f"| {path.name} | {error.reason} | {error.detail} |")
            continue
        facts, timeline = decoded.facts, decoded.timeline
        rows.append(
            f"| {path.name} | accepted | {facts.codec} {facts.pix_fmt} {facts.width}x{facts.height} in "
            f"{facts.container}, {len(timeline.times)} frames in {float(timeline.seconds):.3f} s, kept at "
            f"{decoded.frames.shape[2]}x{decoded.frames.shape[1]} |"
        )
    documented = [line for line in TABLE.read_text("utf-8").splitlines() if line in rows]
    assert documented == rows, "the table should be\n" + "\n".join(rows)


def test_decode_rejects_short_clips(videos: Path) -> None:
    with pytest.raises(RejectedError) as raised:
        decode(videos / "edge/short.mp4", Plan())
    assert raised.value.reason == "too_short"


@pytest.mark.parametrize("name", ["fire.mp4", "gesture_again.mkv"])
def test_decode_rejects_short_clips_of_the_shared_folder(shared_videos: Path, name: str) -> None:
    with pytest.raises(RejectedError) as raised:
        decode(shared_videos / "real" / name, Plan())
    assert raised.value.reason == "too_short"


def test_decode_turns_rotated_videos_upright(each_videos: Path) -> None:
    upright = decode(each_videos / "real/bikes.mp4", Plan(frames=4))
    turned = decode(each_videos / "edge/rot90.mp4", Plan(frames=4))
    assert turned.frames.shape[1:3] == upright.frames.shape[2:0:-1]
    assert np.array_equal(turned.frames, np.rot90(upright.frames, 1, axes=(1, 2)))


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_decode_applies_every_display_matrix(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    """A picture with a bright top left corner is written with a display matrix; the corner is shown where it says."""
    path = tmp_path / "turned.mp4"
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:32, :48] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(degrees, hflip=mirrored)
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        a, b, _, c, d = (
            (
                np.frombuffer(bytes(cast(SideDataContainer, frame.side_data)["DISPLAYMATRIX"]), "=i4")[:5] / 65536
            ).tolist()
            if (degrees or mirrored)
            else (1.0, 0.0, 0.0, 0.0, 1.0)
        )
    shown = decode(path, Plan(kind="fps", frames=2, fps=1)).frames[0]
    # The corner at (-1, -1) from the centre goes to (a x + c y, b x + d y).
    x, y = -a - c, -b - d
    height, width = shown.shape[:2]
    corner = shown[: height // 2] if y < 0 else shown[height // 2 :]
    corner = corner[:, : width // 2] if x < 0 else corner[:, width // 2 :]
    assert (height, width) == ((96, 64) if degrees % 180 else (64, 96))
    assert corner.mean() > 200
    assert shown.mean() < 100


@pytest.mark.parametrize(
    ("matrix", "red", "blue"), [(1, 0.2126, 0.0722), (5, 0.299, 0.114), (2, 0.299, 0.114), (9, 0.2627, 0.0593)]
)
@pytest.mark.parametrize("full", [False, True])
def test_decode_applies_color_matrix_and_range(
    tmp_path: Path, matrix: int, red: float, blue: float, full: bool
) -> None:
    """A flat color, stored losslessly with each matrix and range, is compared with the definition of YCbCr."""
    path = tmp_path / "flat.mkv"
    luma, cb, cr = 120, 90, 170
    frame = av.VideoFrame(64, 64, "yuv420p")
    for plane, value in zip(frame.planes, (luma, cb, cr), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        frame.colorspace = stream.codec_context.colorspace = matrix
        frame.color_range = stream.codec_context.color_range = 2 if full else 1
        for time in range(4):
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    y, u, v = (
        (luma / 255, (cb - 128) / 255, (cr - 128) / 255)
        if full
        else ((luma - 16) / 219, (cb - 128) / 224, (cr - 128) / 224)
    )
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    shown = decode(path, Plan(kind="fps", frames=2, fps=1)).frames[0]
    assert np.abs(shown.reshape(-1, 3) - 255 * np.clip([r, g, b], 0, 1)).max() <= 1.5


def test_decode_rejects_files_that_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video " * 1000)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    for name, reason in (("empty", "unreadable"), ("text", "unreadable"), ("sound", "no_video")):
        with pytest.raises(RejectedError) as raised:
            decode(tmp_path / f"{name}.mp4", Plan())
        assert raised.value.reason == reason
        assert str(tmp_path) not in raised.value.detail


DAMAGE_NOTICED = ["real/bikes.mp4", "edge/full.ts", "edge/mpeg4.avi", "edge/av1.mp4"]
"""Codecs whose decoders notice nearly all damage. VP9's and HEVC's entropy coding takes any bytes for a picture."""


@pytest.mark.parametrize("name", [*DAMAGE_NOTICED, "edge/opengop_hevc.mp4", "edge/vp9.webm"])
def test_pick_gives_right_frames_or_rejects_damaged_files(
    each_videos: Path, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Frames accepted from a cut file, or one with an overwritten block, equal those of the whole file."""
    timeline, hashes = reference(each_videos / name)
    hash_at = dict(zip(timeline.times, hashes, strict=True))
    whole = (each_videos / name).read_bytes()
    rng = random.Random(7)
    wrong = {"cut": 0, "block": 0}
    refused = 0
    path = tmp_path / f"damaged{Path(name).suffix}"
    for kind in ("cut", "block") * 6:
        data = bytearray(whole)
        place = rng.randrange(len(data) // 10, len(data) - 512)
        data[place:] = b"" if kind == "cut" else rng.randbytes(512) + data[place + 512 :]
        path.write_bytes(data)
        try:
            _, picked_timeline, choice, picked_hashes = pick(path, Plan(frames=6), lambda _, frame: hash(planes(frame)))
        except RejectedError:
            refused += 1
            continue
        wrong[kind] += sum(
            hash_at[picked_timeline.times[k]] != value for k, value in zip(choice.frames, picked_hashes, strict=True)
        )
    assert wrong["cut"] == 0
    assert refused or name not in DAMAGE_NOTICED
    assert wrong["block"] <= 1 or name not in DAMAGE_NOTICED
    assert capfd.readouterr() == ("", "")


def test_pick_verifies_check_sums_in_hevc_streams(videos: Path, tmp_path: Path) -> None:
    """The HEVC decoder notices almost no flipped bit by itself; with picture hashes in the stream it notices all."""
    path = tmp_path / "summed.mkv"
    with av.open(str(videos / "real/bikes.mp4")) as container, av.open(str(path), "w") as out:
        options = {"x265-params": "hash=1:log-level=none:pools=1", "preset": "ultrafast"}
        stream = out.add_stream("libx265", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 136, "yuv420p"
        for time, frame in zip(range(60), container.decode(video=0), strict=False):
            small = frame.reformat(320, 136)
            small.pts, small.time_base = time, Fraction(1, 25)
            out.mux(stream.encode(small))
        out.mux(stream.encode(None))
    timeline, hashes = reference(path)
    hash_at = dict(zip(timeline.times, hashes, strict=True))
    data = path.read_bytes()
    rng = random.Random(1)
    refused = compared = 0
    for _ in range(16):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data) // 10, len(data))] ^= 1 << rng.randrange(8)
        (tmp_path / "flipped.mkv").write_bytes(flipped)
        try:
            _, picked_timeline, choice, picked_hashes = pick(
                tmp_path / "flipped.mkv", Plan(frames=8), lambda _, frame: hash(planes(frame))
            )
        except RejectedError:
            refused += 1
            continue
        assert picked_hashes == [hash_at[picked_timeline.times[frame]] for frame in choice.frames]
        compared += 1
    assert refused
    assert compared


def write(path: Path, size: tuple[int, int], start: int = 0, degrees: float = 0) -> None:
    """Write thirty gray frames at 10 fps."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video" if path.suffix == ".ts" else "mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        if degrees:
            stream.set_display_rotation(degrees)
        for time in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 90, np.uint8))
            frame.pts, frame.time_base = start + time, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_decode_rejects_changing_sizes_and_slanted_rotations(tmp_path: Path) -> None:
    write(tmp_path / "wide.ts", (96, 64))
    write(tmp_path / "tall.ts", (64, 96), start=30)
    (tmp_path / "both.ts").write_bytes((tmp_path / "wide.ts").read_bytes() + (tmp_path / "tall.ts").read_bytes())
    with pytest.raises(RejectedError, match="unsupported: its size changes from 96x64 to 64x96"):
        decode(tmp_path / "both.ts", Plan(frames=8))
    write(tmp_path / "leaning.mp4", (96, 64), degrees=30)
    with pytest.raises(RejectedError, match="unsupported: its display matrix"):
        decode(tmp_path / "leaning.mp4", Plan(frames=8))


def test_decode_rejects_times_that_run_backwards(tmp_path: Path) -> None:
    write(tmp_path / "part.ts", (96, 64))
    (tmp_path / "twice.ts").write_bytes(2 * (tmp_path / "part.ts").read_bytes())
    with pytest.raises(RejectedError, match="no_times"):
        decode(tmp_path / "twice.ts", Plan(frames=8))


def write_numbered_video(path: Path, *, count: int = 60, delay: bool = True, skipped: range = range(0)) -> None:
    """Write flat frames at 25 fps, with B-frames; frame k has the luma 20 + 3 k.

    Without `delay`, packets have only decode times. Times in `skipped` have no packet, as where a camera drops frames.
    """
    ticks = [tick for tick in range(count + len(skipped)) if tick not in skipped]
    options = {"qp": "4", "x264-params": "bframes=3:b-adapt=0:keyint=20:scenecut=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        packets = []
        for k, tick in enumerate(ticks):
            frame = av.VideoFrame(64, 64, "yuv420p")
            for plane, value in zip(frame.planes, (20 + 3 * k, 128, 128), strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            frame.pts, frame.time_base = tick, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        assert [packet.pts for packet in packets] != sorted(packet.pts or 0 for packet in packets)
        for packet, tick in zip(packets, ticks, strict=True):
            if not delay:
                packet.pts = packet.dts = tick
            container.mux(packet)


def shown_numbers(path: Path, plan: Plan) -> list[int]:
    """Return, for each slot, which frame of `write_numbered_video` it shows."""
    facts, _, choice, shown = pick(path, plan, lambda _, frame: round((bytes(frame.planes[0])[0] - 20) / 3))
    assert facts.codec == "h264"
    number_of = dict(zip(dict.fromkeys(choice.frames), shown, strict=True))
    return [number_of[frame] for frame in choice.frames]


@pytest.mark.parametrize("name", ["plain.avi", "bare.mp4", "bare.mkv"])
def test_pick_orders_b_frames_of_containers_with_decode_times_only(tmp_path: Path, name: str) -> None:
    """The k-th displayed frame is at tick k, whatever the order in which frames are stored."""
    path = tmp_path / name
    write_numbered_video(path, delay=False)
    assert shown_numbers(path, Plan(kind="fps", frames=60, fps=25)) == list(range(60))
    assert shown_numbers(path, Plan(frames=12, margin=0, min_step=0.01)) == list(range(0, 60, 5))


def test_pick_holds_b_frames_of_an_avi_with_dropped_frames(tmp_path: Path) -> None:
    path = tmp_path / "drops.avi"
    write_numbered_video(path, delay=False, skipped=range(30, 35))
    expected = [*range(30), *[29] * 5, *range(30, 60)]
    assert shown_numbers(path, Plan(kind="fps", frames=65, fps=25)) == expected


def test_decode_with_the_plan_fps_repeats_a_frame_that_stays_on_screen(videos: Path) -> None:
    decoded = decode(videos / "edge/vfr.mp4", Plan(kind="fps", frames=400, fps=30, max_pixels=4096))
    assert len(set(decoded.choice.frames)) < len(decoded.choice.frames) == len(decoded.frames)
    for slot, (frame, after) in enumerate(pairwise(decoded.choice.frames)):
        assert frame != after or np.array_equal(decoded.frames[slot], decoded.frames[slot + 1])


def test_decode_shows_the_second_of_two_frames_with_one_time(tmp_path: Path) -> None:
    """Of two frames with one time, players show the second."""
    path = tmp_path / "twice.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options={"g": "1"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        packets = []
        for level in (40, 80, 120, 160, 200):
            packets += stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8)))
        packets += stream.encode(None)
        step = packets[1].dts - packets[0].dts if packets[1].dts is not None and packets[0].dts is not None else 0
        for number, packet in enumerate(packets):
            packet.dts = (number - 1) * step
            packet.pts = (number - (number > 2)) * step
            container.mux(packet)
    decoded = decode(path, Plan(kind="fps", frames=8, fps=10))
    assert len(decoded.timeline.times) == 4
    assert decoded.frames.mean(axis=(1, 2, 3)).round(-1).tolist() == [40, 80, 160, 200]


def test_decode_does_not_round_the_time_base(videos: Path) -> None:
    decoded = decode(videos / "real/carphone.mp4", Plan())
    assert decoded.timeline.seconds == Fraction(120 * 1001, 30000)


PROGRAM = """
import ctypes, hashlib, sys
from pathlib import Path
import av
from videossr.video.decoding import decode
from videossr.video.plan import Plan
library = next(line.split()[-1] for line in open("/proc/self/maps") if "libavutil" in line)
ctypes.CDLL(library).av_force_cpu_flags(int(sys.argv[1]))
for path in sys.argv[2:]:
    print(hashlib.sha256(decode(Path(path), Plan(frames=8, min_step=0.01)).frames).hexdigest())
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux to find ffmpeg's library in memory")
def test_decode_does_not_depend_on_the_processor(videos: Path) -> None:
    """Plain C code gives the same pixels as the vector code of this processor."""
    video_names = ["edge/mpeg4.avi", "edge/mpeg2.mpg", "edge/h264_10bits.mp4", "edge/gray.mkv", "real/carphone.mp4"]
    files = [str(videos / name) for name in video_names]
    hashes = {
        flags: subprocess.run(
            [sys.executable, "-c", PROGRAM, flags, *files], check=True, capture_output=True, text=True
        ).stdout.split()
        for flags in ("-1", "0")
    }
    assert len(set(hashes["-1"])) == len(files)
    assert hashes["-1"] == hashes["0"]


def test_decode_scales_interlaced_frames_whole(each_videos: Path) -> None:
    """The fields of a moving picture differ; scaled one by one, they would still differ in a small picture."""
    path = each_videos / "edge" / "interlaced.mp4"
    plan = Plan(frames=12)
    planes = pick(path, plan, lambda _, frame: frame.to_ndarray())[3]
    small = decode(path, plan).frames
    whole = [cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420) for picture in planes]
    height, width = small.shape[1:3]
    expected = np.stack([cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) for picture in whole])
    assert np.abs(small.astype(np.int16) - expected).mean() < 1


@pytest.mark.parametrize(("name", "codec"), [("a.gif", "gif"), ("a.mkv", "ffv1")])
@pytest.mark.parametrize("pause", [range(19, 49), range(38, 69)])
def test_decode_shows_a_held_picture_for_as_long_as_it_is_on_screen(
    tmp_path: Path, name: str, codec: str, pause: range
) -> None:
    """There are forty gray pictures of 0.1 s each; the one at the start of `pause` stays until its end."""
    ticks = [*range(pause.start + 1), *range(pause.stop, pause.stop + 39 - pause.start)]
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "gray"
        for k, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(np.full((32, 64), 4 * k, np.uint8), "gray")
            frame.pts, frame.time_base = tick, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    video = decode(tmp_path / name, Plan())
    assert len(video.timeline.times) == 40
    for slot, offset in enumerate(video.choice.offsets()):
        expected = max(k for k, tick in enumerate(ticks) if tick <= offset * 10)
        assert abs(float(video.frames[slot].mean()) - 4 * expected) < 1, slot
    assert 12 <= len(set(video.choice.frames)) < 48
