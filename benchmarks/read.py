"""Measure the cost of reading samples: from packs, from JPEG files as the usual pipeline keeps them, from the sources.

    python -m benchmarks.read ../shared/videos/real [REPEATS]

The clips of at least 360 lines are cut to squares of 512 x 512 first, so that a sample is 48 frames of 256 x 256.
All readers take turns in one process with one thread, on warm files; the least of the repeats (5) is shown.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from time import process_time

import av
import cv2
import numpy as np
from PIL import Image

from benchmarks.clips import frames_of
from benchmarks.index import command, recipe
from videossr.corpus.jpeg import decode as decode_jpegs
from videossr.corpus.jpeg import encode
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.schema import to_sample
from videossr.question import Frames
from videossr.rendering import render
from videossr.sample import VideoKey
from videossr.tasks.base import TASKS
from videossr.video.decoding import decode
from videossr.video.plan import Plan
from videossr.video.scaling import fill

LARGE, SMALL = 512, 256
QUALITY = 95
"""Of the usual pipeline's files."""

BARS = {"256 pack": 50.0, "512 pack": 25.0}


def square(source: Path, target: Path) -> None:
    """Cut the middle of the first 300 frames of a clip to 512 x 512, as H.264 with the defaults of libx264."""
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = LARGE, LARGE, "yuv420p"
        stream.codec_context.thread_count = 1
        for number, frame in zip(range(300), frames_of(source), strict=False):
            picture = fill(frame.to_ndarray(format="rgb24")[None].astype(np.uint8), LARGE, LARGE)[0]
            made = av.VideoFrame.from_ndarray(picture, "rgb24")
            made.pts, made.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(made))
        out.mux(stream.encode(None))


def files(videos: Iterable[Path], folder: Path, side: int) -> dict[str, list[str]]:
    """Write 48 frames of each video as JPEG files with that side; return them by the name of the video."""
    made = {}
    for video in videos:
        frames = fill(decode(video, Plan(max_pixels=LARGE * LARGE)).frames, side, side)
        (folder / str(side) / video.stem).mkdir(parents=True)
        made[video.name] = [str(folder / str(side) / video.stem / f"{number:02d}.jpg") for number in range(len(frames))]
        for name, frame in zip(made[video.name], frames, strict=True):
            Image.fromarray(frame).save(name, quality=QUALITY)
    return made


def by_pil(names: list[str]) -> Frames:
    """Read files as frames of 256 x 256, with PIL."""
    pictures = []
    for name in names:
        with Image.open(name) as picture:
            scaled = picture if picture.width == SMALL else picture.resize((SMALL, SMALL), Image.Resampling.BICUBIC)
            pictures.append(np.asarray(scaled))
    return np.stack(pictures)


def by_cv2(names: list[str]) -> Frames:
    """Read files as frames of 256 x 256, with OpenCV."""
    pictures = []
    for name in names:
        picture = cv2.imread(name, cv2.IMREAD_COLOR_RGB)
        assert picture is not None, name
        if picture.shape[1] != SMALL:
            picture = cv2.resize(picture, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        pictures.append(picture)
    return np.stack(pictures).astype(np.uint8, copy=False)


class Sources:
    """A reader that decodes the source of a sample each time."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths

    def frames(
        self, key: VideoKey, indices: Sequence[int] | None = None, size: tuple[int, int] | None = None
    ) -> Frames:
        frames = decode(self._paths[key.content], Plan()).frames
        chosen = frames if indices is None else frames[list(indices)]
        return fill(chosen, *size) if size else chosen


def stages(dataset: VideoSSRDataset) -> dict[str, float]:
    """Measure milliseconds a sample for each step of `dataset[index]`."""
    spent: dict[str, float] = defaultdict(float)
    for index in range(len(dataset)):
        marks = [process_time()]
        row = dataset.row(index)
        marks.append(process_time())
        sample = to_sample(row)
        marks.append(process_time())
        shown = [frame for source, frame in sample.slots if source == 0]
        frames = dataset.corpus.frames(sample.sources[0], list(dict.fromkeys(shown)), sample.size)
        marks.append(process_time())
        frames = frames[np.arange(len(sample.slots)) % len(frames)]
        marks.append(process_time())
        TASKS.get(sample.task)().render(frames, sample)
        marks.append(process_time())
        names = ("row", "recipe, and whether it was altered", "JPEG and scaling", "(one copy)", "task")
        for name, start, end in zip(names, marks, marks[1:], strict=False):
            spent[name] += end - start
    return {name: 1000 * seconds / len(dataset) for name, seconds in spent.items()}


def decoded(jpegs: Sequence[bytes], least: tuple[int, int] | None = None) -> Frames:
    """Decode JPEGs of 512 x 512 to frames (T, H, W, 3)."""
    return np.stack([frame[..., :3].copy() for frame in decode_jpegs(jpegs, (LARGE, LARGE), least)])


def quality(videos: Iterable[Path]) -> None:
    """Print how far scaled decoding is from full decoding and from the frames before compression."""
    print("\n| 512 x 512 to | decoded at | mean error, scaled | mean error, full and area filter | between them |")
    print("|---|---|---|---|---|")
    clips = [decode(path, Plan(max_pixels=LARGE * LARGE)).frames[::6] for path in videos]
    for side in (256, 224, 128, 96):
        errors = []
        for frames in clips:
            jpegs = encode(frames)
            truth = fill(frames, side, side).astype(np.float64)
            small = decoded(jpegs, (side, side))
            scaled = fill(small, side, side)
            full = fill(decoded(jpegs), side, side)
            errors.append([np.abs(a - b).mean() for a, b in ((scaled, truth), (full, truth), (scaled, full * 1.0))])
        cells = " | ".join(f"{value:.2f}" for value in np.mean(errors, axis=0))
        print(f"| {side} x {side} | {small.shape[1]} x {small.shape[2]} | {cells} |")


def prepare(videos: Path, scratch: Path) -> tuple[list[Path], dict[str, VideoSSRDataset]]:
    """Write square clips, and a dataset on a pack of each size."""
    (scratch / "videos").mkdir()
    for path in sorted(videos.iterdir()):
        heights = [frame.height for frame in frames_of(path)]
        if heights[0] >= 360 and len(heights) >= 100:
            square(path, scratch / "videos" / f"{path.stem}.mp4")
    (scratch / "speed.toml").write_text(recipe(), "utf-8")
    datasets = {}
    for side in (SMALL, LARGE):
        corpus = str(scratch / f"corpus-{side}")
        dataset = str(scratch / f"dataset-{side}")
        command("index", str(scratch / "videos"), "--out", corpus, "--max-pixels", str(side * side))
        command("build", str(scratch / "speed.toml"), "--corpus", corpus, "--out", dataset)
        datasets[f"{side} pack"] = VideoSSRDataset(dataset)
    return sorted((scratch / "videos").iterdir()), datasets


def _read(read: Callable[[list[str]], Frames], jpegs: list[list[str]], index: int) -> Frames:
    return read(jpegs[index])


def main(videos: Path, repeats: int = 5) -> None:
    """Print the tables."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        clips, datasets = prepare(videos, Path(temporary))
        readers: dict[str, tuple[int, Callable[[int], object]]] = {}
        for name, dataset in datasets.items():
            readers[name] = (len(dataset), dataset.__getitem__)
        for side in (SMALL, LARGE):
            jpegs = list(files(clips, Path(temporary), side).values())
            for library, read in (("PIL", by_pil), ("OpenCV", by_cv2)):
                readers[f"{side} JPEG files, {library}"] = (len(jpegs), partial(_read, read, jpegs))
        dataset = datasets["256 pack"]
        entries = {entry.content: entry.path for entry in dataset.corpus.videos}
        sources = Sources({content: Path(temporary) / "videos" / path for content, path in entries.items()})
        readers["the sources"] = (len(dataset), lambda index: render(sources, dataset.sample(index)))

        best: dict[str, float] = {}
        for _ in range(repeats):
            for name, (count, read_one) in readers.items():
                start = process_time()
                for index in range(count):
                    read_one(index)
                best[name] = min((process_time() - start) / count, best.get(name, np.inf))
        steps = {name: stages(dataset) for name, dataset in datasets.items()}

        print(f"{len(clips)} clips, {len(dataset)} samples, the least of {repeats} repeats.\n")
        packs = list(datasets)
        heads = ["samples of 48 x 256 x 256 from", "ms a sample", "a second and core"]
        print("| " + " | ".join([*heads, *(f"{name} is faster" for name in packs)]) + " |")
        print("|---" * (3 + len(packs)) + "|")
        for name, seconds in best.items():
            ratios = " | ".join(f"{seconds / best[pack]:.1f}" for pack in packs)
            print(f"| {name} | {1000 * seconds:.1f} | {1 / seconds:.0f} | {ratios} |")
        bars = [(f"samples a second from the {name}", 1 / best[name], wanted) for name, wanted in BARS.items()]
        usual = best["512 JPEG files, PIL"]
        bars += [(f"{name}, of the usual pipeline's files read by PIL", usual / best[name], 2.0) for name in packs]
        print("\n| bar | measured | at least | |\n|---|---|---|---|")
        for title, value, wanted in bars:
            print(f"| {title} | {value:.1f} | {wanted:.0f} | {'met' if value >= wanted else '**not met**'} |")
        print("\n| ms a sample | " + " | ".join(steps) + " |\n" + "|---" * (len(steps) + 1) + "|")
        for step in next(iter(steps.values())):
            print(f"| {step} | " + " | ".join(f"{parts[step]:.2f}" for parts in steps.values()) + " |")
        quality(clips)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
