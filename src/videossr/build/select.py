"""Which video serves which column: the serial part of `videossr build`, the same for any number of workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One draw: the video at index `video` in hash order, for `column`, for the `attempt`-th time."""

    video: int
    column: str
    attempt: int


@dataclass
class Selection:
    """Fills quotas from the videos that each column admits, in rounds in which each video serves once at the most.

    So there is one video a sample as long as there are enough, and then each is used about equally often. Within a
    round those that have served least come first, and a video goes to the column that is shortest of videos for what it
    still needs; one that it has served already counts for less.

    Attributes:
        admitted: for each column, the videos that passed its gate.
        quotas: for each column, how many samples are wanted.
        most: draws of one video for one column, at most.
    """

    admitted: Mapping[str, Set[int]]
    quotas: Mapping[str, int]
    most: int
    _attempts: Counter[tuple[int, str]] = field(default_factory=Counter)
    _served: Counter[int] = field(default_factory=Counter)

    def next_jobs(self, filled: Mapping[str, int]) -> list[Job]:
        """The draws that would fill every quota, given how many samples of each column there are; [] when none can."""
        needs = {column: quota - filled[column] for column, quota in self.quotas.items() if quota > filled[column]}
        videos = set().union(*(self.admitted[column] for column in needs))
        jobs: list[Job] = []
        while any(needs.values()) and (served := self._round(videos, needs)):
            jobs += served
        return jobs

    def _round(self, videos: Set[int], needs: dict[str, int]) -> list[Job]:
        supply = {column: len(self.admitted[column] & videos) for column in needs}
        jobs = []
        for video in sorted(videos, key=lambda video: (self._served[video], video)):
            possible = [column for column in needs if video in self.admitted[column]]
            urgency = {
                column: needs[column] / supply[column] / (1 + self._attempts[video, column])
                for column in possible
                if needs[column] and self._attempts[video, column] < self.most
            }
            if urgency:
                column = max(urgency, key=lambda name: (urgency[name], name))
                jobs.append(Job(video, column, self._attempts[video, column]))
                self._attempts[video, column] += 1
                self._served[video] += 1
                needs[column] -= 1
            for column in possible:
                supply[column] -= 1
        return jobs
