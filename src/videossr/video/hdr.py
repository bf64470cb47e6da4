"""Tone mapping of pictures whose transfer is PQ or HLG to SDR, as a player does it on an ordinary screen.

Light is taken relative to 203 cd/m2, the white of ITU-R BT.2408; what is brighter than 30 % of it is rolled off up to
1,000 cd/m2, which become white (the curve `mobius` of ffmpeg's filter `tonemap`), by one factor for the three channels,
so that hues stay. BT.2020 colors become those of BT.709, and the result is coded for a screen of gamma 2.4 (BT.1886).

Pixels go only through tables, sums and products, so the bytes are the same on every processor.
`videossr.video.conversion` calls `to_sdr`.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from videossr.question import Frames

HDR = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
"""ffmpeg's name of an HDR transfer -> its usual name."""

_WHITE = 203.0
_PEAK = 1000.0
_KNEE = 0.3
_CODES = 1 << 16
_LUMA = (0.2627, 0.6780, 0.0593)
_TO_709 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))

_Light = NDArray[np.float64]


def to_sdr(picture: NDArray[np.uint16], transfer: str, *, wide: bool) -> Frames:
    """Map a picture (H, W, 3) of 16 bits a channel to uint8 RGB for an ordinary screen.

    Args:
        picture: R'G'B' as `transfer` codes it, full range.
        transfer: "smpte2084" or "arib-std-b67".
        wide: whether its primaries are those of BT.2020; else they are taken for BT.709's.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        KeyError: `transfer` is another.
    """
    light = _TABLES[transfer]()[picture]
    channels = [light[..., k] for k in range(3)]
    if transfer == "arib-std-b67":
        scene = sum((weight * channel for weight, channel in zip(_LUMA, channels, strict=True)), np.zeros(1))
        gain = _system_gain()[_codes(scene)]
        channels = [channel * gain for channel in channels]
    brightest = np.maximum(np.maximum(channels[0], channels[1]), channels[2])
    gain = _rolled_off(np.minimum(brightest, _PEAK / _WHITE)) / np.maximum(brightest, 1e-9)
    channels = [channel * gain for channel in channels]
    if wide:
        channels = [r * channels[0] + g * channels[1] + b * channels[2] for r, g, b in _TO_709]
    return _screen()[np.stack([_codes(channel) for channel in channels], axis=-1)]


def _codes(values: _Light) -> NDArray[np.intp]:
    """Convert values from 0 to 1 to indices of a table."""
    return np.rint(np.clip(values, 0, 1) * (_CODES - 1)).astype(np.intp)


def _rolled_off(light: _Light) -> _Light:
    """Compress light above the knee so that the peak becomes 1 (the curve `mobius`)."""
    peak = _PEAK / _WHITE
    knee = _KNEE
    a = -(knee**2) * (peak - 1) / (knee**2 - 2 * knee + peak)
    b = (knee**2 - 2 * knee * peak + peak) / (peak - 1)
    scale = (b**2 + 2 * b * knee + knee**2) / (b - a)
    return np.where(light <= knee, light, scale * (light + a) / (light + b))


@cache
def _pq() -> _Light:
    """Tabulate the light of each code by SMPTE ST 2084, relative to `_WHITE`."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    powers = [math.pow(code / (_CODES - 1), 1 / m2) for code in range(_CODES)]
    return np.array([10000 / _WHITE * math.pow(max(p - c1, 0) / (c2 - c3 * p), 1 / m1) for p in powers])


@cache
def _hlg() -> _Light:
    """Tabulate the light of the scene for each code by ITU-R BT.2100, from 0 to 1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    codes = [code / (_CODES - 1) for code in range(_CODES)]
    return np.array([code**2 / 3 if code <= 0.5 else (math.exp((code - c) / a) + b) / 12 for code in codes])


_TABLES = {"smpte2084": _pq, "arib-std-b67": _hlg}


@cache
def _system_gain() -> _Light:
    """Tabulate the gain from the scene to a screen of `_PEAK`, by the luminance of the scene (gamma 1.2)."""
    return np.array([_PEAK / _WHITE * math.pow(code / (_CODES - 1), 0.2) for code in range(_CODES)])


@cache
def _screen() -> Frames:
    """Tabulate the SDR code of each amount of light."""
    return np.array([round(255 * math.pow(code / (_CODES - 1), 1 / 2.4)) for code in range(_CODES)], np.uint8)
