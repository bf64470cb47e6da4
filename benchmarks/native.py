"""Count clips that are rejected, or noticed by `validate`, for native shapes: as they are, and with some added.

    python benchmarks/native.py CLIPS

The baseline is the clips as they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import simplejpeg

from videossr.perturb.native_shapes import native_share
from videossr.perturb.shapes import outline, paint
from videossr.question import Frames
from videossr.tasks.counting import CountingConfig
from videossr.validation.native_shapes import shows_shapes
from videossr.video.decoding import decode
from videossr.video.plan import Plan, RejectedError

KINDS = ("as they are", "flat shape", "balloon", "sign")


def with_one(frames: Frames, kind: str, rng: np.random.Generator) -> Frames:
    """Return a copy of `frames` (N, H, W, 3) with one thing of a kind, at one place and of one random color."""
    shown = frames.copy()
    height, width = frames.shape[1:3]
    size = rng.uniform(0.14, 0.3) * min(height, width)
    x, y = rng.uniform(size, width - size), rng.uniform(size, height - size)
    color = rng.integers(50, 256, 3).tolist()
    name = str(rng.choice(["circle", "square", "triangle"]))
    angle = 20
    down, across = np.mgrid[:height, :width]
    inside = np.clip((1 - ((across - x) / (0.43 * size)) ** 2 - ((down - y) / (0.5 * size)) ** 2) * 8, 0, 1)[..., None]
    far = (across - x + 0.15 * size) ** 2 + (down - y + 0.15 * size) ** 2
    light = 0.55 + 0.45 * np.clip(1 - far / (size**2 / 2), 0, 1)[..., None]
    for frame in shown:
        if kind == "flat shape":
            paint(frame, outline(name, x, y, size, angle), color)
        elif kind == "balloon":
            frame[:] = np.clip(frame * (1 - inside) + inside * light * color, 0, 255).astype(np.uint8)
        elif kind == "sign":
            paint(frame, outline("circle", x, y, size, 0), (200, 20, 30))
            paint(frame, outline("square", x, y, size / 2, 45), (245, 245, 245))
    return np.stack([simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(frame, 90, "RGB"), "RGB") for frame in shown])


def main(folder: Path) -> None:
    """Print the table."""
    config = CountingConfig()
    seen = {kind: np.zeros(2) for kind in KINDS}
    clips = 0
    for path in sorted(folder.iterdir()):
        try:
            frames = decode(path, Plan()).frames[::4]  # as many as the gate looks at
        except RejectedError as error:
            print(f"<!-- {path.name}: {error} -->")
            continue
        clips += 1
        for kind in KINDS:
            shown = with_one(frames, kind, np.random.default_rng(clips))
            seen[kind] += native_share(shown, config.shapes) > config.native, shows_shapes(shown)
    print("| clips | held back | noticed |\n|---|---|---|")
    for kind, (held, noticed) in seen.items():
        print(f"| {kind} | {held / clips:.2f} | {noticed / clips:.2f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
