"""`gates.parquet`: the values of all videos, and that they foretell what a build with other thresholds admits."""

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
NOBODY = {
    "task": "grounding",
    "config": {**CONFIG, "perturbation": "rotate_180", "limits": {"picture": 100, "palette": 100, "texture": 16}},
}
"""No video is fit for it, so that a build measures all categories and draws nothing."""

CATEGORIES["shuffle"]["config"]["strengths"] = {"shift": 1}
CATEGORIES["fast"]["config"]["limits"] = {"pace": 0.1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Pans from slow to fast, over few colors and many, one of them with a cut, and one that stands still."""
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
    """What a build leaves that measures all categories, though some videos are fit for none of them."""
    out = tmp_path_factory.mktemp("whole") / "dataset"
    with pytest.raises(
        ValueError, match=r"no video is fit for none(.|\n)*`videossr dataset info .*dataset --gates` shows"
    ):
        make_at(out, corpus, {**CATEGORIES, "none": NOBODY})
    return out


def make_at(out: Path, corpus: Corpus, categories: Mapping[str, dict[str, Any]]) -> None:
    tables = {name: {**category, "count": 1} for name, category in categories.items()}
    build_dataset(
        ResolvedRecipe(Recipe(name="made", categories=tables), "made"), corpus, out, templates=load_templates()
    )


def with_setting(category: Mapping[str, Any], setting: str, value: float) -> dict[str, Any]:
    """The same category with another value at a dotted name."""
    copied: dict[str, Any] = json.loads(json.dumps(category))
    *path, last = setting.split(".")
    inner = copied["config"]
    for name in path:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return copied


def admitted_by(out: Path, corpus: Corpus, category: str) -> set[str]:
    """The videos that a build has not rejected from a category, by its list of rejections."""
    lost = {
        row["content"]
        for row in schema.read_file(out / "rejected.parquet")
        if row["category"] == category and row["attempt"] is None
    }
    return {entry.content for entry in corpus.videos} - lost


def test_every_video_is_measured_by_every_category(whole: Path, corpus: Corpus) -> None:
    found: dict[tuple[str, str], list[Measure]] = {}
    for row in schema.read_file(whole / gate_table.NAME):
        fields = (row[name] for name in ("gate", "value", "threshold", "least", "setting", "either"))
        found.setdefault((row["category"], row["content"]), []).append(Measure(*fields))
        assert row["passed"] == found[row["category"], row["content"]][-1].passed
    assert len(found) == VIDEOS * (len(CATEGORIES) + 1)
    assert [(content, category) for category, content in found] == sorted(
        (content, category) for category, content in found
    )
    for category in CATEGORIES:
        admitted = {
            content for content in (entry.content for entry in corpus.videos) if not rejected(found[category, content])
        }
        assert admitted == admitted_by(whole, corpus, category)
        assert admitted, category
    gates = {name: {measure.gate for measure in found[name, corpus.videos[0].content]} for name in CATEGORIES}
    assert gates["mirror"] >= {"hard_cut", "hidden_picture", "hidden_palette", "hidden_texture"}
    assert gates["jigsaw"] >= {"pieces_alike", "still_piece", "loop", "unseen_link", "unseen_course"}
    assert gates["counting"] >= {"too_small", "no_contrast", "native_shapes"}
    assert gates["fast"] >= {"hidden_speed"}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_the_values_foretell_a_build_with_other_thresholds(
    whole: Path, corpus: Corpus, tmp_path: Path, share: float
) -> None:
    """One threshold of a category is changed at a time, to one of the values that were measured."""
    categories = thresholds.read(whole)
    asked, foretold = {}, {}
    for name, spec in CATEGORIES.items():
        for setting in sorted({line.setting for line in categories[name].lines if line.setting}):
            values = np.unique(
                np.concatenate([line.measured for line in categories[name].lines if line.setting == setting])
            )
            values = values[
                values <= (1 if setting in ("native", "open_share", "limits.area") else 10)
            ]  # what it takes
            if not len(values):
                continue
            value = float(values[int(share * (len(values) - 1))])
            expected = categories[name].admitted({setting: value})
            asked[f"{name}/{setting}".replace(".", "-")] = with_setting(spec, setting, value)
            foretold[f"{name}/{setting}".replace(".", "-")] = {
                c for c, fit in zip(categories[name].contents, expected, strict=True) if fit
            }
    assert len(asked) > 20
    known = {name: admitted_by(whole, corpus, name) for name in CATEGORIES}
    changed = {name for name, videos in foretold.items() if videos != known[name.partition("/")[0]]}
    assert len(changed) > 5, "the thresholds make no difference"
    with pytest.raises(ValueError, match="no video is fit for"):  # all gates are asked, and nothing is drawn
        make_at(tmp_path / "other", corpus, {**asked, "none": NOBODY})
    assert {name: admitted_by(tmp_path / "other", corpus, name) for name in asked} == foretold


def test_several_thresholds_at_once(whole: Path, corpus: Corpus, tmp_path: Path) -> None:
    """The cues of a change are alternatives: that one fails does not matter where another is enough."""
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
    found = {c for c, fit in zip(category.contents, category.admitted(wanted), strict=True) if fit}
    assert found == admitted_by(tmp_path / "other", corpus, "noise")
    with pytest.raises(ValueError, match=r"has no threshold 'limits.pictur'; did you mean 'limits.picture'"):
        category.admitted({"limits.pictur": 1.0})


def test_a_task_may_ask_some_videos_more_than_others(corpus: Corpus, tmp_path: Path) -> None:
    """Of two measures by one name the worse counts; what was not measured of a video does not hold it back."""
    alike = [Measure("alike", value, 2, setting="least") for value in (3, 1, 5)]
    asked = [
        [*alike[:2], Measure("dark", math.inf, 1)],
        [alike[2], Measure("dull", 1, 1)],
        [alike[2], Measure("dull", 0, 1)],
    ]
    rows = [row for video, of in zip(corpus.videos, asked, strict=False) for row in gate_table.rows(video, {"odd": of})]
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


def test_parts_of_a_dataset_without_values_are_refused_before_anything(
    made: Corpus, make: Make, tmp_path: Path
) -> None:
    make("whole", made, {"jigsaw": ({"task": "jigsaw", "config": {"frames": SLOTS, "pieces": 3}}, 12)})
    (tmp_path / "whole" / gate_table.NAME).unlink()
    with pytest.raises(FileNotFoundError, match=r"whole has no gates\.parquet"):
        split(tmp_path / "whole", (tmp_path / "one", tmp_path / "two"), 6)
    with pytest.raises(FileNotFoundError, match=r"whole has no gates\.parquet"):
        merge([tmp_path / "whole", tmp_path / "whole"], tmp_path / "both")
    assert not any((tmp_path / name).exists() for name in ("one", "two", "both"))


def test_only_values_that_a_recipe_may_set_are_tried(made: Corpus, make: Make, run: Run, tmp_path: Path) -> None:
    make(
        "whole",
        made,
        {"jigsaw": ({"task": "jigsaw", "config": {"frames": SLOTS, "pieces": 3, "limits": {"cut": 0.9}}}, 2)},
    )
    dataset = tmp_path / "whole"
    _, out, _ = run("dataset", "info", str(dataset), "--gates", "--json")
    (category,) = json.loads(out)
    assert category["admitted_at"]["limits.cut"].keys() == {"0.45", "0.675", "0.9"}, "it is a share"
    for setting, tried in category["admitted_at"].items():
        for value in tried:
            recipe.load_recipe(str(dataset / "config.toml"), {f"categories.jigsaw.config.{setting}": value})
    status, _, err = run("dataset", "info", str(dataset), "--gates", "--categories.jigsaw.config.difference=-3")
    assert status == 2
    assert f"{dataset / 'config.toml'}: categories.jigsaw.config: difference" in err


def test_parts_keep_the_values_of_the_videos_that_they_show(made: Corpus, make: Make, tmp_path: Path) -> None:
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


def test_the_table_is_small(whole: Path) -> None:
    """Words and hashes are stored once a row group; what is left is about a number a row."""
    with pq.ParquetFile(whole / gate_table.NAME) as file:
        for at in range(file.metadata.num_columns):
            chunk = file.metadata.row_group(0).column(at)
            assert (
                chunk.path_in_schema == "passed"
                or "RLE_DICTIONARY" in chunk.encodings
                or chunk.physical_type == "BOOLEAN"
            )


def test_the_command_prints_values_and_what_other_thresholds_admit(whole: Path, run: Run) -> None:
    categories = thresholds.read(whole)
    change = "categories.mirror.config.limits.picture=7"
    status, out, _ = run("dataset", "info", str(whole), "--gates", f"--{change}")
    admitted, then = (int(categories["mirror"].admitted(at).sum()) for at in ({}, {"limits.picture": 7.0}))
    assert status == 0
    assert f"mirror: {admitted} of {VIDEOS} videos admitted; {then} with limits.picture = 7" in out
    assert "hidden_picture" in out
    assert f"limits.cut: admits {categories['mirror'].admitted({'limits.cut': 4.0}).sum()} at 4, " in out
    status, out, _ = run("dataset", "info", str(whole), "--gates", "--json", f"--{change}")
    (facts,) = [category for category in json.loads(out) if category["category"] == "mirror"]
    assert (facts["videos"], facts["admitted"], facts["would_admit"]) == (VIDEOS, admitted, then)
    (cut,) = [line for line in facts["gates"] if line["gate"] == "hard_cut"]
    assert (cut["setting"], cut["least"], cut["threshold"], cut["videos"]) == ("limits.cut", False, 8.0, VIDEOS)
    assert cut["passed"] == VIDEOS - 1
    assert cut["quantiles"]["1"] > 8
    (picture,) = [line for line in facts["gates"] if line["setting"] == "limits.picture"]
    (line,) = [line for line in categories["mirror"].lines if line.setting == "limits.picture"]
    assert (picture["threshold"], picture["passed"]) == (7.0, int((line.values >= 7).sum()))


def test_gates_of_which_one_is_enough_are_joined_by_or(whole: Path, run: Run) -> None:
    _, out, _ = run("dataset", "info", str(whole), "--gates")
    names = [line.strip().split("  ")[0] for line in out.splitlines()]
    assert "hidden_picture" in names
    assert "or hidden_palette" in names
    assert "or hidden_texture" in names
    assert "or hidden_picture" not in names
    assert "or hard_cut" not in names


@pytest.mark.parametrize(
    ("words", "said"),
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
def test_what_is_no_threshold_is_refused(whole: Path, run: Run, words: tuple[str, ...], said: str) -> None:
    status, _, err = run("dataset", "info", str(whole), *words)
    assert status == 2
    assert said in err


def test_a_folder_without_values_is_named(run: Run, tmp_path: Path) -> None:
    status, _, err = run("dataset", "info", str(tmp_path), "--gates")
    assert status == 2
    assert "has no gates.parquet" in err


def test_validate_draws_them(made: Corpus, make: Make, run: Run, tmp_path: Path) -> None:
    make("dataset", made, {"jigsaw": ({"task": "jigsaw", "config": {"frames": SLOTS, "pieces": 3}}, 2)})
    dataset, drawn = str(tmp_path / "dataset"), tmp_path / "gates.png"
    assert run("validate", dataset, "--renders", "0", "--plot", str(drawn))[0] == 0
    picture = cv2.imread(str(drawn))
    assert picture is not None
    blue = np.abs(picture.astype(int) - [178, 111, 31]).max(axis=2) < 40
    assert blue.sum() > 100, "no dots of admitted videos"
    assert run("validate", dataset, "--renders", "0", "--plot", str(tmp_path / "gates.svg"))[0] == 0
    assert (tmp_path / "gates.svg").read_text("utf-8").startswith("<?xml")
    status, _, err = run("validate", dataset, "--renders", "0", "--plot", "gates.odd")
    assert status == 2
    assert "gates.odd: no kind of picture" in err
