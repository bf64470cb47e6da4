"""Make a dataset a benchmark: copy the packs of its videos into it, and hash its questions and pixels.

Exercised by `videossr build viubench --corpus CORPUS --out BENCH`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping

from videossr.corpus.corpus import Corpus
from videossr.corpus.subset import subset
from videossr.dataset.manifest import CorpusTable
from videossr.errors import CorpusError
from videossr.storage.paths import AnyPath

BUNDLED = "corpus"
"""The folder of a benchmark that holds its packs."""

FROZEN = (
    "id", "task", "category", "data_source", "system", "prompt", "answer", "sources", "slots", "times_ms", "end_ms",
    "height", "width", "params", "pixels",
)  # fmt: skip
"""Columns of a sample that the hash of a benchmark covers: what is asked, the answer, and the pixels.

`sources` holds the hash of every video's JPEGs, `pixels` that of the frames as they are rendered. How a sample came to
be drawn (`seed`, `attempt`) is left out.
"""


def questions_hash(rows: Iterable[Mapping[str, object]]) -> str:
    """Hash the questions of a benchmark and the pixels they rest on.

    The hash does not depend on where the corpus lay, what else was in it, what its files were called, on the number of
    workers, or on how Parquet lays out the rows.

    Args:
        rows: of the samples, ascending by id, with the columns `FROZEN` at least.

    Returns:
        SHA-256 in hex.
    """
    digest = hashlib.sha256()
    for row in rows:
        frozen = {name: row[name] for name in FROZEN}
        digest.update(json.dumps(frozen, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


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
