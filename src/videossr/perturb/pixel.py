"""What a perturbation of the picture is: how its parameters are drawn, and the pure function that applies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from videossr.perturb.strengths import Strengths
from videossr.question import Frames
from videossr.sample import JSON

Params = Mapping[str, JSON]


def _nothing(_strengths: Strengths) -> dict[str, JSON]:
    return {}


@dataclass(frozen=True)
class Pixel:
    """A perturbation of the picture.

    Attributes:
        apply: frames (T, H, W, 3) uint8 and parameters -> new frames of the same shape; never writes to its input.
        weakest: the parameters of least effect that the strengths allow, for the gate.
        draw: the parameters of one segment; without one there is nothing to draw, and `weakest` is what is applied.
    """

    apply: Callable[[Frames, Params], Frames]
    weakest: Callable[[Strengths], dict[str, JSON]] = _nothing
    draw: Callable[[Strengths, np.random.Generator], dict[str, JSON]] | None = None

    def parameters(self, strengths: Strengths, rng: np.random.Generator) -> dict[str, JSON]:
        return self.draw(strengths, rng) if self.draw else self.weakest(strengths)


def number(params: Params, name: str) -> float:
    """A parameter that must be a number. Raises TypeError that names it."""
    value = params[name]
    if not isinstance(value, int | float):
        raise TypeError(f"parameter {name!r} must be a number, got {value!r}")
    return value
