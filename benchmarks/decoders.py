"""Decode videos with one library and report its costs; benchmarks/index.py starts it as a fresh process.

    python benchmarks/decoders.py LIBRARY

The first line that it writes is {"imports": seconds, "versions": {}}. Then it reads one question a line, {"path",
"indices": frames wanted, "size": [height, width]}, and answers {"cpu": seconds, "indices", "size", "print": mean color
of 16 fields of each frame} or {"error"}. Seconds are user and system time of this process with all its threads.
videossr chooses the frames itself; the other libraries get the same ones.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Frames: TypeAlias = NDArray[np.uint8]
Read: TypeAlias = Callable[[str, Sequence[int], tuple[int, int]], tuple[Frames, Sequence[int]]]
"""(path, frames wanted, (H, W)) -> the frames (T, H, W, 3) in RGB, and which they are."""


def cpu() -> float:
    """Return the seconds of processor time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def shrink(frames: Frames, size: tuple[int, int]) -> Frames:
    """Scale with an area filter, in one thread."""
    return np.stack([cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in frames])


def ours(kind: str) -> tuple[list[str], Read]:
    """Plan, decode and scale with videossr."""
    from videossr.config import parse
    from videossr.video.decoding import decode
    from videossr.video.plan import Plan

    plan = parse(Plan, {"kind": kind}, "speed")

    def read(path: str, _indices: Sequence[int], _size: tuple[int, int]) -> tuple[Frames, Sequence[int]]:
        decoded = decode(Path(path), plan)
        return decoded.frames, decoded.choice.frames

    return ["videossr", "av"], read


def pyav() -> tuple[list[str], Read]:
    """Decode with PyAV up to the last wanted frame, in one thread; convert the wanted frames alone."""
    import av

    def read(path: str, indices: Sequence[int], size: tuple[int, int]) -> tuple[Frames, Sequence[int]]:
        wanted = set(indices)
        frames_by_index = {}
        with av.open(path) as container:
            stream = container.streams.best("video")
            assert isinstance(stream, av.VideoStream)
            stream.codec_context.thread_count = 1
            for index, frame in enumerate(container.decode(stream)):
                if index in wanted:
                    scaled = frame.reformat(size[1], size[0], "rgb24", interpolation="AREA")
                    frames_by_index[index] = scaled.to_ndarray()
                if len(frames_by_index) == len(wanted):
                    break
        return np.stack([frames_by_index[index] for index in indices]).astype(np.uint8, copy=False), indices

    return ["av"], read


def decord(threads: int) -> tuple[list[str], Read]:
    """Decode with decord's `get_batch`; 0 threads is its default, which uses as many as it likes."""
    from decord import VideoReader  # type: ignore[import-not-found]

    def read(path: str, indices: Sequence[int], size: tuple[int, int]) -> tuple[Frames, Sequence[int]]:
        return shrink(VideoReader(path, num_threads=threads).get_batch(list(indices)).asnumpy(), size), indices

    return ["decord"], read


def torchcodec() -> tuple[list[str], Read]:
    """Decode with the exact mode of torchcodec, in one thread."""
    import torch
    from torchcodec.decoders import VideoDecoder  # type: ignore[import-not-found]

    torch.set_num_threads(1)

    def read(path: str, indices: Sequence[int], size: tuple[int, int]) -> tuple[Frames, Sequence[int]]:
        decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
        return shrink(decoder.get_frames_at(list(indices)).data.numpy(), size), indices

    return ["torchcodec", "torch"], read


LIBRARIES: dict[str, Callable[[], tuple[list[str], Read]]] = {
    "videossr-uniform": lambda: ours("uniform"),
    "videossr-snap": lambda: ours("snap"),
    "pyav": pyav,
    "decord": lambda: decord(0),
    "decord-1": lambda: decord(1),
    "torchcodec": torchcodec,
}


def fields(frames: Frames) -> list[list[float]]:
    """Return the mean color of 4 x 4 fields of each frame, to check that all libraries decode the same pictures."""
    small = [cv2.resize(frame, (4, 4), interpolation=cv2.INTER_AREA) for frame in frames]
    prints: list[list[float]] = np.stack(small).reshape(len(frames), -1).tolist()
    return prints


def main(library: str) -> None:
    """Answer the questions on standard input, one a line."""
    start = cpu()
    packages, read = LIBRARIES[library]()
    cv2.setNumThreads(1)
    say({"imports": cpu() - start, "versions": {name: version(name) for name in packages}})
    for line in sys.stdin:
        wanted = json.loads(line)
        start = cpu()
        try:
            frames, indices = read(wanted["path"], wanted["indices"], tuple(wanted["size"]))
        except Exception as error:  # whatever a library raises
            say({"error": f"{type(error).__name__}: {error}"})
            continue
        spent = cpu() - start
        say({"cpu": spent, "indices": list(indices), "size": frames.shape[1:3], "print": fields(frames)})
        del frames


def say(answer: dict[str, Any]) -> None:
    """Print a line of JSON."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
