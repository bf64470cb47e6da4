"""Draw tokens by their log-probabilities, with noise whose source is a prompt's own seed.

`videossr.engine.generation` uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

Layout = Literal["packed", "rows"]

Seed: TypeAlias = tuple[int, ...]
"""Several numbers, so that neighbours share nothing."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        max_tokens: of an answer, at most.
        ends: tokens that end an answer.
        temperature: by which scores are divided; 0: the most probable token is taken.
        top_k: draw from the most probable tokens alone; 0: from all.
        top_p: draw from the most probable tokens alone that have this share together.
        banned: tokens that are never drawn.
        layout: "packed" draws float32 noise on the device; "rows" draws float64 noise on the host, the same whatever
            the device.
    """

    max_tokens: int
    ends: frozenset[int]
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    banned: Sequence[int] = ()
    layout: Layout = "packed"


def choose_tokens(logprobs: Tensor, waits: Tensor) -> Tensor:
    """Draw one token (R,) for each row of log-probabilities (R, V), by an exponential race.

    Each token comes at a rate of its probability, and the first is drawn. So an error in the last digit of a score
    changes the choice only where two come at the same time.

    Args:
        logprobs: (R, V); they need not be normalized, and -inf is never drawn.
        waits: (R, V), drawn from the exponential distribution of rate 1: all the chance there is in it.
    """
    return (logprobs - waits.clamp(min=1e-30).log()).argmax(-1)


def truncate(logprobs: Tensor, top_k: int, top_p: float) -> Tensor:
    """Keep of log-probabilities (R, V) what `top_k` and then `top_p` leave; the rest becomes -inf. 0 and 1 keep all."""
    if not top_k and top_p == 1:
        return logprobs
    ranked, order = logprobs.sort(dim=-1, descending=True, stable=True)
    if top_k:
        ranked = ranked[:, :top_k]
        order = order[:, :top_k]
    shares = ranked.exp()
    mass = shares.cumsum(-1)
    kept = mass - shares < top_p * mass[:, -1:]
    return torch.full_like(logprobs, -torch.inf).scatter(-1, order, ranked.masked_fill(~kept, -torch.inf))


class Noise(Protocol):
    """A source of exponential noise for the answers to one prompt.

    Attributes:
        dtype: of the noise; tokens are chosen in this precision.
    """

    dtype: torch.dtype

    def draw(self, n: int, vocabulary: int) -> Tensor:
        """Return noise (n, V) for one token of each of n answers."""


class DeviceNoise:
    """Draw float32 noise on the device: fast, and other on another kind of device."""

    dtype = torch.float32

    def __init__(self, seed: Seed, device: torch.device) -> None:
        state = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1))
        self._device = device
        self._generator = torch.Generator(device).manual_seed(state)

    def draw(self, n: int, vocabulary: int) -> Tensor:
        """Return noise (n, V) for one token of each of n answers."""
        return torch.empty((n, vocabulary), device=self._device).exponential_(generator=self._generator)


class HostNoise:
    """Draw float64 noise with NumPy: the same on every device."""

    dtype = torch.float64

    def __init__(self, seed: Seed, device: torch.device) -> None:
        self._device = device
        self._generator = np.random.Generator(np.random.PCG64DXSM(list(seed)))

    def draw(self, n: int, vocabulary: int) -> Tensor:
        """Return noise (n, V) for one token of each of n answers."""
        return torch.from_numpy(self._generator.standard_exponential((n, vocabulary))).to(self._device)


def noise_of(layout: Layout, seed: Seed, device: torch.device) -> Noise:
    """Return the noise of a prompt's answers, see `Sampling.layout`."""
    return DeviceNoise(seed, device) if layout == "packed" else HostNoise(seed, device)
