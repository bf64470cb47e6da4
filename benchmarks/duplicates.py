"""Measure which edits are recognized as near-duplicates, how often other footage is, and the time for many videos.

    python -m benchmarks.duplicates ../shared/videos/real

Clips of a folder and synthetic ones (`benchmarks/web.py`) are edited, written as H.264, and compared with all
originals. The thresholds of `videossr.corpus.duplicates` were chosen on the clips of the folder alone.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import av
import cv2
import numpy as np

from benchmarks.web import FPS, Picture, clip
from videossr.corpus.duplicates import near_duplicates
from videossr.corpus.fingerprint import WAVES, Fingerprints, fingerprint
from videossr.video.decoding import decode
from videossr.video.plan import Plan, RejectedError

PLAN = Plan(min_step=0.02)
WIDTH = 240
"""Pixels across of a clip that is edited, at most."""

MOST = 72
"""Frames of a clip that is edited, at most."""

Edit = Callable[[Picture], Picture]


def mirrored(picture: Picture) -> Picture:
    """Mirror the picture left to right."""
    return picture[:, ::-1]


def half(picture: Picture) -> Picture:
    """Halve the size of the picture."""
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


def crop(picture: Picture, share: float, down: float = 0.5, across: float = 0.5) -> Picture:
    """Keep a share of each side; `down` and `across` say which part of the rest is cut off before it."""
    height, width = (int(side * share) for side in picture.shape[:2])
    top, left = int(down * (picture.shape[0] - height)), int(across * (picture.shape[1] - width))
    return picture[top : top + height, left : left + width]


def onto(picture: Picture, size: tuple[int, int] | None, fill: float = 1.0, color: int = 0, text: str = "") -> Picture:
    """Shrink the picture onto bars of one color (negative: onto a blurred copy of it), for a new `size` or its own."""
    height, width = size or picture.shape[:2]
    scale = fill * min(height / picture.shape[0], width / picture.shape[1])
    down, across = (round(side * scale) for side in picture.shape[:2])
    bars = np.full((height, width, 3), max(color, 0), np.uint8)
    if color < 0:
        larger = max(height / picture.shape[0], width / picture.shape[1])
        cover = cv2.resize(picture, (math.ceil(larger * picture.shape[1]), math.ceil(larger * picture.shape[0])))
        top, left = (cover.shape[0] - height) // 2, (cover.shape[1] - width) // 2
        bars[:] = cv2.GaussianBlur(cover[top : top + height, left : left + width], (0, 0), height / 40)
    top, left = (height - down) // 2, (width - across) // 2
    bars[top : top + down, left : left + across] = cv2.resize(picture, (across, down), interpolation=cv2.INTER_AREA)
    place = (width // 12, max(20, top // 2))
    cv2.putText(bars, text, place, cv2.FONT_HERSHEY_SIMPLEX, width / 400, (255, 255, 255), 1, cv2.LINE_AA)
    return bars


def caption(picture: Picture) -> Picture:
    """Write a caption into the picture."""
    picture = np.ascontiguousarray(picture).copy()
    height, width = picture.shape[:2]
    for color, thick in (((0, 0, 0), 5), ((255, 255, 0), 2)):
        place = (width // 5, int(0.8 * height))
        cv2.putText(picture, "so much fun", place, cv2.FONT_HERSHEY_SIMPLEX, width / 400, color, thick, cv2.LINE_AA)
    return picture


def tone(picture: Picture) -> Picture:
    """Brighten the picture, with less contrast."""
    return np.asarray(10 + 230 * (picture / 255) ** 0.8, np.uint8)


def all_at_once(picture: Picture) -> Picture:
    """Crop, mirror and letterbox the picture."""
    return onto(mirrored(crop(picture, 0.85)), (480, 270))


EDITS: Mapping[str, tuple[Edit, float, float]] = {  # picture, seconds cut off at the start, speed
    "compressed to CRF 38": (lambda picture: picture, 0, 1),
    "half size": (half, 0, 1),
    "brighter, less contrast": (tone, 0, 1),
    "mirrored": (mirrored, 0, 1),
    "letterbox in 9:16": (partial(onto, size=(480, 270)), 0, 1),
    "pillarbox in 16:9": (partial(onto, size=(270, 480)), 0, 1),
    "shrunk to 70 %, black around": (partial(onto, size=None, fill=0.7), 0, 1),
    "shrunk onto white": (partial(onto, size=(480, 300), fill=0.9, color=255), 0, 1),
    "letterbox with text in the bar": (partial(onto, size=(480, 270), fill=0.9, text="wait for the end!"), 0, 1),
    "shrunk to 70 %, blurred around": (partial(onto, size=None, fill=0.7, color=-1), 0, 1),
    "letterbox in 9:16, blurred bars": (partial(onto, size=(480, 270), color=-1), 0, 1),
    "cropped to 95 %": (partial(crop, share=0.95), 0, 1),
    "cropped to 85 %": (partial(crop, share=0.85), 0, 1),
    "cropped to 85 %, a corner": (partial(crop, share=0.85, down=0, across=1), 0, 1),
    "cropped to 75 %, off centre": (partial(crop, share=0.75, down=0.6, across=0.3), 0, 1),
    "first 2 s cut off": (lambda picture: picture, 2, 1),
    "faster by 25 %": (lambda picture: picture, 0, 1.25),
    "caption added": (caption, 0, 1),
    "mirrored, 85 %, letterbox, first 2 s cut off": (all_at_once, 2, 1),
}


def write(path: Path, pictures: Iterable[Picture], rate: Fraction, crf: int) -> Path:
    """Write pictures as H.264 in MP4."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": f"{crf}"})
        for number, picture in enumerate(pictures):
            height, width = (side // 2 * 2 for side in picture.shape[:2])
            if number == 0:
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]))))
        out.mux(stream.encode(None))
    return path


def prints(path: Path) -> Fingerprints:
    """Return the fingerprints of the default plan's frames."""
    return fingerprint(decode(path, PLAN).frames)


def footage(path: Path) -> tuple[list[Picture], Fraction]:
    """Return the first pictures of a video, scaled down, and their rate, about `FPS` a second."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        assert isinstance(stream, av.VideoStream)
        assert stream.average_rate is not None
        stride = max(1, round(stream.average_rate / FPS))
        width = min(WIDTH, stream.width // 2 * 2)
        height = round(width * stream.height / stream.width) // 2 * 2
        pictures = []
        for number, frame in enumerate(container.decode(stream)):
            if number >= stride * MOST:
                break
            if number % stride == 0:
                pictures.append(np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8))
        return pictures, stream.average_rate / stride


def count_matches(
    originals: list[Fingerprints], clips: Mapping[int, tuple[list[Picture], Fraction]]
) -> tuple[dict[str, tuple[int, int]], int, int]:
    """Edit clips and count the copies that are recognized.

    Returns:
        For each edit, recognized and all copies; the number of false alarms; and the number of pairs of a copy and
        another original.
    """
    counts = {}
    false_alarms = 0
    pairs = 0
    with tempfile.TemporaryDirectory() as temporary:
        for name, (edit, cut, speed) in EDITS.items():
            copies = []
            numbers = []
            for number, (pictures, rate) in clips.items():
                left = pictures[round(cut * rate) :]
                faster = rate * Fraction(speed)
                crf = 38 if name.startswith("compressed") else 28
                if len(left) >= 0.4 * len(pictures):
                    copies.append(prints(write(Path(temporary) / "copy.mp4", map(edit, left), faster, crf)))
                    numbers.append(number)
            sets = [0] * len(originals) + [1] * len(copies)
            twins = {(t.video - len(originals), t.other) for t in near_duplicates([*originals, *copies], sets)}
            counts[name] = sum((k, number) in twins for k, number in enumerate(numbers)), len(numbers)
            false_alarms += sum(numbers[k] != other for k, other in twins)
            pairs += len(copies) * (len(originals) - 1)
    return counts, false_alarms, pairs


def time_many(count: int, like: list[Fingerprints]) -> None:
    """Print the time for `count` random videos with the statistics of `like`; one in a hundred is a copy."""
    rows = np.concatenate(like).reshape(-1, WAVES * WAVES).astype(np.float64)
    mean, spread = rows.mean(axis=0), np.linalg.cholesky(np.cov(rows.T) + 1e-3 * np.eye(WAVES * WAVES))
    rng = np.random.default_rng(0)
    videos: list[Fingerprints] = []
    for _ in range(count):
        shots = rng.integers(1, 9)
        shot = np.sort(rng.integers(0, shots, PLAN.frames))
        at, drift = (rng.normal(size=(shots, WAVES * WAVES)) @ spread.T for _ in range(2))
        frames = mean + at[shot] + drift[shot] * np.linspace(0, rng.uniform(), PLAN.frames)[:, None]
        frames[:, 0] = 0
        scale = 127 / np.linalg.norm(frames, axis=1, keepdims=True)
        videos.append(np.rint(scale * frames).astype(np.int8).reshape(-1, WAVES, WAVES))
    copies = rng.integers(0, count // 2, count // 100)
    for number, source in enumerate(copies):
        noise = rng.integers(-4, 5, videos[source].shape)
        videos[-1 - number] = np.clip(videos[source] + noise, -127, 127).astype(np.int8)
    compared = [0]
    start = perf_counter()
    used = process_time()
    twins = list(near_duplicates(videos, progress=lambda _, total: compared.append(total)))
    right = {(twin.other, count - 1 - twin.video) for twin in twins} & {(int(s), n) for n, s in enumerate(copies)}
    seconds = f"{process_time() - used:.0f} s of one core, {perf_counter() - start:.0f} s in all"
    print(f"| {count} | {compared[-1]} | {len(right)} of {len(copies)} | {len(twins) - len(right)} | {seconds} |")


def main() -> None:
    """Print three Markdown tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--edited", type=int, default=12, help="made clips that are edited")
    parser.add_argument("--made", type=int, default=135, help="made clips in all")
    parser.add_argument("--first", type=int, default=1000, help="seed of the first made clip")
    parser.add_argument("--many", type=int, nargs="*", default=[3000, 30000])
    options = parser.parse_args()
    originals: list[Fingerprints] = []
    real: dict[int, tuple[list[Picture], Fraction]] = {}
    made: dict[int, tuple[list[Picture], Fraction]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for path in sorted(options.folder.iterdir()):
            pictures, rate = footage(path)
            try:
                originals.append(prints(write(Path(temporary) / "clip.mp4", pictures, rate, 20)))
                real[len(originals) - 1] = pictures, rate
            except RejectedError as rejected:
                print(f"<!-- {path.name}: {rejected} -->")
        for number in range(options.made):
            pictures = list(clip(options.first + number))
            originals.append(fingerprint(np.stack(pictures[::2])))
            if number < options.edited:
                made[len(originals) - 1] = pictures, Fraction(FPS)
    of_real = count_matches(originals, real)
    of_made = count_matches(originals, made)
    print("| edit | real clips | made clips |\n|---|---|---|")
    for name in EDITS:
        print(f"| {name} | {' | '.join('{} of {}'.format(*counts[0][name]) for counts in (of_real, of_made))} |")
    among = list(near_duplicates(originals))
    false_alarms = of_real[1] + of_made[1]
    pairs = of_real[2] + of_made[2]
    print("\n| pairs of different footage | pairs | false alarms |\n|---|---|---|")
    print(f"| two originals | {len(originals) * (len(originals) - 1) // 2} | {len(among)} |")
    print(f"| a copy and another original | {pairs} | {false_alarms} |")
    print(f"<!-- {[(twin.video, twin.other, round(twin.share, 2)) for twin in among]} -->")
    print("\n| videos | compared pairs | copies found | others found | time |\n|---|---|---|---|---|")
    for count in options.many:
        time_many(count, originals)


if __name__ == "__main__":
    main()
