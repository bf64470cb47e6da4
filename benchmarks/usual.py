"""Run a usual pipeline for comparison; benchmarks/index.py starts it as a fresh process.

    python benchmarks/usual.py build OUT < question.json > answer.json
    python benchmarks/usual.py read OUT < question.json > answer.json

`build`: each video is opened with decord, 48 frames are written as JPEG files at full size, perturbations are made of
those files with PIL and written as more JPEG files, and a Parquet table names the files of each sample. `read`: the
files of each sample, resized to what a model sees. It is one process, with the libraries' default settings.

Questions: {"videos": [paths], "categories": {name: samples}, "seed"} and {"size": [height, width]}. Answers: seconds of
processor time of each stage, and bytes on disk.
"""

from __future__ import annotations

import json
import random
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageOps

FRAMES = 48
QUALITY = 95
SHAPES = ("circle", "square", "triangle")
COLORS = ("red", "green", "blue", "yellow")


def cpu() -> float:
    """Return the seconds of processor time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def extract(video: str, folder: Path) -> tuple[list[str], float]:
    """Write 48 frames of a video as JPEG files; return the seconds between them."""
    from decord import VideoReader  # type: ignore[import-not-found]

    reader = VideoReader(video)
    indices = np.linspace(0.05 * len(reader), 0.95 * len(reader), FRAMES, endpoint=False).astype(int)
    step = float(indices[1] - indices[0]) / reader.get_avg_fps()
    folder.mkdir(parents=True)
    paths = []
    for number, picture in enumerate(reader.get_batch(indices).asnumpy()):
        path = folder / f"{number:02d}.jpg"
        Image.fromarray(picture).save(path, quality=QUALITY)
        paths.append(str(path))
    return paths, step


def perturb(picture: Image.Image, kind: str, factor: float) -> Image.Image:
    """Alter one frame."""
    if kind == "channel_swap":
        red, green, blue = picture.split()
        return Image.merge("RGB", (blue, red, green))
    if kind == "mirror":
        return ImageOps.mirror(picture)
    if kind == "rotate_180":
        return picture.rotate(180)
    small = picture.resize((int(picture.width / factor), int(picture.height / factor)))
    canvas = Image.new("RGB", picture.size)
    canvas.paste(small, ((picture.width - small.width) // 2, (picture.height - small.height) // 2))
    return canvas


def grounding(paths: list[str], step: float, kind: str, rng: random.Random, folder: Path) -> tuple[list[str], str]:
    """Alter the frames of a segment; return its time."""
    length = rng.randint(4, 16)
    first = rng.randint(0, FRAMES - length)
    factor = rng.uniform(1.5, 2.5)
    shown = list(paths)
    for number in range(first, first + length):
        target = folder / f"{number:02d}.jpg"
        with Image.open(paths[number]) as picture:
            perturb(picture, kind, factor).save(target, quality=QUALITY)
        shown[number] = str(target)
    return shown, f"{first * step:.1f}-{(first + length) * step:.1f}"


def counting(paths: list[str], rng: random.Random, folder: Path) -> tuple[list[str], str]:
    """Draw shapes on some frames; return how many there are of each."""
    shown = list(paths)
    counts = []
    numbers = rng.sample(range(FRAMES), 9)
    for shape in SHAPES:
        count = 0
        for number in [numbers.pop() for _ in range(rng.randint(1, 3))]:
            with Image.open(paths[number]) as picture:
                draw = ImageDraw.Draw(picture)
                side = picture.height // 8
                for _ in range(rng.randint(1, 3)):
                    x, y = rng.randint(0, picture.width - side), rng.randint(0, picture.height - side)
                    color = rng.choice(COLORS)
                    if shape == "circle":
                        draw.ellipse((x, y, x + side, y + side), fill=color)
                    elif shape == "square":
                        draw.rectangle((x, y, x + side, y + side), fill=color)
                    else:
                        draw.polygon([(x, y + side), (x + side, y + side), (x + side // 2, y)], fill=color)
                    count += 1
                target = folder / f"{number:02d}.jpg"
                picture.save(target, quality=QUALITY)
                shown[number] = str(target)
        counts.append(str(count))
    return shown, ",".join(counts)


def jigsaw(paths: list[str], rng: random.Random) -> tuple[list[str], str]:
    """Show six pieces in another order."""
    order = rng.sample(range(6), 6)
    shown = [path for piece in order for path in paths[piece * 8 : piece * 8 + 8]]
    return shown, "".join(str(order.index(piece) + 1) for piece in range(6))


def build(out: Path, question: dict[str, Any]) -> dict[str, float]:
    """Write JPEG files and a table of samples for some videos."""
    seconds = {}
    start = cpu()
    frames = {video: extract(video, out / "frames" / Path(video).stem) for video in question["videos"]}
    seconds["decode and write JPEG files"] = cpu() - start
    start = cpu()
    rng = random.Random(question["seed"])
    rows: list[dict[str, Any]] = []
    for category, count in question["categories"].items():
        for _ in range(count):
            paths, step = frames[question["videos"][len(rows) % len(question["videos"])]]
            folder = out / "changed" / f"{len(rows):05d}"
            folder.mkdir(parents=True)
            if category == "counting":
                shown, answer = counting(paths, rng, folder)
            elif category == "jigsaw":
                shown, answer = jigsaw(paths, rng)
            else:
                shown, answer = grounding(paths, step, category, rng, folder)
            rows.append({"prompt": category, "answer": answer, "paths": shown})
    pq.write_table(pa.Table.from_pylist(rows), out / "samples.parquet")
    seconds["perturb, write JPEG files and the table"] = cpu() - start
    return seconds


def read(out: Path, question: dict[str, Any]) -> dict[str, float]:
    """Read each sample of the table as an array of frames."""
    height, width = question["size"]
    start = cpu()
    for row in pq.read_table(out / "samples.parquet").to_pylist():
        pictures = []
        for path in row["paths"]:
            with Image.open(path) as picture:
                pictures.append(np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC)))
        np.stack(pictures)
    return {"read the samples": cpu() - start}


def main(stage: str, out: Path) -> None:
    """Answer the question on the standard input."""
    question: dict[str, Any] = json.load(sys.stdin)
    seconds = {"build": build, "read": read}[stage](out, question)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    json.dump({"imports": cpu() - sum(seconds.values()), "seconds": seconds, "bytes": size}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
