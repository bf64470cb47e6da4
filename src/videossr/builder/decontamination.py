"""Keep datasets apart: find the videos of a corpus that are, or look like, those of other datasets (`--exclude`).

Videos are compared by the hash of the file, by source id where the index was given one, and by near-duplicate frames.
Donors count: a dataset lists every video that it shows frames of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from videossr.corpus.duplicates import NEAR_SHARE, Footage, find_twins, footage_of
from videossr.corpus.entry import Entry
from videossr.corpus.fingerprint import unpack
from videossr.dataset import schema
from videossr.dataset.schema import VIDEOS, Row
from videossr.errors import DataError
from videossr.sample import Rejection
from videossr.storage.paths import AnyPath


def video_row(entry: Entry, samples: int) -> Row:
    """Return the row of a video in `videos.parquet`; `samples` counts those that show a frame of it."""
    return {
        "content": entry.key.content,
        "pack": entry.key.pack,
        "path": entry.path,
        "source_id": entry.source_id,
        "samples": samples,
        "fingerprints": entry.fingerprints,
    }


@dataclass(frozen=True, slots=True)
class Exclusion:
    """The reason for which a video is excluded, and `twin`: the path of the other dataset's video that gave it away."""

    reject: Rejection
    twin: str


def footage_row(dataset: AnyPath, row: Row) -> Footage:
    """Return the video of a row of `videos.parquet`, to be compared with others.

    Raises DataError that names the dataset when its fingerprints are of an older version.
    """
    try:
        fingerprints = unpack(row["fingerprints"])
    except DataError as error:
        raise DataError(f"{dataset}: {error}") from error
    return Footage(row["content"], row["path"], row["source_id"], fingerprints)


def read_footage(dataset: AnyPath) -> Iterator[Footage]:
    """Yield the videos of a dataset, those among them that only lend frames (donors) too.

    Raises NotFoundError for a path that is no complete dataset, and DataError as `footage_row`.
    """
    for row in schema.read_rows(dataset / "videos.parquet", VIDEOS):
        yield footage_row(dataset, row)


def find_excluded(entries: Sequence[Entry], datasets: Iterable[AnyPath]) -> Mapping[int, Exclusion]:
    """Find the videos of a corpus that some dataset uses already.

    Args:
        entries: videos of the corpus.
        datasets: complete datasets.

    Returns:
        Index in `entries` -> what gave the video away, ascending.

    Raises:
        NotFoundError: a path is no complete dataset.
        DataError: a dataset is of an older version.
    """
    used = [video for dataset in datasets for video in read_footage(dataset)]
    contents: dict[str, str] = {}
    sources: dict[str, str] = {}
    for video in used:
        contents.setdefault(video.content, video.path)
        if video.source_id is not None:
            sources.setdefault(video.source_id, video.path)
    excluded: dict[int, Exclusion] = {}
    compared: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if entry.content in contents:
            excluded[index] = Exclusion(Rejection("excluded_content", 1, 0), contents[entry.content])
        elif entry.source_id is not None and entry.source_id in sources:
            excluded[index] = Exclusion(Rejection("excluded_source", 1, 0), sources[entry.source_id])
        elif used:
            compared[entry.content] = index
    candidates = (footage_of(entries[index]) for index in compared.values())
    for content, pair in find_twins([used, candidates]).items():
        reject = Rejection("excluded_near", pair.share, NEAR_SHARE)
        excluded[compared[content]] = Exclusion(reject, pair.twin)
    return dict(sorted(excluded.items()))
