"""A recipe: which categories of questions a dataset holds, how many of each, and with which config.

Shipped recipes lie in `videossr/recipes` and are found by name: `videossr build smoke --corpus CORPUS --out DATASET`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from videossr.config import override, parse, plain
from videossr.dataset.manifest import CategoryTable, RecipeTable
from videossr.errors import ConfigError
from videossr.registry import suggest
from videossr.storage import limits
from videossr.storage.identifiers import CategoryName, RecipeName
from videossr.storage.parsing import read_toml
from videossr.tasks.base import TASKS, OpenTask, open_task


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class CategorySpec:
    """One kind of question: a task with its config, and how many samples are wanted; with 0 it is left out."""

    task: Annotated[str, Field(description="name of an installed task")]
    count: Annotated[int, Field(ge=0, le=limits.CATEGORY_SAMPLES, description="samples; 0 leaves the category out")]
    config: Annotated[dict[str, Any], Field(description="settings of the task, see below")] = Field(
        default_factory=dict
    )


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Recipe:
    """A recipe for `videossr build`. Each key has a description, which docs/reference/recipe.md shows too."""

    name: Annotated[RecipeName, Field(description="letters, digits and `_.-`; the title of the dataset's card")]
    summary: Annotated[str, Field(description="one sentence for the card")] = ""
    max_pixels: Annotated[
        int,
        Field(
            ge=1024,
            le=limits.PICTURE_PIXELS,
            description="height times width that the model sees; a smaller pack is used as it is",
        ),
    ] = 65536
    benchmark: Annotated[
        bool, Field(description="whether the dataset carries its packs and its hash is frozen, see Benchmarks")
    ] = False
    videos: Annotated[
        int, Field(ge=0, description="most videos that are shown, donors too, the first by their hashes; 0: all")
    ] = 0
    categories: Annotated[
        dict[CategoryName, dict[str, Any]],
        Field(description="by the name that samples and reports use: letters, digits and `_/-`"),
    ]


class ResolvedRecipe:
    """A recipe whose categories have been checked: for each, its task and its config."""

    def __init__(self, recipe: Recipe, where: str) -> None:
        self.recipe = recipe
        self.categories: dict[str, CategorySpec] = {}
        self.tasks: dict[str, OpenTask] = {}
        self.config: dict[str, Any] = {}
        problems: list[str] = []
        for name, table in recipe.categories.items():
            try:
                self._add(name, table, f"{where}: categories.{name}")
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ConfigError("\n".join(problems))
        if not self.categories:
            raise ConfigError(f"{where}: categories: there is none")

    def _add(self, name: str, table: Mapping[str, Any], where: str) -> None:
        """Check a category, and add it unless its count is 0. Raises ValueError with one line a mistake."""
        category, problems = None, []
        try:
            category = parse(CategorySpec, table, where)
        except ValueError as error:
            problems.append(str(error))
        if category is not None and not category.count:
            return
        # What can be read of a wrong category is checked all the same, so that all is told at once.
        given, config = table.get("task"), table.get("config", {})
        if isinstance(given, str) and given not in TASKS.names():
            problems.append(f"{where}: no task {given!r}{suggest(given, TASKS.names())}")
        elif isinstance(given, str) and isinstance(config, dict):
            self.tasks[name] = open_task(given)
            try:
                self.config[name] = parse(self.tasks[name].Config, config, f"{where}.config")
            except ValueError as error:
                problems.append(str(error))
        if problems or category is None:
            raise ConfigError("\n".join(problems))
        self.categories[name] = category

    @cached_property
    def resolved(self) -> RecipeTable:
        """The recipe with every default written out, as TOML can hold it."""
        categories = {
            name: CategoryTable(task=category.task, count=category.count, config=plain(self.config[name]))
            for name, category in self.categories.items()
        }
        recipe = self.recipe
        table = RecipeTable(
            name=recipe.name, summary=recipe.summary, max_pixels=recipe.max_pixels, categories=categories
        )
        if recipe.benchmark:
            table["benchmark"] = True
        if recipe.videos:
            table["videos"] = recipe.videos
        return table

    @property
    def samples(self) -> int:
        """Return the number of samples of all categories."""
        return sum(category.count for category in self.categories.values())

    def only(self, names: Collection[str]) -> ResolvedRecipe:
        """Keep these categories and leave out the others.

        Raises:
            ConfigError: the recipe has no category of that name.
        """
        for name in names:
            if name not in self.categories:
                known = suggest(name, self.categories)
                raise ConfigError(f"--only {name}: {self.recipe.name} has no such category{known}")
        return self._with({name: category.count for name, category in self.categories.items() if name in names})

    def limited(self, limit: int) -> ResolvedRecipe:
        """Return the same categories, scaled down to `limit` samples in all; each keeps one at least."""
        total = self.samples
        if limit >= total:
            return self
        if limit < len(self.categories):
            raise ConfigError(
                f"--limit {limit} is fewer than one sample for each of the {len(self.categories)} categories"
            )
        return self._with(_shares({name: category.count for name, category in self.categories.items()}, limit))

    def per_category(self, count: int) -> ResolvedRecipe:
        """Return the same categories with `count` samples each."""
        return self._with(dict.fromkeys(self.categories, count))

    def of_videos(self, most: int) -> ResolvedRecipe:
        """Return the same categories, filled from `most` videos of the corpus at the most."""
        return ResolvedRecipe(replace(self.recipe, videos=most), self.recipe.name)

    def _with(self, counts: Mapping[str, int]) -> ResolvedRecipe:
        """Return the categories that have a count, with it."""
        categories = {
            name: {**table, "count": counts[name]} for name, table in self.recipe.categories.items() if name in counts
        }
        return ResolvedRecipe(Recipe(**{**asdict(self.recipe), "categories": categories}), self.recipe.name)


def load_recipe(
    name_or_path: str | Path, settings: Mapping[str, object] | None = None, *, profile: str | None = None
) -> ResolvedRecipe:
    """Load a recipe. What it returns can be narrowed: `load_recipe("smoke").only(["jigsaw/6"]).limited(4)`.

    Args:
        name_or_path: name of a shipped recipe, or the path of a TOML file.
        settings: values that replace those of the recipe, by dotted name: ``{"categories.jigsaw/6.count": 9}``. Text is
            parsed as TOML.
        profile: "released" takes the recipe "viubench-released" for "viubench"; so it is with paths.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: the recipe or a setting is wrong; the message names the file and the nearest known key.
    """
    name_or_path = str(name_or_path)
    if profile is not None:
        name_or_path = f"{name_or_path.removesuffix('.toml')}-{profile}" + ".toml" * name_or_path.endswith(".toml")
    path = Path(name_or_path)
    if path.suffix == ".toml":
        table, where = read_toml(path), str(path)
    else:
        shipped = {entry.name.removesuffix(".toml"): entry for entry in (files("videossr") / "recipes").iterdir()}
        if name_or_path not in shipped:
            raise ConfigError(
                f"no recipe {name_or_path!r} (or a path that ends in .toml){suggest(name_or_path, shipped)}"
            )
        table, where = tomllib.loads(shipped[name_or_path].read_text("utf-8")), f"recipe {name_or_path}"
    return checked(table, where, settings)


def checked(table: Mapping[str, Any], where: str, settings: Mapping[str, object] | None = None) -> ResolvedRecipe:
    """Check a recipe with settings laid over it; `where` names the file that it comes from.

    Raises ConfigError that names the file and all mistakes.
    """
    known = _categories_of(table)
    for dotted, value in (settings or {}).items():
        table = override(table, dotted, value)
    for name, category in _categories_of(table).items() if known else ():
        if name not in known and isinstance(category, Mapping) and "task" not in category:
            raise ConfigError(f"{where} has no category {name!r}{suggest(name, known)}")
    try:
        recipe = parse(Recipe, table, where)
    except ValueError as error:
        if problems := _category_problems(table.get("categories"), where):
            raise ConfigError(f"{error}\n{problems}") from error
        raise
    return ResolvedRecipe(recipe, where)


def _categories_of(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the table of categories of a recipe; an empty one where it is something else."""
    categories = table.get("categories")
    return categories if isinstance(categories, Mapping) else {}


def _category_problems(categories: object, where: str) -> str:
    """Say what is wrong with the categories of a recipe whose other keys are wrong, so that all is told at once."""
    if not isinstance(categories, dict) or not all(isinstance(table, dict) for table in categories.values()):
        return ""
    try:
        ResolvedRecipe(Recipe(name="wrong", categories=categories), where)
    except ValidationError:  # the name of a category is wrong, which has been told
        return ""
    except ValueError as error:
        return str(error)
    return ""


def recipe_names() -> list[str]:
    """List the names of the shipped recipes."""
    return sorted(entry.name.removesuffix(".toml") for entry in (files("videossr") / "recipes").iterdir())


def _shares(counts: Mapping[str, int], total: int) -> dict[str, int]:
    """`total` divided in proportion to `counts`, at least one each, by largest remainders."""
    whole = sum(counts.values())
    spare = total - len(counts)
    exact = {name: 1 + (count - 1) * spare / (whole - len(counts)) for name, count in counts.items()}
    shares = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(counts, key=lambda name: (shares[name] - exact[name], name))
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares
