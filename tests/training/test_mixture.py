"""Training on several sets: a built dataset beside labelled rows about a real clip, each with its share."""

from __future__ import annotations

import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.training import CATEGORIES, RecordingObserver
from tests.training.test_session import Make, StopAt, StoppedError, comparable_steps, have_equal_weights
from videossr.cli.train_table import _line, _table
from videossr.dataset.published.shown import VideoSettings
from videossr.errors import ConfigError, DataError, VideoSSRError
from videossr.question_set import open_questions
from videossr.report.training.page import write_training
from videossr.report.training.verdict import constant_of
from videossr.training.config import TrainConfig
from videossr.training.mixture import Mixture, open_data
from videossr.training.runs.records import read_train_run
from videossr.training.session import train

SMALL = VideoSettings(max_frames=8, max_pixels=4096)
"""Frames of rows, as few and as small as those of the dataset."""


def choice_rows(count: int = 4) -> list[dict[str, Any]]:
    return [
        {"video": "bikes.mp4", "prompt": f"Who is in picture {k}?\nA. a man\nB. a dog", "answer": "AB"[k % 2]}
        for k in range(count)
    ]


@pytest.fixture
def rows(videos: Path, tmp_path: Path) -> Path:
    """Four questions with two options about a real clip, without an answer type; the clip lies beside them."""
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copyfile(videos / "real/bikes.mp4", folder / "bikes.mp4")
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, choice_rows())))
    return folder / "rows.jsonl"


@pytest.fixture
def mixed(config: Make, small: Path, rows: Path) -> Make:
    """Make the configuration of a run on the dataset and on the rows, twice as many of the dataset."""

    def make_config(**changed: Any) -> TrainConfig:
        sets = {
            "data.path": "",
            "data.sets.ours": f'{{path = "{small / "data"}", weight = 2}}',
            "data.sets.mine": f'{{path = "{rows}", source = "videossr/choice", video = {{max_frames = 8, '
            "max_pixels = 4096}}",
        }
        return config(**{"run.steps": 4, **sets, **changed})

    return make_config


def test_train_on_a_dataset_and_choice_rows_reports_each_set(
    mixed: Make, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = RecordingObserver()
    run = train(mixed(), tmp_path / "run", observer=observer)
    assert "questions a pass, by set: mine 4 (of 4), ours 9 (of 9)" in observer.messages
    assert run.manifest is not None
    assert run.manifest.describe["full forward passes"] == "none: prefixes are shared"
    assert run.manifest.questions.split(", ")[0] == str(rows)
    for step in run.steps:
        assert step.all is not None
        assert {name: means.groups for name, means in step.sets.items()} == {"mine": 1, "ours": 2}
        assert step.categories["choice"].groups == 1
        assert set(step.categories) <= {*CATEGORIES, "choice"}
        assert step.gap is not None
        assert step.gap < 1e-4
        line = _line(step, 4)
        assert f"(mine {step.sets['mine'].smooth:.3f}, ours {step.sets['ours'].smooth:.3f})" in line
    assert [column.header for column in _table(list(run.steps)).columns][2:4] == ["mine", "ours"]
    shown = {sample.category for sample in run.shown}
    assert "choice" in shown
    assert "looks only below the current folder" in constant_of(run).missing
    monkeypatch.chdir(tmp_path.parent)  # where the dataset is too
    constant = constant_of(run)
    assert not constant.missing
    assert constant.rewards["choice"] == 0.5
    write_training([run], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert 'data-kind="sets" data-row="mine"' in page
    assert "Sets, tasks and categories" in page
    assert "set mine" in page


def test_a_run_on_a_mixture_resumes_exactly(mixed: Make, tmp_path: Path) -> None:
    whole = train(mixed(), tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(mixed(), tmp_path / "stopped", observer=StopAt(3))
    resumed = train(mixed(), tmp_path / "stopped")
    assert comparable_steps(resumed) == comparable_steps(whole)
    assert have_equal_weights(tmp_path / "whole", tmp_path / "stopped")
    with pytest.raises(VideoSSRError, match=r"data.sets.ours.weight is 2.0 there, 3 now|weight"):
        train(mixed(**{"data.sets.ours.weight": 3}), tmp_path / "stopped")


def test_the_sets_of_a_run_may_move(mixed: Make, rows: Path, tmp_path: Path) -> None:
    done = train(mixed(**{"run.steps": 1}), tmp_path / "run")
    shutil.move(rows.parent, tmp_path / "elsewhere")
    moved = mixed(**{"run.steps": 2, "data.sets.mine.path": f'"{tmp_path / "elsewhere/rows.jsonl"}"'})
    assert len(train(moved, tmp_path / "run").steps) == 2
    assert len(done.steps) == 1


def test_train_on_rows_alone_with_a_bad_one_names_it_and_goes_on(config: Make, rows: Path, tmp_path: Path) -> None:
    bad = [{**choice_rows()[0], "answer": None}, {**choice_rows()[0], "video": "lost.mp4"}]
    rows.write_text("\n".join(map(json.dumps, [*choice_rows(), *bad])))
    observer = RecordingObserver()
    settings = {
        "data.path": f'"{rows}"',
        "data.source": '"videossr/choice"',
        "data.video": "{max_frames = 8, max_pixels = 4096}",
        "run.batch": 6,
        "run.epochs": 1,
    }
    run = train(config(**settings), tmp_path / "run", observer=observer)
    place = observer.messages.index("questions that cannot be asked and are left out: 1")
    assert observer.messages[place + 1].startswith(f"{rows}, line 5: there is no answer")
    (step,) = run.steps
    assert observer.messages[place - 1].startswith("5 of 6 questions, 1 steps")
    assert step.failed == 1
    assert step.sets == {}
    assert step.all is not None
    assert step.all.groups == 4
    (failure,) = run.failures
    assert f"{rows}, line 6: lost.mp4 does not exist" in failure.error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"answer": None, "answer_type": "choice"},
            "mine: not one of its questions can be asked: .*, line 1: there is no answer",
        ),
        ({"answer": "a man"}, "not one of its questions can be asked: .*line 1: gold answer 'a man' is not the letter"),
        ({"video": "lost.mp4"}, "data.sets.mine: not one of its first questions can be shown: .*line 1: lost.mp4"),
    ],
)
def test_a_set_that_is_wholly_unusable_is_refused_before_the_start(
    mixed: Make, rows: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    rows.write_text("\n".join(json.dumps({**row, **change}) for row in choice_rows()))
    with pytest.raises(DataError, match=message):
        train(mixed(), tmp_path / "run")
    assert not (tmp_path / "run/config.toml").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.path": "demo"}, "data.path is of one set, and there are data.sets"),
        ({"data.mix": "single"}, "data.mix=single fills a batch with one category"),
        ({"data.sets.ours.weight": 0}, "data.sets.ours.weight: .* greater than 0"),
        ({"data.sets.ours.wight": 1}, "unknown key 'wight' in data; did you mean 'weight'"),
        ({"data.sets.mine.path": '""'}, "data.sets.mine.path is not set"),
        ({"data.video": "{nframes = 3, fps = 2}"}, "nframes says how many slots"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(mixed: Make, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mixed(**changes)


def test_settings_that_no_set_can_follow_are_refused(mixed: Make, tmp_path: Path) -> None:
    for changes, message in (
        ({"data.categories": '["choice"]'}, "data.sets.ours: data.categories and data.share leave nothing of it"),
        ({"data.sets.ours.source": "videossr/choice"}, "records how it is scored: leave out --source"),
        ({"data.sets.ours.video": "{fps = 2}"}, "records its frames: leave out fps"),
    ):
        with pytest.raises(ConfigError, match=message):
            train(mixed(**changes), tmp_path / "run")


def test_a_mixture_is_a_question_set_of_its_parts(small: Path, rows: Path) -> None:
    ours = open_questions(small / "data")
    mine = open_questions(rows, source="videossr/choice", video=SMALL)
    mixture = Mixture({"ours": ours, "mine": mine})
    assert len(mixture) == len(ours) + len(mine)
    assert mixture.hash == Mixture({"mine": mine, "ours": ours}).hash
    assert mixture.hash != Mixture({"yours": mine, "ours": ours}).hash
    assert mixture.hash != Mixture({"mine": open_questions(rows, source="videossr/choice"), "ours": ours}).hash
    copied = pickle.loads(pickle.dumps(mixture))
    for index in range(len(mixture)):
        part, own = (mine, index) if index < len(mine) else (ours, index - len(mine))
        assert mixture.name(index) == ("mine" if part is mine else "ours")
        for method in ("question", "gold", "category", "source", "difficulty", "truth"):
            assert getattr(mixture, method)(index) == getattr(part, method)(own)
        assert copied.question(index) == part.question(own)
    assert mixture.clips(0)[0].frames.shape == (8, 32, 96, 3)
    with pytest.raises(IndexError):
        mixture.question(len(mixture))


def test_categories_that_several_sets_have_bear_the_name_of_their_set(small: Path, rows: Path) -> None:
    ours, mine = open_questions(small / "data"), open_questions(rows, source="videossr/choice")
    mixture = Mixture({"a": ours, "b": ours, "c": mine})
    names = Counter(mixture.category(index) for index in range(len(mixture)))
    known = Counter(ours.category(index) for index in range(len(ours)))
    assert names == {f"{name}/{category}": known[category] for name in "ab" for category in known} | {"choice": 4}


def test_rows_keep_the_frames_that_they_ask_for(rows: Path) -> None:
    own = {**choice_rows()[0], "nframes": 4, "answer_type": "choice"}
    sized = {**choice_rows()[0], "max_pixels": 16384, "min_pixels": 4096, "answer_type": "choice"}
    rows.write_text("\n".join(map(json.dumps, [own, sized, {**choice_rows()[0], "answer_type": "choice"}])))
    questions = open_questions(rows, video=SMALL)
    shapes = [questions.clips(index)[0].frames.shape for index in range(3)]
    assert shapes == [(4, 32, 96, 3), (8, 64, 192, 3), (8, 32, 96, 3)]


def test_a_report_does_not_follow_a_run_to_files_anywhere(mixed: Make, tmp_path: Path) -> None:
    settings = mixed(**{"data.sets.mine.anywhere": "true"}).data
    assert open_data(settings, trusted=True).sets["mine"].find._anywhere  # type: ignore[attr-defined]
    assert not open_data(settings, trusted=False).sets["mine"].find._anywhere  # type: ignore[attr-defined]


def test_train_needs_questions(config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.path is not set: give --data.path=FOLDER, or several"):
        train(config(data__path=""), tmp_path / "run")
    assert not read_or_none(tmp_path / "run")


def read_or_none(folder: Path) -> object:
    return read_train_run(folder) if folder.exists() else None
