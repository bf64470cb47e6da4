"""Configuration: unknown keys are refused, and messages name the nearest known key."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import tomli_w

from videossr.builder import recipe
from videossr.builder.recipe import Recipe
from videossr.config import changes, flatten, override, parse, plain
from videossr.registry import Registry
from videossr.storage.parsing import read_toml
from videossr.tasks.base import TASKS
from videossr.tasks.counting import CountingConfig
from videossr.tasks.grounding import GroundingConfig
from videossr.tasks.jigsaw import JigsawConfig
from videossr.templates import load_templates

NANO = sorted(map(str, (Path(__file__).parents[1] / "examples/nano").glob("*.toml")))
"""Recipes that are not part of the package, among them that of `make demo`."""


def test_load_recipe_reads_every_shipped_recipe():
    for name in recipe.recipe_names():
        plan = recipe.load_recipe(name)
        assert plan.recipe.name == name
        assert plan.recipe.summary
        reparsed = recipe.ResolvedRecipe(parse(Recipe, plan.resolved, "again"), "again")
        assert reparsed.resolved == plan.resolved


@pytest.mark.parametrize("name", [*recipe.recipe_names(), *NANO])
def test_shipped_jigsaws_without_a_gap_set_no_bound_for_the_solver(name: str) -> None:
    """The solver solves nearly all jigsaws without gaps, so `validate` would fail them with the default bound."""
    for config in recipe.load_recipe(name).config.values():
        if isinstance(config, JigsawConfig):
            assert config.gap or config.solver == 1


def test_recipe_videossr_30k_has_the_papers_mixture():
    counts = {name: category.count for name, category in recipe.load_recipe("videossr-30k").categories.items()}
    assert sum(counts.values()) == 30_000
    assert counts["jigsaw/6"] == 12_000
    assert counts["counting/easy"] == 6_000
    assert {counts[f"grounding/{p}"] for p in ("channel_swap", "mirror", "zoom_out", "rotate_180")} == {3000}


def test_grounding_config_defaults_are_the_papers():
    config = parse(GroundingConfig, {"perturbation": "mirror"}, "here")
    assert config.frames == 48
    assert config.length == (8, 16)
    assert config.strengths.zoom_in == (1.3, 1.5)
    assert config.strengths.zoom_out == (1.2, 1.4)
    assert config.strengths.noise == (35, 70)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"perturbation": "mirror", "lenght": [8, 16]}, "unknown key 'lenght'; did you mean 'length'?"),
        ({"perturbation": "miror"}, "perturbation: no 'miror'; did you mean 'mirror'?"),
        ({"perturbation": "mirror", "length": [8, 48]}, "need most < frames, which is 48"),
        ({"perturbation": "mirror", "length": [16, 8]}, "length: need 4 <= least <= most, got [16, 8]"),
        (
            {"perturbation": "mirror", "strengths": {"zoom_in": [2, 1.5]}},
            "strengths.zoom_in: the least, 2.0, is more than the most, 1.5",
        ),
        (
            {"perturbation": "mirror", "strengths": {"nois": 1}},
            "unknown key 'nois' in strengths; did you mean 'noise'?",
        ),
        ({"perturbation": "shuffle", "length": [4, 8]}, "cannot move their ends"),
        ({}, "perturbation"),
    ],
)
def test_parse_refuses_invalid_grounding_configs(table, message):
    with pytest.raises(ValueError, match="here") as raised:
        parse(GroundingConfig, table, "here")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "table", "messages"),
    [
        (GroundingConfig, {"frames": 2, "length": [9, 3]}, ["perturbation: must be set", "frames: ", "length: need 4"]),
        (
            GroundingConfig,
            {"frames": 2, "strengths": {"slow": 3, "noise": [9, 3], "holds": [5, 2]}},
            ["frames: ", "strengths.slow: ", "strengths.noise: the least, 9.0", "strengths.holds: the least, 5"],
        ),
        (
            CountingConfig,
            {"frames": 0, "shapes": ["circel", "square", "square"]},
            ["frames: ", "shapes: no 'circel'; did you mean 'circle'?", "'square' is named twice"],
        ),
    ],
)
def test_parse_reports_all_invalid_settings_at_once(kind: type, table: dict[str, object], messages: list[str]) -> None:
    with pytest.raises(ValueError, match="here") as raised:
        parse(kind, table, "here")
    lines = str(raised.value).splitlines()
    for message in messages:
        assert [line for line in lines if message in line], (message, lines)


def test_parse_says_which_characters_names_may_hold() -> None:
    with pytest.raises(ValueError, match="here") as raised:
        parse(Recipe, {"name": "a b", "categories": {"c.d": {}}}, "here")
    assert str(raised.value).splitlines() == [
        "here: name: may hold letters, digits and _.- only, at least one of them, got 'a b'",
        "here: categories.c.d: may hold letters, digits and _/- only, at least one of them, got 'c.d'",
    ]


def test_override_sets_a_value_by_its_dotted_name():
    table = {"categories": {"jigsaw/6": {"count": 1}}}
    assert override(table, "categories.jigsaw/6.count", "5") == {"categories": {"jigsaw/6": {"count": 5}}}
    assert override(table, "name", "plain text")["name"] == "plain text"
    assert table["categories"]["jigsaw/6"]["count"] == 1
    assert override(table, "categories.jigsaw/6.config.gap", "2")["categories"]["jigsaw/6"]["config"] == {"gap": 2}
    with pytest.raises(ValueError, match=r"categories\.jigsaw/6\.count\.x: count is 1, not a table"):
        override(table, "categories.jigsaw/6.count.x", "5")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"categories.jigsaw/6.cuont": "5"}, "unknown key 'cuont'; did you mean 'count'?"),
        ({"categories.jigsaw/6.config.pices": "5"}, "did you mean 'pieces'?"),
        ({"categories.jigsaw/6.config.pieces": "12"}, "less than or equal to 9"),
        ({"categories.jigsaw/6.task": "jigsw"}, "no task 'jigsw'; did you mean 'jigsaw'?"),
        ({"max_pixel": "5000"}, "did you mean 'max_pixels'?"),
        ({"categories.jigsaw/6.count": "-1"}, "greater than or equal to 0"),
        ({"categories.jigsaw/6.count": "0"}, "categories: there is none"),
    ],
)
def test_load_recipe_refuses_invalid_overrides(overrides, message):
    with pytest.raises(ValueError, match="recipe jigsaw-6") as raised:
        recipe.load_recipe("jigsaw-6", overrides)
    assert message in str(raised.value)


def test_plain_and_flatten_turn_a_config_into_tables() -> None:
    table = plain({"b": None, "c": {"d": (1, 2.5)}, "e": {}})
    assert table == {"c": {"d": [1, 2.5]}, "e": {}}
    config = plain(CountingConfig(shapes=("circle", "star")))
    assert config["shapes"] == ["circle", "star"]
    assert tomllib.loads(tomli_w.dumps(config)) == json.loads(json.dumps(config)) == config
    assert parse(CountingConfig, config, "again") == CountingConfig(shapes=("circle", "star"))
    assert flatten({"a": {"b": {"c": 1}, "d": [2]}, "e": 3, "f": {}}) == {"a.b.c": 1, "a.d": [2], "e": 3}
    assert flatten({"a": {"b/c": 1}}, separator="/") == {"a/b/c": 1}
    with pytest.raises(TypeError, match="got int"):
        plain(3)


def test_changes_are_listed_key_by_key() -> None:
    stored = {"recipe": {"count": 2, "tables": {"a": 1}}, "seed": 0}
    assert changes(stored, stored) == []
    assert changes(stored, {"recipe": {"count": 3, "tables": 5}, "limit": "x" * 99}) == [
        "recipe.count is 2 there, 3 now",
        "recipe.tables is a table there, 5 now",
        "seed is 0 there, not set now",
        f"limit is not set there, '{'x' * 58}… now",
    ]
    assert changes({}, {str(number): 1 for number in range(9)})[-1] == "and 3 more"


def test_load_recipe_refuses_unknown_names_and_invalid_files(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no recipe 'smok'.*did you mean 'smoke'"):
        recipe.load_recipe("smok")
    with pytest.raises(FileNotFoundError):
        recipe.load_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("a = [")
    with pytest.raises(ValueError, match=r"bad\.toml: not valid TOML"):
        read_toml(tmp_path / "bad.toml")
    (tmp_path / "empty.toml").write_text('name = "x"\ncategories = {}')
    with pytest.raises(ValueError, match="categories: there is none"):
        recipe.load_recipe(str(tmp_path / "empty.toml"))


def test_limited_keeps_the_mixture_and_every_category():
    plan = recipe.load_recipe("videossr-30k").limited(100)
    counts = {name: category.count for name, category in plan.categories.items()}
    assert sum(counts.values()) == 100
    assert counts["jigsaw/6"] in (39, 40)
    assert min(counts.values()) >= 10
    with pytest.raises(ValueError, match="fewer than one sample"):
        plan.limited(3)


def test_load_templates_overlays_single_texts(tmp_path: Path):
    overlay = tmp_path / "mine.toml"
    overlay.write_text('[grounding.changes]\nmirror = "It is mirrored."\n')
    templates = load_templates(overlay)
    assert templates["grounding"]["changes"]["mirror"] == "It is mirrored."
    assert templates["jigsaw"] == load_templates()["jigsaw"]
    overlay.write_text('[grounding]\npromt = "x"\n')
    with pytest.raises(ValueError, match=r"no text 'promt'; did you mean 'prompt'\?"):
        load_templates(overlay)
    overlay.write_text("[system]\ntext = 3\n")
    with pytest.raises(ValueError, match="text must be text, got int"):
        load_templates(overlay)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            '[grounding]\nprompt = "<video> When? {example}"',
            "grounding: prompt: must hold {change}, {example}, got example",
        ),
        ('[grounding]\nprompt = "<video> {change.foo} {example}"', "got change.foo, example"),
        ('[grounding]\nprompt = "<video> {change} {example"', "write a brace that is part of the text twice"),
        ('[grounding]\nprompt = "{change} {example}"', "must hold <video> 1 times, got 0"),
        ('[system]\ntext = "<video>"', "system: text: must hold <video> 0 times, got 1"),
        ('[jigsaw]\nclip = "<video>"', "must hold {position}, got none"),
        ('[jigsaw]\nclip = "<video> {position!z}"', "must hold {position}, got position!z"),
        ('[jigsaw]\nclip = "<video> {position:q}"', "must hold {position}, got position:q"),
    ],
)
def test_load_templates_requires_the_placeholders_of_the_replaced_text(
    table: str, message: str, tmp_path: Path
) -> None:
    overlay = tmp_path / "mine.toml"
    overlay.write_text(table)
    with pytest.raises(ValueError, match=r"mine\.toml") as raised:
        load_templates(overlay)
    assert message in str(raised.value)


def test_registry_lists_names_and_suggests_the_nearest() -> None:
    assert TASKS.names()[:3] == ["counting", "grounding", "jigsaw"]
    with pytest.raises(ValueError, match=r"no task 'jigsw'; did you mean 'jigsaw'\?"):
        TASKS.get("jigsw")


def test_registry_names_both_packages_that_declare_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("jigsaw", "other.package:Jigsaw", "videossr.tasks")
    monkeypatch.setattr("videossr.registry.find_entry_points", lambda _: EntryPoints([point, point]))
    fresh: Registry[object] = Registry("videossr.tasks")
    with pytest.raises(ValueError, match=r"'jigsaw' is declared by .*other\.package:Jigsaw.* and "):
        fresh.get("jigsaw")
