"""Anomaly grounding (paper, section on pretext tasks): when does the altered stretch of the video start and end?

Exercised by `videossr build grounding-mirror --corpus demo/corpus --out demo/grounding --limit 4`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from videossr.answers.interval import INTERVAL, SpanDistribution, uniform_spans
from videossr.clock import Clock
from videossr.measure import Measure, rejected
from videossr.perturb import ORDERS, PIXELS, SPEEDS, Strengths
from videossr.perturb.gates import (
    Limits,
    Steps,
    clip_features,
    hard_cut,
    hidden_change,
    hidden_motion,
    no_course,
    steps,
)
from videossr.perturb.speed import pace
from videossr.perturb.temporal import least_density, outermost, shuffle, strides
from videossr.question import Clip, Frames, Question, Truth
from videossr.sample import JSON, Rejection, Sample, VideoKey
from videossr.tasks.base import Donors, Video
from videossr.templates import PromptTemplates

SHORTEST = 0.2
"""Seconds that a segment must last at the least: its ends are answered in tenths."""

BETWEEN = ("mirror", "zoom_in", "saturation")
"""Perturbations that a single frame does not tell: an altered one looks like one that was filmed so."""

Perturbation = Literal[
    "saturation", "noise", "blur", "grayscale", "invert", "channel_swap", "zoom_in", "zoom_out", "mirror", "rotate_90",
    "rotate_180", "rotate_270", "slow", "fast", "stutter", "shuffle", "swap",
]  # fmt: skip


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class GroundingConfig:
    """Config of anomaly grounding; defaults are the paper's."""

    perturbation: Annotated[Perturbation, Field(description="how the segment is altered")]
    frames: Annotated[int, Field(ge=4, le=4096, description="slots shown")] = 48
    length: Annotated[tuple[int, int], Field(description="slots of the segment, least and most, both reachable")] = (
        8,
        16,
    )
    strengths: Strengths = Field(default_factory=Strengths)
    limits: Limits = Field(default_factory=Limits)
    donors: Annotated[int, Field(ge=1, le=1000, description="swap: videos tried as donor")] = 16
    alike: Annotated[
        float,
        Field(ge=0, le=16, description="swap: octaves of fine detail by which a donor may differ; else the nearest"),
    ] = 0.3
    gates: Annotated[bool, Field(description="whether the change must stand out in a video that is used")] = True

    @field_validator("length")
    @classmethod
    def _ordered(cls, length: tuple[int, int]) -> tuple[int, int]:
        """`length` is 4 <= least <= most."""
        if not 4 <= length[0] <= length[1]:
            raise ValueError("need 4 <= least <= most")
        return length

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """The most of `length` is below `frames`, for slow and fast by 8; a shuffle needs least > 2 * `shift`."""
        shortest, longest = self.length
        problems = []
        if self.perturbation in SPEEDS and longest > self.frames - 8:
            problems.append(f"length {self.length}: slow and fast need most <= frames - 8, to compare it with the rest")
        if longest >= self.frames:
            problems.append(f"length {self.length}: need most < frames, which is {self.frames}")
        if self.perturbation == "shuffle" and shortest <= 2 * self.strengths.shift:
            problems.append(f"shuffle: segments of {shortest} slots cannot move their ends by {self.strengths.shift}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def proven(self) -> bool:
        """Whether every segment can be told from what surrounds it at its first and its last slot."""
        return self.gates and (self.perturbation != "shuffle" or self.strengths.shift > 0)


def _starts(config: GroundingConfig, length: int) -> range:
    """Return the slots at which a segment of `length` slots may start.

    A change of speed is seen in the steps out of the segment's slots, so the last slot of a clip cannot be part of one.
    """
    return range(config.frames - length + (config.perturbation not in SPEEDS))


def span_distribution(config: GroundingConfig) -> dict[tuple[int, int], float]:
    """Return the exact probability of each segment, as (first slot, last slot): length uniform, then place uniform."""
    return uniform_spans(config.frames - (config.perturbation in SPEEDS), *config.length)


class Grounding:
    """One contiguous segment of the slots is altered; the answer is its span in seconds."""

    name = "grounding"
    Config = GroundingConfig
    answer_type = INTERVAL
    difficulty_labels: ClassVar[Mapping[str, str]] = {
        "length": "length of the segment, slots",
        "seconds": "length of the segment, s",
        "duration": "length of the clip, s",
    }

    def needs(self, config: GroundingConfig) -> tuple[int, int]:
        if config.perturbation not in SPEEDS:
            return config.frames, 1
        speed = SPEEDS[config.perturbation](config.strengths)
        return config.frames, least_density(speed, config.frames, config.length[1])

    def gates(self, video: Video, config: GroundingConfig) -> Iterator[Measure]:
        """Gates: too_brief (s), uneven_clock (ms), with `gates` those of `videossr.perturb.gates` and hidden_speed."""
        name = config.perturbation
        shown = video.thin(config.frames)
        shortest = _shortest(shown.clock, config.length[0])
        if name in SPEEDS and shortest >= SHORTEST:  # a clip shows a part of the video
            pairs = _strides(video, config) if config.gates else _strides(video, config)[:1]
            shortest = max(_shortest(_clock(video, pair, config), config.length[0]) for pair in pairs)
        yield Measure("too_brief", shortest, SHORTEST)
        if name in SPEEDS:
            yield Measure("uneven_clock", video.clock.unevenness, 1, least=False)
        if not config.gates:
            return
        pictures = shown.look.pictures
        if name in PIXELS:
            pixel, weakest = PIXELS[name], PIXELS[name].weakest(config.strengths)
            original = clip_features(pixel.beside(shown.frames, weakest)) if pixel.beside else shown.look
            altered = clip_features(pixel.apply(shown.frames, weakest))
            yield from hidden_change(original, altered, config.limits, between=name in BETWEEN)
        elif name == "stutter":
            yield hidden_motion(pictures, range(1, config.length[1] + 1), config.limits)
        elif name == "shuffle":
            yield from _hidden_ends(shown, config)
            yield no_course(pictures, 1, config.limits)
        elif name == "swap":
            yield hard_cut(pictures, config.limits)
        elif name in SPEEDS:
            factor = max(float(factors.max()) for _, factors in _paces(video, config))
            yield Measure("hidden_speed", factor, config.limits.speed, setting="limits.speed")

    def draw(
        self, video: Video, category: str, config: GroundingConfig, rng: np.random.Generator, donors: Donors
    ) -> Sample | Rejection:
        name = config.perturbation
        length = int(rng.integers(config.length[0], config.length[1] + 1))
        first = int(rng.integers(len(_starts(config, length))))
        last = first + length - 1
        density = video.density(config.frames)
        clock = video.clock.thin(config.frames)
        slots = [(0, slot * density) for slot in range(config.frames)]
        sources: tuple[VideoKey, ...] = (video.key,)
        params: dict[str, JSON] = {"perturbation": name, "first": first, "last": last}

        if name in PIXELS:
            params["strength"] = PIXELS[name].parameters(config.strengths, rng)
        elif name in ORDERS:
            if name == "shuffle" and config.gates:
                ends = _ends(steps(video.thin(config.frames).look), first, length, config)
                heads, tails = ([o for o, factor in end.items() if factor >= config.limits.ends] for end in ends)
                order = shuffle(length, config.strengths, rng, heads, tails)
            else:
                order = ORDERS[name](length, config.strengths, rng)
            slots[first : last + 1] = [slots[first + offset] for offset in order]
            params["order"] = [*order]
        elif name in SPEEDS:
            (outside, inside), start = self._pace(video, config, rng)
            strides_of = [inside if first <= slot <= last else outside for slot in range(config.frames - 1)]
            shown = np.cumsum([start, *strides_of])
            slots = [(0, int(frame)) for frame in shown]
            clock = video.clock.cut(0, config.frames * outside).thin(config.frames)
            params["strides"] = [outside, inside]
        else:
            donor = self._donor(video, config, rng, donors)
            if isinstance(donor, Rejection):
                return donor
            sources = (video.key, donor.key)
            slots[first : last + 1] = [(1, slot * donor.density(config.frames)) for slot in range(first, last + 1)]

        return Sample(
            task=self.name,
            category=category,
            sources=sources,
            slots=tuple(slots),
            clock=clock,
            size=video.size,
            params=params,
            answer=_interval(*clock.span(first, last)),
        )

    def _pace(self, video: Video, config: GroundingConfig, rng: np.random.Generator) -> tuple[tuple[int, int], int]:
        """Choose the strides, and a frame to start at from which every stretch that may be drawn can be told.

        Neither looks at the stretch that was drawn, so the frames that are shown say nothing about it.
        """
        if not config.gates:
            outside, inside = _strides(video, config)[0]
            longest = max(outside * (config.frames - 1 - n) + inside * n for n in config.length)
            return (outside, inside), int(rng.integers(len(video.clock) - longest))
        told = ((pair, np.flatnonzero(factors >= config.limits.speed)) for pair, factors in _paces(video, config))
        pair, starts = next((pair, starts) for pair, starts in told if len(starts))
        return pair, int(rng.choice(starts))

    def _donor(
        self, video: Video, config: GroundingConfig, rng: np.random.Generator, donors: Donors
    ) -> Video | Rejection:
        """Choose a video that stands out from this one wherever the segment may lie, so that no law is bent.

        Nor may it have a hard cut, which would look like a border. The first of those tried whose fine detail differs
        by no more than `alike` octaves is taken, and if there is none, the one whose detail is nearest: the segment
        must not be told by being sharper than the rest.
        """
        own = video.thin(config.frames).look
        nearest = Rejection("no_donor", 0, 1)
        best: tuple[float, Video] | None = None
        for index in rng.permutation(len(donors))[: config.donors]:
            donor = donors[int(index)]
            if len(donor.clock) < config.frames or len(donor.clock) % config.frames:
                continue
            if not config.gates:
                return donor
            seen = donor.thin(config.frames).look
            cut = hard_cut(seen.pictures, config.limits)
            reject = rejected([*hidden_change(own, seen, config.limits, between=True), cut])
            if reject is not None:
                nearest = replace(reject, reason="no_donor")
                continue
            gap = float(abs(np.median(seen.textures) - np.median(own.textures)))
            if gap <= config.alike:
                return donor
            if best is None or gap < best[0]:
                best = gap, donor
        return best[1] if best else nearest

    def render(self, frames: Frames, sample: Sample) -> list[Clip]:
        name = str(sample.params["perturbation"])
        if name in PIXELS:
            segment = slice(sample.integer("first"), sample.integer("last") + 1)
            strength = sample.params["strength"]
            if not isinstance(strength, dict):
                raise TypeError(f"sample {sample.id}: strength must be a table, got {strength!r}")
            frames = PIXELS[name].show(frames, segment, strength)
        return [Clip(frames, sample.clock)]

    def question(self, sample: Sample, templates: PromptTemplates) -> Question:
        texts = templates["grounding"]
        change = texts["changes"][sample.params["perturbation"]]
        # The example is the same share of every clip, whatever the answer.
        example = _interval(sample.clock.end_ms * 0.25 / 1000, sample.clock.end_ms * 0.4 / 1000)
        prompt = texts["prompt"].strip().format(change=change, example=example)
        return Question(
            id=sample.id,
            data_source="videossr/grounding",
            system=templates["system"]["text"],
            prompt=prompt,
            answer=sample.answer,
            clocks=(sample.clock,),
        )

    def truth(self, sample: Sample) -> Truth:
        return Truth(spans=((sample.integer("first"), sample.integer("last")),))

    def difficulty(self, sample: Sample) -> Mapping[str, float | str]:
        """`perturbation`, the segment's `length` in slots and in `seconds`, and the clip's `duration` in seconds."""
        first, last = sample.integer("first"), sample.integer("last")
        start, end = sample.clock.span(first, last)
        return {
            "perturbation": str(sample.params["perturbation"]),
            "length": last - first + 1,
            "seconds": round(end - start, 3),
            "duration": sample.clock.end_ms / 1000,
        }

    def answer_distribution(self, config: GroundingConfig) -> SpanDistribution:
        """Return the distribution of the segments."""
        return SpanDistribution(config.frames, span_distribution(config))

    def unaltered(self, sample: Sample, kept: Sequence[int]) -> list[tuple[int, int]]:
        """Find the (source, frame) that each slot of the segment would show if nothing had been altered.

        They follow from the slots before the segment, or from those after it where it starts the clip, at their pace.
        Where the speed changes, the first slot of the segment still shows what it would show anyway.
        """
        frames = [frame for _, frame in sample.slots]
        first, last = sample.integer("first"), sample.integer("last")
        if "strides" in sample.params:
            anchor, pace = first, sample.integers("strides")[0]
        else:
            anchor, pace = first - 1 if first else last + 1, kept[0] // len(frames)
        due = [frames[anchor] + (slot - anchor) * pace for slot in range(first, last + 1)]
        return [(0, min(max(frame, 0), kept[0] - 1)) for frame in due]


def _hidden_ends(shown: Video, config: GroundingConfig) -> Iterator[Measure]:
    """Measure whether of every segment that may be drawn some shuffle shows both ends.

    First the motion by which a frame in the first and one in the last slot differ from those that are due there; then,
    among the frames that do so by the least motion, the steps at the borders, as factors on the scene's own.
    """
    found = steps(shown.look)
    motion = factor = np.inf
    for length in range(config.length[0], config.length[1] + 1):
        for first in _starts(config, length):
            offsets, last = outermost(length, config.strengths), first + length - 1
            moved = [
                {o: float(found.motion[due, first + o]) for o in each}
                for due, each in zip((first, last), offsets, strict=True)
            ]
            motion = min(motion, _told(*moved))
            factor = min(factor, _told(*_ends(found, first, length, config)))
    yield Measure("hidden_ends", motion, config.limits.motion)  # no setting: the factors depend on it too
    yield Measure("hidden_ends", factor, config.limits.ends, setting="limits.ends")


def _told(heads: Mapping[int, float], tails: Mapping[int, float]) -> float:
    """Return the largest value that two different offsets reach, one of `heads` and one of `tails`; 0 where none do."""
    offsets = sorted((max(heads.get(o, 0.0), tails.get(o, 0.0)) for o in {*heads, *tails}), reverse=True)
    return min(max(heads.values()), max(tails.values()), offsets[1]) if heads and tails and len(offsets) > 1 else 0.0


def _ends(found: Steps, first: int, length: int, config: GroundingConfig) -> tuple[dict[int, float], dict[int, float]]:
    """Find the offsets of frames that in the first, and in the last, slot of a segment are not the due ones.

    With each comes the step at the border, as a factor on the scene's own. A segment at the start or the end of a clip
    has no border there, and the factor is infinite.
    """
    heads, tails = outermost(length, config.strengths)
    last, after = first + length - 1, first + length
    least = config.limits.motion
    return (
        {
            offset: float(found.factors[first - 1, first + offset]) if first else np.inf
            for offset in heads
            if found.motion[first, first + offset] >= least
        },
        {
            offset: float(found.factors[after, first + offset]) if after < config.frames else np.inf
            for offset in tails
            if found.motion[last, first + offset] >= least
        },
    )


def _strides(video: Video, config: GroundingConfig) -> list[tuple[int, int]]:
    speed = SPEEDS[config.perturbation](config.strengths)
    return strides(speed, video.density(config.frames), config.frames, config.length[1])


def _clock(video: Video, pair: tuple[int, int], config: GroundingConfig) -> Clock:
    """Return the clock of a clip whose slots are as many frames apart as the first of `pair` says."""
    return video.clock.cut(0, config.frames * pair[0]).thin(config.frames)


def _paces(video: Video, config: GroundingConfig) -> Iterator[tuple[tuple[int, int], NDArray[np.float64]]]:
    """Yield pairs of strides, each with how well every stretch can be told, by the frame that the clip starts at."""
    for pair in _strides(video, config):
        if _shortest(_clock(video, pair, config), config.length[0]) >= SHORTEST:
            found = pace(video.frames, video.look.pictures, pair, config.frames, config.limits)
            yield pair, found.starts(config.length, config.limits)


def _shortest(clock: Clock, slots: int) -> float:
    """Return the seconds that the shortest segment of so many slots lasts."""
    ends = [*clock.times_ms, clock.end_ms]
    return min(b - a for a, b in zip(ends, ends[slots:], strict=False)) / 1000


def _interval(start: float, end: float) -> str:
    """`start-end` in seconds, each rounded to the nearest tenth (halves up)."""
    return "-".join(f"{(round(seconds * 1000) + 50) // 100 / 10:.1f}" for seconds in (start, end))
