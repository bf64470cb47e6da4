"""Gate one video and draw samples from it, the same in any process and order."""

from __future__ import annotations

import hashlib
import json
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from videossr.builder.allocation import Job
from videossr.builder.recipe import ResolvedRecipe
from videossr.corpus.corpus import Corpus
from videossr.dataset import schema
from videossr.dataset.schema import Row
from videossr.errors import TaskError
from videossr.measure import Measure, measured, rejected
from videossr.question import Question
from videossr.rendering import pixel_hash, render
from videossr.sample import Rejection, Sample, VideoKey
from videossr.storage.parsing import unpack_json
from videossr.tasks.base import Video
from videossr.templates import PromptTemplates
from videossr.video.plan import fit

Gates: TypeAlias = Mapping[str, Sequence[Measure]]
"""For each category, what its gates measure of a video."""


@dataclass(frozen=True, slots=True)
class GeneratedSample:
    """A sample, what is asked about it, and the hash of its rendered pixels."""

    job: Job
    sample: Sample
    question: Question
    pixels: str


@dataclass(frozen=True, slots=True)
class RejectedDraw:
    """A draw that gave no sample."""

    job: Job
    reject: Rejection


@dataclass(frozen=True, slots=True)
class GeneratedRow:
    """A sample as the journal stores it: its id, its row of the dataset, and the other videos that it shows."""

    job: Job
    id: str
    row: bytes
    others: tuple[int, ...]


@dataclass(frozen=True)
class SampleGenerator:
    """Gate the videos of a corpus and draw samples from them.

    Attributes:
        corpus: that has the videos.
        mixture: the recipe: categories, their tasks and configurations.
        templates: texts of the questions.
        seed: of all draws.
        usable: indices of the videos that may be used, ascending.
    """

    corpus: Corpus
    mixture: ResolvedRecipe
    templates: PromptTemplates
    seed: int
    usable: Sequence[int]

    def gate(self, index: int) -> Gates:
        """Measure the video at `index` by the gates of every category. Raises CorpusError when its pack is damaged."""
        self.corpus.verify(self.corpus.videos[index].key)
        video = self.video(index)
        gates: dict[str, Sequence[Measure]] = {}
        for category, task in self.mixture.tasks.items():
            slots, density = task.required_frames(self.mixture.config[category])
            gates[category] = measured(_frames(len(video.clock), slots, density))
            if rejected(gates[category]) is None:
                with self._naming_file(index):
                    gates[category] = [*gates[category], *task.gates(video, self.mixture.config[category])]
        return gates

    def draw(self, jobs: Sequence[Job]) -> list[GeneratedSample | RejectedDraw]:
        """Draw and render samples from one video.

        Args:
            jobs: the draws, all of the same video.

        Returns:
            For each job its sample, or why there is none.

        Raises:
            TaskError: the code of a task has failed; the message names the video.
        """
        video = self.video(jobs[0].video)
        donors = _Donors(self, jobs[0].video, video.size)
        results: list[GeneratedSample | RejectedDraw] = []
        for job in jobs:
            rng = random_generator(self.seed, job.category, video.key.content, job.attempt)
            task, config = self.mixture.tasks[job.category], self.mixture.config[job.category]
            with self._naming_file(job.video):
                drawn = task.draw(video, job.category, config, rng, donors)
                if isinstance(drawn, Rejection):
                    results.append(RejectedDraw(job, drawn))
                else:
                    pixels = pixel_hash(render(self.corpus, drawn))
                    results.append(GeneratedSample(job, drawn, task.question(drawn, self.templates), pixels))
        return results

    def records(self, jobs: Sequence[Job]) -> list[GeneratedRow | RejectedDraw]:
        """Draw as `draw`, and return the samples as the journal stores them."""
        key = self.corpus.videos[jobs[0].video].key
        return [
            self._record(result, key) if isinstance(result, GeneratedSample) else result for result in self.draw(jobs)
        ]

    def _record(self, generated: GeneratedSample, key: VideoKey) -> GeneratedRow:
        row = schema.to_row(generated.sample, generated.question, generated.pixels, self.seed, generated.job.attempt)
        others = sorted({self.corpus.videos.position(source) for source in generated.sample.sources if source != key})
        return GeneratedRow(generated.job, row["id"], pack_row(row), tuple(others))

    @contextmanager
    def _naming_file(self, index: int) -> Iterator[None]:
        """Add to an error of a task which file the video at `index` comes from."""
        try:
            yield
        except TaskError as error:
            raise TaskError(f"{error}; the video is {self.corpus.videos[index].path}") from error

    def video(self, index: int, size: tuple[int, int] | None = None) -> Video:
        """Decode all slots of the video at `index`, (T, H, W, 3) uint8 RGB.

        Args:
            index: of the video in the corpus.
            size: (H, W) of the frames; that at which the model will see them when None.
        """
        entry = self.corpus.videos[index]
        if size is None:
            height, width = entry.size
            most = self.mixture.recipe.max_pixels
            size = entry.size if height * width <= most else fit(width, height, most)
        return Video(entry.key, entry.clock, self.corpus.frames(entry.key, size=size))


@dataclass(frozen=True, slots=True)
class _Donors:
    """The usable videos but one; each is decoded when it is asked for, at the `size`, (H, W), of that one."""

    generator: SampleGenerator
    but: int
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.generator.usable) - 1

    def __getitem__(self, index: int) -> Video:
        skipped = bisect_left(self.generator.usable, self.but)
        return self.generator.video(self.generator.usable[index + (index >= skipped)], self.size)


def _frames(frames: int, slots: int, density: int) -> Iterator[Measure]:
    yield Measure("frames", frames, slots * density)
    yield Measure("frames_left_over", frames % slots, 0, least=False)


def pack_row(row: Row) -> bytes:
    """Compress a row of a dataset; `unpack_row` gives it back."""
    return zlib.compress(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode(), 1)


def unpack_row(data: bytes) -> Row:
    """Return the row that `pack_row` was given."""
    row: Row = unpack_json(data)
    return row


def random_generator(seed: int, category: str, content: str, attempt: int) -> np.random.Generator:
    """Make the random generator of one draw, which depends on nothing but the arguments.

    Args:
        seed: of the build.
        category: that the sample is drawn for.
        content: hash of the video, 64 hexadecimal digits.
        attempt: number of the draw from this video for this category, from 0.
    """
    words = np.frombuffer(hashlib.sha256(category.encode()).digest() + bytes.fromhex(content), "<u4")
    entropy = [seed, *(int(word) for word in words), attempt]
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(entropy)))
