"""Write the files of a dataset from the journal of its build, `manifest.json` last. Exercised by `videossr build`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter

import tomli_w

from videossr.builder.bundle import bundle_corpus
from videossr.builder.card import card
from videossr.builder.decontamination import video_row
from videossr.builder.journal import BuildJournal
from videossr.builder.rejections import REJECTED, RejectionRecord, reasons
from videossr.corpus.corpus import Corpus
from videossr.dataset import gate_table, schema
from videossr.dataset.hashing import dataset_hash
from videossr.dataset.manifest import BuildSpec, Manifest, is_benchmark, write_manifest
from videossr.dataset.schema import VIDEOS, Row
from videossr.storage.paths import AnyPath, write_text


def samples_name(number: int) -> str:
    """Return the name of the file of the samples from `number * schema.ROWS_PER_FILE` on."""
    return f"samples-{number:05d}.parquet"


def write_dataset(
    out: AnyPath,
    spec: BuildSpec,
    corpus: Corpus,
    journal: BuildJournal,
    rejection_records: Callable[[], Iterable[RejectionRecord]],
    admitted: Mapping[str, int],
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Manifest:
    """Write all files of a dataset; those of samples that an earlier run has written are left as they are.

    Args:
        out: folder of the dataset.
        spec: what decided the dataset.
        corpus: that it was built from. A benchmark gets the packs of its videos.
        journal: of the build.
        rejection_records: gives all rejections, in the order of the videos; called twice.
        admitted: number of videos that passed the gates of each category.
        progress: called with the packs that a benchmark has, and how many there will be.

    Returns:
        The manifest.
    """
    files = _write_samples(out, journal)
    uses = journal.uses(len(corpus.videos))
    videos = (video_row(entry, count) for entry, count in zip(corpus.videos, uses.shown, strict=True) if count)
    files["videos.parquet"] = schema.write_file(videos, out / "videos.parquet", VIDEOS)
    files |= write_verdicts(out, corpus, rejection_records(), journal)
    where = spec["corpus"]
    if is_benchmark(spec):
        contents = (row["content"] for row in schema.read_rows(out / "videos.parquet", ["content"]))
        where = bundle_corpus(corpus, contents, out, progress)
    filled = journal.counts()
    made = Manifest(
        **BuildSpec(**{**spec, "corpus": where}),
        samples=journal.samples,
        videos=sum(count > 0 for count in uses.shown),
        most_used=max(uses.serves),
        categories={name: {"samples": filled[name], "admitted": count} for name, count in admitted.items()},
        rejected=reasons(rejection_records()),
        files=files,
        hash="",
        origin=None,
    )
    return finish(out, made)


def finish(out: AnyPath, made: Manifest) -> Manifest:
    """Complete a dataset: add hashes to its manifest, write recipe, templates and card, and the manifest last."""
    texts = {
        "config.toml": tomli_w.dumps(made["recipe"]),
        "templates.toml": tomli_w.dumps(made["templates"], multiline_strings=True),
    }
    for name, text in texts.items():
        write_text(out / name, text)
        made["files"][name] = hashlib.sha256(text.encode()).hexdigest()
    made["files"] = dict(sorted(made["files"].items()))
    made["hash"] = dataset_hash(out, made, made["files"])
    write_text(out / "README.md", card(made))
    write_manifest(out, made)
    return made


def write_verdicts(
    out: AnyPath, corpus: Corpus, rejection_records: Iterable[RejectionRecord], journal: BuildJournal
) -> dict[str, str]:
    """Write `rejected.parquet` and `gates.parquet`, and return their SHA-256 by name."""

    def rejections() -> Iterator[Row]:
        for video, group in groupby(rejection_records, key=attrgetter("video")):
            entry = corpus.videos[video]
            yield from (rejection.row(entry) for rejection in group)

    rows = (row for video, gates in journal.measures() for row in gate_table.rows(corpus.videos[video], gates))
    return {
        "rejected.parquet": schema.write_file(rejections(), out / "rejected.parquet", REJECTED),
        gate_table.NAME: schema.write_file(rows, out / gate_table.NAME, gate_table.MEASURES),
    }


def _write_samples(out: AnyPath, journal: BuildJournal) -> dict[str, str]:
    """Write `samples-00000.parquet`, …, and return their SHA-256 by name."""
    done = journal.files()
    if not all((out / name).is_file() for name, _, _ in done):
        done = []
    files = {name: digest for name, digest, _ in done}
    for part in schema.tables(journal.rows(done[-1][2] if done else ""), schema.SCHEMA):
        name = samples_name(len(files))
        files[name] = schema.write_tables([part], out / name, schema.SCHEMA)
        journal.add_file(name, files[name], part["id"][-1].as_py())
    remove_samples(out, len(files))
    return files


def remove_samples(out: AnyPath, number: int) -> None:
    """Remove what another build has left from file `number` on."""
    while (path := out / samples_name(number)).is_file():
        path.unlink()
        number += 1
