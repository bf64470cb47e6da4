"""Write a dataset made of the rows of others, for `videossr dataset merge` and `videossr dataset split`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from videossr.builder.rejections import REJECTED, rejection_counts
from videossr.builder.writer import finish, remove_samples, samples_name
from videossr.dataset import gate_table, schema
from videossr.dataset.manifest import (
    BuildSpec,
    CategoryResult,
    CategoryTable,
    Manifest,
    Origin,
    Parent,
    RecipeTable,
)
from videossr.dataset.schema import VIDEOS, Row
from videossr.storage.output_dir import OutputDir
from videossr.storage.paths import AnyPath


def parent_of(manifest: Manifest) -> Parent:
    """Return what a dataset that comes from this one records of it."""
    return Parent(
        hash=manifest["hash"],
        samples=manifest["samples"],
        recipe=manifest["recipe"],
        seed=manifest["seed"],
        corpus=manifest["corpus"]["hash"],
        excluded=manifest["excluded"],
        versions=manifest["versions"],
        origin=manifest["origin"],
    )


def write_part(
    output: OutputDir,
    spec: BuildSpec,
    origin: Origin,
    rows: Iterable[Row],
    videos: Iterable[Row],
    gates: Iterable[Row],
    rejected: Iterable[Row] = (),
) -> Manifest:
    """Write a dataset of rows of other datasets.

    Args:
        output: its folder. A run that was killed there starts again.
        spec: of the dataset; the counts in its recipe become those of `rows`.
        origin: the datasets that the rows come from.
        rows: of `schema.SCHEMA`, ascending by their ids. They may still be read when `rejected` is.
        videos: of `decontamination.VIDEOS`, ascending by content; those that no row shows are left out.
        gates: of `gate_table.MEASURES`, ascending by content; those of videos that no row shows are left out.
        rejected: of `rejections.REJECTED`; read after `rows`.

    Returns:
        The manifest of the dataset.

    Raises:
        OutputError: the folder holds something else, or another run is at work there.
    """
    out = output.path
    counts = _SampleCounts()
    with output.open({"of": [part["hash"] for part in origin["of"]]}):
        files = _write_samples(out, rows, counts)
        shown = counts.shown
        shown_videos = ({**row, "samples": shown[row["content"]]} for row in videos if row["content"] in shown)
        files["videos.parquet"] = schema.write_file(shown_videos, out / "videos.parquet", VIDEOS)
        measured = (row for row in gates if row["content"] in shown)
        files[gate_table.NAME] = schema.write_file(measured, out / gate_table.NAME, gate_table.MEASURES)
        files["rejected.parquet"] = schema.write_file(rejected, out / "rejected.parquet", REJECTED)
        manifest = Manifest(
            **BuildSpec(**{**spec, "recipe": counts.recipe(spec["recipe"])}),
            samples=counts.samples.total(),
            videos=len(shown),
            most_used=max(counts.serves.values()),
            categories=counts.categories(),
            rejected=rejection_counts(schema.read_rows(out / "rejected.parquet", ["category", "reason"])),
            files=files,
            hash="",
            origin=origin,
        )
        finish(out, manifest)
    return manifest


@dataclass(frozen=True, slots=True)
class _SampleCounts:
    """What is counted of the samples of a dataset while they are written.

    Attributes:
        samples: by category, how many there are.
        serves: by content, how many samples are about a video.
        shown: by content, how many samples show a video.
        admitted: by category, the contents of the videos that samples are about.
    """

    samples: Counter[str] = field(default_factory=Counter)
    serves: Counter[str] = field(default_factory=Counter)
    shown: Counter[str] = field(default_factory=Counter)
    admitted: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, part: pa.Table) -> None:
        """Count the samples of a table of `schema.SCHEMA`."""
        for row in part.select(["category", "sources"]).to_pylist():
            contents = [source["content"] for source in row["sources"]]
            self.samples[row["category"]] += 1
            self.serves[contents[0]] += 1
            self.shown.update(contents)
            self.admitted[row["category"]].add(contents[0])

    def categories(self) -> dict[str, CategoryResult]:
        """Return what a manifest says of each category."""
        return {
            name: {"samples": count, "admitted": len(self.admitted[name])}
            for name, count in sorted(self.samples.items())
        }

    def recipe(self, recipe: RecipeTable) -> RecipeTable:
        """Return a recipe with the categories and counts of the samples."""
        return RecipeTable(
            name=recipe["name"],
            summary=recipe["summary"],
            max_pixels=recipe["max_pixels"],
            categories={
                name: CategoryTable(**{**recipe["categories"][name], "count": count})
                for name, count in sorted(self.samples.items())
            },
        )


def _write_samples(out: AnyPath, rows: Iterable[Row], counts: _SampleCounts) -> dict[str, str]:
    """Write the files of samples and count them. Returns the SHA-256 of each file by its name."""
    files: dict[str, str] = {}
    for part in schema.tables(rows, schema.SCHEMA):
        counts.add(part)
        name = samples_name(len(files))
        files[name] = schema.write_tables([part], out / name, schema.SCHEMA)
    remove_samples(out, len(files))
    return files
