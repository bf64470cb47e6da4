"""How Qwen3-VL is told the time: `<t seconds>` in front of every merged pair of frames.

Shown by `videossr validate DATASET --model-type qwen3_vl`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from videossr.clock import Clock

Layout: TypeAlias = Literal["bare", "wrapped"]
"""``bare``: up to transformers 5.9, the prompt's vision tokens around the video give way to those of each pair.
``wrapped``: from transformers 5.10 on they stay, around all pairs."""

MERGE = 2
"""Frames that the vision tower merges into one (temporal patch size)."""

START, PAD, END = "<|vision_start|>", "<|video_pad|>", "<|vision_end|>"


def pair_times(clock: Clock) -> list[float]:
    """Seconds that the markers stand for, one a pair: the mean of its slots' times.

    An odd last slot is paired with itself, as the processor does. Each time is made a float before the mean is taken,
    in the processor's own order: where the mean ends in a five at the second decimal, that decides how the marker is
    rounded (0.1 s and 0.2 s give 0.15000000000000002, hence `<0.2 seconds>`; 300 / 2000 would give `<0.1 seconds>`).
    """
    times = [time / 1000 for time in (*clock.times_ms, *clock.times_ms[-1:] * (len(clock) % MERGE))]
    return [(first + second) / 2 for first, second in zip(times[::2], times[1::2], strict=True)]


def markers(clock: Clock) -> list[str]:
    """The markers as the model reads them, one a pair."""
    return [f"<{seconds:.1f} seconds>" for seconds in pair_times(clock)]


def video_text(clock: Clock, tokens: int, layout: Layout) -> str:
    """The text that stands for one clip in a prompt, with `tokens` placeholders a pair."""
    pairs = "".join(f"{marker}{START}{PAD * tokens}{END}" for marker in markers(clock))
    return f"{START}{pairs}{END}" if layout == "wrapped" else pairs
