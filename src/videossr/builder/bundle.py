"""Make a dataset a benchmark: copy the packs of its videos into it.

Exercised by `videossr build viubench --corpus CORPUS --out BENCH`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from videossr.corpus.corpus import Corpus
from videossr.corpus.subset import subset
from videossr.dataset.manifest import CorpusTable
from videossr.errors import CorpusError
from videossr.storage.paths import AnyPath

BUNDLED = "corpus"
"""The folder of a benchmark that holds its packs."""


def bundle_corpus(
    corpus: Corpus, contents: Iterable[str], out: AnyPath, progress: Callable[[int, int], None] = lambda *_: None
) -> CorpusTable:
    """Copy the packs of some videos into a benchmark.

    Args:
        corpus: that has the videos.
        contents: content hashes of the videos.
        out: folder of the benchmark.
        progress: called with the packs that are done, and how many there are.

    Returns:
        The entry of its corpus for the manifest.

    Raises:
        CorpusError: a pack of `corpus` is damaged.
    """
    manifest = subset(corpus, contents, out / BUNDLED, progress=progress)
    return CorpusTable(hash=manifest["hash"], path=BUNDLED, source=corpus.hash)


def bundle_fault(out: AnyPath) -> str | None:
    """Say what is wrong with the packs in the benchmark `out`; None where each is as long as it was written."""
    try:
        bundled = Corpus(out / BUNDLED)
        for shard in bundled.manifest["shards"]:
            bundled.open(shard)
    except CorpusError as error:
        return str(error)
    return None
