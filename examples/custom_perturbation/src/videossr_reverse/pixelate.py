"""A stretch of the video in coarse blocks, found by videossr through the entry point `pixelate`."""

from __future__ import annotations

from typing import Annotated, cast

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from videossr.perturb.base import Params, SegmentConfig
from videossr.perturb.pixel import PixelPerturbation, number
from videossr.question import Frames
from videossr.sample import JSON


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class PixelateSettings:
    """What a recipe may set under `settings`."""

    least: Annotated[int, Field(ge=2, le=64, description="smallest side of a block in pixels")] = 8
    most: Annotated[int, Field(ge=2, le=64, description="largest side of a block in pixels")] = 16


class Pixelate(PixelPerturbation):
    """The picture in blocks of one color each, `side` x `side` pixels large."""

    name = "pixelate"
    text = "For part of this video, the picture is made of coarse square blocks."
    Settings = PixelateSettings

    def weakest(self, config: SegmentConfig) -> dict[str, JSON]:
        return {"side": config.settings["least"]}

    def draw_params(self, config: SegmentConfig, rng: np.random.Generator) -> dict[str, JSON]:
        return {"side": int(rng.integers(config.settings["least"], config.settings["most"] + 1))}

    def apply(self, frames: Frames, params: Params) -> Frames:
        height, width = frames.shape[1:3]
        side = number(params, "side")
        small = (max(1, round(width / side)), max(1, round(height / side)))
        coarse = (cv2.resize(frame, small, interpolation=cv2.INTER_AREA) for frame in frames)
        blocks = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_NEAREST) for frame in coarse]
        return cast(Frames, np.stack(blocks))
