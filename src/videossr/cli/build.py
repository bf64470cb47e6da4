"""`videossr build`: samples from a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table

from videossr.builder import recipe as recipes
from videossr.builder.builder import Progress, build_dataset
from videossr.cli.console import Bar, console, counted
from videossr.cli.settings import Setting, parse_settings
from videossr.corpus.corpus import Corpus
from videossr.dataset.manifest import NAME, is_benchmark, read_manifest
from videossr.runners.threads import CORES
from videossr.storage.paths import to_path
from videossr.templates import load_templates

MANY = 20
"""Samples a video from which on the command remarks on it."""

NEARLY = 0.8
"""Part of a corpus that a benchmark uses from which on the command remarks that little is left to train on."""

FEW = 20
"""Videos below which a tenth of them is no benchmark."""

app = App(
    name="build",
    help_epilogue="Example: videossr build smoke --corpus demo/corpus --out demo/dataset\n\n"
    "A small benchmark:\n\n"
    "videossr build viubench --corpus demo/corpus --out demo/viubench --per-category 2\n\n"
    "One perturbation:\n\n"
    "videossr build perturbations --only grounding/blur --corpus demo/corpus --out demo/blur --limit 4\n\n"
    f"Recipes: {', '.join(recipes.recipe_names())}",
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
        profile: Variant of the recipe: "released" of viubench follows the laws of the paper's released scripts.
        only: Categories of the recipe to build; all of them by default.
        seed: The same seed gives the same files, whatever the number of workers.
        per_category: Samples of every category, instead of the recipe's counts.
        limit: Scale the recipe down to this many samples.
        videos: Show at most this many videos, the first by their hashes, so that others are left to train on.
        exclude: Datasets to keep apart from: none of their videos is used, nor one that looks like them.
        rebuild: Replace a dataset in `out` that was made otherwise, or an unfinished build.
        templates: TOML file whose texts replace those of the package.
        workers: Processes.
        ray: Address of a Ray cluster that does the work instead, or "local".
    """
    changed = parse_settings(settings, command, "--categories.jigsaw/6.count=100")
    mixture = recipes.load_recipe(recipe, changed, profile=profile)
    if only:
        mixture = mixture.only(only)
    if per_category is not None:
        mixture = mixture.per_category(per_category)
    whole = sum(category.count for category in mixture.categories.values())
    if limit is not None:
        mixture = mixture.limited(limit)
    if videos is not None:
        mixture = mixture.of_videos(videos)
    opened = Corpus(corpus)
    total, there = sum(category.count for category in mixture.categories.values()), len(opened)
    used = min(there, total, mixture.recipe.videos or there)
    with Bar() as bar:
        if limit is not None and limit > whole:
            bar.say(
                f"--limit {limit} changes nothing: {mixture.recipe.name} has {whole} samples in all. For more: "
                "--per-category N, or --categories.NAME.count=N"
            )
        if total > MANY * there:
            bar.say(
                f"{counted(total, 'sample')} of {counted(there, 'video')}: one video serves {total // max(1, there)} "
                "and more; see --limit"
            )
        if mixture.recipe.benchmark and used >= NEARLY * there and "held_out" not in opened.manifest["rejected"]:
            fewer = f", or show fewer videos (--videos {there // 10})" if there >= FEW and videos is None else ""
            bar.say(
                f"{mixture.recipe.name} will use up to {used} of the {there} videos of {corpus}: few or none are left "
                f"to train on. Divide the corpus first (videossr corpus split {corpus} --out TRAIN TEST --share 0.9) "
                f"and build from TEST{fewer}"
            )

        if (kept := opened.plan["max_pixels"]) < (most := mixture.recipe.max_pixels):
            bar.say(
                f"the frames of {corpus} have at most {kept} pixels, of the {most} that {mixture.recipe.name} would "
                f"show, and are used as they are; to have more: videossr index VIDEOS --out NEW --max-pixels {most}"
            )

        worked = False

        def show(state: Progress) -> None:
            nonlocal worked
            worked = True
            bar.show(state.phase, state.done, state.total, f"{state.rejected} rejections")

        target = to_path(out)
        before = read_manifest(target) if (target / NAME).exists() else None
        manifest = build_dataset(
            mixture,
            opened,
            target,
            templates=load_templates(templates),
            seed=seed,
            exclusions=[to_path(dataset) for dataset in exclude],
            rebuild=rebuild,
            workers=workers,
            ray=ray,
            progress=show,
        )
    summary = Table("category", "samples", "videos admitted", box=None)
    for name, category in sorted(manifest["categories"].items()):
        summary.add_row(name, str(category["samples"]), str(category["admitted"]))
    console.print(summary)
    for reason, count in sorted(manifest["rejected"].items(), key=lambda item: (-item[1], item[0])):
        console.print(f"  rejected, {reason}: {count}")
    if manifest == before and not worked:
        console.print(f"{out} was complete already, made of the same recipe, code and corpus: nothing was built")
    frozen = is_benchmark(manifest)
    console.print(
        f"{counted(manifest['samples'], 'sample')} of {counted(manifest['videos'], 'video')} in {out} "
        f"(a video serves {manifest['most_used']} at the most), hash {manifest['hash'][: None if frozen else 12]}",
    )
