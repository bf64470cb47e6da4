"""`videossr dataset`: describe, merge and split datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Column, Table

from videossr.builder import recipe
from videossr.builder.merging import merge
from videossr.builder.splitting import split
from videossr.cli.console import console, counted, tell_near
from videossr.cli.settings import Setting, parse_settings
from videossr.corpus.groups import share_count
from videossr.dataset.manifest import Manifest, is_benchmark, read_manifest
from videossr.errors import ConfigError
from videossr.report import thresholds
from videossr.storage.parsing import read_toml
from videossr.storage.paths import to_path

app = App(
    name="dataset",
    help="Describe a dataset, merge several, or split one.",
    help_epilogue="Example: videossr dataset info demo/dataset --json",
)


@app.command(
    help_epilogue="Example: videossr dataset info demo/dataset --json\n\n"
    "Thresholds: videossr dataset info demo/dataset --gates --categories.grounding/mirror.config.limits.picture=4"
)
def info(
    dataset: str,
    /,
    *settings: Setting,
    gates: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Describe a dataset: its categories, samples and videos, its corpus, and what it was made from.

    The description is read from the manifest; `videossr validate` checks it.

    Args:
        dataset: Folder that `videossr build` wrote, or its address.
        settings: With --gates, a threshold to count the admitted videos by, written as for `build`.
        gates: Show instead what the gates measured of all videos, category by category, and how many videos other
            thresholds would admit. A build that failed for lack of videos has left these values too.
        as_json: Print everything as JSON.
    """
    changed = parse_settings(settings, info, "--categories.jigsaw/6.config.limits.course=1.6")
    if changed and not gates:
        raise ConfigError(f"--{next(iter(changed))} changes a threshold of the gates: add --gates")
    if gates:
        categories = thresholds.read(to_path(dataset))
        asked = thresholds.assigned(categories, changed)
        config = to_path(dataset) / "config.toml"  # which a build that failed has not left
        table = read_toml(config) if config.is_file() else None
        if table and changed:
            recipe.checked(table, str(config), changed)
        measured = [
            thresholds.facts(category, asked[name], partial(_accepted, table, name))
            for name, category in categories.items()
        ]
        if as_json:
            console.out(json.dumps(measured))
            return
        for category_facts in measured:
            _show_gates(category_facts, asked[category_facts["category"]])
        return
    manifest = read_manifest(to_path(dataset))
    facts = _facts(manifest)
    if as_json:
        console.out(json.dumps(facts, indent=1))
        return
    shown = Table(box=None, show_header=False)
    listed = Table("category", "task", "samples", "videos admitted", box=None)
    for name, category_facts in facts.pop("categories").items():
        listed.add_row(name, *map(str, category_facts.values()))
    for name, value in facts.items():
        words = [f"{key} {inner}" for key, inner in value.items()] if isinstance(value, dict) else [str(value)]
        shown.add_row(name, ", ".join(words))
    console.print(shown)
    console.print(listed)


def _accepted(table: Mapping[str, Any] | None, category: str, setting: str, value: float) -> bool:
    """Tell whether a setting of a category may have this value in a recipe, as far as the recipe is known."""
    try:
        if table:
            alone = {**table, "categories": {category: table.get("categories", {}).get(category, {})}}
            recipe.checked(alone, "", {f"categories.{category}.config.{setting}": repr(value)})
    except ValueError:
        return False
    return True


def _show_gates(facts: Mapping[str, Any], asked: Mapping[str, float]) -> None:
    """Print what the gates of a category measured, and what other thresholds would admit."""
    headline = f"{facts['category']}: {facts['admitted']} of {counted(facts['videos'], 'video')} admitted"
    if asked:
        headline += (
            f"; {facts['would_admit']} with {', '.join(f'{setting} = {value:g}' for setting, value in asked.items())}"
        )
    console.print(headline)
    gate = Column("gate", no_wrap=True)  # a narrow terminal breaks the other columns
    table = Table(gate, "setting", "passes", "videos", "passed", *map(_share, thresholds.QUANTILES), box=None)
    above: Mapping[str, Any] = {"gate": "", "either": ""}
    for line in facts["gates"]:
        alternative = line["either"] and line["either"] == above["either"] and line["gate"] != above["gate"]
        name = f"or {line['gate']}" if alternative else line["gate"]
        above = line
        bound = f"{'>=' if line['least'] else '<='} {line['threshold']:g}"
        values = ("inf" if value is None else f"{value:.4g}" for value in line["quantiles"].values())
        table.add_row(name, line["setting"], bound, str(line["videos"]), str(line["passed"]), *values)
    console.print(table)
    for setting, counts in facts["admitted_at"].items():
        numbers = ", ".join(f"{count} at {value}" for value, count in counts.items())
        console.print(f"  {setting}: admits {numbers}", soft_wrap=True)
    console.print()


def _share(quantile: float) -> str:
    """Name a quantile."""
    return {0.0: "least", 0.5: "median", 1.0: "largest"}.get(quantile, f"{quantile:.0%}")


def _facts(manifest: Manifest) -> dict[str, Any]:
    """Summarize a manifest, as JSON types."""
    origin = manifest["origin"]
    return {
        "name": manifest["recipe"]["name"],
        "summary": manifest["recipe"]["summary"],
        "samples": manifest["samples"],
        "videos": manifest["videos"],
        "most_used": manifest["most_used"],
        "max_pixels": manifest["recipe"]["max_pixels"],
        "benchmark": is_benchmark(manifest),
        "categories": {
            name: {"task": manifest["recipe"]["categories"][name]["task"], **category}
            for name, category in manifest["categories"].items()
        },
        "rejected": manifest["rejected"],
        "seed": manifest["seed"],
        "corpus": dict(manifest["corpus"]),
        "excluded": " ".join(manifest["excluded"]),
        "origin": {origin["verb"]: " ".join(part["hash"] for part in origin["of"])} if origin else "built",
        "versions": manifest["versions"],
        "hash": manifest["hash"],
    }


@app.command(name="merge", help_epilogue="Example: videossr dataset merge demo/dataset demo/dataset --out demo/both")
def merge_command(
    *datasets: Annotated[str, Parameter(required=True)],
    out: str,
    corpus: str | None = None,
    drop_near: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Merge datasets whose prompts come from the same templates. A sample that several have is taken from the first.

    Args:
        datasets: Folders that `videossr build` wrote, or their addresses.
        out: Folder of the new dataset, or its address.
        corpus: Corpus that has the videos of all datasets, where they come from several.
        drop_near: Leave out samples that show a video which looks like one of an earlier dataset from another corpus;
            without it these videos are only listed.
    """
    merged = merge(
        [to_path(path) for path in datasets],
        to_path(out),
        corpus=None if corpus is None else to_path(corpus),
        drop_near=drop_near,
    )
    if merged.complete:
        console.print(f"{out} was complete already, merged from the same datasets: nothing was written")
    tell_near(merged.near, dropped=drop_near)
    _tell(out, merged.manifest)


@app.command(
    name="split",
    help_epilogue="Example: videossr dataset split demo/dataset --out demo/a demo/b --share 0.7",
)
def split_command(
    dataset: str,
    /,
    *,
    out: Annotated[tuple[str, str], Parameter(negative="")],
    share: Annotated[float | None, Parameter(validator=Number(gt=0, lt=1))] = None,
    count: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
) -> None:
    """Split a dataset into two that share no footage: no video, no donor, no source, no near-duplicates.

    Samples that show several videos, such as the donors of `swap`, may connect all videos. Then samples that would show
    videos of both sides are left out of both, and counted.

    Args:
        dataset: Folder that `videossr build` wrote, or its address.
        out: Two new folders, or their addresses.
        share: Largest share of the samples for the first folder; footage is kept together.
        count: Largest number of samples for the first folder instead.
    """
    if (share is None) == (count is None):
        raise ConfigError("give either --share or --count")
    if count is None:
        assert share is not None
        count = share_count(share, read_manifest(to_path(dataset))["samples"])
    first, second = out
    sides = split(to_path(dataset), (to_path(first), to_path(second)), count)
    for path, made in zip(out, sides, strict=True):
        _tell(path, made)
    left = read_manifest(to_path(dataset))["samples"] - sum(made["samples"] for made in sides)
    if left:
        console.print(f"{left} samples show videos of both sides, and are in neither")


def _tell(out: str, manifest: Manifest) -> None:
    """Print what a new dataset holds, and what was left out of it."""
    for reason, count in sorted(manifest["rejected"].items(), key=lambda item: (-item[1], item[0])):
        console.print(f"  left out, {reason}: {count}")
    size = f"{counted(manifest['samples'], 'sample')} of {counted(manifest['videos'], 'video')}"
    console.print(f"{size} in {out}, hash {manifest['hash'][:12]}")
