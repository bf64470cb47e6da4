"""Copy some videos of a corpus into a corpus of their own, frame for frame the same bytes.

Exercised by `videossr build viubench --corpus CORPUS --out BENCH`, whose result carries its frames in `BENCH/corpus`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from videossr.corpus import pack
from videossr.corpus.corpus import MANIFEST, Corpus, CorpusManifest, pack_file
from videossr.corpus.entry import Entry, RejectedFile, rows_hash
from videossr.corpus.manifest import write_corpus_manifest
from videossr.corpus.pack import Pack, shard_of
from videossr.corpus.pack_builder import packs_of
from videossr.errors import CorpusError
from videossr.storage.paths import AnyPath, make_folder, write_bytes


def subset(
    corpus: Corpus,
    contents: Iterable[str],
    out: AnyPath,
    *,
    rejected: Iterable[RejectedFile] = (),
    progress: Callable[[int, int], None] = lambda *_: None,
) -> CorpusManifest:
    """Write the videos of these content hashes into the corpus `out`.

    A run that was stopped goes on: a pack that is there and holds just these videos is left as it is. Whatever else is
    in `out` counts as left over from another run, and is replaced.

    Args:
        corpus: that has the videos.
        contents: content hashes, in any order.
        out: folder of the new corpus, which nobody else may be writing to.
        rejected: what the new corpus records as rejected, each with its content hash.
        progress: called with the packs that are done, and how many there are.

    Returns:
        The manifest of the new corpus.

    Raises:
        CorpusError: `corpus` lacks a video, or a pack of it is damaged.
    """
    wanted: dict[str, list[str]] = defaultdict(list)
    for content in sorted(contents):
        wanted[shard_of(content)].append(content)
    recorded: dict[str, list[RejectedFile]] = defaultdict(list)
    for row in sorted(rejected, key=lambda row: str(row.content)):
        recorded[shard_of(str(row.content))].append(row)
    make_folder(out / "packs")
    (out / MANIFEST).unlink(missing_ok=True)
    write_bytes(out / "config.toml", (corpus.path / "config.toml").read_bytes())
    shards = sorted(wanted.keys() | recorded.keys())
    for shard in packs_of(out) - set(shards):
        pack_file(out, shard).unlink()
    written = packs_of(out)
    for done, shard in enumerate(shards, start=1):
        source = corpus.open(shard)
        entries = [_entry(source, content) for content in wanted[shard]]
        if shard not in written or not _holds(pack_file(out, shard), entries, recorded[shard]):
            pack.write(pack_file(out, shard), ((entry, source.pieces(entry)) for entry in entries), recorded[shard])
        progress(done, len(shards))
    return write_corpus_manifest(out, corpus.plan, [], corpus.manifest["versions"])


def _entry(source: Pack, content: str) -> Entry:
    entry = source.find(content)
    if entry is None:
        raise CorpusError(f"{source.path} has no video {content[:12]}")
    return entry


def _holds(path: AnyPath, entries: Sequence[Entry], rejected: Sequence[RejectedFile]) -> bool:
    """Say whether a pack is whole and holds just these videos under these paths, and just these rejections."""
    rows: list[Entry | RejectedFile] = [*entries, *rejected]
    paths = {str(row.content): row.path for row in rows}
    try:
        written = Pack(path)
        recorded = written.hash, written.paths, written.rejected
    except CorpusError:
        return False
    return recorded == (rows_hash(map(asdict, entries)), paths, [*rejected])
