"""The strengths of the perturbations, by default the paper's where it says so. Part of the config of grounding."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

Factor = Annotated[float, Field(gt=1, le=8)]
Sigma = Annotated[float, Field(gt=0, le=255)]
Holds = Annotated[int, Field(ge=1, le=64)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Strengths:
    """Ranges are (least, most), both reachable; one value is drawn for a whole segment."""

    saturation: Annotated[float, Field(gt=1, le=16, description="factor on the distance from gray")] = 2.0
    noise: Annotated[tuple[Sigma, Sigma], Field(description="standard deviation in gray levels")] = (35.0, 70.0)
    blur: Annotated[float, Field(gt=0, le=32, description="standard deviation of the Gaussian in pixels")] = 2.0
    zoom_in: Annotated[tuple[Factor, Factor], Field(description="magnification")] = (1.3, 1.5)
    zoom_out: Annotated[tuple[Factor, Factor], Field(description="reduction")] = (1.2, 1.4)
    holds: Annotated[tuple[Holds, Holds], Field(description="stutter: distinct frames that a segment holds")] = (2, 5)
    shift: Annotated[int, Field(ge=0, le=32, description="shuffle: least slots that the outermost frames move")] = 3
    slow: Annotated[float, Field(ge=0.125, le=0.75, description="speed of the scene, 1 is natural")] = 0.5
    fast: Annotated[float, Field(ge=1.25, le=8, description="speed of the scene, 1 is natural")] = 2.0

    @field_validator("noise", "zoom_in", "zoom_out", "holds")
    @classmethod
    def _ordered(cls, pair: tuple[float, float]) -> tuple[float, float]:
        """Of each pair in `strengths`, the first is the least and the second the most."""
        least, most = pair
        if least > most:
            raise ValueError(f"the least, {least}, is more than the most, {most}")
        return pair
