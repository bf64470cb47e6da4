"""Write a dataset made of the rows of others, for `videossr dataset merge` and `videossr dataset split`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from videossr.builder.decontamination import VIDEOS
from videossr.builder.journal import REJECTED
from videossr.builder.writer import finish, remove_samples, samples_name
from videossr.dataset import gate_table, schema
from videossr.dataset.manifest import (
    BuildSpec,
    CategoryTable,
    Manifest,
    Origin,
    Parent,
    RecipeTable,
)
from videossr.storage.output_dir import OutputDir


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
    rows: Iterable[Mapping[str, Any]],
    videos: Iterable[Mapping[str, Any]],
    gates: Iterable[Mapping[str, Any]],
    rejected: Iterable[Mapping[str, Any]] = (),
) -> Manifest:
    """Write a dataset of rows of other datasets.

    Args:
        output: its folder. A run that was killed there starts again.
        spec: of the dataset; the counts in its recipe become those of `rows`.
        origin: the datasets that the rows come from.
        rows: of `schema.SCHEMA`, ascending by their ids. They may still be read when `rejected` is.
        videos: of `decontamination.VIDEOS`, ascending by content; those that no row shows are left out.
        gates: of `gate_table.MEASURES`, ascending by content; those of videos that no row shows are left out.
        rejected: of `journal.REJECTED`; read after `rows`.

    Returns:
        The manifest of the dataset.

    Raises:
        OutputError: the folder holds something else, or another run is at work there.
    """
    categories: Counter[str] = Counter()
    serves: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    fit: dict[str, set[str]] = defaultdict(set)

    def counted() -> Iterator[Mapping[str, Any]]:
        for row in rows:
            contents = [source["content"] for source in row["sources"]]
            categories[row["category"]] += 1
            serves[contents[0]] += 1
            shown.update(contents)
            fit[row["category"]].add(contents[0])
            yield row

    out = output.path
    with output.open({"of": [part["hash"] for part in origin["of"]]}):
        files: dict[str, str] = {}
        for part in schema.tables(counted(), schema.SCHEMA):
            name = samples_name(len(files))
            files[name] = schema.write_tables([part], out / name, schema.SCHEMA)
        remove_samples(out, len(files))
        shown_videos = ({**row, "samples": shown[row["content"]]} for row in videos if row["content"] in shown)
        files["videos.parquet"] = schema.write_file(shown_videos, out / "videos.parquet", VIDEOS)
        measured = (row for row in gates if row["content"] in shown)
        files[gate_table.NAME] = schema.write_file(measured, out / gate_table.NAME, gate_table.MEASURES)
        reasons: Counter[str] = Counter()

        def counted_rejections() -> Iterator[Mapping[str, Any]]:
            for row in rejected:
                reasons[f"{row['category']}: {row['reason']}"] += 1
                yield row

        files["rejected.parquet"] = schema.write_file(counted_rejections(), out / "rejected.parquet", REJECTED)
        counts = sorted(categories.items())
        manifest = Manifest(
            **spec,
            samples=categories.total(),
            videos=len(shown),
            most_used=max(serves.values()),
            categories={name: {"samples": count, "admitted": len(fit[name])} for name, count in counts},
            rejected=dict(reasons),
            files=files,
            hash="",
            origin=origin,
        )
        tables = spec["recipe"]["categories"]
        manifest["recipe"] = RecipeTable(
            name=spec["recipe"]["name"],
            summary=spec["recipe"]["summary"],
            max_pixels=spec["recipe"]["max_pixels"],
            categories={name: CategoryTable(**{**tables[name], "count": count}) for name, count in counts},
        )
        finish(out, manifest)
    return manifest
