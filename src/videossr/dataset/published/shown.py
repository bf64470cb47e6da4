"""Which frames of a video rows show, and how large, where the rows do not say so themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from videossr.dataset.published.formats.base import SAMPLING, SIZES, Table

SMALLEST = 128 * 32 * 32
"""Pixels of a frame, at least, where an entry does not say: the default of qwen_vl_utils."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False), kw_only=True)
class VideoSettings:
    """Fields for the entries of `videos` that have none of their kind: of those for frames, or of those for sizes."""

    fps: Annotated[float | None, Field(gt=0, description="slots a second of a video file; of none: 2")] = None
    max_frames: Annotated[int | None, Field(ge=1, description="slots of a video file, at most; of none: 768")] = None
    nframes: Annotated[int | None, Field(ge=1, description="slots of a video file, exactly, instead of both")] = None
    max_pixels: Annotated[int | None, Field(ge=1, description="of a frame, at most")] = None
    min_pixels: Annotated[
        int | None, Field(ge=1, description="of a frame, at least; none: 131072, or max_pixels where that is less")
    ] = None
    total_pixels: Annotated[int | None, Field(ge=1, description="of all frames of a clip, at most")] = None

    @model_validator(mode="after")
    def _check_frames(self) -> VideoSettings:
        """`nframes` says how many slots a video has, so `fps` and `max_frames` are left out beside it."""
        if self.nframes is not None and (self.fps is not None or self.max_frames is not None):
            raise ValueError("nframes says how many slots a video has: leave out fps and max_frames")
        return self

    def fields(self) -> dict[str, Any]:
        """Return the fields that are set, by the names that entries give them."""
        given = {name: value for name in (*SAMPLING, *SIZES) if (value := getattr(self, name, None)) is not None}
        if "max_pixels" in given:
            given.setdefault("min_pixels", min(given["max_pixels"], SMALLEST))
        return given


def complete(entry: Table, fields: Mapping[str, Any]) -> Table:
    """Return an entry of `videos` with the fields of which it has none of the kind. A list of frames needs no rate."""
    if not fields:
        return entry
    own = {name for name, value in entry.items() if value is not None}
    kinds = [SIZES, SAMPLING] if isinstance(entry.get("video"), str) else [SIZES]
    missing = {name for kind in kinds if not own & set(kind) for name in kind}
    return {**entry, **{name: value for name, value in fields.items() if name in missing}}
