"""Read a corpus: the frame packs of many videos, local or remote, as they are needed.

    config.toml         how it was made
    packs/<shard>.pack  frames and facts of every video whose content hash starts with <shard>
    rejected.parquet    one row a file that is not in the corpus, with the reason
    manifest.json       written last: its presence means that the corpus is complete

Exercised by `videossr build smoke --corpus CORPUS --out DATASET`.
"""

from __future__ import annotations

import bisect
import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from videossr.corpus import jpeg
from videossr.corpus.entry import Entry, RejectedFile
from videossr.corpus.pack import FORMAT, Pack, shard_of
from videossr.corpus.sources import EXTENSIONS
from videossr.errors import CorpusError, DataError
from videossr.question import Frames
from videossr.sample import VideoKey
from videossr.storage import limits
from videossr.storage.identifiers import Count, Line, Sha256, Shard
from videossr.storage.parquet import read_parquet
from videossr.storage.parsing import load_json, wrong_keys
from videossr.storage.paths import AnyPath, is_local, reaching, to_path
from videossr.video.plan import stored_size
from videossr.video.scaling import fill_each

MANIFEST = "manifest.json"
REJECTED = "rejected.parquet"


_LOOKED_AT = 10_000
"""Files in a folder among which videos are looked for."""


class ShardTable(TypedDict):
    """A pack: how many videos it has, its size in bytes, and the hash of what is known of the videos."""

    videos: Count
    bytes: Count
    hash: Sha256


class CorpusManifest(TypedDict):
    """The manifest of a corpus. `slots` are the different numbers of frames that its videos keep."""

    format: int
    plan: dict[str, Any]
    videos: Count
    slots: list[Count]
    shards: dict[Shard, ShardTable]
    rejected: dict[Line, Count]
    hash: Sha256
    versions: dict[Line, Line]


def corpus_hash(shards: Mapping[str, ShardTable]) -> str:
    """Hash all facts of the videos, but not what their files are called and where they lie."""
    return hashlib.sha256("".join(name + shards[name]["hash"] for name in sorted(shards)).encode()).hexdigest()


def pack_file(corpus: AnyPath, shard: str) -> AnyPath:
    """Return the path of a pack."""
    return corpus / "packs" / f"{shard}.pack"


class Corpus:
    """Read access to a complete corpus. It can be pickled, and used after a fork; both reopen what they need.

    Raises CorpusError when `path` is not a complete corpus.
    """

    def __init__(self, path: str | AnyPath) -> None:
        path = to_path(path)
        self.path: AnyPath = path.resolve() if isinstance(path, Path) else path
        manifest = path / MANIFEST
        try:
            with reaching(path):
                table = load_json(manifest)
            if isinstance(table, dict) and table.get("kind") == "dataset":
                raise CorpusError(f"{path} is a dataset, not a corpus")
            self.manifest = TypeAdapter(CorpusManifest).validate_python(table)
        except (FileNotFoundError, NotADirectoryError) as error:
            if (path / "config.toml").is_file():
                raise CorpusError(
                    f"{path} is not complete: run the same `videossr index … --out {path}` again"
                ) from error
            raise CorpusError(_no_corpus(path)) from error
        except CorpusError:
            raise
        except ValidationError as error:
            where = wrong_keys(error)
            raise CorpusError(
                f"{manifest}: damaged, or of another version: see {where}; copy it again or index anew"
            ) from error
        except ValueError as error:
            raise CorpusError(f"{manifest} is damaged ({error}): copy it again or index anew") from error
        if self.manifest["format"] != FORMAT:
            raise CorpusError(
                f"{path} is a corpus of format {self.manifest['format']}, not {FORMAT}: index the videos "
                "anew, and build anew what was built from it"
            )
        self._packs: dict[str, Pack] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packs": {}}

    def __len__(self) -> int:
        return self.manifest["videos"]

    @property
    def hash(self) -> str:
        """SHA-256 of what is known of all its videos, in hex, as the manifest states it; see `check_hash`."""
        return self.manifest["hash"]

    def check_hash(self) -> None:
        """Compute the hash of all that is known of the videos, and compare it with the manifest.

        A corpus is identified by this hash, so it is checked before a corpus is built from, merged, split or
        validated. The JPEGs of a video are hashed when they are read.

        Raises:
            CorpusError: a pack is missing or damaged, or what it says of the videos was altered.
        """
        shards = self.manifest["shards"]
        for shard, stated in shards.items():
            pack = self.open(shard)
            if (len(pack), pack.hash) != (stated["videos"], stated["hash"]):
                raise CorpusError(
                    f"{pack.path} is not the pack that {self.path / MANIFEST} names: copy the corpus again, or delete "
                    "the pack and run its `videossr index` again"
                )
        if corpus_hash(shards) != self.hash:
            raise CorpusError(f"{self.path / MANIFEST} was altered: copy it again, or index the videos anew")

    @property
    def plan(self) -> Mapping[str, Any]:
        """The config by which frames were chosen, see `videossr.video.plan.Plan`."""
        return self.manifest["plan"]

    @property
    def slots(self) -> tuple[int, ...]:
        """The different numbers of frames that its videos keep, ascending."""
        return tuple(self.manifest["slots"])

    @property
    def videos(self) -> Videos:
        """All videos in the order of their content hash."""
        return Videos(self)

    def no_videos(self) -> str:
        """Say of a corpus that has no videos why, and where to see more."""
        rejected = sum(self.manifest["rejected"].values())
        return (
            f"{self.path} has no videos: {rejected} {'was' if rejected == 1 else 'were'} rejected; see "
            f"`videossr corpus info {self.path} --rejected`"
        )

    def rejections(self) -> list[RejectedFile]:
        """Read which files are not in the corpus, and why, in the order of their paths.

        Raises CorpusError where the table is missing or damaged.
        """
        try:
            return [RejectedFile(**row) for row in read_parquet(self.path / REJECTED).to_pylist()]
        except (OSError, TypeError, DataError, pa.ArrowException) as error:
            raise CorpusError(f"{self.path / REJECTED} is missing or damaged ({error}): index again") from error

    def pack(self, shard: str) -> Pack:
        """Return the pack of that name, which then stays open. Raises CorpusError when it is not there or not whole."""
        if shard not in self._packs:
            self._packs[shard] = self.open(shard)
        return self._packs[shard]

    def open(self, shard: str) -> Pack:
        """Open the pack of that name. Raises CorpusError when it is missing or not as long as it was."""
        pack = Pack(pack_file(self.path, shard))
        if pack.size != (expected := self.manifest["shards"][shard]["bytes"]):
            raise CorpusError(
                f"{pack.path} has {pack.size} bytes instead of {expected}: copy it again, or delete it and run its "
                "`videossr index` again"
            )
        return pack

    def entry(self, key: VideoKey) -> Entry:
        """Return the facts of a video. Raises CorpusError when the corpus does not have it in this decoded form."""
        shard = shard_of(key.content)
        entry = self.pack(shard).find(key.content) if shard in self.manifest["shards"] else None
        if entry is None:
            raise CorpusError(
                f"{self.path} has no video {key.content[:12]} among its {len(self)}: name the corpus that the samples "
                "were built from with --corpus"
            )
        if entry.pack != key.pack:
            raise CorpusError(
                f"{self.path} has video {key.content[:12]} ({entry.path}) in another decoded form, made with another "
                "configuration: name the corpus that the samples were built from with --corpus"
            )
        return entry

    def frames(
        self, key: VideoKey, indices: Sequence[int] | None = None, size: tuple[int, int] | None = None
    ) -> Frames:
        """Decode frames (len(indices), H, W, 3) of one video, all of them by default.

        Only those asked for are held and decoded, whatever the length of the video. They are cut to the aspect of
        `size`, (H, W), around the middle, and scaled to it; by default it is the size of the entry. What is stored is
        larger than that, so that no frame is a JPEG as it was decoded.

        Raises CorpusError for an unknown video or a damaged pack, IndexError for a frame that the video lacks.
        """
        entry = self.entry(key)
        wanted = range(len(entry.frame_bytes)) if indices is None else indices
        for index in wanted:
            if not 0 <= index < len(entry.frame_bytes):
                raise IndexError(f"video {entry.path} has frames 0..{len(entry.frame_bytes) - 1}, not {index}")
        size = size or entry.size
        if (pixels := len(wanted) * size[0] * size[1]) > limits.CLIP_PIXELS:
            asked = f"pixels ({len(wanted)} frames of {size[1]} x {size[0]})"
            raise CorpusError(f"{self.path}: {entry.path}: {limits.exceeds(asked, pixels, 'CLIP_PIXELS')}")
        jpegs = self.pack(shard_of(key.content)).jpegs(entry, wanted)
        frames = np.empty((len(jpegs), *size, 3), np.uint8)
        try:
            fill_each(jpeg.decode(jpegs, stored_size(entry.size), size), frames, entry.size)
        except jpeg.JPEGError as error:
            raise CorpusError(
                f"{pack_file(self.path, shard_of(key.content))}: frame {wanted[error.number]} of {entry.path} is "
                f"damaged ({error.why}); copy the pack again or index anew"
            ) from error
        return frames

    def verify(self, key: VideoKey) -> None:
        """Hash the JPEGs of a video. Raises CorpusError when they are not those that were indexed."""
        for _ in self.pack(shard_of(key.content)).pieces(self.entry(key)):
            pass


def _no_corpus(path: AnyPath) -> str:
    """Say how to make a corpus where `path` is none; never in a folder that holds something already."""
    if not is_local(path) or not path.exists():
        return f"{path} is no corpus: make one with `videossr index VIDEOS --out {path}`"
    inside = islice(path.rglob("*"), _LOOKED_AT)
    if any(file.suffix.lower() in EXTENSIONS for file in (path, *inside)):
        what = "a video" if path.is_file() else "a folder of videos"
        return (
            f"{path} is no corpus, but {what}: make one with `videossr index {shlex.quote(str(path))} --out CORPUS` "
            "and name CORPUS instead"
        )
    return f"{path} is no corpus: make one in a new folder with `videossr index VIDEOS --out CORPUS`"


class Videos(Sequence[Entry]):
    """The videos of a corpus in the order of their content hash; each is read when it is asked for."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        shards = corpus.manifest["shards"]
        self._shards = sorted(shards)
        self._ends = list(accumulate(shards[name]["videos"] for name in self._shards))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...

    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        if isinstance(index, slice):
            return [self[one] for one in range(len(self))[index]]
        at = range(len(self))[index]
        number = bisect.bisect_right(self._ends, at)
        before = self._ends[number - 1] if number else 0
        return self._corpus.pack(self._shards[number])[at - before]

    def position(self, key: VideoKey) -> int:
        """Return the index of a video. Raises CorpusError when it is not there."""
        self._corpus.entry(key)
        number = self._shards.index(shard_of(key.content))
        before = self._ends[number - 1] if number else 0
        return before + self._corpus.pack(self._shards[number]).position(key.content)

    def __iter__(self) -> Iterator[Entry]:
        for shard in self._shards:
            yield from self._corpus.open(shard)
