"""Choose which video serves which category: the serial part of `videossr build`, alike for any number of workers.

A million draws are numbers here, not objects: a byte and a few counters for each video and category.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 4096
"""Videos taken out of an array at once."""


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One draw: the video at index `video` in hash order, for `category`, for the `attempt`-th time."""

    video: int
    category: str
    attempt: int


@dataclass(frozen=True, slots=True, order=True)
class Share:
    """The attempts of a video for a category in one pass: from `start` on, before `stop`."""

    video: int
    category: str
    start: int
    stop: int


class Selection:
    """Fill quotas from the videos that each category admits, in rounds in which each video serves once at the most.

    So there is one video a sample as long as there are enough, and then each is used about equally often. Within a
    round those that have served least come first, and a video goes to the category that is shortest of videos for what
    it still needs; one that it has served already counts for less.

    Args:
        admitted: for each category, one byte a video in hash order: 1 where it passed the gate.
        quotas: for each category, how many samples are wanted.
        most: draws of one video for one category, at most.
    """

    def __init__(self, admitted: Mapping[str, bytearray], quotas: Mapping[str, int], most: int) -> None:
        self._admitted = dict(sorted(admitted.items()))
        self._quotas = quotas
        self._most = most
        videos = max(map(len, admitted.values()))
        self._attempts = {category: _counters(videos) for category in self._admitted}
        self._before = {category: _counters(videos) for category in self._admitted}
        self._served = _counters(videos)

    def choose(self, filled: Mapping[str, int]) -> int:
        """Choose the draws that would fill every quota, given how many samples of each category there are.

        Returns how many there are; 0 when nothing is lacking, or nothing is left to draw from.
        """
        self._before = {category: array("I", tries) for category, tries in self._attempts.items()}
        needs = {category: max(0, quota - filled.get(category, 0)) for category, quota in self._quotas.items()}
        chosen = 0
        wanting: list[str] = []
        videos = np.zeros(0, np.int64)
        while any(needs.values()):
            if wanting != (now := [category for category in self._admitted if needs[category]]):
                wanting, videos = now, self._fit_for(now)
            if not (served := self._round(wanting, videos, needs)):
                break
            chosen += served
        return chosen

    def shares(self) -> Iterator[Share]:
        """Yield what was chosen last, video by video."""
        for video in range(len(self._served)):
            for category, tries in self._attempts.items():
                if tries[video] > self._before[category][video]:
                    yield Share(video, category, self._before[category][video], tries[video])

    def _fit_for(self, categories: list[str]) -> NDArray[np.int64]:
        """Return the videos that any of `categories` admits."""
        fit = np.zeros(len(self._served), np.uint8)
        for category in categories:
            fit |= np.frombuffer(self._admitted[category], np.uint8)
        return np.flatnonzero(fit)

    def _round(self, categories: list[str], videos: NDArray[np.int64], needs: dict[str, int]) -> int:
        """Let each of `videos` serve one of `categories`, lower its `needs`, and return how many did."""
        state = [(name, self._admitted[name], self._attempts[name]) for name in categories]
        supply = {name: self._admitted[name].count(1) for name in categories}
        order = videos[np.argsort(np.frombuffer(self._served, np.uint32)[videos], kind="stable")]
        served, left = 0, sum(needs.values())
        for start in range(0, len(order), _AT_ONCE):
            for video in order[start : start + _AT_ONCE].tolist():
                best, chosen = 0.0, ""
                for name, admitted, attempts in state:
                    if admitted[video]:
                        if needs[name] and attempts[video] < self._most:
                            urgency = needs[name] / supply[name] / (1 + attempts[video])
                            if urgency >= best:  # of equally urgent ones the last by name
                                best, chosen = urgency, name
                        supply[name] -= 1
                if chosen:
                    self._attempts[chosen][video] += 1
                    self._served[video] += 1
                    needs[chosen] -= 1
                    served += 1
                    if served == left:
                        return served
        return served


def _counters(videos: int) -> array[int]:
    return array("I", bytes(4 * videos))
