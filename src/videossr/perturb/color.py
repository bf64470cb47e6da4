"""Fine-grained perturbations (paper, anomaly grounding): they change color and texture, not the layout.

Integer arithmetic throughout, so that every machine computes the same bytes.
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.perturb.pixel import Params, Pixel, number
from videossr.perturb.strengths import Strengths
from videossr.question import Frames
from videossr.sample import JSON


def gray(frames: Frames) -> Frames:
    """Luma (BT.601) on all three channels."""
    luma = cv2.cvtColor(frames.reshape(1, -1, 3), cv2.COLOR_RGB2GRAY)
    return cast(Frames, cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB).reshape(frames.shape))


def saturate(frames: Frames, params: Params) -> Frames:
    """Multiply each channel's distance from gray by `factor`."""
    factor = round(number(params, "factor") * 256)
    base = gray(frames).astype(np.int32)
    return np.clip(base + ((frames - base) * factor + 128 >> 8), 0, 255).astype(np.uint8)


def swap_channels(frames: Frames) -> Frames:
    """Red becomes blue and blue red."""
    swapped = cv2.cvtColor(frames.reshape(1, -1, 3), cv2.COLOR_RGB2BGR)
    return cast(Frames, swapped.reshape(frames.shape))


@cache
def _normal_quantiles() -> NDArray[np.int16]:
    """4096 equally likely values of a standard normal, in units of 1/1024."""
    normal = NormalDist()
    return np.array([round(normal.inv_cdf((k + 0.5) / 4096) * 1024) for k in range(4096)], np.int16)


def add_noise(frames: Frames, params: Params) -> Frames:
    """Add Gaussian noise of standard deviation `sigma` gray levels, new in every frame, of one strength throughout."""
    rng = np.random.Generator(np.random.PCG64DXSM(int(number(params, "seed"))))
    steps = np.round(_normal_quantiles() * number(params, "sigma") / 1024).astype(np.int16)
    drawn = rng.integers(0, len(steps), size=frames.shape, dtype=np.uint16)
    return np.asarray(np.clip(frames + steps[drawn], 0, 255), np.uint8)


def blur(frames: Frames, params: Params) -> Frames:
    """Gaussian blur of standard deviation `sigma` pixels, by OpenCV's bit-exact filter."""
    sigma = number(params, "sigma")
    return np.stack([cv2.GaussianBlur(f, (0, 0), sigma, hint=cv2.ALGO_HINT_ACCURATE) for f in frames])


def _draw_noise(strengths: Strengths, rng: np.random.Generator) -> dict[str, JSON]:
    return {"sigma": round(rng.uniform(*strengths.noise), 1), "seed": int(rng.integers(2**32))}


COLOR: dict[str, Pixel] = {
    "saturation": Pixel(saturate, lambda strengths: {"factor": strengths.saturation}),
    "noise": Pixel(add_noise, lambda strengths: {"sigma": strengths.noise[0], "seed": 0}, _draw_noise),
    "blur": Pixel(blur, lambda strengths: {"sigma": strengths.blur}),
    "grayscale": Pixel(lambda frames, params: gray(frames)),
    "invert": Pixel(lambda frames, params: 255 - frames),
    "channel_swap": Pixel(lambda frames, params: swap_channels(frames), grain=True),
}
