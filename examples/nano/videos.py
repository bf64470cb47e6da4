"""Make the videos of `examples/nano/nano.sh`: short scenes of a sunrise, small enough for a tiny model on a CPU.

    python examples/nano/videos.py FOLDER COUNT [SIDE]

A scene has the properties of real footage that pretext tasks need: up and down, left and right, natural colors, and an
order in time. The sun climbs from left to right, the sky grows light, the camera pans over hills. Colors,
shapes and speeds differ from scene to scene.
"""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

SECONDS = 8
FPS = 4

Floats = NDArray[np.float64]


def main(folder: Path, count: int, side: int) -> None:
    """Fill `folder` with the videos that it lacks, `side` pixels wide and high; the same number is the same scene."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"scene_{number:04}.mp4"
        if not path.exists():
            _write(path, scene(np.random.default_rng([number, side]), side))


def scene(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Draw the frames (T, side, side, 3) of one scene; the side is a multiple of 8."""
    frames = SECONDS * FPS
    y, x = np.mgrid[:side, :side] / side
    night, day = rng.uniform((5, 10, 60), (50, 50, 120)), rng.uniform((90, 150, 215), (160, 205, 255))
    start, span = rng.uniform(0.0, 0.15), rng.uniform(0.6, 0.85)  # of the morning: how far it has come, how far it goes
    left, width, height = rng.uniform(0.05, 0.25), rng.uniform(0.5, 0.7), rng.uniform(0.3, 0.4)
    sun = rng.uniform(0.06, 0.1)
    horizon = rng.uniform(0.45, 0.75)
    hills = [_hill(rng, horizon + 0.17 * layer, side) for layer in range(2)]
    clouds = rng.uniform((0, 0, 0.08, 0.04), (1.5, horizon - 0.1, 0.3, 0.12), (4, 4))  # across, down, half axes
    drift, pan = rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.9)
    film = np.empty((frames, side, side, 3))
    for k in range(frames):
        morning = start + span * k / frames
        light = 0.3 + 0.7 * morning
        picture = night + (day - night) * morning + (y**2)[..., None] * (1 - morning) * (230, 90, 30)
        across, down = left + width * morning, 0.5 - height * morning
        halo = np.clip((sun - np.hypot(x - across, y - down)) * side, 0, 1)[..., None]
        picture = picture + ((255, 235, 120 + 100 * morning) - picture) * halo
        for place, depth, wide, tall in clouds:
            at = (place - drift * k / frames) % 1.5 - 0.25
            inside = np.clip(1.5 - ((x - at) / wide) ** 2 - ((y - depth) / tall) ** 2, 0, 1)[..., None]
            picture = picture + (245 * light - picture) * 0.7 * inside
        for layer, (edge, colors) in enumerate(hills):
            seen = slice(shift := round(pan * (0.4 + 0.6 * layer) * side * k / frames), shift + side)
            under = np.clip((y - edge[seen]) * side, 0, 1)[..., None]
            picture = picture + (light * colors[:, seen] - picture) * under
        film[k] = picture
    film += rng.normal(0, 3, film.shape)
    return np.clip(film, 0, 255).astype(np.uint8)


def _hill(rng: np.random.Generator, height: float, side: int) -> tuple[Floats, Floats]:
    """Draw a row of hills, two pictures wide: the height of its edge, with trees or houses on it, and its colors."""
    across = np.arange(2 * side) / side
    edge = np.full(2 * side, height)
    for waves in (1, 2, 3):
        edge += rng.uniform(-0.12, 0.12) / waves * np.sin(2 * np.pi * (waves * across + rng.uniform()))
    for middle, half, tall in rng.uniform((0, 0.03, 0.05), (2, 0.12, 0.35), (7, 3)):
        edge[abs(across - middle) < half] -= tall
    fields = np.kron(rng.uniform(0.3, 1.5, (8, 16)), np.ones((side // 8, side // 8)))
    return edge, fields[..., None] * rng.uniform((60, 90, 10), (150, 150, 50))


def _write(path: Path, frames: NDArray[np.uint8]) -> None:
    partial = path.with_suffix(".partial")
    with av.open(str(partial), "w", format="mp4") as container:
        # Without loss: where an encoder may choose, it does not always choose the same.
        stream = container.add_stream("libx264", rate=FPS, options={"qp": "0", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    partial.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 64)
