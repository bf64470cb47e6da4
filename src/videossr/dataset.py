"""A built dataset, with its frames rendered on demand.

>>> dataset = VideoSSRDataset("demo/dataset")  # doctest: +SKIP
>>> dataset[0].question.prompt, dataset[0].clips[0].frames.shape  # doctest: +SKIP
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, SupportsIndex

import pyarrow as pa
import pyarrow.parquet as pq

from videossr.build import table
from videossr.build.manifest import corpus_place, is_benchmark, read_manifest
from videossr.clock import Clock
from videossr.question import VIDEO, Clip, Question, Truth
from videossr.render import pixel_hash, render
from videossr.rewards import Scores
from videossr.sample import Sample, VideoKey
from videossr.store import Place, file_hash, is_local, place
from videossr.tasks.base import open_task
from videossr.video.corpus import Corpus
from videossr.video.pack import CorpusError


@dataclass(frozen=True)
class Item:
    """One question with its pixels: what is asked, the clips (T, H, W, 3) in order, the recipe, and what is true."""

    question: Question
    clips: list[Clip]
    sample: Sample
    truth: Truth


class VideoSSRDataset:
    """Map-style: `len` and `[i]`; works as the dataset of a `torch.utils.data.DataLoader`, in any number of processes.

    Args:
        path: a folder that `videossr build` wrote, or the address of one (`s3://…`).
        corpus: the folder or address of its frame packs, where it is no longer the one that the manifest names.

    Raises:
        FileNotFoundError: no complete dataset at `path`.
        ValueError: it is damaged, or the corpus is not there (CorpusError) or does not have its videos.
    """

    def __init__(self, path: str | Place, *, corpus: str | Place | None = None) -> None:
        self.path = place(path).absolute()
        self.manifest = read_manifest(self.path)
        named = corpus_place(self.path, self.manifest)
        if corpus is None and not named.exists():
            raise CorpusError(
                f"{self.path}: the corpus that it was built from is not at {named}: name it with --corpus "
                "(train: --data.corpus)"
            )
        self.corpus = Corpus(named if corpus is None else corpus)
        if self.corpus.hash != self.manifest["corpus"]["hash"]:  # it has grown, or is another one
            for row in table.read_rows(self.path / "videos.parquet", ["content", "pack"]):
                self.corpus.entry(VideoKey(row["content"], row["pack"]))

    @cached_property
    def rows(self) -> pa.Table:
        """All rows, in the order of the files; local ones are memory-mapped."""
        files = [self.path / name for name in sorted(self.manifest["files"]) if name.startswith("samples-")]
        return pa.concat_tables([_read(file) for file in files])

    @cached_property
    def hash(self) -> str:
        """SHA-256 over how it was made and over its samples, in hex; of a benchmark over its questions and pixels.

        Results quote that of a benchmark, so its samples are looked at: raises ValueError where they were altered.
        """
        if is_benchmark(self.manifest):
            for name, digest in self.manifest["files"].items():
                if name.startswith("samples-") and file_hash(self.path / name) != digest:
                    raise ValueError(f"{self.path / name} was altered since the benchmark was built: copy it again")
        return self.manifest["hash"]

    def __len__(self) -> int:
        return self.manifest["samples"]

    def row(self, index: SupportsIndex) -> dict[str, Any]:
        """One row of the table, as the Parquet files hold it. Raises IndexError."""
        at = operator.index(index)
        at += len(self) if at < 0 else 0
        if not 0 <= at < len(self):
            raise IndexError(f"{self.path} has {len(self)} samples, no {operator.index(index)}")
        row: dict[str, Any] = self.rows.slice(at, 1).to_pylist()[0]
        return row

    def sample(self, index: SupportsIndex) -> Sample:
        return table.to_sample(self.row(index))

    def question(self, index: SupportsIndex) -> Question:
        """What is asked, word for word as it was built. No frame is decoded."""
        return _question(self.row(index))

    def clips(self, index: SupportsIndex) -> list[Clip]:
        """What is shown, rendered."""
        return render(self.corpus, self.sample(index))

    def column(self, index: SupportsIndex) -> str:
        """The recipe's name for this kind of question."""
        name: str = self.rows["column"][operator.index(index)].as_py()
        return name

    def source(self, index: SupportsIndex) -> str:
        """SHA-256 of the video that is shown; of the first one, where there are more."""
        content: str = self.row(index)["sources"][0]["content"]
        return content

    def difficulty(self, index: SupportsIndex) -> Mapping[str, float | str]:
        """What makes it hard, see `videossr.tasks.base.Task.difficulty`."""
        sample = self.sample(index)
        return open_task(sample.task).difficulty(sample)

    def truth(self, index: SupportsIndex) -> Truth:
        """What the answer rests on."""
        sample = self.sample(index)
        return open_task(sample.task).truth(sample)

    def score(self, index: SupportsIndex, answer: str) -> Scores:
        sample = self.sample(index)
        return open_task(sample.task).score(answer, sample)

    def __getitem__(self, index: SupportsIndex) -> Item:
        row = self.row(index)
        sample = table.to_sample(row)
        truth = open_task(sample.task).truth(sample)
        return Item(_question(row), render(self.corpus, sample), sample, truth)

    def repeats(self, index: SupportsIndex) -> bool:
        """Whether rendering gives the pixels that were hashed when the dataset was built."""
        row = self.row(index)
        stored: str = row["pixels"]
        return pixel_hash(render(self.corpus, table.to_sample(row))) == stored

    def find(self, sample_id: str) -> int:
        """The index of a sample, by its id or the start of it. Raises ValueError unless there is one."""
        ids = self.rows["id"].to_pylist()
        found = [index for index, known in enumerate(ids) if known.startswith(sample_id)]
        if len(found) != 1:
            raise ValueError(f"{self.path}: {len(found)} samples have an id that starts with {sample_id!r}")
        return found[0]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "rows"}


def _read(path: Place) -> pa.Table:
    if is_local(path):
        return pq.read_table(path, memory_map=True)
    with path.open("rb") as file:
        return pq.read_table(file)


def _question(row: Mapping[str, Any]) -> Question:
    clock = Clock(tuple(row["times_ms"]), row["end_ms"])
    clocks = (clock,) * row["prompt"].count(VIDEO)
    return Question(row["id"], row["data_source"], row["system"], row["prompt"], row["answer"], clocks)
