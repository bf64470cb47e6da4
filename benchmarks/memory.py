"""Measure whether the memory of `index_videos` and `build_dataset` grows with the number of videos or samples.

    python -m benchmarks.many VIDEOS/real CLIPS --count 5000
    python -m benchmarks.memory VIDEOS/real WORK --clips CLIPS --samples 1000000

Both run with worker processes, as usual. The frames of the million draws are small (5 of 32 x 32 pixels), so that they
take half an hour. WORK is kept: name a new folder for each run.
Figures and the plot go to docs/results/memory.{json,png}. Linux only.
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
from typing import TypeAlias

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cyclopts import App

from videossr.builder.builder import Progress, build_dataset
from videossr.builder.recipe import Recipe, ResolvedRecipe
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import Outcome, index_videos
from videossr.templates import load_templates
from videossr.video.plan import Plan

RESULTS = Path(__file__).parents[1] / "docs/results"
PLAN = Plan(frames=5, max_pixels=1024)
Points: TypeAlias = list[tuple[float, int, float]]

app = App()


@dataclass
class Watch:
    """A recorder of (seconds, items done, MiB resident) of this process; the caller sets `done`."""

    done: int = 0
    points: Points = field(default_factory=list)

    @contextmanager
    def running(self, every: float = 0.5) -> Iterator[None]:
        """Record while the block lasts."""
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


def watch_index(clips: Path, work: Path, workers: int) -> Points:
    """Index all clips of a folder and record the memory."""
    watch = Watch()

    def note(outcome: Outcome) -> None:
        watch.done = outcome.done if outcome.phase == "videos" else 0

    with watch.running():
        index_videos(clips, work / "corpus-of-clips", Plan(frames=96), workers=workers, progress=note)
    return watch.points


def watch_build(videos: Path, work: Path, samples: int, workers: int) -> Points:
    """Build samples from the clips in `videos` and record the memory."""
    if not (work / "corpus/manifest.json").exists():
        index_videos(videos, work / "corpus", PLAN, workers=workers)
    categories = {
        name: {
            "task": "grounding",
            "count": samples // 2,
            "config": {"perturbation": "noise", "frames": 5, "length": [4, 4]},
        }
        for name in ("one", "other")
    }
    watch = Watch()

    def note(progress: Progress) -> None:
        watch.done = progress.done if progress.phase == "draws" else 0

    with watch.running():
        build_dataset(
            ResolvedRecipe(Recipe(name="memory", categories=categories), "memory"),
            Corpus(work / "corpus"),
            work / f"dataset-{samples}",
            templates=load_templates(),
            workers=workers,
            progress=note,
        )
    return watch.points


def plot(runs: dict[str, Points], path: Path) -> None:
    """Plot resident memory, and the items done, over the time of each run."""
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
    """Write the memory when a tenth, half and all is done, and the peak."""
    total = points[-1][1]
    shares = {share: next(memory for _, done, memory in points if done >= share * total) for share in (0.1, 0.5, 1.0)}
    stages = ", ".join(f"{memory:.0f} MiB at {share:.0%}" for share, memory in shares.items())
    return f"{total} done in {points[-1][0]:.0f} s: {stages}; peak {max(memory for *_, memory in points):.0f} MiB"


@app.default
def command(videos: Path, work: Path, /, *, clips: Path | None = None, samples: int = 0, workers: int = 2) -> None:
    """Measure the runs that are asked for, and plot all that were measured."""
    path = RESULTS / "memory.json"
    runs: dict[str, Points] = json.loads(path.read_text()) if path.exists() else {}
    wanted: dict[str, Callable[[], Points]] = {}
    if clips is not None:
        wanted["index"] = lambda: watch_index(clips, work, workers)
    if samples:
        wanted["build"] = lambda: watch_build(videos, work, samples, workers)
    for verb, run in wanted.items():
        points = run()
        print(f"{verb}: {summary(points)}")
        runs = {name: kept for name, kept in runs.items() if not name.startswith(verb)}
        unit = "clips" if verb == "index" else "samples"
        runs[f"{verb}, {points[-1][1]:,} {unit}"] = [
            (round(seconds, 1), done, round(memory, 1)) for seconds, done, memory in points[:: len(points) // 500 + 1]
        ]
    path.write_text(json.dumps(runs) + "\n")
    plot(runs, RESULTS / "memory.png")


if __name__ == "__main__":
    app()
