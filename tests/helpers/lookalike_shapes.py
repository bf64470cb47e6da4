"""Draw discs, balloons, signs and tiles into a video, which look like the shapes of the counting task."""

from __future__ import annotations

import cv2
import numpy as np

from videossr.perturb.shapes import outline, paint
from videossr.question import Frames

KINDS = ("disc", "balloon", "sign", "tile", "triangle")


def draw_lookalikes(frames: Frames, kind: str) -> Frames:
    """Return a copy of `frames` (N, H, W, 3) in which three objects of a kind drift slowly upwards."""
    result = frames.copy()
    height, width = frames.shape[1:3]
    size = round(0.28 * min(height, width))
    for slot, frame in enumerate(result):
        for place, color in enumerate(((240, 30, 40), (250, 240, 60), (20, 20, 200))):
            x, y = round((0.2 + 0.3 * place) * width), round((0.6 - 0.2 * slot / len(frames)) * height)
            if kind == "balloon":
                _draw_balloon(frame, x, y, size / 2, np.array(color))
            elif kind == "sign":
                cv2.circle(frame, (x, y), size // 2, color, -1, cv2.LINE_AA)
                cv2.rectangle(frame, (x - size // 3, y - size // 12), (x + size // 3, y + size // 12), (250,) * 3, -1)
            else:
                name = {"disc": "circle", "tile": "square", "triangle": "triangle"}[kind]
                paint(frame, outline(name, x, y, size, 10 * place), color)
    return result


def _draw_balloon(
    frame: Frames, x: int, y: int, radius: float, color: np.ndarray[tuple[int], np.dtype[np.int_]]
) -> None:
    """Draw an ellipse that is lit from the upper left."""
    down, across = np.mgrid[: frame.shape[0], : frame.shape[1]]
    inside = np.clip((1 - ((across - x) / (0.85 * radius)) ** 2 - ((down - y) / radius) ** 2) * 6, 0, 1)[..., None]
    far = (across - x + 0.3 * radius) ** 2 + (down - y + 0.3 * radius) ** 2
    light = 0.6 + 0.4 * np.clip(1 - far / (2 * radius**2), 0, 1)[..., None]
    frame[:] = np.clip(frame * (1 - inside) + inside * light * color, 0, 255).round().astype(np.uint8)
