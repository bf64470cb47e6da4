"""Which video serves which column: the serial part of `videossr build`, the same for any number of workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One draw: the video at index `video` in hash order, for `column`, for the `attempt`-th time."""

    video: int
    column: str
    attempt: int


@dataclass
class Selection:
    """Fills quotas from the videos that each column admits, in rounds in which each video serves once.

    So there is one video a sample as long as there are enough, and then each is used about equally often. Within a
    round, a video goes to the column that has the fewest videos left for what it still needs.

    Attributes:
        admitted: for each column, the videos that passed its gate.
        quotas: for each column, how many samples are wanted.
        most: draws of one video for one column, at most.
    """

    admitted: Mapping[str, Set[int]]
    quotas: Mapping[str, int]
    most: int
    attempts: dict[tuple[int, str], int] = field(default_factory=dict)

    def next_jobs(self, filled: Mapping[str, int]) -> list[Job]:
        """The draws that would fill every quota, given how many samples of each column there are; [] when none can."""
        needs = {column: quota - filled[column] for column, quota in self.quotas.items() if quota > filled[column]}
        videos = sorted(set().union(*(self.admitted[column] for column in needs))) if needs else []
        jobs: list[Job] = []
        while any(needs.values()) and (served := self._round(videos, needs)):
            jobs += served
        return jobs

    def _round(self, videos: Sequence[int], needs: dict[str, int]) -> list[Job]:
        supply = {column: sum(video in self.admitted[column] for video in videos) for column in needs}
        jobs = []
        for video in videos:
            possible = [column for column in needs if video in self.admitted[column]]
            open_columns = [c for c in possible if needs[c] and self.attempts.get((video, c), 0) < self.most]
            if open_columns:
                column = max(open_columns, key=lambda name: (needs[name] / supply[name], name))
                attempt = self.attempts.get((video, column), 0)
                self.attempts[video, column] = attempt + 1
                needs[column] -= 1
                jobs.append(Job(video, column, attempt))
            for column in possible:
                supply[column] -= 1
        return jobs
