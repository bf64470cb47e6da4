"""Make the 24 long clips that benchmarks/index.py measures, by cutting real footage together.

    python benchmarks/clips.py ../shared/videos/real CLIPS

60, 120 and 180 seconds, 360p and 720p, a key frame every 2 and every 8 seconds, two edits: many short shots at 25
frames a second, few long ones at 30. Each shot is a piece of a real clip, cropped and perhaps mirrored, with every
source frame shown once; when the footage ends it starts again with other crops. The codec is H.264 by libx264, preset
`fast` and crf 23: up to three B-frames in a row, which may be references, and two reference frames. Existing clips are
kept.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import av.filter
import numpy as np

KEYS = (2, 8)
"""Seconds from one key frame to the next. Clips that differ in nothing else show the same pictures."""

ENLARGED = 2.5
"""Footage is enlarged at most by so much, so that the large clips have detail too."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A sequence of pictures, which is encoded once for each key-frame distance in `KEYS`."""

    seconds: int
    height: int
    edit: str

    @property
    def width(self) -> int:
        return self.height * 16 // 9

    @property
    def fps(self) -> int:
        return 25 if self.edit == "shots" else 30

    @property
    def shot_seconds(self) -> tuple[float, float]:
        return (1.5, 6.0) if self.edit == "shots" else (15.0, 40.0)

    def name(self, key: int) -> str:
        return f"{self.edit}-{self.height}p-{self.seconds}s-key{key}.mp4"


CUTS = [Cut(*values) for values in product((180, 120, 60), (720, 360), ("shots", "takes"))]


def frames_of(path: Path) -> Iterator[av.VideoFrame]:
    """Yield all frames of a clip."""
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.best("video")):
            assert isinstance(frame, av.VideoFrame)
            yield frame


def endless(path: Path) -> Iterator[av.VideoFrame]:
    """Yield the frames of a clip, again and again."""
    while True:
        yield from frames_of(path)


def shot(frames: Iterator[av.VideoFrame], cut: Cut, count: int, rng: np.random.Generator) -> Iterator[av.VideoFrame]:
    """Yield `count` frames of one clip, all cropped alike and scaled to the size of `cut`."""
    first = next(frames)
    share = rng.uniform(0.7, 1.0)
    width = int(min(first.width, first.height * 16 / 9) * share) // 2 * 2
    height = int(width * 9 / 16) // 2 * 2
    left, top = (int(rng.uniform(0, room)) // 2 * 2 for room in (first.width - width, first.height - height))
    steps = [("crop", f"{width}:{height}:{left}:{top}")]
    steps += [("hflip", "")] if rng.random() < 0.5 else []
    steps += [("scale", f"{cut.width}:{cut.height}:flags=bicubic"), ("format", "yuv420p"), ("setsar", "1")]
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=Fraction(1, cut.fps)),
        *(graph.add(name, values) for name, values in steps),
        graph.add("buffersink"),
    ).configure()
    for number in range(count):
        frame = next(frames) if number else first
        frame.pts, frame.time_base = number, Fraction(1, cut.fps)
        graph.push(frame)
        picture = graph.pull()
        assert isinstance(picture, av.VideoFrame)
        yield picture


def pictures(footage: dict[Path, int], cut: Cut) -> Iterator[av.VideoFrame]:
    """Yield shots of changing clips, the longest clips most often; they depend on footage and cut alone."""
    rng = np.random.default_rng([cut.seconds, cut.height, cut.fps])
    sources = {path: endless(path) for path in sorted(footage)}
    left = cut.seconds * cut.fps
    previous = None
    unseen = dict(footage)
    while left:
        choices = [path for path in sources if path != previous and unseen[path]]
        if not choices:
            unseen = dict(footage)
            continue
        weights = np.array([unseen[path] for path in choices], float)
        path = choices[rng.choice(len(choices), p=weights / weights.sum())]
        count = min(left, unseen[path], int(rng.uniform(*cut.shot_seconds) * cut.fps))
        yield from shot(sources[path], cut, count, rng)
        left = left - count
        previous = path
        unseen[path] = unseen[path] - count


def write(footage: dict[Path, int], cut: Cut, out: Path) -> list[Path]:
    """Encode `cut` once for each distance of key frames; the files appear when they are complete."""
    targets = {key: out / cut.name(key) for key in KEYS}
    if all(target.exists() for target in targets.values()):
        return []
    writers = []
    for key, target in targets.items():
        container = av.open(str(target.with_suffix(".part")), "w", format="mp4")
        options = {"preset": "fast", "crf": "23", "sc_threshold": "0", "keyint_min": str(key * cut.fps)}
        stream = container.add_stream("libx264", rate=cut.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = cut.width, cut.height, "yuv420p"
        stream.gop_size = key * cut.fps
        stream.codec_context.thread_count = 1
        writers.append((container, stream))
    for number, picture in enumerate(pictures(footage, cut)):
        picture.pts, picture.time_base, picture.pict_type = number, Fraction(1, cut.fps), 0
        for container, stream in writers:
            container.mux(stream.encode(picture))
    for container, stream in writers:
        container.mux(stream.encode(None))
        container.close()
    for target in targets.values():
        target.with_suffix(".part").rename(target)
    return list(targets.values())


def measure(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return height and number of frames of each clip in `folder`."""
    facts = {}
    for path in sorted(folder.iterdir()):
        heights = [frame.height for frame in frames_of(path)]
        facts[path] = (heights[0], len(heights))
    return facts


def main(folder: Path, out: Path) -> None:
    """Write the clips that `out` lacks."""
    out.mkdir(parents=True, exist_ok=True)
    facts = measure(folder)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = []
        for cut in CUTS:
            footage = {path: count for path, (height, count) in facts.items() if height * ENLARGED >= cut.height}
            jobs.append(pool.submit(write, footage, cut, out))
        for done, job in enumerate(as_completed(jobs), 1):
            for target in job.result():
                print(f"{target.name}: {target.stat().st_size / 2**20:.1f} MiB")
            print(f"{done * len(KEYS)} of {len(CUTS) * len(KEYS)} clips", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
