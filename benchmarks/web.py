"""Make clips like those on the web: montages, one shot, or a static shot, with captions.

Clips of different seeds share no footage. `benchmarks/duplicates.py` uses them.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

FPS = 12
SIZES = ((320, 180), (180, 320), (240, 240), (240, 320))
"""(H, W) of a clip."""

Picture = NDArray[np.uint8]


def clip(seed: int, seconds: float = 8.0) -> Iterator[Picture]:
    """Yield the pictures (H, W, 3) of a clip, `FPS` a second: shots of 1 to 5 s, or one, and perhaps a caption."""
    rng = np.random.default_rng(seed)
    height, width = SIZES[rng.integers(len(SIZES))]
    kind = rng.choice(["montage", "shot", "static"])
    left = round(seconds * FPS)
    text = "".join(rng.choice(list("ABCDEFGHIKLMNORSTUW  "), rng.integers(6, 16))) if rng.random() < 0.6 else ""
    place = (round(0.08 * width), round(height * rng.choice([0.15, 0.5, 0.8])))
    while left > 0:
        length = min(left, round(FPS * rng.uniform(1, 5))) if kind == "montage" else left
        for picture in _shot(rng, height, width, length, moves=kind != "static"):
            for color, thick in (((0, 0, 0), 5), ((255, 255, 255), 2)):
                cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, width / 300, color, thick, cv2.LINE_AA)
            yield picture
        left -= length


def _shot(rng: np.random.Generator, height: int, width: int, length: int, *, moves: bool) -> Iterator[Picture]:
    """Yield a camera that pans over a scene, or stands, while a disc moves through the picture."""
    scene = _scene(rng, round(1.6 * height), round(1.6 * width))
    room = np.array(scene.shape[:2]) - (height, width)
    start = rng.uniform(0, room)
    end = rng.uniform(0, room) if moves else start
    disc_start, disc_end = rng.uniform(0, (width, height), (2, 2))
    color = rng.uniform(0, 255, 3).tolist()
    radius = int(rng.uniform(8, 33))
    for k in range(length):
        y, x = (start + (end - start) * k / length).astype(int)
        picture = scene[y : y + height, x : x + width].copy()
        disc = (disc_start + (disc_end - disc_start) * k / length).astype(int)
        cv2.circle(picture, disc.tolist(), radius, color, -1)
        yield picture


def _scene(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Draw a large picture with the spectrum of natural ones, perhaps with a bright sky, some objects and a person."""
    ground = _noise(rng, height, width)
    tint = _noise(rng, height, width)
    colors = rng.normal(size=(2, 3))
    scene = rng.uniform(60, 180, 3) + 35 * ground * abs(colors[0]) + 18 * tint * colors[1]
    if rng.random() < 0.5:
        scene += np.linspace(rng.uniform(20, 90), -rng.uniform(10, 60), height)[:, None, None]
    scene = np.ascontiguousarray(scene, np.float32)
    for _ in range(rng.integers(2, 9)):
        middle = rng.uniform(0, (width, height)).astype(int)
        half = rng.uniform(0.04, 0.25, 2) * min(height, width)
        color = rng.uniform(0, 255, 3).tolist()
        if rng.random() < 0.5:
            cv2.rectangle(scene, (middle - half).astype(int).tolist(), (middle + half).astype(int).tolist(), color, -1)
        else:
            turn = rng.uniform(0, 180)
            cv2.ellipse(scene, middle.tolist(), half.astype(int).tolist(), turn, 0, 360, color, -1)
    if rng.random() < 0.25:
        skin = rng.uniform((120, 80, 60), (230, 190, 170)).tolist()
        coat = rng.uniform(0, 255, 3).tolist()
        head = (int(0.07 * width), int(0.1 * height))
        body = (int(0.18 * width), int(0.19 * height))
        cv2.ellipse(scene, (width // 2, int(0.42 * height)), head, 0, 0, 360, skin, -1)
        cv2.ellipse(scene, (width // 2, int(0.8 * height)), body, 0, 0, 360, coat, -1)
    return scene.clip(0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Draw noise (H, W, 1) of variance 1 whose amplitude falls in proportion to the frequency."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    waves = (rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)) / frequency ** rng.uniform(
        0.9, 1.4
    )
    noise = np.fft.irfft2(waves, (height, width))[..., None]
    return np.asarray(noise / noise.std(), np.float64)
