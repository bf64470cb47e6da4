"""Samples: one question each, as a recipe of some hundred bytes from which its pixels can be rendered.

`videossr build` draws and stores them.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, cast

from videossr.clock import Clock

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


@dataclass(frozen=True, slots=True, order=True)
class VideoKey:
    """Identity of a video and of its decoded form: SHA-256 of the source file and of its frame pack, in hex."""

    content: str
    pack: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reason why a video or a draw was not used, the measured value and the threshold that it missed."""

    reason: str
    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one video, as a recipe.

    Attributes:
        task: registered name of the pretext task.
        category: the recipe's name for this kind, e.g. ``grounding/mirror``.
        sources: the videos whose frames are shown; more than one when a segment comes from a donor.
        slots: for each slot shown, in order, (index into `sources`, frame in that pack).
        clock: times of the slots of one clip. A jigsaw shows its slots as several clips that share this clock.
        size: (H, W) in pixels that the model sees.
        params: everything drawn at random, JSON values only.
        answer: the gold answer, exactly as a model should write it.
    """

    task: str
    category: str
    sources: tuple[VideoKey, ...]
    slots: tuple[tuple[int, int], ...]
    clock: Clock
    size: tuple[int, int]
    params: Mapping[str, JSON]
    answer: str

    def __repr__(self) -> str:
        height, width = self.size
        return (
            f"Sample(id={self.id!r}, task={self.task!r}, category={self.category!r}, answer={self.answer!r}, "
            f"{len(self.slots)} frames of {len(self.sources)} videos at {width}x{height}, {self.clock}, "
            f"params={reprlib.repr(dict(self.params))})"
        )

    @property
    def id(self) -> str:
        """First 20 hex digits of the SHA-256 of all fields."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:20]

    def integer(self, name: str) -> int:
        """Return a parameter that must be a whole number.

        Raises:
            ValueError: it is missing or something else; the message names the category and the parameter.
        """
        value = self.params.get(name)
        if type(value) is not int:
            raise ValueError(f"sample {self.category}: parameter {name!r} must be a whole number, got {value!r}")
        return value

    def integers(self, name: str) -> list[int]:
        """Return a parameter that must be a list of whole numbers.

        Raises:
            ValueError: it is missing or something else; the message names the category and the parameter.
        """
        values = self.params.get(name)
        if not isinstance(values, list) or any(type(value) is not int for value in values):
            raise ValueError(f"sample {self.category}: parameter {name!r} must be whole numbers, got {values!r}")
        return cast("list[int]", values)

    def to_json(self) -> str:
        """Write canonical JSON with sorted keys and no spaces; `from_json` reads an equal sample from it."""
        fields = {
            "task": self.task,
            "category": self.category,
            "sources": [[key.content, key.pack] for key in self.sources],
            "slots": [list(slot) for slot in self.slots],
            "times_ms": list(self.clock.times_ms),
            "end_ms": self.clock.end_ms,
            "size": list(self.size),
            "params": dict(self.params),
            "answer": self.answer,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a sample that `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        height, width = fields["size"]
        return cls(
            task=fields["task"],
            category=fields["category"],
            sources=tuple(VideoKey(content, pack) for content, pack in fields["sources"]),
            slots=tuple((source, frame) for source, frame in fields["slots"]),
            clock=Clock(tuple(fields["times_ms"]), fields["end_ms"]),
            size=(height, width),
            params=fields["params"],
            answer=fields["answer"],
        )
