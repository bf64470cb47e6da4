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

from videossr.perturb.base import Params, SegmentConfig
from videossr.perturb.pixel import PixelPerturbation, number
from videossr.question import Frames
from videossr.sample import JSON


def gray(frames: Frames) -> Frames:
    """Return the luma (BT.601) of frames (T, H, W, 3) on all three channels."""
    luma = cv2.cvtColor(frames.reshape(1, -1, 3), cv2.COLOR_RGB2GRAY)
    return cast(Frames, cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB).reshape(frames.shape))


@cache
def _normal_quantiles() -> NDArray[np.int16]:
    """Return 4096 equally likely values of a standard normal, in units of 1/1024."""
    normal = NormalDist()
    return np.array([round(normal.inv_cdf((k + 0.5) / 4096) * 1024) for k in range(4096)], np.int16)


class Saturation(PixelPerturbation):
    """Colors that are too strong: each channel's distance from gray is multiplied by `factor`."""

    name = "saturation"
    text = "For part of this video, the colors are far more intense than in the original."
    hidden_by_cuts = True

    def weakest(self, config: SegmentConfig) -> dict[str, JSON]:
        return {"factor": config.strengths.saturation}

    def apply(self, frames: Frames, params: Params) -> Frames:
        factor = round(number(params, "factor") * 256)
        base = gray(frames).astype(np.int32)
        return np.clip(base + ((frames - base) * factor + 128 >> 8), 0, 255).astype(np.uint8)


class Noise(PixelPerturbation):
    """Gaussian noise of standard deviation `sigma` gray levels, new in every frame, of one strength throughout."""

    name = "noise"
    text = "For part of this video, strong random noise covers the picture."

    def weakest(self, config: SegmentConfig) -> dict[str, JSON]:
        return {"sigma": config.strengths.noise[0], "seed": 0}

    def draw_params(self, config: SegmentConfig, rng: np.random.Generator) -> dict[str, JSON]:
        return {"sigma": round(rng.uniform(*config.strengths.noise), 1), "seed": int(rng.integers(2**32))}

    def apply(self, frames: Frames, params: Params) -> Frames:
        rng = np.random.Generator(np.random.PCG64DXSM(int(number(params, "seed"))))
        steps = np.round(_normal_quantiles() * number(params, "sigma") / 1024).astype(np.int16)
        drawn = rng.integers(0, len(steps), size=frames.shape, dtype=np.uint16)
        return np.asarray(np.clip(frames + steps[drawn], 0, 255), np.uint8)


class Blur(PixelPerturbation):
    """A Gaussian blur of standard deviation `sigma` pixels, by OpenCV's bit-exact filter."""

    name = "blur"
    text = "For part of this video, the picture is blurred."

    def weakest(self, config: SegmentConfig) -> dict[str, JSON]:
        return {"sigma": config.strengths.blur}

    def apply(self, frames: Frames, params: Params) -> Frames:
        sigma = number(params, "sigma")
        blurred = [cv2.GaussianBlur(frame, (0, 0), sigma, hint=cv2.ALGO_HINT_ACCURATE) for frame in frames]
        return np.stack(blurred)


class Grayscale(PixelPerturbation):
    """A picture without color."""

    name = "grayscale"
    text = "For part of this video, the picture has lost all color."

    def apply(self, frames: Frames, params: Params) -> Frames:
        return gray(frames)


class Invert(PixelPerturbation):
    """A color negative."""

    name = "invert"
    text = "For part of this video, the picture is a color negative."

    def apply(self, frames: Frames, params: Params) -> Frames:
        return 255 - frames


class ChannelSwap(PixelPerturbation):
    """Red becomes blue, and blue becomes red."""

    name = "channel_swap"
    text = "For part of this video, the red and blue channels have been exchanged."
    leaves_no_traces = True
    grain = True

    def apply(self, frames: Frames, params: Params) -> Frames:
        swapped = cv2.cvtColor(frames.reshape(1, -1, 3), cv2.COLOR_RGB2BGR)
        return cast(Frames, swapped.reshape(frames.shape))
