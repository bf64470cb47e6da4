"""What makes a dataset a benchmark: it carries the packs of its videos, and its hash is frozen.

Exercised by `videossr build viubench --corpus CORPUS --out BENCH`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from videossr.corpus.corpus import Corpus
from videossr.corpus.subset import subset
from videossr.dataset.manifest import CorpusTable
from videossr.errors import CorpusError
from videossr.storage.paths import AnyPath

CARRIED = "corpus"
"""The folder of a benchmark that holds its packs."""

FROZEN = (
    "id", "task", "category", "data_source", "system", "prompt", "answer", "sources", "slots", "times_ms", "end_ms",
    "height", "width", "params", "pixels",
)  # fmt: skip
"""What the hash of a benchmark covers of each sample: what is asked, the answer, and the pixels.

`sources` holds the hash of every video's JPEGs, `pixels` that of the frames as they are rendered. How a sample came to
be drawn (`seed`, `attempt`) is left out.
"""


def questions_hash(rows: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over the questions of a benchmark and the pixels they rest on, in hex.

    It does not depend on where the corpus lay, what else was in it, what its files were called, on the number of
    workers, or on how Parquet lays out the rows. `rows` are those of the samples, ascending by id, with `FROZEN`.
    """
    digest = hashlib.sha256()
    for row in rows:
        frozen = {name: row[name] for name in FROZEN}
        digest.update(json.dumps(frozen, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def bundle_corpus(
    corpus: Corpus, contents: Iterable[str], out: AnyPath, progress: Callable[[int, int], None] = lambda *_: None
) -> CorpusTable:
    """Copy the packs of these videos into the benchmark `out`; what its manifest says of its corpus.

    Raises CorpusError when a pack of `corpus` is damaged.
    """
    carried = subset(corpus, contents, out / CARRIED, progress=progress)
    return CorpusTable(hash=carried["hash"], path=CARRIED, source=corpus.hash)


def bundle_fault(out: AnyPath) -> str | None:
    """Say what is wrong with the packs that the benchmark `out` carries; None where each is as long as it was."""
    try:
        carried = Corpus(out / CARRIED)
        for shard in carried.manifest["shards"]:
            carried.open(shard)
    except CorpusError as error:
        return str(error)
    return None
