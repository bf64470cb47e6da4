"""Anomaly grounding (paper, section on pretext tasks): when does the altered stretch of the video start and end?

Exercised by `videossr build perturbations --only grounding/mirror --corpus demo/corpus --out demo/grounding --limit 4`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticKnownError

from videossr.answers.interval import INTERVAL, SpanDistribution, uniform_spans
from videossr.config import parse
from videossr.measure import Measure
from videossr.perturb import PERTURBATIONS, Strengths, open_perturbation
from videossr.perturb.base import SHORTEST, Drawn, Segment, shortest_segment
from videossr.perturb.gates import Limits
from videossr.perturb.video import Donors, Video
from videossr.question import Clip, Frames, Question, Truth
from videossr.sample import JSON, Rejection, Sample, VideoKey
from videossr.tasks.base import naming_errors
from videossr.templates import PromptTemplates


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class GroundingConfig:
    """Config of anomaly grounding; defaults are the paper's."""

    perturbation: Annotated[
        str,
        Field(
            description="how the segment is altered; other packages may add more",
            json_schema_extra=lambda schema: schema.update(enum=[*PERTURBATIONS.names()]),
        ),
    ]
    frames: Annotated[int, Field(ge=4, le=4096, description="slots shown")] = 48
    length: Annotated[tuple[int, int], Field(description="slots of the segment, least and most, both reachable")] = (
        8,
        16,
    )
    settings: Annotated[dict[str, Any], Field(description="settings of a perturbation of another package")] = Field(
        default_factory=dict
    )
    strengths: Strengths = Field(default_factory=Strengths)
    limits: Limits = Field(default_factory=Limits)
    donors: Annotated[int, Field(ge=1, le=1000, description="swap: videos tried as donor")] = 16
    alike: Annotated[
        float,
        Field(ge=0, le=16, description="swap: octaves of fine detail by which a donor may differ; else the nearest"),
    ] = 0.3
    gates: Annotated[bool, Field(description="whether the change must stand out in a video that is used")] = True

    @field_validator("perturbation")
    @classmethod
    def _installed(cls, name: str) -> str:
        """`perturbation` is the name of an installed perturbation."""
        if name not in (known := PERTURBATIONS.names()):
            raise PydanticKnownError("literal_error", {"expected": " or ".join(map(repr, known))})
        return name

    @field_validator("length")
    @classmethod
    def _ordered(cls, length: tuple[int, int]) -> tuple[int, int]:
        """`length` is 4 <= least <= most."""
        if not 4 <= length[0] <= length[1]:
            raise ValueError("need 4 <= least <= most")
        return length

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Check that `length` fits: its most below `frames`, by 8 for slow and fast; least > 2 `shift` in a shuffle."""
        perturbation = open_perturbation(self.perturbation)
        problems = []
        if self.length[1] >= self.frames:
            problems.append(f"length {self.length}: need most < frames, which is {self.frames}")
        with _naming(self.perturbation, "problems"):
            problems += perturbation.problems(self)
        try:
            settings = asdict(parse(perturbation.Settings, self.settings, "settings"))
        except ValueError as error:
            problems.append(str(error))
        else:
            object.__setattr__(self, "settings", settings)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def proven(self) -> bool:
        """Tell whether every segment can be told from what surrounds it at its first and its last slot."""
        with _naming(self.perturbation, "always_changes"):
            return self.gates and open_perturbation(self.perturbation).always_changes(self)


def span_distribution(config: GroundingConfig) -> dict[tuple[int, int], float]:
    """Compute the exact probability of each segment, by (first slot, last slot)."""
    return uniform_spans(config.frames, *config.length, lambda length: _starts(length, config))


def _starts(length: int, config: GroundingConfig) -> range:
    """Return the slots at which a segment of `length` slots may start, as the perturbation says."""
    with _naming(config.perturbation, "starts"):
        starts = open_perturbation(config.perturbation).starts(length, config)
        if not starts or starts[0] < 0 or starts[-1] + length > config.frames:
            raise ValueError(f"it must return slots of 0..{config.frames - length}, and returned {starts!r}")
        return starts


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

    def required_frames(self, config: GroundingConfig) -> tuple[int, int]:
        """Return the slots of a clip, and the frames that a pack must hold for each."""
        with _naming(config.perturbation, "density"):
            return config.frames, open_perturbation(config.perturbation).density(config)

    def perturbations(self, config: GroundingConfig) -> tuple[str]:
        """Return the name of the perturbation of a category."""
        return (config.perturbation,)

    def gates(self, video: Video, config: GroundingConfig) -> Iterator[Measure]:
        """Gates: too_brief (s), what the perturbation requires, and with `gates` those of the perturbation."""
        perturbation = open_perturbation(config.perturbation)
        shortest = shortest_segment(video.subsample(config.frames).clock, config.length[0])
        with _naming(config.perturbation, "gates", f"video {video.key.content[:12]}"):
            if shortest >= SHORTEST:
                clocks = perturbation.clocks(video, config)
                shortest = max(shortest_segment(clock, config.length[0]) for clock in clocks)
            yield Measure("too_brief", shortest, SHORTEST)
            yield from perturbation.requirements(video, config)
            if config.gates:
                yield from perturbation.gates(video, config)

    def draw(
        self, video: Video, category: str, config: GroundingConfig, rng: np.random.Generator, donors: Donors
    ) -> Sample | Rejection:
        """Draw a sample of a video, or say why none can be drawn."""
        perturbation = open_perturbation(config.perturbation)
        length = int(rng.integers(config.length[0], config.length[1] + 1))
        starts = _starts(length, config)
        first = starts[int(rng.integers(len(starts)))]
        segment = Segment(first, first + length - 1)
        with _naming(config.perturbation, "draw", f"video {video.key.content[:12]}", category):
            drawn = perturbation.draw(video, segment, config, rng, donors)
            if not isinstance(drawn, Drawn | Rejection):
                raise TypeError(f"it must return a Drawn or a Rejection, and returned {drawn!r}")
        if isinstance(drawn, Rejection):
            return drawn
        clock = video.clock.subsample(config.frames) if drawn.clock is None else drawn.clock
        sources: tuple[VideoKey, ...] = (video.key,) if drawn.donor is None else (video.key, drawn.donor)
        params: dict[str, JSON] = {"perturbation": config.perturbation, "first": segment.first, "last": segment.last}
        return Sample(
            task=self.name,
            category=category,
            sources=sources,
            slots=tuple(drawn.slots),
            clock=clock,
            size=video.size,
            params={**params, **drawn.params},
            answer=_interval(*clock.span(segment.first, segment.last)),
        )

    def render(self, frames: Frames, sample: Sample) -> list[Clip]:
        """Render the clips of a sample."""
        name = str(sample.params["perturbation"])
        with _naming(name, "render", f"sample {sample.id}", sample.category):
            return [Clip(open_perturbation(name).render(frames, _segment(sample), sample.params), sample.clock)]

    def question(self, sample: Sample, templates: PromptTemplates) -> Question:
        """Write the question of a sample."""
        texts = templates["grounding"]
        name = str(sample.params["perturbation"])
        change = texts["changes"].get(name) or open_perturbation(name).text
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
        """Return what the answer of a sample rests on."""
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
        """Find the (source, frame) that each slot of the segment would show if nothing had been altered."""
        frames = [frame for _, frame in sample.slots]
        perturbation = open_perturbation(str(sample.params["perturbation"]))
        due = perturbation.natural_frames(frames, _segment(sample), kept[0] // len(frames), sample.params)
        return [(0, min(max(frame, 0), kept[0] - 1)) for frame in due]


def _naming(perturbation: str, method: str, about: str = "", category: str = "") -> AbstractContextManager[None]:
    """Name the perturbation in what its code raises."""
    kind = type(open_perturbation(perturbation))
    return naming_errors(kind, perturbation, method, about, category, what="perturbation")


def _segment(sample: Sample) -> Segment:
    """Return the altered slots of a sample."""
    return Segment(sample.integer("first"), sample.integer("last"))


def _interval(start: float, end: float) -> str:
    """Write `start-end` in seconds, each rounded to the nearest tenth (halves up)."""
    return "-".join(f"{(round(seconds * 1000) + 50) // 100 / 10:.1f}" for seconds in (start, end))
