"""`gates.parquet`: the measured values of all videos, and what a build with other thresholds would admit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.helpers.building import Make, Run, indexed
from tests.helpers.clips import pan, write
from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.merging import merge
from videossr.builder.recipe import Recipe, ResolvedRecipe
from videossr.builder.splitting import split
from videossr.corpus.corpus import Corpus
from videossr.dataset import gate_table, schema
from videossr.measure import Measure, rejected
from videossr.report import thresholds
from videossr.templates import load_templates
from videossr.video.plan import Plan

SLOTS = 16
VIDEOS = 10
CONFIG: dict[str, Any] = {"frames": SLOTS, "length": [4, 6]}
CATEGORIES: dict[str, dict[str, Any]] = {
    name: {"task": "grounding", "config": {**CONFIG, "perturbation": name}}
    for name in ("mirror", "channel_swap", "noise", "stutter", "shuffle", "fast", "swap")
} | {
    "jigsaw": {"task": "jigsaw", "config": {"frames": SLOTS, "pieces": 3}},
    "counting": {"task": "counting", "config": {"frames": SLOTS, "slots_max": 1}},
}
ADMITS_NONE = {
    "task": "grounding",
    "config": {**CONFIG, "perturbation": "rotate_180", "limits": {"picture": 100, "palette": 100, "texture": 16}},
}
"""No video passes its gates, so that a build measures all categories and draws nothing."""

CATEGORIES["shuffle"]["config"]["strengths"] = {"shift": 1}
CATEGORIES["fast"]["config"]["limits"] = {"pace": 0.1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Pans from slow to fast, over few colors and many, one of them with a cut, and one still video."""
    folder = tmp_path_factory.mktemp("measures") / "clips"
    for number in range(VIDEOS):
        light = ((60 + 8 * number,) * 3, (200 - 8 * number,) * 3) if number % 2 else None
        frames = [*pan(number, 48, 128, 144, patches=3 + number % 3, step=0.02 * number * (number != 7), light=light)]
        if number == 7:
            frames[24:] = pan(20, 24, 128, 144, step=0.01)
        write(folder / f"{number}.mp4", frames)
    return indexed(folder, Plan(frames=2 * SLOTS, max_held=0.99))


@pytest.fixture(scope="module")
def whole(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a build that measures all categories and then fails, because one admits no video."""
    out = tmp_path_factory.mktemp("whole") / "dataset"
    with pytest.raises(
        ValueError, match=r"no video is fit for none(.|\n)*`videossr dataset info .*dataset --gates` shows"
    ):
        make_at(out, corpus, {**CATEGORIES, "none": ADMITS_NONE})
    return out


def make_at(out: Path, corpus: Corpus, categories: Mapping[str, dict[str, Any]]) -> None:
    tables = {name: {**category, "count": 1} for name, category in categories.items()}
    build_dataset(
        ResolvedRecipe(Recipe(name="made", categories=tables), "made"), corpus, out, templates=load_templates()
    )


def with_setting(category: Mapping[str, Any], setting: str, value: float) -> dict[str, Any]:
    """Copy a category and set another value at a dotted name."""
    copied: dict[str, Any] = json.loads(json.dumps(category))
    *path, last = setting.split(".")
    inner = copied["config"]
    for name in path:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return copied


def admitted_by(out: Path, corpus: Corpus, category: str) -> set[str]:
    """Find the videos that a build did not reject from a category, by its list of rejections."""
    rejections = {
        row["content"]
        for row in schema.read_file(out / "rejected.parquet")
        if row["category"] == category and row["attempt"] is None
    }
    return {entry.content for entry in corpus.videos} - rejections


def test_gate_table_has_every_video_for_every_category(whole: Path, corpus: Corpus) -> None:
    measures: dict[tuple[str, str], list[Measure]] = {}
    for row in schema.read_file(whole / gate_table.NAME):
        fields = (row[name] for name in ("gate", "value", "threshold", "least", "setting", "either"))
        measures.setdefault((row["category"], row["content"]), []).append(Measure(*fields))
        assert row["passed"] == measures[row["category"], row["content"]][-1].passed
    assert len(measures) == VIDEOS * (len(CATEGORIES) + 1)
    assert [(content, category) for category, content in measures] == sorted(
        (content, category) for category, content in measures
    )
    for category in CATEGORIES:
        admitted = {
            content
            for content in (entry.content for entry in corpus.videos)
            if not rejected(measures[category, content])
        }
        assert admitted == admitted_by(whole, corpus, category)
        assert admitted, category
    gates = {name: {measure.gate for measure in measures[name, corpus.videos[0].content]} for name in CATEGORIES}
    assert gates["mirror"] >= {"hard_cut", "hidden_picture", "hidden_palette", "hidden_texture"}
    assert gates["jigsaw"] >= {"pieces_alike", "still_piece", "loop", "unseen_link", "unseen_course"}
    assert gates["counting"] >= {"too_small", "no_contrast", "native_shapes"}
    assert gates["fast"] >= {"hidden_speed"}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_admitted_predicts_a_build_with_another_threshold(
    whole: Path, corpus: Corpus, tmp_path: Path, share: float
) -> None:
    """One threshold of a category is changed at a time, to one of the values that were measured."""
    categories = thresholds.read(whole)
    changed_categories, predicted = {}, {}
    for name, spec in CATEGORIES.items():
        for setting in sorted({line.setting for line in categories[name].lines if line.setting}):
            values = np.unique(
                np.concatenate([line.measured for line in categories[name].lines if line.setting == setting])
            )
            values = values[
                values <= (1 if setting in ("native", "open_share", "limits.area") else 10)
            ]  # the range of the setting
            if not len(values):
                continue
            value = float(values[int(share * (len(values) - 1))])
            expected = categories[name].admitted({setting: value})
            changed_categories[f"{name}/{setting}".replace(".", "-")] = with_setting(spec, setting, value)
            predicted[f"{name}/{setting}".replace(".", "-")] = {
                content for content, passes in zip(categories[name].contents, expected, strict=True) if passes
            }
    assert len(changed_categories) > 20
    unchanged = {name: admitted_by(whole, corpus, name) for name in CATEGORIES}
    changed = {name for name, videos in predicted.items() if videos != unchanged[name.partition("/")[0]]}
    assert len(changed) > 5, "the thresholds make no difference"
    with pytest.raises(ValueError, match="no video is fit for"):  # all gates are asked, and nothing is drawn
        make_at(tmp_path / "other", corpus, {**changed_categories, "none": ADMITS_NONE})
    assert {name: admitted_by(tmp_path / "other", corpus, name) for name in changed_categories} == predicted


def test_admitted_predicts_a_build_with_several_thresholds(whole: Path, corpus: Corpus, tmp_path: Path) -> None:
    """The cues of a change are alternatives, so that one of them may fail if another passes."""
    category = thresholds.read(whole)["noise"]
    wanted = {"limits.picture": 30.0, "limits.texture": 1.2, "limits.contrast": 3.0}
    spec = CATEGORIES["noise"]
    for setting, value in wanted.items():
        spec = with_setting(spec, setting, value)
    with pytest.raises(ValueError, match="no video is fit for"):
        make_at(
            tmp_path / "other",
            corpus,
            {"noise": spec, "none": with_setting(CATEGORIES["mirror"], "limits.picture", 100.0)},
        )
    predicted = {
        content for content, passes in zip(category.contents, category.admitted(wanted), strict=True) if passes
    }
    assert predicted == admitted_by(tmp_path / "other", corpus, "noise")
    with pytest.raises(ValueError, match=r"has no threshold 'limits.pictur'; did you mean 'limits.picture'"):
        category.admitted({"limits.pictur": 1.0})


def test_gate_table_allows_different_gates_for_each_video(corpus: Corpus, tmp_path: Path) -> None:
    """The worse of two measures of one name counts, and a gate that was not measured rejects nothing."""
    alike = [Measure("alike", value, 2, setting="least") for value in (3, 1, 5)]
    measures = [
        [*alike[:2], Measure("dark", math.inf, 1)],
        [alike[2], Measure("dull", 1, 1)],
        [alike[2], Measure("dull", 0, 1)],
    ]
    rows = [
        row
        for video, measured in zip(corpus.videos, measures, strict=False)
        for row in gate_table.rows(video, {"odd": measured})
    ]
    schema.write_file(rows, tmp_path / gate_table.NAME, gate_table.MEASURES)
    category = thresholds.read(tmp_path)["odd"]
    assert category.contents == [entry.content for entry in corpus.videos[:3]]
    assert {line.gate: line.measured.tolist() for line in category.lines} == {
        "alike": [1, 5, 5],
        "dark": [math.inf],
        "dull": [1, 0],
    }
    assert category.admitted().tolist() == [False, True, False]
    assert category.admitted({"least": 1}).tolist() == [True, True, False]
    (facts,) = [line for line in thresholds.facts(category, {}, lambda *_: True)["gates"] if line["gate"] == "dark"]
    assert set(facts["quantiles"].values()) == {None}


def test_split_and_merge_refuse_a_dataset_without_gate_table(made: Corpus, make: Make, tmp_path: Path) -> None:
    make("whole", made, {"jigsaw": ({"task": "jigsaw", "config": {"frames": SLOTS, "pieces": 3}}, 12)})
    (tmp_path / "whole" / gate_table.NAME).unlink()
    with pytest.raises(FileNotFoundError, match=r"whole has no gates\.parquet"):
        split(tmp_path / "whole", (tmp_path / "one", tmp_path / "two"), 6)
    with pytest.raises(FileNotFoundError, match=r"whole has no gates\.parquet"):
        merge([tmp_path / "whole", tmp_path / "whole"], tmp_path / "both")
    assert not any((tmp_path / name).exists() for name in ("one", "two", "both"))


def test_gates_option_tries_only_values_that_a_recipe_accepts(
    made: Corpus, make: Make, run: Run, tmp_path: Path
) -> None:
    make(
        "whole",
        made,
        {"jigsaw": ({"task": "jigsaw", "config": {"frames": SLOTS, "pieces": 3, "limits": {"cut": 0.9}}}, 2)},
    )
    dataset = tmp_path / "whole"
    _, out, _ = run("dataset", "info", str(dataset), "--gates", "--json")
    (category,) = json.loads(out)
    assert category["admitted_at"]["limits.cut"].keys() == {"0.45", "0.675", "0.9"}, "it is a share"
    for setting, counts in category["admitted_at"].items():
        for value in counts:
            recipe.load_recipe(str(dataset / "config.toml"), {f"categories.jigsaw.config.{setting}": value})
    status, _, err = run("dataset", "info", str(dataset), "--gates", "--categories.jigsaw.config.difference=-3")
    assert status == 2
    assert f"{dataset / 'config.toml'}: categories.jigsaw.config: difference" in err


def test_split_and_merge_keep_the_gate_values_of_their_videos(made: Corpus, make: Make, tmp_path: Path) -> None:
    easy = {"task": "jigsaw", "config": {"frames": SLOTS, "pieces": 3}}
    make("whole", made, {"jigsaw": (easy, 12)})
    split(tmp_path / "whole", (tmp_path / "one", tmp_path / "two"), 6)
    merge([tmp_path / "two", tmp_path / "one"], tmp_path / "both")
    rows = {name: schema.read_file(tmp_path / name / gate_table.NAME) for name in ("whole", "one", "two", "both")}
    for name in ("one", "two", "both"):
        contents = {row["content"] for row in schema.read_file(tmp_path / name / "videos.parquet")}
        assert rows[name] == [row for row in rows["whole"] if row["content"] in contents]
    merge([tmp_path / "both", tmp_path / "one"], tmp_path / "again")
    assert schema.read_file(tmp_path / "again" / gate_table.NAME) == rows["both"]


def test_gate_table_is_stored_compactly(whole: Path) -> None:
    """Words and hashes are stored once a row group, which leaves about one number a row."""
    with pq.ParquetFile(whole / gate_table.NAME) as file:
        for column in range(file.metadata.num_columns):
            chunk = file.metadata.row_group(0).column(column)
            assert (
                chunk.path_in_schema == "passed"
                or "RLE_DICTIONARY" in chunk.encodings
                or chunk.physical_type == "BOOLEAN"
            )


def test_gates_option_prints_values_and_what_other_thresholds_admit(whole: Path, run: Run) -> None:
    categories = thresholds.read(whole)
    change = "categories.mirror.config.limits.picture=7"
    status, out, _ = run("dataset", "info", str(whole), "--gates", f"--{change}")
    admitted, would_admit = (
        int(categories["mirror"].admitted(changes).sum()) for changes in ({}, {"limits.picture": 7.0})
    )
    assert status == 0
    assert f"mirror: {admitted} of {VIDEOS} videos admitted; {would_admit} with limits.picture = 7" in out
    assert "hidden_picture" in out
    assert f"limits.cut: admits {categories['mirror'].admitted({'limits.cut': 4.0}).sum()} at 4, " in out
    status, out, _ = run("dataset", "info", str(whole), "--gates", "--json", f"--{change}")
    (facts,) = [category for category in json.loads(out) if category["category"] == "mirror"]
    assert (facts["videos"], facts["admitted"], facts["would_admit"]) == (VIDEOS, admitted, would_admit)
    (cut,) = [line for line in facts["gates"] if line["gate"] == "hard_cut"]
    assert (cut["setting"], cut["least"], cut["threshold"], cut["videos"]) == ("limits.cut", False, 8.0, VIDEOS)
    assert cut["passed"] == VIDEOS - 1
    assert cut["quantiles"]["1"] > 8
    (picture,) = [line for line in facts["gates"] if line["setting"] == "limits.picture"]
    (line,) = [line for line in categories["mirror"].lines if line.setting == "limits.picture"]
    assert (picture["threshold"], picture["passed"]) == (7.0, int((line.values >= 7).sum()))


def test_gates_option_joins_alternative_gates_by_or(whole: Path, run: Run) -> None:
    _, out, _ = run("dataset", "info", str(whole), "--gates")
    names = [line.strip().split("  ")[0] for line in out.splitlines()]
    assert "hidden_picture" in names
    assert "or hidden_palette" in names
    assert "or hidden_texture" in names
    assert "or hidden_picture" not in names
    assert "or hard_cut" not in names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--gates", "--categories.mirror.config.limits.pictur=7"),
            "did you mean 'categories.mirror.config.limits.picture'",
        ),
        (
            ("--gates", "--categories.mirror.config.limits.picture=much"),
            "limits.picture=much: a threshold is a number",
        ),
        (("--gates", "--categories.mirror.config.limits.picture=nan"), "a threshold is a finite number"),
        (("--categories.mirror.config.limits.picture=7",), "add --gates"),
    ],
)
def test_gates_option_refuses_invalid_thresholds(whole: Path, run: Run, options: tuple[str, ...], message: str) -> None:
    status, _, err = run("dataset", "info", str(whole), *options)
    assert status == 2
    assert message in err


def test_gates_option_names_a_folder_without_gate_table(run: Run, tmp_path: Path) -> None:
    status, _, err = run("dataset", "info", str(tmp_path), "--gates")
    assert status == 2
    assert "has no gates.parquet" in err


def test_validate_command_plots_the_gate_values(made: Corpus, make: Make, run: Run, tmp_path: Path) -> None:
    make("dataset", made, {"jigsaw": ({"task": "jigsaw", "config": {"frames": SLOTS, "pieces": 3}}, 2)})
    dataset, plot = str(tmp_path / "dataset"), tmp_path / "gates.png"
    assert run("validate", dataset, "--renders", "0", "--plot", str(plot))[0] == 0
    picture = cv2.imread(str(plot))
    assert picture is not None
    blue = np.abs(picture.astype(int) - [178, 111, 31]).max(axis=2) < 40
    assert blue.sum() > 100, "no dots of admitted videos"
    assert run("validate", dataset, "--renders", "0", "--plot", str(tmp_path / "gates.svg"))[0] == 0
    assert (tmp_path / "gates.svg").read_text("utf-8").startswith("<?xml")
    status, _, err = run("validate", dataset, "--renders", "0", "--plot", "gates.odd")
    assert status == 2
    assert "gates.odd: no kind of picture" in err
