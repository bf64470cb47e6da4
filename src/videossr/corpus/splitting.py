"""Split a corpus into two that share no footage.

Exercised by `videossr corpus split CORPUS --out TRAIN TEST --share 0.9`.

A dataset that is built from one of them has no video, no source and no near-duplicate in common with one that is built
from the other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from videossr.corpus.corpus import MANIFEST, Corpus, CorpusManifest
from videossr.corpus.duplicates import alike, footage_of
from videossr.corpus.entry import Entry, RejectedFile
from videossr.corpus.groups import DisjointSets, choose_groups
from videossr.corpus.subset import subset
from videossr.errors import ConfigError
from videossr.storage.output_dir import OutputDir, check_apart
from videossr.storage.paths import AnyPath


@dataclass(frozen=True, slots=True)
class Split:
    """The result of `split`.

    Attributes:
        sides: what the two corpora say of themselves.
        groups: sizes of the groups of videos that were kept together, each of two or more.
    """

    sides: tuple[CorpusManifest, CorpusManifest]
    groups: tuple[int, ...]


def split(
    corpus: Corpus,
    outs: tuple[AnyPath, AnyPath],
    count: int,
    *,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Split:
    """Write `count` videos of `corpus`, or as many fewer as keep footage together, into the first of `outs`.

    The others go into the second. Which, is decided by the hashes of the videos alone. Both are whole corpora. What
    went to the other side is recorded as rejected (``held_out``), so that `index` does not add it again.

    A run that was stopped goes on with the same call; a side that is complete is left alone.

    Args:
        corpus: to be divided.
        outs: two folders that are new, or that the same call has begun.
        count: of videos for the first, at least 1, and fewer than there are.
        progress: called with the phase, how much of it is done, and how much there is.

    Raises:
        ConfigError: the videos cannot be divided so.
        CorpusError: the corpus is damaged or was altered.
        OutputError: one of `outs` holds something else, or another run is at work there.
    """
    check_apart(*outs)
    if not len(corpus):
        raise ConfigError(corpus.no_videos())
    if not 0 < count < len(corpus):
        raise ConfigError(f"{corpus.path} has {len(corpus)} videos: {count} of them leave none for one side")
    corpus.check_hash()
    groups = _grouped(corpus, progress)
    sizes = Counter(groups.of(content) for content in groups)
    chosen = choose_groups(sizes, count)
    if not chosen:
        raise ConfigError(
            f"{corpus.path} cannot be split so: of {len(sizes)} groups of videos that share a source or look alike, "
            f"the smallest has {min(sizes.values())} videos. Give the first corpus more of them"
        )
    sides = [[entry for entry in corpus.videos if (groups.of(entry.content) in chosen) == first] for first in (1, 0)]
    outputs = [OutputDir(out, "corpus split", "corpus") for out in outs]
    complete = [_complete(output, side) for output, side in zip(outputs, sides, strict=True)]
    first, second = (
        complete[number] or _write(corpus, sides[number], sides[1 - number], output, progress)
        for number, output in enumerate(outputs)
    )
    return Split((first, second), tuple(size for size in sizes.values() if size > 1))


def _grouped(corpus: Corpus, progress: Callable[[str, int, int], None]) -> DisjointSets:
    groups = DisjointSets()
    videos = [footage_of(entry) for entry in corpus.videos]
    for video in videos:
        groups.of(video.content)
    for content, other in alike(videos, partial(progress, "comparisons")):
        groups.join(content, other)
    return groups


def _complete(output: OutputDir, side: list[Entry]) -> CorpusManifest | None:
    """Return the manifest of a side that is complete, None where it is to be written.

    Raises OutputError where the folder holds a corpus of other videos, or something else.
    """
    if not (output.path / MANIFEST).exists():
        output.check_free()
        return None
    corpus = Corpus(output.path)
    recorded, wanted = ({entry.key for entry in videos} for videos in (corpus.videos, side))
    if recorded != wanted:
        output.refuse_differences(
            [f"it lacks {len(wanted - recorded)} of the {len(wanted)} videos, and has {len(recorded - wanted)} others"]
        )
    for shard in corpus.manifest["shards"]:
        corpus.open(shard)
    output.remove_leftovers()
    return corpus.manifest


def _write(
    corpus: Corpus,
    side: list[Entry],
    other: list[Entry],
    output: OutputDir,
    progress: Callable[[str, int, int], None],
) -> CorpusManifest:
    """Write the corpus of one side; the videos of the other are recorded in it as rejected."""
    contents = [entry.content for entry in side]
    held_out = [
        RejectedFile(entry.path, entry.content, "held_out", "`corpus split` put it elsewhere") for entry in other
    ]
    digest = hashlib.sha256("".join(contents).encode()).hexdigest()
    with output.open({"of": corpus.hash, "videos": digest}):
        return subset(
            corpus,
            contents,
            output.path,
            rejected=held_out,
            progress=lambda done, total: progress(f"{output.path}", done, total),
        )
