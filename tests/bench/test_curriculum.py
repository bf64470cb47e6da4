"""The recipe that a probe writes: which categories are chosen, and which a model of known level gets."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.building import indexed, picture
from tests.helpers.clips import write
from tests.helpers.known_accuracy_model import KnownAccuracyModel
from tests.helpers.probe_runs import prediction, probe_run
from videossr.answers.counts import count_distribution
from videossr.bench.curriculum import choose_categories, describe, recipe_behind, recipe_text
from videossr.bench.pass_rates import PassRates, measure_pass_rates
from videossr.builder import recipe as recipes
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe, ResolvedRecipe
from videossr.cli.bench import app
from videossr.corpus.corpus import Corpus
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import CategoryTable, RecipeTable
from videossr.models.base import MODELS
from videossr.templates import load_templates
from videossr.validation.validator import validate

N = 4


def make_probe(categories: dict[str, list[int]]) -> tuple[PassRates, RecipeTable]:
    """Make a probe whose jigsaw questions have these numbers of successes out of 4, and its recipe."""
    predictions = [
        prediction(0, "123", ["123"] * hits + ["321"] * (N - hits), category=category)
        for category, questions in categories.items()
        for hits in questions
    ]
    tables = {
        category: CategoryTable(task="jigsaw", count=9, config={"pieces": 3}) for category in (*categories, "unasked")
    }
    return measure_pass_rates(probe_run(predictions, N)), RecipeTable(
        name="x", summary="", max_pixels=65536, categories=tables
    )


def test_choose_categories_takes_those_near_one_half_in_equal_parts() -> None:
    probe, table = make_probe(
        {"a": [1, 2, 3], "b": [3, 2, 3], "c": [0, 4, 0, 4], "d": [0, 1], "e": [4, 4], "f": [1, 1]}
    )
    choices = {choice.category: choice for choice in choose_categories(probe, table, 0.25, 11)}
    assert {category: (choice.verdict, choice.count) for category, choice in choices.items()} == {
        "a": ("near", 4),
        "b": ("near", 4),  # 0.667
        "f": ("near", 3),  # 0.25, the very edge
        "c": ("flat", 0),  # 0.5 on average, but each question is answered always or never
        "d": ("far", 0),
        "e": ("flat", 0),
        "unasked": ("unmeasured", 0),
    }
    assert describe(choices["a"], probe) == (
        "success (exact) 0.500 (0.125 to 0.875) of 3 questions, 0% without variance; about half the time"
    )


def test_recipe_text_names_the_nearest_category_where_none_is_near_one_half() -> None:
    probe, table = make_probe({"hard": [0, 0, 1], "harder": [0, 0, 0, 1], "never": [0, 0]})
    choices = choose_categories(probe, table, 0.25, 10)
    assert [(choice.category, choice.verdict, choice.count) for choice in choices][:2] == [
        ("hard", "nearest", 10),
        ("harder", "far", 0),
    ]
    text = recipe_text(choices, probe, table, Path("my half.toml"))
    assert "# hard: success (exact) 0.083" in text
    assert "not near half the time, but nearest" in text
    recipe = tomllib.loads(text)
    assert recipe["name"] == "my_half"
    assert recipe["categories"] == {"hard": {"task": "jigsaw", "count": 10, "config": {"pieces": 3}}}


def test_recipe_text_refuses_a_choice_without_a_category() -> None:
    probe, table = make_probe({"never": [0, 0], "always": [4]})
    with pytest.raises(ValueError, match=r"half\.toml: no category is left"):
        recipe_text(choose_categories(probe, table, 0.25, 10), probe, table, Path("half.toml"))


def test_recipe_text_keeps_a_hostile_model_name_in_its_comment() -> None:
    probe, table = make_probe({"a": [2]})
    text = recipe_text(
        choose_categories(probe, table, 0.25, 10),
        replace(probe, model='x"\n[categories.evil]'),
        table,
        Path("half.toml"),
    )
    assert set(tomllib.loads(text)["categories"]) == {"a"}


def run_bench(*arguments: str, status: int = 0) -> None:
    """Run `videossr bench` with these arguments and check its exit status."""
    with pytest.raises(SystemExit) as exit_info:
        app(arguments)
    assert (exit_info.value.code or 0) == status


CLIPS = 16
SLOTS = 16
SEGMENTS = {"short": [4, 5], "long": [8, 10]}
CATEGORIES: dict[str, dict[str, Any]] = {
    **{f"jigsaw/{n}": {"task": "jigsaw", "count": 24, "config": {"frames": SLOTS, "pieces": n}} for n in range(3, 8)},
    **{
        f"grounding/{name}": {
            "task": "grounding",
            "count": 16,
            "config": {"frames": SLOTS, "perturbation": "mirror", "length": length},
        }
        for name, length in SEGMENTS.items()
    },
    "counting/1": {"task": "counting", "count": 4, "config": {"frames": SLOTS, "slots_max": 1}},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("leveled") / "clips"
    for number in range(CLIPS):
        write(folder / f"clip_{number:02}.mp4", picture(number))
    return indexed(folder)


@pytest.fixture(scope="module")
def steps(clips: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("steps") / "dataset"
    build_dataset(
        ResolvedRecipe(Recipe(name="steps", categories=CATEGORIES), "steps"), clips, out, templates=load_templates()
    )
    return out


def test_probe_command_writes_a_recipe_of_the_models_level(
    clips: Corpus, steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command probes the model and writes a recipe, from which a valid dataset is built."""
    monkeypatch.setitem(MODELS._items, "leveled", KnownAccuracyModel)
    recipe_path, out = tmp_path / "half.toml", tmp_path / "probe"
    arguments = ["probe", str(steps), "--model", "leveled", "--out", str(out), "--recipe", str(recipe_path)]
    run_bench(*arguments, "--count", "12")
    output = capsys.readouterr().out
    assert re.search(r"jigsaw +jigsaw/5 +12 .* about half the time", output)
    probe = json.loads((out / "probe.json").read_text())
    assert probe["complete"] is True
    assert probe["failed"] == {}
    for pieces, level in {3: 1.0, 4: 0.9, 5: 0.5, 6: 0.1, 7: 0.0}.items():
        rate = probe["categories"][f"jigsaw/{pieces}"]["strict"]["rate"]
        assert rate["low"] - 0.02 <= level <= rate["high"] + 0.02
    by_pieces = probe["settings"]["jigsaw"]["pieces"]
    assert [part["label"] for part in by_pieces] == ["3", "4", "5", "6", "7"]
    assert by_pieces[0]["figures"]["strict"]["histogram"] == [0] * 8 + [24]
    short = probe["categories"]["grounding/short"]
    assert short["overlap"]["rate"]["low"] <= 0.6 <= short["overlap"]["rate"]["high"]
    assert "<svg" in (out / "probe.svg").read_text("utf-8")

    mixture = recipes.load_recipe(str(recipe_path))
    assert {name: category.count for name, category in mixture.categories.items()} == {
        "jigsaw/5": 12,
        "grounding/short": 12,
    }
    assert mixture.resolved["categories"]["grounding/short"]["config"]["length"] == [4, 5]
    assert "# counting/1: success (exact) 0.000" in recipe_path.read_text()

    predictions = (out / "predictions.jsonl").read_bytes()
    run_bench(*arguments, "--count", "6", "--within", "0.48", "--json")  # another recipe costs no question
    assert json.loads(capsys.readouterr().out) == probe
    assert (out / "predictions.jsonl").read_bytes() == predictions
    assert {name: category.count for name, category in recipes.load_recipe(str(recipe_path)).categories.items()} == {
        "jigsaw/5": 2,
        "jigsaw/4": 2,
        "jigsaw/6": 2,
        "grounding/short": 3,
        "grounding/long": 3,
    }

    build_dataset(recipes.load_recipe(str(recipe_path)), clips, tmp_path / "built", templates=load_templates())
    failures = [finding for finding in validate(VideoSSRDataset(tmp_path / "built")) if finding.holds is False]
    assert failures == []


def test_probe_command_counts_questions_without_frames_as_failed(
    clips: Corpus, steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS._items, "leveled", KnownAccuracyModel)
    corpus = tmp_path / "corpus"
    shutil.copytree(str(clips.path), corpus)
    pack = sorted((corpus / "packs").rglob("*.pack"))[0]
    pack.write_bytes(b"\0" * pack.stat().st_size)
    run_bench(
        "probe", str(steps), "--corpus", str(corpus), "--model", "leveled", "--out", str(tmp_path / "out"), status=1
    )
    probe = json.loads((tmp_path / "out/probe.json").read_text())
    failed = sum(probe["failed"].values())
    assert 0 < failed < 156
    assert probe["overall"]["questions"] + failed == sum(category["count"] for category in CATEGORIES.values())
    assert f"{failed} of 156 questions failed" in capsys.readouterr().out


def test_recipe_behind_refuses_questions_without_a_recipe(steps: Path, tmp_path: Path) -> None:
    class Rows:
        path = tmp_path / "rows.jsonl"

    assert recipe_behind(VideoSSRDataset(steps))["name"] == "steps"
    with pytest.raises(ValueError, match=r"rows\.jsonl: these questions come from no recipe"):
        recipe_behind(Rows())  # type: ignore[arg-type]


def test_ladder_recipe_covers_every_task_in_steps_without_gaps() -> None:
    config = recipes.load_recipe("ladder").config
    assert [config[f"jigsaw/{pieces}"].pieces for pieces in range(3, 10)] == list(range(3, 10))
    counting = [settings for category, settings in config.items() if category.startswith("counting/")]
    assert all(
        len(count_distribution(settings.slots_max, settings.instances_max)) > 1 for settings in counting
    )  # something is to be counted
    assert (counting[0].slots_max, counting[-1].slots_max, counting[-1].instances_max) == (1, 4, 4)
    for perturbation, shortest in {
        "channel_swap": 4,
        "rotate_180": 4,
        "zoom_out": 4,
        "mirror": 4,
        "shuffle": 7,
    }.items():
        bands = sorted(
            config[category].length
            for category in config
            if re.fullmatch(rf"grounding/{perturbation}/[\d-]+", category)
        )
        assert [slot for low, high in bands for slot in range(low, high + 1)] == list(range(shortest, 29))
