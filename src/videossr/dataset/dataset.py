"""Read a built dataset, with its frames rendered on demand.

>>> dataset = VideoSSRDataset("demo/dataset")  # doctest: +SKIP
>>> dataset[0].question.prompt, dataset[0].clips[0].frames.shape  # doctest: +SKIP
>>> torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=2)  # doctest: +SKIP
"""

from __future__ import annotations

import operator
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import pyarrow as pa
from typing_extensions import TypedDict

from videossr.clock import Clock
from videossr.corpus.corpus import Corpus
from videossr.dataset import schema
from videossr.dataset.hashing import check_count, check_hash
from videossr.dataset.manifest import LIBRARIES, NAME, corpus_place, read_manifest
from videossr.dataset.schema import Row
from videossr.errors import CorpusError, DataError
from videossr.question import VIDEO, Clip, Frames, Gold, Message, Question, Truth, VideoMetadata
from videossr.rendering import pixel_hash, render, unaltered
from videossr.rewards import Scores
from videossr.sample import Sample, VideoKey
from videossr.storage.parquet import read_parquet
from videossr.storage.paths import AnyPath, is_local, same_host, to_path
from videossr.storage.provenance import installed_versions
from videossr.tasks.base import open_task

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset
else:

    class Dataset:
        """A stand-in for the class of torch that type checkers see, so that reading needs no torch."""

        def __class_getitem__(cls, item: type) -> type:
            return cls


_MOST_RENDERED, _SAMPLES_PER_RENDERED = 8, 32
"""Of so many samples one is rendered where the hash of a dataset is checked, and no more than this in all."""


@dataclass(frozen=True)
class Item:
    """One question with its pixels: what is asked, the clips (T, H, W, 3) in order, the recipe, and what is true."""

    question: Question
    clips: list[Clip]
    sample: Sample
    truth: Truth

    def __repr__(self) -> str:
        clips = "".join(f"\n  {clip}" for clip in self.clips)
        return f"Item {self.sample.category}\n  {self.question}{clips}"

    @property
    def messages(self) -> list[Message]:
        """The question as a conversation with the frames in it.

        For ``processor.apply_chat_template(item.messages, tokenize=True, …)`` of transformers.
        """
        return self.question.messages(self.clips)

    @property
    def videos(self) -> list[Frames]:
        """The frames (T, H, W, 3) uint8 RGB of each clip, in order: `videos` of a processor of transformers."""
        return [clip.frames for clip in self.clips]

    @property
    def video_metadata(self) -> list[VideoMetadata]:
        """When the frames of each clip are shown: `video_metadata` of a processor, with ``do_sample_frames=False``."""
        return [clip.video_metadata for clip in self.clips]


class Batch(TypedDict):
    """The result of `collate`: one entry for each item in every list.

    Attributes:
        id, category, data_source, answer: of each question.
        messages: its conversation, each clip as a part without frames, see `Question.messages`.
        videos: its clips, uint8 RGB (T, 3, H, W); T, H and W differ from clip to clip.
        video_metadata: when the frames of each clip are shown.
    """

    id: list[str]
    category: list[str]
    data_source: list[str]
    answer: list[str]
    messages: list[list[Message]]
    videos: list[list[Tensor]]
    video_metadata: list[list[VideoMetadata]]


def collate(items: Sequence[Item]) -> Batch:
    """Make a batch of items, for `collate_fn` of a `torch.utils.data.DataLoader`.

    Frames become tensors of torch without being copied, so that workers hand them over in shared memory. A
    `DataLoader` without a `collate_fn` calls this too.
    """
    from torch import from_numpy  # only who loads batches needs torch

    return Batch(
        id=[item.question.id for item in items],
        category=[item.sample.category for item in items],
        data_source=[item.question.data_source for item in items],
        answer=[item.question.answer for item in items],
        messages=[item.question.messages() for item in items],
        videos=[[from_numpy(frames).permute(0, 3, 1, 2) for frames in item.videos] for item in items],
        video_metadata=[item.video_metadata for item in items],
    )


class VideoSSRDataset(Dataset["Item"]):
    """Map-style: `len`, `[i]`, slices; the dataset of a `torch.utils.data.DataLoader`, in any number of processes.

    `dataset[3]` renders one `Item`; `dataset[2:5]` gives a view whose items are rendered when they are asked for;
    `dataset["id"]` gives that column of the table as a list.

    Args:
        path: a folder that `videossr build` wrote, or the address of one (`s3://…`).
        corpus: the folder or address of its frame packs, where it is no longer the one that the manifest names.

    Raises:
        NotFoundError: no complete dataset at `path`.
        ValueError: it is damaged, or the corpus is not there (CorpusError) or does not have its videos.
    """

    def __init__(self, path: str | AnyPath, *, corpus: str | AnyPath | None = None) -> None:
        self.path = to_path(path).absolute()
        self.manifest = read_manifest(self.path)
        named = corpus_place(self.path, self.manifest)
        if corpus is None and not is_local(named) and not same_host(named, self.path):
            raise CorpusError(
                f"{self.path}: its manifest names a corpus on another host, {named}, which is not asked: if you trust "
                "that host, name it with --corpus (train: --data.corpus)"
            )
        if corpus is None and not named.exists():
            raise CorpusError(
                f"{self.path}: the corpus that it was built from is not at {named}: name it with --corpus "
                "(train: --data.corpus)"
            )
        self.corpus = Corpus(named if corpus is None else corpus)
        if self.corpus.hash != self.manifest["corpus"]["hash"]:  # it has grown, or is another one
            for row in schema.read_rows(
                self.path / "videos.parquet", schema.subset(schema.VIDEOS, ["content", "pack"])
            ):
                self.corpus.entry(VideoKey(row["content"], row["pack"]))

    @cached_property
    def rows(self) -> pa.Table:
        """All rows, in the order of the files; local ones are memory-mapped."""
        files = [self.path / name for name in schema.sample_files(self.manifest["files"])]
        if not files:
            raise DataError(f"{self.path / NAME} names no file of samples: build it again, or copy it again")
        table = pa.concat_tables([read_parquet(file, required=schema.SCHEMA) for file in files])
        check_count(self.path, self.manifest, table.num_rows)
        return table

    @cached_property
    def hash(self) -> str:
        """SHA-256 over how it was made and over its samples, in hex; of a benchmark over its questions and pixels.

        Results quote it, so it is computed from the files of samples once, and some samples are rendered.

        Raises:
            DataError: the samples were altered, or are not rendered as they were when they were hashed.
            CorpusError: no sample can be rendered.
        """
        check_hash(self.path, self.manifest)
        self._check_pixels()
        return self.manifest["hash"]

    def _check_pixels(self) -> None:
        """Render some samples, drawn anew each time. Raises DataError for other pixels, CorpusError if none renders.

        A video that is missing or damaged fails the questions about it alone, so others are rendered then.
        """
        wanted = min(_MOST_RENDERED, -(-len(self) // _SAMPLES_PER_RENDERED))
        rendered, damage = 0, None
        for index in secrets.SystemRandom().sample(range(len(self)), len(self)):
            try:
                same = self.repeats(index)
            except CorpusError as error:
                damage = error
                continue
            if not same:
                raise DataError(self._other_pixels(index))
            rendered += 1
            if rendered == wanted:
                return
        if damage is not None and not rendered:
            raise damage

    def _other_pixels(self, index: int) -> str:
        """Say that a sample has other pixels than it was hashed with, and what may be the reason."""
        built, here = self.manifest["versions"], installed_versions(LIBRARIES)
        others = [
            f"{name} {built[name]} (here {here[name]})" for name in here if built.get(name, here[name]) != here[name]
        ]
        made_with = f", or that it was built with {', '.join(others)}" if others else ""
        return (
            f"{self.path}: sample {self.row(index)['id']} has other pixels than when the dataset was built: the reason "
            f"may be that {self.corpus.path} was altered{made_with}; copy both again, or build the dataset again"
        )

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def __repr__(self) -> str:
        recipe, videos = self.manifest["recipe"]["name"], self.manifest["videos"]
        categories = ", ".join(
            f"{name} {category['samples']}" for name, category in self.manifest["categories"].items()
        )
        return f"VideoSSRDataset({str(self.path)!r}, {recipe}: {len(self)} samples of {videos} videos; {categories})"

    def row(self, index: SupportsIndex) -> Row:
        """Return one row of the table, as the Parquet files hold it. Raises IndexError."""
        at = operator.index(index)
        at += len(self) if at < 0 else 0
        if not 0 <= at < len(self):
            raise IndexError(f"{self.path} has {len(self)} samples, no {operator.index(index)}")
        row: Row = self.rows.slice(at, 1).to_pylist()[0]
        return row

    def sample(self, index: SupportsIndex) -> Sample:
        """Read a sample, without pixels."""
        return self._sample(self.row(index))

    def _sample(self, row: Row) -> Sample:
        """Return the sample of a row. Raises DataError that names the dataset where the row is damaged."""
        try:
            return schema.to_sample(row)
        except DataError as error:
            raise DataError(f"{self.path}: {error}: copy the dataset again, or build it again") from error

    def question(self, index: SupportsIndex) -> Question:
        """Return the question, word for word as it was built. No frame is decoded."""
        return _question(self.row(index))

    def gold(self, index: SupportsIndex) -> Gold:
        """Return the id, the data source and the gold answer of a question."""
        row = self.row(index)
        return Gold(row["id"], row["data_source"], row["answer"])

    def clips(self, index: SupportsIndex) -> list[Clip]:
        """Render the clips of a question."""
        return render(self.corpus, self.sample(index))

    def category(self, index: SupportsIndex) -> str:
        """Return the recipe's name for this kind of question."""
        name: str = self.rows["category"][operator.index(index)].as_py()
        return name

    def source(self, index: SupportsIndex) -> str:
        """Return the SHA-256 of the video that is shown; of the first one, where there are more."""
        content: str = self.row(index)["sources"][0]["content"]
        return content

    def difficulty(self, index: SupportsIndex) -> Mapping[str, float | str]:
        """Return what makes a sample hard, see `videossr.tasks.base.Task.difficulty`."""
        sample = self.sample(index)
        return open_task(sample.task).difficulty(sample)

    def truth(self, index: SupportsIndex) -> Truth:
        """Return what the answer rests on."""
        sample = self.sample(index)
        return open_task(sample.task).truth(sample)

    def due(self, sample: Sample) -> Sequence[tuple[int, int]] | None:
        """Find the (source, frame) that each altered slot of a sample would show; None where no span is altered."""
        return open_task(sample.task).unaltered(sample, [len(self.corpus.entry(key).clock) for key in sample.sources])

    def unaltered(self, sample: Sample) -> Frames | None:
        """Return what the T altered slots of a sample would show, (T, H, W, 3); None where its task alters no span."""
        due = self.due(sample)
        if due is None:
            return None
        first, _ = open_task(sample.task).truth(sample).spans[0]
        return unaltered(self.corpus, sample, dict(enumerate(due, start=first)))

    def score(self, index: SupportsIndex, answer: str) -> Scores:
        """Score an answer to a question."""
        sample = self.sample(index)
        return open_task(sample.task).score(answer, sample)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> Items: ...

    @overload
    def __getitem__(self, index: str) -> list[Any]: ...

    def __getitem__(self, index: SupportsIndex | slice | str) -> Item | Items | list[Any]:
        """Return one item, a view of several, or a column of the table by its name. Raises IndexError or KeyError."""
        if isinstance(index, slice):
            return Items(self, range(len(self))[index])
        if isinstance(index, str):
            if index not in schema.SCHEMA.names:
                raise KeyError(
                    f"{self.path} has no column {index!r}, but {', '.join(schema.SCHEMA.names)}; the index of a sample "
                    "by its id is dataset.find(id)"
                )
            values: list[Any] = self.rows[index].to_pylist()
            return values
        _teach_torch()
        row = self.row(index)
        sample = self._sample(row)
        truth = open_task(sample.task).truth(sample)
        return Item(_question(row), render(self.corpus, sample), sample, truth)

    def __iter__(self) -> Iterator[Item]:
        """Render one item after the other."""
        return (self[index] for index in range(len(self)))

    def repeats(self, index: SupportsIndex) -> bool:
        """Say whether rendering gives the pixels that were hashed when the dataset was built."""
        row = self.row(index)
        stored: str = row["pixels"]
        return pixel_hash(render(self.corpus, self._sample(row))) == stored

    def find(self, sample_id: str) -> int:
        """Return the index of a sample, by its id or the start of it. Raises ValueError unless there is one."""
        ids = self.rows["id"].to_pylist()
        indices = [index for index, known in enumerate(ids) if known.startswith(sample_id)]
        if len(indices) != 1:
            raise DataError(f"{self.path}: {len(indices)} samples have an id that starts with {sample_id!r}")
        return indices[0]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "rows"}


class Items(Sequence[Item], Dataset[Item]):
    """Some items of a dataset in order, each rendered when it is asked for: what a slice of a dataset gives.

    Attributes:
        dataset: that the items are of.
        indices: their places in it.
    """

    def __init__(self, dataset: VideoSSRDataset, indices: range) -> None:
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"{len(self)} items {self.indices} of {self.dataset}"

    @overload
    def __getitem__(self, index: SupportsIndex) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> Items: ...

    @overload
    def __getitem__(self, index: str) -> list[Any]: ...

    def __getitem__(self, index: SupportsIndex | slice | str) -> Item | Items | list[Any]:
        """As of the dataset itself."""
        if isinstance(index, slice):
            return Items(self.dataset, self.indices[index])
        if isinstance(index, str):
            values = self.dataset[index]
            return [values[at] for at in self.indices]
        return self.dataset[self.indices[index]]


def _teach_torch() -> None:
    """Let the default collate function of torch's DataLoader make batches of items, once torch is loaded."""
    known = sys.modules.get("torch.utils.data._utils.collate")
    if known is not None:
        known.default_collate_fn_map.setdefault(Item, _default_collate)


def _default_collate(items: Sequence[Item], *, collate_fn_map: object = None) -> Batch:  # noqa: ARG001 (torch gives it)
    return collate(items)


def _question(row: Row) -> Question:
    """Return the question of a row. Raises DataError when the row is damaged."""
    try:
        clock = Clock(tuple(row["times_ms"]), row["end_ms"])
        clocks = (clock,) * row["prompt"].count(VIDEO)
        return Question(row["id"], row["data_source"], row["system"], row["prompt"], row["answer"], clocks)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"sample {row.get('id')}: the row is damaged: {type(error).__name__}: {error}") from error
