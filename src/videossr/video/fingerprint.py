"""Recognise the same footage after re-encoding, scaling or trimming: one 64-bit number a frame.

Exercised by `videossr build … --exclude DATASET`, which keeps near-duplicates of a benchmark out of training.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.question import Frames

Fingerprints = NDArray[np.uint64]
"""(T,) uint64; 0 says nothing about the frame."""

NEAR_BITS = 10
"""Two frames are near when at most this many of the 64 bits differ; measured in docs/results/index.md."""

NEAR_SHARE = 0.5
"""Two videos are near-duplicates when at least this share of one's frames is near to a frame of the other."""

_AT_ONCE = 512
"""Videos compared at once, which bounds the memory."""

_FLAT = 3.0
"""Standard deviation of the pooled gray picture, in levels of 255, below which a frame has no structure to compare."""

_SIDE = 32
_BASIS = np.rint(1024 * np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(_SIDE) + 1) / (2 * _SIDE))).astype(np.int64)
"""The eight lowest frequencies of a cosine transform, as whole numbers: no rounding differs between machines."""


def fingerprint(frames: Frames) -> Fingerprints:
    """One number for each frame of (T, H, W, 3), from the signs of its lowest spatial frequencies around their median.

    H and W are multiples of 32, as in every pack. A flat frame gives 0.
    """
    slots, height, width = frames.shape[:3]
    down, across = height // _SIDE, width // _SIDE
    corners = np.stack([cv2.integral(frame)[::down, ::across] for frame in frames])
    sums = np.diff(np.diff(corners, axis=1), axis=2).astype(np.int64)  # of each channel in each of 32 x 32 fields
    pooled = sums @ np.array([299, 587, 114]) // (down * across)
    waves = (_BASIS @ pooled @ _BASIS.T).reshape(slots, 64)[:, 1:]
    bits = waves > np.median(waves, axis=1, keepdims=True)
    powers = np.uint64(1) << np.arange(1, 64, dtype=np.uint64)
    numbers: Fingerprints = (bits * powers).sum(axis=1, dtype=np.uint64)
    numbers[pooled.std(axis=(1, 2)) < 1000 * _FLAT] = 0
    return numbers


def near(a: Fingerprints, b: Fingerprints, bits: int = NEAR_BITS) -> float:
    """The share of `a`'s frames that differ in at most `bits` bits from some frame of `b`.

    Flat frames (0) are left out on both sides; 0.0 where nothing is left to compare. A short cut is wholly near to the
    long video that it was taken from, but not the other way round: to tell duplicates, ask both ways.
    """
    a, b = a[a != 0], b[b != 0]
    return float(_hits(a, b, bits).any(axis=1).mean()) if len(a) and len(b) else 0.0


def largest_share(own: Fingerprints, others: Sequence[Fingerprints], bits: int = NEAR_BITS) -> float:
    """The largest of `shares`; 0.0 where there is none."""
    return float(shares(own, others, bits).max(initial=0.0))


def shares(own: Fingerprints, others: Sequence[Fingerprints], bits: int = NEAR_BITS) -> NDArray[np.float64]:
    """`near` between one video and each of `others`, the larger of both ways."""
    own = own[own != 0]
    found = np.zeros(len(others))
    told = [(at, kept) for at, other in enumerate(others) if len(kept := other[other != 0])]
    for start in range(0, len(told) if len(own) else 0, _AT_ONCE):
        places, group = zip(*told[start : start + _AT_ONCE], strict=True)
        starts = np.cumsum([0, *(len(other) for other in group[:-1])])
        hits = _hits(own, np.concatenate(group), bits)
        forth = np.logical_or.reduceat(hits, starts, axis=1).mean(axis=0)
        back = np.add.reduceat(hits.any(axis=0), starts, dtype=np.float64) / [len(other) for other in group]
        found[list(places)] = np.maximum(forth, back)
    return found


def _hits(a: Fingerprints, b: Fingerprints, bits: int) -> NDArray[np.bool_]:
    near_frames: NDArray[np.bool_] = np.bitwise_count(a[:, None] ^ b[None, :]) <= bits
    return near_frames
