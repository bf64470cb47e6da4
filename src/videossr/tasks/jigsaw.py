"""Temporal jigsaw (paper, section on pretext tasks): in which shown clip is each consecutive piece of the video?

Exercised by `videossr build jigsaw-6 --corpus demo/corpus --out demo/jigsaw --limit 4`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from videossr.answers.order import ORDER, OrderDistribution
from videossr.measure import Measure
from videossr.perturb.gates import motion_jump
from videossr.perturb.order import OrderLimits, unlike_starts, unseen_order
from videossr.question import Clip, Frames, Question, Truth
from videossr.sample import JSON, Rejection, Sample
from videossr.tasks.base import Donors, Video
from videossr.templates import PromptTemplates


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class JigsawConfig:
    """Config of the temporal jigsaw; defaults are the paper's easy setting."""

    pieces: Annotated[int, Field(ge=3, le=9, description="pieces of equal length; two would have a single answer")] = 6
    frames: Annotated[int, Field(ge=4, le=4096, description="slots that are cut into pieces")] = 48
    gap: Annotated[int, Field(ge=0, le=64, description="slots left out at each border between pieces")] = 0
    gap_seconds: Annotated[float, Field(ge=0, le=600, description="least seconds that the `gap` slots last")] = 0.0
    trim: Annotated[
        Literal["even", "unlike"],
        Field(
            description="which slots of a piece `gap` leaves out: as many at both ends, or, in the mean as many, those "
            "that make the ends of neighbors as unlike as they can be"
        ),
    ] = "even"
    solver: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share of puzzles, beyond chance, that `videossr validate` lets a solver have right that only "
            "matches borders",
        ),
    ] = 0.1
    difference: Annotated[
        float,
        Field(ge=0, le=100, description="least difference of two pieces' mean pictures, CIE76 of the busiest tenth"),
    ] = 5.0
    motion: Annotated[
        float, Field(ge=0, le=100, description="least motion within a piece, CIE76 of the busiest tenth")
    ] = 5.0
    gates: Annotated[
        bool, Field(description="whether pieces must differ and move, and their order be seen, in a video that is used")
    ] = True
    limits: OrderLimits = OrderLimits()
    identity: Annotated[bool, Field(description="whether the true order may be shown too")] = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Check that a piece keeps two frames, `frames` // `pieces` - `gap` >= 2, and that what needs a gap has one."""
        if self.piece_frames < 2:
            raise ValueError(
                f"{self.frames} frames in {self.pieces} pieces with a gap of {self.gap} leave no frame pair"
            )
        if not self.gap and (self.trim == "unlike" or self.gap_seconds):
            raise ValueError("trim = 'unlike' and gap_seconds choose what a gap leaves out: set gap to 1 or more")
        return self

    @property
    def piece_frames(self) -> int:
        """Slots of one piece: an even number, so that no model has to pad one."""
        return (self.frames // self.pieces - self.gap) // 2 * 2


class Jigsaw:
    """n pieces, each shown as its own clip, all on one nominal clock from 0, by default never in their true order."""

    name = "jigsaw"
    Config = JigsawConfig
    answer_type = ORDER
    even_clock = True
    difficulty_labels: ClassVar[Mapping[str, str]] = {"seconds": "length of a piece, s"}

    def required_frames(self, config: JigsawConfig) -> tuple[int, int]:
        """Return the slots of a clip, and the frames that a pack must hold for each."""
        return config.frames, 1

    def gates(self, video: Video, config: JigsawConfig) -> Iterator[Measure]:
        """Gates: uneven_clock (ms), brief_gap (s); with `gates` pieces_alike, still_piece (CIE76), `unseen_order`'s.

        A piece that stands still throughout has neither a direction nor ends that would fit those of its neighbors.
        """
        shown = video.subsample(config.frames)
        uneven = shown.clock.slice(0, config.frames - 1).jitter_ms  # without the last slot, which no step follows
        yield Measure("uneven_clock", uneven, 1, least=False)  # all pieces carry one clock, which must be true of each
        seconds = config.gap * shown.clock.end_ms / config.frames / 1000
        yield Measure("brief_gap", seconds, config.gap_seconds, setting="gap_seconds")
        if not config.gates:
            return
        pictures, starts = shown.features.pictures, _starts(shown, config)
        pieces = [pictures[start : start + config.piece_frames] for start in starts]
        value = min(float(motion_jump(a, b)) for a, b in combinations([piece.mean(axis=0) for piece in pieces], 2))
        yield Measure("pieces_alike", value, config.difference, setting="difference")
        value = min(float(motion_jump(piece[:1], piece[1:]).max()) for piece in pieces)
        yield Measure("still_piece", value, config.motion, setting="motion")
        yield from unseen_order(shown.frames, pictures, starts, config.piece_frames, config.limits)

    def draw(
        self, video: Video, category: str, config: JigsawConfig, rng: np.random.Generator, donors: Donors
    ) -> Sample | Rejection:
        """Draw a sample of a video, or say why none can be drawn."""
        order = [int(piece) for piece in rng.permutation(config.pieces)]
        while order == sorted(order) and not config.identity:
            order = [int(piece) for piece in rng.permutation(config.pieces)]
        density = video.density(config.frames)
        starts = _starts(video.subsample(config.frames), config)
        slots = [
            (0, slot * density) for piece in order for slot in range(starts[piece], starts[piece] + config.piece_frames)
        ]
        clock = video.clock.subsample(config.frames).slice(0, config.piece_frames)
        return Sample(
            task=self.name,
            category=category,
            sources=(video.key,),
            slots=tuple(slots),
            clock=clock,
            size=video.size,
            params={"order": [*order], "gap": config.gap},
            answer="".join(str(order.index(piece) + 1) for piece in range(config.pieces)),
        )

    def render(self, frames: Frames, sample: Sample) -> list[Clip]:
        """Render the clips of a sample."""
        length = len(sample.clock)
        return [Clip(frames[start : start + length], sample.clock) for start in range(0, len(frames), length)]

    def question(self, sample: Sample, templates: PromptTemplates) -> Question:
        """Write the question of a sample."""
        texts = templates["jigsaw"]
        pieces = len(sample.integers("order"))
        clips = "".join(texts["clip"].format(position=position + 1) for position in range(pieces))
        # A rotation by one, so that the example shows the format and favors no piece's place.
        example = "".join(str((piece + 1) % pieces + 1) for piece in range(pieces))
        prompt = texts["prompt"].strip().format(clips=clips, n=pieces, example=example)
        return Question(
            id=sample.id,
            data_source="videossr/jigsaw",
            system=templates["system"]["text"],
            prompt=prompt,
            answer=sample.answer,
            clocks=(sample.clock,) * pieces,
        )

    def truth(self, sample: Sample) -> Truth:
        """Return what the answer of a sample rests on."""
        return Truth(order=tuple(sample.integers("order")))

    def difficulty(self, sample: Sample) -> Mapping[str, float | str]:
        """`pieces`, and `seconds` that one piece lasts."""
        return {"pieces": len(sample.integers("order")), "seconds": sample.clock.end_ms / 1000}

    def answer_distribution(self, config: JigsawConfig) -> OrderDistribution:
        """Return the distribution of the orders: all alike, the true one apart unless `identity` is set."""
        return OrderDistribution(config.pieces, config.identity)

    def shown_params(self, sample: Sample) -> Mapping[str, JSON]:
        """Return the parameters with the order counted from 1, as answers count."""
        order: list[JSON] = [piece + 1 for piece in sample.integers("order")]
        return {"order, from 1" if name == "order" else name: value for name, value in sample.params.items()} | {
            "order, from 1": order
        }


def _starts(shown: Video, config: JigsawConfig) -> list[int]:
    """Find the first slot of each piece in `shown`, the video at the slots of the category."""
    if config.trim == "unlike":
        return unlike_starts(shown.features.pictures, config.pieces, config.piece_frames)
    whole = config.frames // config.pieces
    return [piece * whole + (whole - config.piece_frames) // 2 for piece in range(config.pieces)]
