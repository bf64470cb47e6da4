"""Merge corpora that were indexed alike into one. Exercised by `videossr corpus merge CORPUS ... --out CORPUS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from videossr.config import changes
from videossr.corpus import pack
from videossr.corpus.corpus import MANIFEST, Corpus, pack_file
from videossr.corpus.duplicates import NEAR_SHARE, DuplicatePair, find_twins, footage_of
from videossr.corpus.manifest import begin, write_corpus_manifest
from videossr.corpus.pack import SHARDS, Entry, Pack, RejectedFile
from videossr.errors import ConfigError, CorpusError
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
    """

    videos: int
    duplicates: int
    near: list[DuplicatePair]
    hash: str


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

    Args:
        corpora: two or more, made with the same plan, quality and chroma sampling.
        out: a folder that is new, or that a merge of these corpora has left unfinished.
        drop_near: leave near-duplicates out.
        progress: called with the phase, how much of it is done, and how much there is.

    Raises:
        ConfigError: there is one corpus only.
        CorpusError: the corpora were not made alike, or one is damaged.
        OutputError: `out` is something else, or another run is at work there.
    """
    if len(corpora) < 2:
        raise ConfigError("a merge takes two corpora or more")
    config = _config(corpora)
    output = OutputDir(out, "corpus merge", "corpus")
    if (out / MANIFEST).exists():
        output.refuse_complete()
    with output.open({"of": [corpus.hash for corpus in corpora], "drop_near": drop_near}):
        begin(output, config)
        sets = (map(footage_of, corpus.videos) for corpus in corpora)
        near = find_twins(sets, partial(progress, "comparisons"))
        duplicates = 0
        for done, shard in enumerate(SHARDS, start=1):
            duplicates += _write(corpora, shard, out, near if drop_near else {})
            progress("packs", done, len(SHARDS))
        made_with = merge_versions(corpus.manifest["versions"] for corpus in corpora)
        manifest = write_corpus_manifest(out, config["plan"], _unread(corpora), made_with)
    return Merged(manifest["videos"], duplicates, list(near.values()), manifest["hash"])


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


def _write(corpora: Sequence[Corpus], shard: str, out: AnyPath, dropped: Mapping[str, DuplicatePair]) -> int:
    """Write one pack, and return how many videos more than one corpus had."""
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

    def videos() -> Iterator[tuple[Entry, Iterator[memoryview]]]:
        for content in sorted(holders):
            entry = holders[content].find(content)
            assert entry is not None, f"{content} was listed"
            yield entry, holders[content].pieces(entry)

    rows = [rejected[content] for content in sorted(rejected.keys() - holders.keys())]
    if holders or rows:
        pack.write(pack_file(out, shard), videos(), rows)
    return duplicates


def _unread(corpora: Sequence[Corpus]) -> list[RejectedFile]:
    """Return what was rejected without being decoded, and so is in no pack."""
    unread: dict[tuple[str, str], RejectedFile] = {}
    for corpus in corpora:
        unread |= {(row.path, row.reason): row for row in corpus.rejections() if not row.lasts}
    return list(unread.values())
