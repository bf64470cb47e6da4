"""A stretch of the video that runs backwards, found by videossr through the entry point `reverse`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from videossr.measure import Measure
from videossr.perturb.base import Segment, SegmentConfig
from videossr.perturb.gates import no_course
from videossr.perturb.temporal import OrderPerturbation, hidden_ends
from videossr.perturb.video import Video


class Reverse(OrderPerturbation):
    """The frames of the segment from the last to the first, each at the usual time."""

    name = "reverse"
    text = "For part of this video, the scene runs backwards in time."
    steps_at_ends = True

    def order(self, video: Video, segment: Segment, config: SegmentConfig, rng: np.random.Generator) -> list[int]:
        """There is nothing to draw."""
        return [*reversed(range(segment.length))]

    def gates(self, video: Video, config: SegmentConfig) -> Iterator[Measure]:
        """Ask for a visible step into and out of every segment that may be drawn, and for a scene that moves on."""
        shown = video.subsample(config.frames)
        yield from hidden_ends(shown, config, lambda length: ([length - 1], [0]))
        yield no_course(shown.features.pictures, 1, config.limits)
