"""Reading the files of a training run: complete, unfinished, killed in the middle of a line, or damaged."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.helpers.training_runs import step_of, write_run
from videossr.storage.jsonl import json_line
from videossr.training.runs.records import (
    CONFIG,
    FAILURES,
    MANIFEST,
    SAMPLES,
    STEPS,
    Failure,
    ShownSample,
    is_training,
    read_train_run,
)

CATEGORIES = ("grounding/mirror", "jigsaw/6")


def to_line(record: object) -> str:
    """Return a line of a file, with its end."""
    return json_line(record) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", [step_of(number, CATEGORIES) for number in range(1, 6)])
    return tmp_path / "run"


def test_is_training_tells_a_run_from_other_folders(folder: Path, tmp_path: Path) -> None:
    assert is_training(folder)
    (folder / MANIFEST).unlink()
    assert is_training(str(folder))
    assert read_train_run(folder).manifest is None
    (tmp_path / CONFIG).write_text('model = "chance"\n')
    for other in (tmp_path, tmp_path / "none", tmp_path / CONFIG):
        assert not is_training(other)
    (folder / CONFIG).write_text("[run\n")
    assert not is_training(folder)


def test_read_train_run_skips_a_cut_off_line_and_takes_repeated_steps_once(folder: Path) -> None:
    with (folder / STEPS).open("a") as file:
        file.write(
            to_line(step_of(3, CATEGORIES, loss=9.0))
            + to_line(step_of(4, CATEGORIES))
            + to_line(step_of(5, CATEGORIES))[:40]
        )
    run = read_train_run(folder)
    assert [step.step for step in run.steps] == [1, 2, 3, 4]
    assert run.steps[2].loss == 9.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_read_train_run_keeps_values_that_are_not_finite(folder: Path, value: float) -> None:
    with (folder / STEPS).open("a") as file:
        file.write(to_line(step_of(6, CATEGORIES, loss=value)))
    assert str(read_train_run(folder).steps[-1].loss) == str(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (STEPS, "{}\n", r"steps\.jsonl:6: damaged: step "),
        (STEPS, "\x00\x00\n", r"steps\.jsonl:6: damaged"),
        (
            STEPS,
            '{"step":6,"batches":6,"epoch":1,"loss":"low","lr":1,"grad_norm":1,"changed":1}\n',
            r"steps\.jsonl:6: damaged: loss",
        ),
        (FAILURES, '{"step":1,"index":0}\n', r"failures\.jsonl:1: damaged: error"),
        (SAMPLES, "[]\n", r"samples\.jsonl:1: damaged"),
        (MANIFEST, "{", r"manifest\.json: damaged"),
        (CONFIG, "[run", r"config\.toml: not valid TOML"),
        (CONFIG, "[optim]\nspeed = 3\n", r"config\.toml: unknown key 'speed' in optim"),
    ],
)
def test_read_train_run_names_damaged_files_and_lines(folder: Path, name: str, text: str, message: str) -> None:
    if name in (MANIFEST, CONFIG):
        (folder / name).write_text(text)
    else:
        with (folder / name).open("a") as file:
            file.write(text)
    with pytest.raises(ValueError, match=message):
        read_train_run(folder)


def test_read_train_run_refuses_samples_with_missing_rewards(folder: Path) -> None:
    sample_line = to_line(ShownSample(1, 2, "c", "p", "g", ("a", "b"), (1.0, 0.0), (1.0, -1.0)))
    (folder / SAMPLES).write_text(sample_line + sample_line.replace('"rewards":[1.0,0.0]', '"rewards":[1.0]'))
    with pytest.raises(ValueError, match=r"samples\.jsonl:2: damaged: .*2 texts, 1 rewards"):
        read_train_run(folder)


def test_read_train_run_takes_repeated_failures_once(folder: Path) -> None:
    (folder / FAILURES).write_text(
        to_line(Failure(4, 1, "a")) + to_line(Failure(2, 1, "b")) + to_line(Failure(4, 1, "c"))
    )
    assert read_train_run(folder).failures == (Failure(2, 1, "b"), Failure(4, 1, "c"))


def test_read_train_run_refuses_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no run: make one with `videossr train"):
        read_train_run(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"is no run: there is no config\.toml in it; name the folder"):
        read_train_run(tmp_path)
