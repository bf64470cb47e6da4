"""Merge corpora that were indexed alike into one. Exercised by `videossr corpus merge CORPUS ... --out CORPUS`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from videossr.config import changes
from videossr.corpus import pack
from videossr.corpus.corpus import MANIFEST, Corpus, pack_file
from videossr.corpus.duplicates import NEAR_SHARE, DuplicatePair, find_twins, footage_of
from videossr.corpus.entry import Entry, RejectedFile
from videossr.corpus.manifest import begin, is_begun, write_corpus_manifest
from videossr.corpus.pack import SHARDS, Pack
from videossr.errors import ConfigError, CorpusError
from videossr.sample import VideoKey
from videossr.storage.output_dir import OutputDir
from videossr.storage.parsing import read_toml
from videossr.storage.paths import AnyPath
from videossr.storage.provenance import merge_versions


@dataclass(frozen=True, slots=True)
class Merged:
    """The result of `merge`.

    Attributes:
        videos: in the corpus now.
        duplicates: how many files two of the corpora had.
        near: videos whose frames are near to those of a video of an earlier corpus.
        hash: of the corpus.
        complete: whether the corpus was there already, so that nothing was written.
    """

    videos: int
    duplicates: int
    near: list[DuplicatePair]
    hash: str
    complete: bool


def merge(
    corpora: Sequence[Corpus],
    out: AnyPath,
    *,
    drop_near: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Merged:
    """Write the videos of all `corpora` into the new corpus `out`.

    A file that several have is taken from the first. The videos of each corpus are compared with those of the ones
    before it; with `drop_near`, near-duplicates are left out and recorded as rejected. `index` can go on with `out`.

    A corpus in `out` that is just what would be written is left alone, so that the same call can be made again.

    Args:
        corpora: two or more, made with the same plan, quality and chroma sampling.
        out: a folder that is new, or that a merge of these corpora has begun or finished.
        drop_near: leave near-duplicates out.
        progress: called with the phase, how much of it is done, and how much there is.

    Raises:
        ConfigError: there is one corpus only, or none of them has a video.
        CorpusError: the corpora were not made alike, or one is damaged.
        OutputError: `out` is something else, or a corpus that was made otherwise; the message names what differs. Or
            another run is at work there.
    """
    if len(corpora) < 2:
        raise ConfigError("a merge takes two corpora or more")
    if not any(len(corpus) for corpus in corpora):
        raise ConfigError(". ".join(dict.fromkeys(corpus.no_videos() for corpus in corpora)))
    for corpus in corpora:
        corpus.check_hash()
    config = _config(corpora)
    output = OutputDir(out, "corpus merge", "corpus")
    if (out / MANIFEST).exists() and is_begun(output, config):
        merged = _finished(Corpus(out), corpora, output, drop_near=drop_near, progress=progress)
        output.remove_leftovers()
        return merged
    with output.open({"of": [corpus.hash for corpus in corpora], "drop_near": drop_near}):
        begin(output, config)
        near = _near(corpora, progress)
        duplicates = 0
        for done, shard in enumerate(SHARDS, start=1):
            part = _Shard.of(corpora, shard, near if drop_near else {})
            part.write(pack_file(out, shard))
            duplicates += part.duplicates
            progress("packs", done, len(SHARDS))
        made_with = merge_versions(corpus.manifest["versions"] for corpus in corpora)
        manifest = write_corpus_manifest(out, config["plan"], _unread(corpora), made_with)
    return Merged(manifest["videos"], duplicates, list(near.values()), manifest["hash"], complete=False)


def _finished(
    finished: Corpus,
    corpora: Sequence[Corpus],
    output: OutputDir,
    *,
    drop_near: bool,
    progress: Callable[[str, int, int], None],
) -> Merged:
    """Return the result of a merge that is in its folder already.

    Raises OutputError where other videos are there, or others were rejected, than this merge would write.
    """
    near = _near(corpora, progress)
    wanted: set[VideoKey] = set()
    reasons = Counter(row.reason for row in _unread(corpora))
    duplicates = 0
    for shard in SHARDS:
        part = _Shard.of(corpora, shard, near if drop_near else {})
        wanted.update(entry.key for entry, _ in part.videos())
        reasons.update(row.reason for row in part.rejected)
        duplicates += part.duplicates
    recorded = {entry.key for entry in finished.videos}
    rejected = Counter(row.reason for row in finished.rejections())
    differences = changes({"rejected": rejected}, {"rejected": reasons})
    if recorded != wanted:
        lacking, others = len(wanted - recorded), len(recorded - wanted)
        differences.insert(0, f"it lacks {lacking} of the {len(wanted)} videos, and has {others} others")
    output.refuse_differences(differences)
    return Merged(len(finished), duplicates, list(near.values()), finished.hash, complete=True)


def _near(corpora: Sequence[Corpus], progress: Callable[[str, int, int], None]) -> dict[str, DuplicatePair]:
    """Return, by content, the videos that look like one of an earlier corpus."""
    sets = (map(footage_of, corpus.videos) for corpus in corpora)
    return find_twins(sets, partial(progress, "comparisons"))


def _config(corpora: Sequence[Corpus]) -> dict[str, Any]:
    """Return the configuration that all corpora share; its `source_id` is that of the first."""
    configs = [read_toml(corpus.path / "config.toml") for corpus in corpora]
    for corpus, config in zip(corpora[1:], configs[1:], strict=True):
        if differences := changes({**configs[0], "source_id": None}, {**config, "source_id": None}):
            raise CorpusError(
                f"{corpora[0].path} and {corpus.path} were indexed with other options ({'; '.join(differences)}): "
                "index the videos of one with the config of the other"
            )
    return configs[0]


@dataclass(frozen=True, slots=True)
class _Shard:
    """What one pack of a merged corpus holds.

    Attributes:
        holders: by the content of each video, the pack that it is taken from.
        rejected: files that were rejected, by their contents.
        duplicates: how many videos more than one corpus had.
    """

    holders: Mapping[str, Pack]
    rejected: Sequence[RejectedFile]
    duplicates: int

    @classmethod
    def of(cls, corpora: Sequence[Corpus], shard: str, dropped: Mapping[str, DuplicatePair]) -> Self:
        """Choose what goes into a pack; videos in `dropped` are rejected."""
        holders: dict[str, Pack] = {}
        rejected: dict[str, RejectedFile] = {}
        duplicates = 0
        for corpus in corpora:
            if shard not in corpus.manifest["shards"]:
                continue
            source = corpus.open(shard)
            for content in source.contents:
                duplicates += content in holders
                holders.setdefault(content, source)
            for row in source.rejected:
                rejected.setdefault(str(row.content), row)
        for content in holders.keys() & dropped.keys():
            near = dropped[content]
            detail = f"it looks like {near.twin}: {near.share:.2f} of the frames are near"
            rejected[content] = RejectedFile(near.path, content, "near_duplicate", detail, near.share, NEAR_SHARE)
            del holders[content]
        return cls(holders, [rejected[content] for content in sorted(rejected.keys() - holders.keys())], duplicates)

    def videos(self) -> Iterator[tuple[Entry, Iterator[memoryview]]]:
        """Yield the videos by their contents, each with its JPEGs, which are read when they are asked for."""
        for content in sorted(self.holders):
            source = self.holders[content]
            entry = source.find(content)
            assert entry is not None, f"{content} was listed"
            yield entry, source.pieces(entry)

    def write(self, path: AnyPath) -> None:
        """Write the pack; none where it would hold nothing."""
        if self.holders or self.rejected:
            pack.write(path, self.videos(), self.rejected)


def _unread(corpora: Sequence[Corpus]) -> list[RejectedFile]:
    """Return what was rejected without being decoded, and so is in no pack."""
    unread: dict[tuple[str, str], RejectedFile] = {}
    for corpus in corpora:
        unread |= {(row.path, row.reason): row for row in corpus.rejections() if not row.lasts}
    return list(unread.values())
