"""How model families write the times of a clip's frames, as their own processors in transformers do.

`videossr validate DATASET --model-type TYPE` prints these markers and judges labels in seconds by them. They are for
nothing else: a family is trained and evaluated only where `videossr.prompt.FAMILIES` has a builder for it.
docs/concepts/clock.md has the table for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from videossr.clock import Clock
from videossr.errors import ConfigError
from videossr.prompt.qwen3_vl import pair_times
from videossr.prompt.vision import PAIR
from videossr.registry import suggest


@dataclass(frozen=True, slots=True)
class TextClock:
    """A family that reads a marker of time with every frame or every few frames.

    Attributes:
        form: writes a time in seconds.
        words: the text of a marker; `{}` stands for its time.
        slots: that share a marker.
        time: which time a marker of several slots gives: of the `first` one, the `mean` of a pair, or `each`.
        place: where the marker stands: `before` or `after` the tokens of its slots, or `drawn` into their frames.
        clips: that a question may show at most; None for any number.
    """

    form: Callable[[float], str]
    words: str = "{}"
    slots: int = 1
    time: Literal["first", "mean", "each"] = "first"
    place: Literal["before", "after", "drawn"] = "before"
    clips: int | None = None

    def markers(self, clock: Clock) -> list[str]:
        """Write the markers of a clip as the model reads them, one for each of `marker_slots`, without outer space."""
        if self.time == "mean":
            return [self.words.format(self.form(seconds)) for seconds in pair_times(clock)]
        times = [self.form(time / 1000) for time in clock.times_ms]
        if self.time == "first":
            return [self.words.format(times[group[0]]) for group in marker_slots(self, clock)]
        numbered = [self.words.format(number, time) for number, time in enumerate(times, start=1)]
        joined = [" and ".join(numbered[group.start : group.stop]) for group in marker_slots(self, clock)]
        return [f"{text[0].upper()}{text[1:]}:" for text in joined]

    def read(self, seconds: float) -> float:
        """Return the seconds that one reads where `seconds` were written: 75.0 for 75.5 written as `01:15`."""
        return sum(float(part) * 60.0**place for place, part in enumerate(reversed(self.form(seconds).split(":"))))


@dataclass(frozen=True, slots=True)
class StepClock:
    """A family that reads no marker: time is in its rotary positions, in equal steps alone.

    Attributes:
        slots: that share a position in time.
    """

    slots: int = PAIR


@dataclass(frozen=True, slots=True)
class NoClock:
    """A family that is told nothing of times.

    Attributes:
        instead: what it reads of frames.
        slots: 1; each frame stands for itself.
    """

    instead: str
    slots: int = 1


FamilyClock: TypeAlias = TextClock | StepClock | NoClock


def marker_slots(family: FamilyClock, clock: Clock) -> list[range]:
    """Return the slots that share a marker or a position, in order; the last group may have fewer than the others."""
    return [range(first, min(first + family.slots, len(clock))) for first in range(0, len(clock), family.slots)]


def _tenths(seconds: float) -> str:
    return f"{seconds:.1f}"


def _hundredths(seconds: float) -> str:
    return f"{seconds:.2f}"


def _whole(seconds: float) -> str:
    return str(int(seconds))


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"


def _day(seconds: float) -> str:
    """Write the time of a day, cut to milliseconds, in floating point as the processor does."""
    whole = int(seconds) % 86_400
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{int(seconds % 1 * 1000):03d}"


def _hours(seconds: float) -> str:
    return f"{int(seconds // 3600):02d}:{int(seconds % 3600 // 60):02d}:{seconds % 3600 % 60:05.2f}"


_QWEN3_VL = TextClock(_tenths, "<{} seconds>", PAIR, "mean")
_GLM_4_1V = TextClock(_whole, slots=PAIR, place="after")
_GLM_4_6V = TextClock(_tenths, "{} seconds", PAIR, place="after")
_GEMMA_4 = TextClock(_minutes)
_MUSE = TextClock(_tenths, "Time: {}s", PAIR)
_FRAMES_ALONE = NoClock("frames alone")

CLOCKS: Mapping[str, FamilyClock] = {
    **dict.fromkeys(("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "qwen4_exp"), _QWEN3_VL),
    **dict.fromkeys(("cohere_compass", "lfm3_vl"), _QWEN3_VL),
    "cosmos3_edge": TextClock(_tenths, "<{} seconds>"),
    "qwen2_5_vl": StepClock(),
    **dict.fromkeys(("glm4v", "glm4v_moe"), _GLM_4_1V),
    **dict.fromkeys(("glm46v", "glm5_next"), _GLM_4_6V),
    "molmo2": TextClock(_tenths, clips=1),
    **dict.fromkeys(("gemma4", "gemma4_unified"), _GEMMA_4),
    "kimi_k25": TextClock(_day, slots=4),
    "nemotron_h_omni": TextClock(_hundredths, "frame {} sampled at {} seconds", PAIR, "each"),
    "minimax_m3_vl": TextClock(_tenths, "]<]{} seconds[>[", PAIR),
    **dict.fromkeys(("muse_glimmer", "muse_spark"), _MUSE),
    "video_llama_3": TextClock(_tenths, "Time {}s:"),
    "smolvlm": TextClock(_minutes, "Frame from {}:"),
    "ernie4_5_vl_moe": TextClock(_hours, "time: {}", place="drawn"),
    "internvl": NoClock("numbers of frames, such as Frame1"),
    **dict.fromkeys(("minicpmv4_6", "minicpmv4_7"), _FRAMES_ALONE),
    **dict.fromkeys(("llava_next_video", "llava_onevision", "video_llava", "perception_lm", "qwen2_vl"), _FRAMES_ALONE),
}
"""`model_type` of a family -> its clock, by the processors of transformers 5.24."""


def family_clock(model_type: str) -> FamilyClock:
    """Return the clock of a family.

    Raises:
        ConfigError: nothing is known of it. The message lists what is.
    """
    if model_type not in CLOCKS:
        raise ConfigError(
            f"nothing is known of the clock of the model type {model_type!r}{suggest(model_type, CLOCKS)}"
        )
    return CLOCKS[model_type]
