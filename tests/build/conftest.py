"""Many short made-up clips, whose content every gate admits, and corpora of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from videossr.build import recipe
from videossr.build.manifest import Manifest
from videossr.build.recipe import Recipe
from videossr.build.run import build
from videossr.question import Frames
from videossr.video.corpus import Corpus
from videossr.video.index import index
from videossr.video.plan import Plan
from videossr.wording import load_wording

CLIPS = 16
SLOTS = 16
PLAN = Plan(frames=SLOTS)
FPS = 10
KNOBS = {"frames": SLOTS, "length": [4, 6]}
MIRROR = {"task": "grounding", "knobs": {**KNOBS, "perturbation": "mirror"}}
SWAP = {"task": "grounding", "knobs": {**KNOBS, "perturbation": "swap"}}
JIGSAW = {"task": "jigsaw", "knobs": {"frames": SLOTS, "pieces": 4}}
COUNTING = {"task": "counting", "knobs": {"frames": SLOTS, "slots_max": 1}}

Columns = Mapping[str, tuple[dict[str, Any], int]]
Make = Callable[..., Manifest]


def picture(seed: int, frames: int = 24, height: int = 128, width: int = 160) -> Frames:
    """A pan over large patches of random color, dark on the left and bright on the right: no mirror image of itself."""
    rng = np.random.default_rng(seed)
    columns = frames + 5
    marks = rng.uniform(0, 255, (5, columns, 3))
    y, x = np.linspace(0, 3.999, height), np.linspace(0, 3.999, width)
    down = marks[y.astype(int)] * (1 - y % 1)[:, None, None] + marks[y.astype(int) + 1] * (y % 1)[:, None, None]
    shown = []
    for frame in range(frames):
        place = x + frame * 0.25
        left, part = place.astype(int), (place % 1)[None, :, None]
        shown.append(down[:, left] * (1 - part) + down[:, left + 1] * part)
    dark, bright = rng.uniform(0, 80, 3), rng.uniform(175, 255, 3)
    light = dark + (bright - dark) * np.linspace(0, 1, width)[:, None]
    return (0.5 * np.stack(shown) + 0.5 * light).round().astype(np.uint8)


def write(path: Path, frames: Frames, codec: str = "libx264", options: Mapping[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=dict(options or {"preset": "ultrafast"}))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())


def indexed(folder: Path, plan: Plan = PLAN, source_id: str | None = None) -> Corpus:
    """The corpus of a folder, made beside it."""
    out = folder.with_name(folder.name + "-corpus")
    index(folder, out, plan, source_id=source_id)
    return Corpus(out)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "clips"
    for number in range(CLIPS):
        write(folder / f"clip_{number:02}.mp4", picture(number))
    return folder


@pytest.fixture(scope="session")
def made(clips: Path) -> Corpus:
    return indexed(clips)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make("name", corpus, {column: (table, count)}, …)` builds `tmp_path/name` and returns its manifest.

    `most` is how many videos are used at the most, 0 for all.
    """

    def run(
        name: str, corpus: Corpus, columns: Mapping[str, tuple[dict[str, Any], int]], most: int = 0, **options: Any
    ) -> Manifest:
        tables = {column: {**table, "count": count} for column, (table, count) in columns.items()}
        plan = recipe.Mixture(Recipe(name="made", columns=tables), "made").of_videos(most)
        return build(plan, corpus, tmp_path / name, wording=load_wording(), **options)

    return run
