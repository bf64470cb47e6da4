"""Clips as video files, for programs that take nothing else; `videossr.export.folder` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from videossr.clock import Clock
from videossr.question import Clip
from videossr.storage.paths import AnyPath, atomic_write

PIXELS = "yuv444p"
OPTIONS = {"preset": "ultrafast", "crf": "8", "bf": "0", "g": "12", "threads": "1"}
"""Options of x264, see docs/how-to/lmms-eval.md. Without B-frames the first frame is at 0 without edit list."""

_MS = Fraction(1, 1000)
_BT601 = 6


def write_mp4(path: AnyPath, clip: Clip) -> None:
    """Write a clip as H.264 in an MP4 file: frame k is shown from exactly the time of slot k.

    The last frame lasts as long as the others on average, so that the number of frames over the duration, which most
    readers take for the rate, gives the times of all of them. Colors are BT.601 in limited range, at full resolution.

    Args:
        path: of the file, which is written whole or not at all.
        clip: the frames and their clock.
    """
    times = clip.clock.times_ms
    ends = (*times[1:], times[-1] + average_ms(clip.clock))
    durations = {start: end - start for start, end in zip(times, ends, strict=True)}
    with atomic_write(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(1000 * len(times), ends[-1]), options=OPTIONS)
        stream.height, stream.width = clip.frames.shape[1:3]
        stream.pix_fmt = PIXELS
        context = stream.codec_context
        context.time_base = stream.time_base = _MS
        context.colorspace = context.color_primaries = context.color_trc = _BT601
        context.color_range = ColorRange.MPEG
        for frame in (*_converted(clip), None):
            for packet in stream.encode(frame):
                assert packet.pts is not None
                packet.duration = durations[packet.pts]
                container.mux(packet)


def _converted(clip: Clip) -> Iterator[VideoFrame]:
    """Yield the frames as YUV, each with its time."""
    for time, picture in zip(clip.clock.times_ms, clip.frames, strict=True):
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(
            format=PIXELS,
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
