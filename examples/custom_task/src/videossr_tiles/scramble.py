"""The scramble task, found by videossr through the entry point `scramble`: when are the tiles of the picture shuffled?

Its answer is an interval of seconds, which videossr knows: the line `answer_type = INTERVAL` gives the task a smooth
and a strict score, a metric, the rows of guesses, the checks of `videossr validate` and the panels of a report. It
needs no reward of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from videossr.answers.interval import INTERVAL, SpanDistribution, uniform_spans
from videossr.measure import Measure
from videossr.question import Clip, Frames, Question, Truth
from videossr.sample import Rejection, Sample
from videossr.tasks.base import Donors, Video
from videossr.templates import PromptTemplates
from videossr_tiles.task import Tiles, TilesConfig, cut, join

PROMPT = """
<video>
For a while, every frame of this video is cut into tiles that changed places. When does that start and end?
Reply with both times in seconds and nothing else, for example {example}."""
"""A table `[scramble]` with a text `prompt` in the file given to `--templates` replaces it."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class ScrambleConfig(TilesConfig):
    """Config of the scramble task: that of the tiles, and how long they are shuffled."""

    least: Annotated[int, Field(ge=2, description="slots of the shortest shuffled stretch")] = 8
    most: Annotated[int, Field(ge=2, description="slots of the longest shuffled stretch")] = 16

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.least <= self.most < self.frames:
            raise ValueError(f"stretches of {self.least} to {self.most} slots: need least <= most < {self.frames}")
        return self


class Scramble:
    """The tiles of a stretch of slots change places; the answer is the stretch in seconds."""

    name = "scramble"
    Config = ScrambleConfig
    answer_type = INTERVAL

    def required_frames(self, config: ScrambleConfig) -> tuple[int, int]:
        return config.frames, 1

    def gates(self, video: Video, config: ScrambleConfig) -> Iterator[Measure]:
        """Tiles that look alike could be exchanged unseen, as in the tiles task."""
        return Tiles().gates(video, config)

    def draw(
        self, video: Video, category: str, config: ScrambleConfig, rng: np.random.Generator, donors: Donors
    ) -> Sample | Rejection:
        length = int(rng.integers(config.least, config.most, endpoint=True))
        first = int(rng.integers(config.frames - length, endpoint=True))
        order = list(range(config.rows * config.columns))
        while order == sorted(order):
            order = [int(tile) for tile in rng.permutation(config.rows * config.columns)]
        clock = video.clock.subsample(config.frames)
        start, end = clock.span(first, first + length - 1)
        return Sample(
            task=self.name,
            category=category,
            sources=(video.key,),
            slots=tuple((0, slot * video.density(config.frames)) for slot in range(config.frames)),
            clock=clock,
            size=video.size,
            params={
                "grid": [config.rows, config.columns],
                "order": [*order],
                "first": first,
                "last": first + length - 1,
            },
            answer=f"{start:.1f}-{end:.1f}",
        )

    def render(self, frames: Frames, sample: Sample) -> list[Clip]:
        rows, columns = sample.integers("grid")
        stretch = slice(sample.integer("first"), sample.integer("last") + 1)
        shown = frames.copy()
        shown[stretch] = join(cut(frames[stretch], rows, columns)[:, sample.integers("order")], rows, columns)
        return [Clip(shown, sample.clock)]

    def question(self, sample: Sample, templates: PromptTemplates) -> Question:
        end = sample.clock.end_ms / 1000
        # The same share of every clip, whatever the answer.
        prompt = templates.get(self.name, {}).get("prompt", PROMPT)
        prompt = prompt.strip().format(example=f"{0.25 * end:.1f}-{0.4 * end:.1f}")
        return Question(
            sample.id, "videossr/scramble", templates["system"]["text"], prompt, sample.answer, (sample.clock,)
        )

    def truth(self, sample: Sample) -> Truth:
        return Truth(spans=((sample.integer("first"), sample.integer("last")),))

    def difficulty(self, sample: Sample) -> Mapping[str, float | str]:
        """The `length` of the stretch in slots."""
        return {"length": sample.integer("last") - sample.integer("first") + 1}

    def answer_distribution(self, config: ScrambleConfig) -> SpanDistribution:
        """Optional: lets scores of guesses be computed exactly, and `videossr validate` test the answers."""
        return SpanDistribution(config.frames, uniform_spans(config.frames, config.least, config.most))

    def unaltered(self, sample: Sample, kept: Sequence[int]) -> Sequence[tuple[int, int]]:
        """Optional: the same frames, for the gallery's "Before" and for the check that the borders can be seen."""
        return sample.slots[sample.integer("first") : sample.integer("last") + 1]
