"""Datasets made of the rows of others: what `videossr dataset merge` and `videossr dataset split` share."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from videossr.builder.decontamination import VIDEOS
from videossr.builder.journal import REJECTED
from videossr.builder.writer import finish, remove_samples, samples_name
from videossr.dataset import gate_table, schema
from videossr.dataset.manifest import (
    NAME,
    BuildSpec,
    CategoryTable,
    Manifest,
    Origin,
    Parent,
    RecipeTable,
    read_manifest,
)
from videossr.errors import OutputError
from videossr.storage.paths import AnyPath, staging_dir


def parent_of(manifest: Manifest) -> Parent:
    """What a dataset that comes from this one remembers of it."""
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


def refuse_finished(out: AnyPath) -> None:
    """Raise ValueError where a dataset is."""
    if (out / NAME).exists():
        raise OutputError(f"{out} is a dataset already ({read_manifest(out)['recipe']['name']}): name a new --out")


def write_part(
    out: AnyPath,
    spec: BuildSpec,
    origin: Origin,
    rows: Iterable[Mapping[str, Any]],
    videos: Iterable[Mapping[str, Any]],
    gates: Iterable[Mapping[str, Any]],
    rejected: Iterable[Mapping[str, Any]] = (),
) -> Manifest:
    """Write the dataset of `rows`.

    Args:
        out: its folder. A run that was killed there starts again.
        spec: of the dataset; the counts in its recipe become those of `rows`.
        origin: the datasets that the rows come from.
        rows: of `schema.SCHEMA`, ascending by their ids. They may still be read when `rejected` is.
        videos: of `decontamination.VIDEOS`, ascending by content; those that no row shows are left out.
        gates: of `gate_table.MEASURES`, ascending by content; those of videos that no row shows are left out.
        rejected: of `journal.REJECTED`; read after `rows`.
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

    task = {"verb": f"dataset {origin['verb']}", "of": [part["hash"] for part in origin["of"]]}
    with staging_dir(out, task) as folder:
        files: dict[str, str] = {}
        for part in schema.tables(counted(), schema.SCHEMA):
            name = samples_name(len(files))
            files[name] = schema.write_tables([part], out / name, schema.SCHEMA)
        remove_samples(out, len(files))
        kept = ({**row, "samples": shown[row["content"]]} for row in videos if row["content"] in shown)
        files["videos.parquet"] = schema.write_file(kept, out / "videos.parquet", VIDEOS)
        measured = (row for row in gates if row["content"] in shown)
        files[gate_table.NAME] = schema.write_file(measured, out / gate_table.NAME, gate_table.MEASURES)
        reasons: Counter[str] = Counter()

        def told() -> Iterator[Mapping[str, Any]]:
            for row in rejected:
                reasons[f"{row['category']}: {row['reason']}"] += 1
                yield row

        files["rejected.parquet"] = schema.write_file(told(), out / "rejected.parquet", REJECTED)
        counts = sorted(categories.items())
        made = Manifest(
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
        made["recipe"] = RecipeTable(
            name=spec["recipe"]["name"],
            summary=spec["recipe"]["summary"],
            max_pixels=spec["recipe"]["max_pixels"],
            categories={name: CategoryTable(**{**tables[name], "count": count}) for name, count in counts},
        )
        finish(out, made)
        shutil.rmtree(folder)
    return made
