"""`videossr build`: make a dataset from a corpus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table

from videossr.builder.builder import Progress, build_dataset
from videossr.builder.recipe import ResolvedRecipe, load_recipe, recipe_names
from videossr.cli.console import Bar, console, counted
from videossr.cli.settings import Setting, parse_settings
from videossr.corpus.corpus import Corpus
from videossr.dataset.manifest import NAME, Manifest, is_benchmark, read_manifest
from videossr.errors import DataError
from videossr.runners.threads import CORES
from videossr.storage.paths import to_path
from videossr.templates import load_templates

MANY = 20
"""Samples of one video from which on the command prints a remark."""

NEARLY = 0.8
"""Share of the videos that a benchmark may use before the command remarks that few are left to train on."""

FEW = 20
"""Number of videos below which a tenth of them is too small a benchmark."""

app = App(
    name="build",
    help_epilogue="Example: videossr build smoke --corpus demo/corpus --out demo/dataset\n\n"
    "A small benchmark:\n\n"
    "videossr build viubench --corpus demo/corpus --out demo/viubench --per-category 2\n\n"
    "One perturbation:\n\n"
    "videossr build perturbations --only grounding/blur --corpus demo/corpus --out demo/blur --limit 4\n\n"
    f"Recipes: {', '.join(recipe_names())}",
)


@app.default
def command(
    recipe: str,
    /,
    *settings: Setting,
    corpus: str,
    out: str,
    profile: str | None = None,
    only: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**63))] = 0,
    per_category: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    limit: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    videos: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    exclude: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    rebuild: Annotated[bool, Parameter(negative="")] = False,
    templates: Path | None = None,
    workers: Annotated[int, Parameter(validator=Number(gte=1))] = CORES,
    ray: str | None = None,
) -> None:
    """Make a dataset: draw questions from a corpus as a recipe says, each with a proven answer.

    A build that was stopped goes on where it was when the same command is run again.

    Args:
        recipe: Name of a shipped recipe, or the path of a TOML file.
        settings: A key of the recipe and its value, such as `--categories.jigsaw/6.count=100`.
        corpus: Folder that `videossr index` wrote, or its address (s3://, hf://).
        out: Folder or address of the dataset.
        profile: Variant of the recipe: "released" of viubench draws as the paper's released scripts do.
        only: Categories of the recipe to build; all of them by default.
        seed: The same seed gives the same files, whatever the number of workers.
        per_category: Samples of every category, instead of the recipe's counts.
        limit: Scale the recipe down to this many samples.
        videos: Show at most this many videos, the first by their hashes, so that others are left to train on.
        exclude: Datasets whose videos must not be used, nor videos that look like them.
        rebuild: Replace a dataset in `out` that was made with other inputs or is damaged, or an unfinished build.
        templates: TOML file whose texts replace those of the package.
        workers: Number of worker processes.
        ray: Address of a Ray cluster to run on instead, or "local".
    """
    changed = parse_settings(settings, command, "--categories.jigsaw/6.count=100")
    mixture = load_recipe(recipe, changed, profile=profile)
    if only:
        mixture = mixture.only(only)
    if per_category is not None:
        mixture = mixture.per_category(per_category)
    whole = mixture
    if limit is not None:
        mixture = mixture.limited(limit)
    if videos is not None:
        mixture = mixture.of_videos(videos)
    opened = Corpus(corpus)
    with Bar() as bar:
        if limit is not None and limit > whole.samples:
            bar.say(
                f"--limit {limit} changes nothing: {whole.recipe.name} has {whole.samples} samples in all. For more: "
                "--per-category N, or --categories.NAME.count=N"
            )
        for remark in _remarks(mixture, opened, corpus):
            bar.say(remark)
        worked = False

        def show(state: Progress) -> None:
            nonlocal worked
            worked = True
            bar.show(state.phase, state.done, state.total, f"{state.rejected} rejections")

        target = to_path(out)
        before = None
        if (target / NAME).exists():
            with suppress(DataError):  # `build_dataset` says whether a damaged one is replaced
                before = read_manifest(target)
        manifest = build_dataset(
            mixture,
            opened,
            target,
            templates=load_templates(templates),
            seed=seed,
            exclude=[to_path(dataset) for dataset in exclude],
            rebuild=rebuild,
            workers=workers,
            ray=ray,
            progress=show,
        )
    if manifest == before and not worked:
        console.print(f"{out} was complete already, made from the same recipe, code and corpus: nothing was built")
    _print_summary(manifest, out)


def _remarks(mixture: ResolvedRecipe, corpus: Corpus, name: str) -> Iterator[str]:
    """Yield a sentence for each way in which a corpus, called `name` on the command line, suits a recipe badly."""
    recipe, available = mixture.recipe, len(corpus)
    if not available:
        return  # `build_dataset` refuses it
    if mixture.samples > MANY * available:
        yield (
            f"{counted(mixture.samples, 'sample')} of {counted(available, 'video')}: one video serves "
            f"{mixture.samples // available} and more; see --limit"
        )
    used = min(available, mixture.samples, recipe.videos or available)
    if recipe.benchmark and used >= NEARLY * available and "held_out" not in corpus.manifest["rejected"]:
        fewer = f", or show fewer videos (--videos {available // 10})" if available >= FEW and not recipe.videos else ""
        yield (
            f"{recipe.name} will use up to {used} of the {available} videos of {name}: few or none are left to train "
            f"on. Split the corpus first (videossr corpus split {name} --out TRAIN TEST --share 0.9) and build from "
            f"TEST{fewer}"
        )
    if (stored := corpus.plan["max_pixels"]) < recipe.max_pixels:
        yield (
            f"the frames of {name} have at most {stored} pixels, of the {recipe.max_pixels} that {recipe.name} would "
            f"show, and are used as they are; to have more: videossr index VIDEOS --out NEW "
            f"--max-pixels {recipe.max_pixels}"
        )


def _print_summary(manifest: Manifest, out: str) -> None:
    """Print the counts of a dataset: samples and admitted videos by category, rejections by reason."""
    table = Table("category", "samples", "videos admitted", box=None)
    for name, category in sorted(manifest["categories"].items()):
        table.add_row(name, str(category["samples"]), str(category["admitted"]))
    console.print(table)
    for reason, count in sorted(manifest["rejected"].items(), key=lambda item: (-item[1], item[0])):
        console.print(f"  rejected, {reason}: {count}")
    console.print(
        f"{counted(manifest['samples'], 'sample')} of {counted(manifest['videos'], 'video')} in {out} "
        f"(a video serves {manifest['most_used']} at the most), hash "
        f"{manifest['hash'][: None if is_benchmark(manifest) else 12]}",
    )
