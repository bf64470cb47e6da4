"""Does the memory of the process that runs `index` or `build` grow with the number of videos or samples?

    python -m speed.memory ../shared/videos/real /tmp/memory --clips 5000 --samples 1000000 --workers 2

Both run as users run them, with two worker processes; only frames and clips are small, so that a million draws take
minutes: 8 frames of 32 x 32 pixels. Figures and the plot go to docs/results/memory.{json,png}. Linux only.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import sysconf
from pathlib import Path
from typing import Annotated, TypeAlias

import av
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cyclopts import App

from videossr.build.recipe import Mixture, Recipe
from videossr.build.run import Progress, build
from videossr.video.index import index
from videossr.video.pack import Corpus
from videossr.video.plan import Plan
from videossr.wording import load_wording

RESULTS = Path(__file__).parents[1] / "docs/results"
PLAN = Plan(frames=8, max_pixels=1024)
Points: TypeAlias = list[tuple[float, int, float]]

app = App()


@dataclass
class Watch:
    """(seconds, items done, MiB resident) of this process, a few times a second; `done` is told from outside."""

    done: int = 0
    points: Points = field(default_factory=list)

    @contextmanager
    def running(self, every: float = 0.5) -> Iterator[None]:
        """Watch while the block lasts."""
        stop = threading.Event()
        start = time.monotonic()

        def look() -> None:
            while True:
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                self.points.append((time.monotonic() - start, self.done, pages * sysconf("SC_PAGESIZE") / 2**20))
                if stop.wait(every):
                    return

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def make_clips(folder: Path, count: int) -> None:
    """Distinct clips of a second: 64 x 64 pixels of colored blocks that move."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number:06}.mp4"
        if path.exists():
            continue
        rng = np.random.default_rng(number)
        blocks = rng.integers(0, 256, (4, 8, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        partial = path.with_suffix(".partial")
        with av.open(str(partial), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=12, options={"preset": "ultrafast"})
            assert isinstance(stream, av.VideoStream)
            stream.height = stream.width = 64
            stream.pix_fmt = "yuv420p"
            for shift in range(12):
                picture = np.ascontiguousarray(blocks[:, 5 * shift : 5 * shift + 64])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode())
        partial.rename(path)


def watch_index(work: Path, clips: int, workers: int) -> Points:
    """Index that many clips."""
    make_clips(work / "clips", clips)
    watch = Watch()

    def note(*_: object) -> None:
        watch.done += 1

    with watch.running():
        index(work / "clips", work / f"corpus-{clips}", PLAN, workers=workers, progress=note)
    return watch.points


def watch_build(videos: Path, work: Path, samples: int, workers: int) -> Points:
    """Build that many samples from the clips in `videos`."""
    if not (work / "corpus/manifest.json").exists():
        index(videos, work / "corpus", PLAN, workers=workers)
    columns = {
        name: {
            "task": "grounding",
            "count": samples // 2,
            "knobs": {"perturbation": "noise", "frames": 8, "length": length},
        }
        for name, length in {"short": [4, 5], "long": [5, 6]}.items()
    }
    watch = Watch()

    def note(progress: Progress) -> None:
        watch.done = progress.done if progress.phase == "draws" else 0

    with watch.running():
        build(
            Mixture(Recipe(name="memory", columns=columns), "memory"),
            Corpus(work / "corpus"),
            work / f"dataset-{samples}",
            wording=load_wording(),
            workers=workers,
            progress=note,
        )
    return watch.points


def plot(runs: dict[str, Points], path: Path) -> None:
    """Resident memory, and what is done, over the time of each run."""
    mpl.use("agg")
    figure, axes = plt.subplots(1, len(runs), figsize=(5.5 * len(runs), 3.4), squeeze=False, layout="constrained")
    for ax, (name, points) in zip(axes[0], runs.items(), strict=True):
        seconds, done, memory = (np.array(values) for values in zip(*points, strict=True))
        ax.plot(seconds / 60, memory, color="#1f5fa8", lw=1.5)
        ax.set(xlabel="minutes", ylabel="MiB resident, this process", title=name, ylim=(0, 1.3 * memory.max()))
        ax.yaxis.label.set_color("#1f5fa8")
        right = ax.twinx()
        right.plot(seconds / 60, done, color="#888888", lw=1, ls="--")
        right.set_ylabel("done", color="#888888")
        right.set_ylim(0)
        for side in (ax, right):
            side.spines["top"].set_visible(False)
    figure.savefig(path, dpi=150)


def summary(points: Points) -> str:
    """Memory when a tenth, half and all is done, and the peak."""
    total = points[-1][1]
    shares = {share: next(memory for _, done, memory in points if done >= share * total) for share in (0.1, 0.5, 1.0)}
    told = ", ".join(f"{memory:.0f} MiB at {share:.0%}" for share, memory in shares.items())
    return f"{total} done in {points[-1][0]:.0f} s: {told}; peak {max(memory for *_, memory in points):.0f} MiB"


@app.default
def command(videos: Path, work: Path, /, *, clips: int = 0, samples: int = 0, workers: int = 2) -> None:
    """Measure the runs that are asked for, and plot all that were measured."""
    path = RESULTS / "memory.json"
    runs: dict[str, Points] = json.loads(path.read_text()) if path.exists() else {}
    wanted: dict[str, tuple[int, Callable[[], Points]]] = {
        "index": (clips, lambda: watch_index(work, clips, workers)),
        "build": (samples, lambda: watch_build(videos, work, samples, workers)),
    }
    for verb, (count, run) in wanted.items():
        if count:
            points = run()
            print(f"{verb}: {summary(points)}")
            step = len(points) // 500 + 1
            runs = {name: kept for name, kept in runs.items() if not name.startswith(verb)}
            what = "clips" if verb == "index" else "samples"
            runs[f"{verb}, {count:,} {what}"] = [
                (round(seconds, 1), done, round(memory, 1)) for seconds, done, memory in points[::step]
            ]
    path.write_text(json.dumps(runs) + "\n")
    plot(runs, RESULTS / "memory.png")


if __name__ == "__main__":
    app()
