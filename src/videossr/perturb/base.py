"""The contract of a perturbation, which alters a stretch of a video. `examples/custom_perturbation` adds one.

Everything about a perturbation stands in one class: the words for the prompt, how its parameters are drawn, how they
are applied, what must be measured of a video so that the change can be seen, and what it needs of a video.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass

from videossr.clock import Clock
from videossr.errors import ConfigError
from videossr.measure import Measure
from videossr.perturb.gates import Limits
from videossr.perturb.strengths import Strengths
from videossr.perturb.video import Donors, Video
from videossr.question import Frames
from videossr.registry import Registry
from videossr.sample import JSON, Rejection, Sample, VideoKey

Params: TypeAlias = Mapping[str, JSON]


class SegmentConfig(Protocol):
    """The settings of anomaly grounding that a perturbation reads, see `videossr.tasks.grounding.GroundingConfig`."""

    @property
    def frames(self) -> int:
        """Slots of a clip."""

    @property
    def length(self) -> tuple[int, int]:
        """Slots of a segment, least and most."""

    @property
    def strengths(self) -> Strengths:
        """Strengths of the perturbations of this package."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of `Perturbation.Settings`, with all defaults filled in."""

    @property
    def limits(self) -> Limits:
        """Thresholds of the gates."""

    @property
    def donors(self) -> int:
        """Videos that are tried as donor."""

    @property
    def alike(self) -> float:
        """Octaves of fine detail by which a donor may differ."""

    @property
    def gates(self) -> bool:
        """Tell whether the change must stand out."""


@dataclass(frozen=True)
class Segment:
    """The slots of a clip that are altered, from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Return the number of slots."""
        return self.last - self.first + 1

    @property
    def slots(self) -> slice:
        """Return the part of an array with one row for each slot of the clip."""
        return slice(self.first, self.last + 1)


@dataclass(frozen=True)
class Drawn:
    """The draw of a perturbation for one clip.

    Attributes:
        slots: for each slot of the clip, (index of the source, frame in its pack). Source 0 is the video, 1 the donor.
        params: what `Perturbation.render` needs, JSON values only. They become part of `Sample.params`.
        clock: the times of the slots; those of the video where it is None.
        donor: the second source, if there is one.
    """

    slots: Sequence[tuple[int, int]]
    params: Mapping[str, JSON]
    clock: Clock | None = None
    donor: VideoKey | None = None


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class NoSettings:
    """The settings of a perturbation that has none of its own."""


class Perturbation(ABC):
    """One way to alter a segment of a clip (paper, anomaly grounding).

    This package and others register their classes in the entry-point group ``videossr.perturbations``, under `name`. A
    perturbation is made without arguments, keeps no state, and is sent to other processes.

    Most perturbations are one of two kinds, which have bases of their own:
    `videossr.perturb.pixel.PixelPerturbation` alters the pictures, `videossr.perturb.temporal.OrderPerturbation` shows
    the frames of a segment in another order.

    Attributes:
        name: as recipes write it, ``perturbation = "mirror"``.
        text: what the prompt says of the change, one sentence or more. It may not contain braces.
        Settings: a frozen pydantic dataclass of what a recipe may set under ``settings``. Its fields have defaults.
        hidden_by_cuts: whether a single frame does not show that it is altered, so that a border of the segment on a
            hard cut of the video could not be seen. Gates and `videossr validate` refuse such borders.
        steps_at_ends: whether the steps into and out of a segment must be as large as those of the scene itself;
            `videossr validate` checks it.
        leaves_no_traces: whether altered frames must not be told from others by what codecs and filters leave, but by
            the scene alone; `videossr validate --probes` checks it.
        pads_unless_square: whether altered pictures lie on black where the frame is not square, which is a trace. The
            probes leave out such samples.
    """

    name: ClassVar[str]
    text: ClassVar[str]
    Settings: ClassVar[type] = NoSettings
    hidden_by_cuts: ClassVar[bool] = False
    steps_at_ends: ClassVar[bool] = False
    leaves_no_traces: ClassVar[bool] = False
    pads_unless_square: ClassVar[bool] = False

    def problems(self, config: SegmentConfig) -> Iterable[str]:
        """Yield what is wrong with settings that are right each by itself, one sentence each."""
        return ()

    def density(self, config: SegmentConfig) -> int:
        """Return how many frames a pack must hold for each slot, at the least."""
        return 1

    def starts(self, length: int, config: SegmentConfig) -> range:
        """Return the slots at which a segment of `length` slots may start; all are drawn equally often."""
        return range(config.frames - length + 1)

    def clocks(self, video: Video, config: SegmentConfig) -> Iterable[Clock]:
        """Return the clocks that a clip of `video` may have."""
        return (video.subsample(config.frames).clock,)

    def always_changes(self, config: SegmentConfig) -> bool:
        """Tell whether the first and the last slot of every segment look other than without the change.

        It is asked where the recipe has gates.
        """
        return True

    def requirements(self, video: Video, config: SegmentConfig) -> Iterable[Measure]:
        """Measure what must hold of a video even where the recipe asks for no gates."""
        return ()

    @abstractmethod
    def gates(self, video: Video, config: SegmentConfig) -> Iterable[Measure]:
        """Measure whether the change could be seen at the weakest setting, wherever in `video` a segment may lie.

        Args:
            video: at the size that the model sees. It may have more frames than the clip has slots, see
                `Video.subsample`.
            config: of the category. Gates are asked for only where `config.gates` is true.
        """

    @abstractmethod
    def draw(
        self, video: Video, segment: Segment, config: SegmentConfig, rng: np.random.Generator, donors: Donors
    ) -> Drawn | Rejection:
        """Draw the parameters for one clip, whose segment has been drawn already.

        Args:
            video: admitted by the gates, where there are any.
            segment: the slots that are altered.
            config: of the category.
            rng: the only source of chance.
            donors: the other videos.

        Returns:
            What is shown. A `Rejection` must not depend on the segment, as this would change the distribution of
            the answers.
        """

    def render(self, frames: Frames, segment: Segment, params: Params) -> Frames:
        """Return the frames that are shown.

        Pure: the same arguments give the same bytes.

        Args:
            frames: (T, H, W, 3) uint8 RGB, those of `Drawn.slots`. They are not written to.
            segment: the slots that are altered.
            params: with those of `Drawn.params`.
        """
        return frames

    @property
    def alters_whole_clip(self) -> bool:
        """Tell whether the frames outside a segment are changed too, as `unaltered` does."""
        return False

    def unaltered(self, frames: Frames, params: Params) -> Frames:
        """Return the frames (T, H, W, 3) of a clip as `render` leaves those outside a segment."""
        return frames

    def natural_frames(self, shown: Sequence[int], segment: Segment, spacing: int, params: Params) -> list[int]:
        """Find the frame of the pack that each slot of the segment would show if nothing were altered.

        Args:
            shown: the frames of the pack that the slots of the clip show, of which those outside the segment count.
            segment: the slots that are altered.
            spacing: frames of the pack from one slot to the next.
            params: with those of `Drawn.params`.
        """
        anchor = segment.first - 1 if segment.first else segment.last + 1
        return [shown[anchor] + (slot - anchor) * spacing for slot in range(segment.first, segment.last + 1)]


PERTURBATIONS: Registry[type[Perturbation]] = Registry("videossr.perturbations")


@cache
def open_perturbation(name: str) -> Perturbation:
    """Make the perturbation with this registered name.

    Raises:
        ConfigError: no installed package declares it, its code cannot be loaded, or it does not keep the contract.
    """
    kind = PERTURBATIONS.get(name)
    where = f"{PERTURBATIONS.group}: {name!r} ({PERTURBATIONS.module(name)})"
    if not isinstance(kind, type) or not issubclass(kind, Perturbation):
        raise ConfigError(f"{where} must be a subclass of videossr.perturb.Perturbation, and is {kind!r}")
    if missing := sorted(kind.__abstractmethods__):
        raise ConfigError(f"{where}: class {kind.__qualname__} has no method {', '.join(missing)}")
    if getattr(kind, "name", None) != name:
        raise ConfigError(f"{where}: class {kind.__qualname__} must have the attribute name = {name!r}")
    text = getattr(kind, "text", None)
    if not isinstance(text, str) or "{" in text or "}" in text:
        raise ConfigError(f"{where}: class {kind.__qualname__} must have a text without braces for the prompt")
    if not is_dataclass(kind.Settings):
        raise ConfigError(f"{where}: class {kind.__qualname__} has Settings that are no pydantic dataclass")
    try:
        return kind()
    except Exception as error:  # the code of another package
        raise ConfigError(f"{where}: cannot be made: {type(error).__name__}: {error}") from error


def perturbation_of(sample: Sample) -> Perturbation | None:
    """Find the perturbation that a sample names in its parameters; None where it names none that is installed."""
    name = sample.params.get("perturbation")
    return open_perturbation(name) if isinstance(name, str) and _is_installed(name) else None


@cache
def _is_installed(name: str) -> bool:
    return name in PERTURBATIONS.names()


def own_slots(video: Video, config: SegmentConfig) -> list[tuple[int, int]]:
    """List the (source, frame) of each slot of a clip that shows a video as it is."""
    density = video.density(config.frames)
    return [(0, slot * density) for slot in range(config.frames)]


SHORTEST = 0.2
"""Seconds that a segment must last at the least: its ends are answered in tenths."""


def shortest_segment(clock: Clock, slots: int) -> float:
    """Return the seconds that the shortest segment of so many slots lasts."""
    ends = [*clock.times_ms, clock.end_ms]
    return min(after - before for before, after in zip(ends, ends[slots:], strict=False)) / 1000
