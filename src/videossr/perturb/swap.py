"""A segment of another video (paper, anomaly grounding)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from videossr.measure import Measure, rejected
from videossr.perturb.base import Drawn, Perturbation, Segment, SegmentConfig, own_slots
from videossr.perturb.gates import hard_cut, hidden_change
from videossr.perturb.video import Donors, Video
from videossr.sample import Rejection


class Swap(Perturbation):
    """The frames of a donor, another video, in the slots of the segment."""

    name = "swap"
    text = "For part of this video, the pictures come from an entirely different video."
    hidden_by_cuts = True

    def gates(self, video: Video, config: SegmentConfig) -> Iterator[Measure]:
        """Refuse a hard cut, which would look like a border. The donor is judged when one is drawn."""
        yield hard_cut(video.subsample(config.frames).features.pictures, config.limits)

    def draw(
        self, video: Video, segment: Segment, config: SegmentConfig, rng: np.random.Generator, donors: Donors
    ) -> Drawn | Rejection:
        donor = self._donor(video, config, rng, donors)
        if isinstance(donor, Rejection):
            return donor
        slots = own_slots(video, config)
        density = donor.density(config.frames)
        slots[segment.slots] = [(1, slot * density) for slot in range(segment.first, segment.last + 1)]
        return Drawn(slots, {}, donor=donor.key)

    def _donor(
        self, video: Video, config: SegmentConfig, rng: np.random.Generator, donors: Donors
    ) -> Video | Rejection:
        """Choose a video that stands out from this one wherever the segment may lie, so that the answers stay uniform.

        Nor may it have a hard cut, which would look like a border. The first of those tried whose fine detail differs
        by no more than `alike` octaves is taken, and if there is none, the one whose detail is nearest: the segment
        must not be told by being sharper than the rest.
        """
        shown = video.subsample(config.frames).features
        nearest = Rejection("no_donor", 0, 1)
        best: tuple[float, Video] | None = None
        for index in rng.permutation(len(donors))[: config.donors]:
            donor = donors[int(index)]
            if len(donor.clock) < config.frames or len(donor.clock) % config.frames:
                continue
            if not config.gates:
                return donor
            seen = donor.subsample(config.frames).features
            cut = hard_cut(seen.pictures, config.limits)
            reject = rejected([*hidden_change(shown, seen, config.limits, between=True), cut])
            if reject is not None:
                nearest = replace(reject, reason="no_donor")
                continue
            gap = float(abs(np.median(seen.textures) - np.median(shown.textures)))
            if gap <= config.alike:
                return donor
            if best is None or gap < best[0]:
                best = gap, donor
        return best[1] if best else nearest
