"""Two corpora out of one that share no footage.

Exercised by `videossr corpus split CORPUS --out TRAIN TEST --share 0.9`.

A dataset that is built from one of them has no video, no source and no near-duplicate in common with one that is built
from the other.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from videossr.corpus.corpus import MANIFEST, Corpus, CorpusManifest
from videossr.corpus.duplicates import alike
from videossr.corpus.groups import DisjointSets, choose_groups
from videossr.corpus.pack import Entry, RejectedFile
from videossr.corpus.subset import subset
from videossr.errors import ConfigError, CorpusError, OutputError
from videossr.storage.paths import UNFINISHED, AnyPath, check_apart, is_local, staging_dir


@dataclass(frozen=True, slots=True)
class Split:
    """What `split` has done.

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

    Raises ValueError when the videos cannot be divided so, or an `out` holds something else.
    """
    check_apart(outs)
    if not 0 < count < len(corpus):
        raise ConfigError(f"{corpus.path} has {len(corpus)} videos: {count} of them leave none for one side")
    groups = _grouped(corpus, progress)
    sizes = Counter(groups.of(content) for content in groups)
    chosen = choose_groups(sizes, count)
    if not chosen:
        raise ConfigError(
            f"{corpus.path} cannot be split so: of {len(sizes)} groups of videos that share a source or look alike, "
            f"the smallest has {min(sizes.values())} videos. Give the first corpus more of them"
        )
    sides = [[entry for entry in corpus.videos if (groups.of(entry.content) in chosen) == first] for first in (1, 0)]
    there = [_finished(out, side) for out, side in zip(outs, sides, strict=True)]
    made = []
    for number, (out, side) in enumerate(zip(outs, sides, strict=True)):
        made.append(there[number] or _write(corpus, side, sides[1 - number], out, progress))
    return Split((made[0], made[1]), tuple(size for size in sizes.values() if size > 1))


def _grouped(corpus: Corpus, progress: Callable[[str, int, int], None]) -> DisjointSets:
    groups = DisjointSets()
    facts = [(entry.content, entry.source_id, entry.fingerprints) for entry in corpus.videos]
    for content, _, _ in facts:
        groups.of(content)
    for one, other in alike(facts, partial(progress, "comparisons")):
        groups.join(one, other)
    return groups


def _finished(out: AnyPath, side: list[Entry]) -> CorpusManifest | None:
    """What the corpus `out` says of itself; None where none is yet. Raises ValueError unless it holds just `side`."""
    if (out / MANIFEST).exists():
        there = Corpus(out)
        if [entry.key for entry in there.videos] != [entry.key for entry in side]:
            raise CorpusError(f"{out} is a corpus of other videos already: name a new folder with --out")
        for shard in there.manifest["shards"]:
            there.open(shard)
        return there.manifest
    if is_local(out) and out.exists() and not (out / UNFINISHED).exists() and (out.is_file() or any(out.iterdir())):
        raise OutputError(f"{out} holds something that is not a corpus: name a new folder with --out")
    return None


def _write(
    corpus: Corpus, side: list[Entry], other: list[Entry], out: AnyPath, progress: Callable[[str, int, int], None]
) -> CorpusManifest:
    contents = [entry.content for entry in side]
    held_out = [
        RejectedFile(entry.path, entry.content, "held_out", "`corpus split` put it elsewhere") for entry in other
    ]
    digest = hashlib.sha256("".join(contents).encode()).hexdigest()
    with staging_dir(out, {"verb": "corpus split", "of": corpus.hash, "videos": digest}) as folder:
        made = subset(
            corpus, contents, out, rejected=held_out, progress=lambda done, total: progress(f"{out}", done, total)
        )
        shutil.rmtree(folder)
    return made
