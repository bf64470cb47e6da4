"""The tiles task, found by videossr through the entry point `tiles`: gate, draw, render, question, truth.

Every frame is cut into the same grid, and the tiles change places, alike in all frames. A grid of 2x4 has 40,319
answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from videossr.answers.base import AnswerType
from videossr.measure import Measure
from videossr.question import Clip, Frames, Outline, Question, Truth
from videossr.sample import JSON, Rejection, Sample
from videossr.tasks.base import Donors, Video
from videossr.templates import PromptTemplates
from videossr_tiles.reward import score

PROMPT = """
<video>
Every frame of this video was cut into {rows} rows of {columns} tiles, and the tiles changed places, alike in all
frames. Places are numbered from 1 to {n}, row by row from the top left. For each place of the original picture, from
the first to the last, name the place where its tile is now.
Reply with these {n} digits in a row and nothing else, for example {example}."""
"""A table `[tiles]` with a text `prompt` in the file given to `--templates` replaces it."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class TilesConfig:
    """Config of the tiles task."""

    rows: Annotated[Literal[1, 2, 4], Field(description="rows of tiles")] = 2
    columns: Annotated[Literal[1, 2, 4], Field(description="columns of tiles")] = 4
    frames: Annotated[int, Field(ge=1, le=4096, description="slots shown")] = 48
    difference: Annotated[
        float, Field(ge=0, le=255, description="least mean difference of two tiles' mean pictures, in gray levels")
    ] = 10.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not 4 <= self.rows * self.columns <= 9:
            raise ValueError(f"{self.rows} x {self.columns} tiles: need 4 to 9, fewer leave too few answers")
        return self


class Tiles:
    """A grid of tiles that changed places; the answer is the place at which each original tile is shown."""

    name = "tiles"
    Config = TilesConfig
    answer_type = AnswerType("tiles", score)

    def required_frames(self, config: TilesConfig) -> tuple[int, int]:
        return config.frames, 1

    def gates(self, video: Video, config: TilesConfig) -> Iterator[Measure]:
        """Tiles that look alike, such as two of clear sky, could be exchanged unseen: no answer would be proven."""
        height, width = video.size
        yield Measure("size_not_divisible", height % config.rows + width % config.columns, 0, least=False)
        tiles = cut(video.subsample(config.frames).frames, config.rows, config.columns).mean(axis=0)
        value = min(float(np.abs(a - b).mean()) for a, b in combinations(tiles, 2))
        yield Measure("tiles_alike", value, config.difference, setting="difference")

    def draw(
        self, video: Video, category: str, config: TilesConfig, rng: np.random.Generator, donors: Donors
    ) -> Sample | Rejection:
        n = config.rows * config.columns
        order = list(range(n))
        while order == sorted(order):
            order = [int(tile) for tile in rng.permutation(n)]
        return Sample(
            task=self.name,
            category=category,
            sources=(video.key,),
            slots=tuple((0, slot * video.density(config.frames)) for slot in range(config.frames)),
            clock=video.clock.subsample(config.frames),
            size=video.size,
            params={"grid": [config.rows, config.columns], "order": [*order]},
            answer="".join(str(order.index(tile) + 1) for tile in range(n)),
        )

    def render(self, frames: Frames, sample: Sample) -> list[Clip]:
        rows, columns = sample.integers("grid")
        shown = cut(frames, rows, columns)[:, sample.integers("order")]
        return [Clip(join(shown, rows, columns), sample.clock)]

    def question(self, sample: Sample, templates: PromptTemplates) -> Question:
        rows, columns = sample.integers("grid")
        n = rows * columns
        # A rotation by one, so that the example shows the format and favors no tile's place.
        example = "".join(str((tile + 1) % n + 1) for tile in range(n))
        prompt = templates.get(self.name, {}).get("prompt", PROMPT)
        prompt = prompt.strip().format(rows=rows, columns=columns, n=n, example=example)
        return Question(
            sample.id, "videossr/tiles", templates["system"]["text"], prompt, sample.answer, (sample.clock,)
        )

    def truth(self, sample: Sample) -> Truth:
        """The tiles as they lie in the first slot, each named by its original place; all slots are alike."""
        rows, columns = sample.integers("grid")
        height, width = sample.size[0] / rows, sample.size[1] / columns
        outlines = []
        for (row, column), tile in zip(product(range(rows), range(columns)), sample.integers("order"), strict=True):
            left, top = column * width, row * height
            corners = ((left, top), (left + width, top), (left + width, top + height), (left, top + height))
            outlines.append(Outline(0, f"tile {tile + 1}", corners))
        return Truth(outlines=tuple(outlines))

    def difficulty(self, sample: Sample) -> Mapping[str, float | str]:
        """How many `tiles` there are."""
        rows, columns = sample.integers("grid")
        return {"tiles": rows * columns}

    def shown_params(self, sample: Sample) -> Mapping[str, JSON]:
        """The gallery shows the order from 1, as answers count; without this method it shows `sample.params`."""
        order: list[JSON] = [tile + 1 for tile in sample.integers("order")]
        return {"grid": sample.params["grid"], "order, from 1": order}


def cut(frames: Frames, rows: int, columns: int) -> Frames:
    """Frames (T, H, W, 3) as tiles (T, rows * columns, H / rows, W / columns, 3), row by row."""
    slots, height, width, channels = frames.shape
    grid = frames.reshape(slots, rows, height // rows, columns, width // columns, channels).swapaxes(2, 3)
    return grid.reshape(slots, rows * columns, height // rows, width // columns, channels)


def join(tiles: Frames, rows: int, columns: int) -> Frames:
    """The frames that `cut` gave these tiles of."""
    slots, _, height, width, channels = tiles.shape
    grid = tiles.reshape(slots, rows, columns, height, width, channels).swapaxes(2, 3)
    return grid.reshape(slots, rows * height, columns * width, channels)
