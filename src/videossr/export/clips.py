"""Clips as video files, for programs that take nothing else; `videossr.export.folder` writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from videossr.clock import Clock
from videossr.question import Clip, Frames
from videossr.storage.paths import AnyPath, atomic_write


@dataclass(frozen=True, slots=True)
class Encoding:
    """How clips are written.

    Attributes:
        pixels: their format, as ffmpeg names it.
        options: of x264. Without B-frames the first frame is at 0 without edit list.
        even: whether the last frame is written twice where the number of frames is odd, one mean slot apart: readers
            that take frames in pairs would leave it out.
    """

    pixels: str
    options: Mapping[str, str]
    even: bool = False


_OPTIONS = {"bf": "0", "g": "12", "threads": "1"}

FINE = Encoding("yuv444p", {"preset": "ultrafast", "crf": "8", **_OPTIONS})
"""Colors at full resolution, for evaluation; measured in docs/how-to/lmms-eval.md."""

PLAYABLE = Encoding("yuv420p", {"preset": "veryfast", "crf": "14", **_OPTIONS}, even=True)
"""Halved colors, which every browser plays, and small files; measured in docs/how-to/hf.md."""

_MS = Fraction(1, 1000)
_BT601 = 6


def write_mp4(path: AnyPath, clip: Clip, encoding: Encoding = FINE) -> None:
    """Write a clip as H.264 in an MP4 file: frame k is shown from exactly the time of slot k.

    The last frame lasts as long as the others on average, so that the number of frames over the duration, which most
    readers take for the rate, gives the times of all of them. Colors are BT.601 in limited range.

    Args:
        path: of the file, which is written whole or not at all.
        clip: the frames and their clock.
        encoding: how it is written.
    """
    step = average_ms(clip.clock)
    times = [*clip.clock.times_ms]
    pictures = [*clip.frames]
    if encoding.even and len(times) % 2:
        times.append(times[-1] + step)
        pictures.append(pictures[-1])
    ends = (*times[1:], times[-1] + step)
    durations = {start: end - start for start, end in zip(times, ends, strict=True)}
    # The index comes first, so that a browser can begin before it has the whole file.
    layout = {"movflags": "+faststart"}
    with atomic_write(path) as partial, av.open(str(partial), "w", format="mp4", options=layout) as container:
        rate = Fraction(1000 * len(times), ends[-1])
        stream = container.add_stream("libx264", rate=rate, options=dict(encoding.options))
        stream.height, stream.width = clip.frames.shape[1:3]
        stream.pix_fmt = encoding.pixels
        context = stream.codec_context
        context.time_base = stream.time_base = _MS
        context.colorspace = context.color_primaries = context.color_trc = _BT601
        context.color_range = ColorRange.MPEG
        for frame in (*_converted(pictures, times, encoding.pixels), None):
            for packet in stream.encode(frame):
                assert packet.pts is not None
                packet.duration = durations[packet.pts]
                container.mux(packet)


def _converted(pictures: Sequence[Frames], times: Sequence[int], pixels: str) -> Iterator[VideoFrame]:
    """Yield the frames as YUV, each with its time."""
    for time, picture in zip(times, pictures, strict=True):
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(
            format=pixels,
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC,
        )
        frame.pts = time
        frame.time_base = _MS
        yield frame


def average_ms(clock: Clock) -> int:
    """Return the mean length of a slot in milliseconds, without the last one where there are several."""
    return round(clock.times_ms[-1] / (len(clock) - 1)) if len(clock) > 1 else clock.end_ms


def off_ms(clock: Clock) -> float:
    """Return the greatest error, in milliseconds, of a reader that takes the average rate for that of all frames."""
    step = 1000 / rate(clock)
    return max(abs(time - slot * step) for slot, time in enumerate(clock.times_ms))


def rate(clock: Clock) -> float:
    """Return the frames a second of a clip's file: their number over its duration."""
    return 1000 * len(clock) / (clock.times_ms[-1] + average_ms(clock))


def frame_size(path: AnyPath) -> tuple[int, int]:
    """Return the (H, W) of the frames in a file that `write_mp4` wrote."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.height, stream.width
