"""`examples/paper`: both scripts run from videos to tables, with few clips, a tiny model and invented benchmarks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.helpers import clips, public
from tests.integration.conftest import MINUTES, ROOT
from videossr.bench.public.base import BENCHMARKS
from videossr.bench.records import CONFIG, MANIFEST, PREDICTIONS
from videossr.cli.bench.public import paper_names
from videossr.models.tiny import make_tiny

pytestmark = pytest.mark.integration

SCRIPTS = ROOT / "examples" / "paper"
CLIPS = 12
SETTINGS = {
    "PIXELS": "16384",
    "VIU_VIDEOS": "5",
    "TRAIN_SETTINGS": "--run.batch=2 --grpo.max_tokens=8 --log.samples_every=0",
    "CARDS": "1",
    "STEPS": "1",
    "FRAMES": "4,6",
    "BENCH_SETTINGS": "--max-tokens 8",
    "LIMIT": "2",
    "TASKS": "counting",
    "KINDS": "slow",
}

Script: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, with a space in its name, of clips, a tiny model and the paper's benchmarks with invented questions."""
    made = tmp_path_factory.mktemp("paper") / "a dry run"
    for seed in range(CLIPS):
        pictures = clips.pan(seed, 120, 160, 160, patches=10, step=0.15, light=clips.SUNSET)
        clips.write(made / "videos" / f"pan_{seed}.mp4", pictures)
    for name in paper_names():
        public.write(name, made / "benchmarks" / name)
    make_tiny(made / "tiny")
    return made


@pytest.fixture(scope="module")
def script(folder: Path) -> Script:
    """Run a script of the example: `script("run.sh", "index", LIMIT="1")`."""

    def run(name: str, *steps: str, **changes: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "VIDEOS": str(folder / "videos"),
            "BENCHMARKS": str(folder / "benchmarks"),
            "MODEL": str(folder / "tiny"),
            "WORK": str(folder / "work"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "300",  # or messages with the folder's long name are broken into lines
        }
        return subprocess.run(
            ["bash", str(SCRIPTS / name), *steps],
            env={**os.environ, **settings, **SETTINGS, **changes},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60 * MINUTES,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def run(script: Script) -> subprocess.CompletedProcess[str]:
    """The whole of `run.sh`, once."""
    return script("run.sh")


def rows(text: str, title: str) -> list[list[str]]:
    """Return the cells of a table of a Markdown report."""
    (part,) = (part for part in text.split("\n**") if part.startswith(f"{title}**"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")]


def asked(run: Path) -> int:
    """Return how many questions a run has, answered or failed."""
    assert (run / CONFIG).exists()
    assert (run / MANIFEST).exists()
    return len((run / PREDICTIONS).read_text("utf-8").splitlines())


def test_the_whole_run_leaves_every_output_and_goes_on_where_questions_fail(
    run: subprocess.CompletedProcess[str], folder: Path
) -> None:
    work = folder / "work"

    assert run.returncode == 1, run.stderr[-4000:]  # videos of the benchmarks are missing on purpose
    assert "done, but:" in run.stdout
    assert "some questions of paper failed" in run.stdout
    built = {name: json.loads((work / name / "manifest.json").read_text("utf-8")) for name in ("viubench", "dataset")}
    assert [built[name]["samples"] for name in built] == [18, 12]
    assert built["dataset"]["rejected"]["excluded: excluded_content"] == 5
    assert (work / "train" / "model" / "model.safetensors").exists()
    for model in ("base", "videossr"):
        assert asked(work / "viubench-runs" / model) == 18
        runs = {(path.parent.name, path.name): asked(path) for path in (work / "runs" / model).glob("*/*")}
        assert runs == {(name, frames): 2 for name in paper_names() for frames in ("4", "6")}
    for page in ("gallery.html", "train.html", "viubench.html", "paper.html"):
        assert (work / page).read_text("utf-8").rstrip().endswith("</html>")


def test_the_report_has_the_tables_with_gains_over_the_base(
    run: subprocess.CompletedProcess[str], folder: Path
) -> None:
    text = (folder / "work" / "paper.md").read_text("utf-8")

    assert text in run.stdout
    heads: list[str] = []
    for title in ("General and long video", "Grounding (mIoU) and reasoning"):
        head, _, *lines = rows(text, title)
        heads += head[2:]
        measured = [line for line in lines if line[1] in ("base", "videossr")]
        assert [line[:2] for line in measured] == [[f, m] for f in ("4", "6") for m in ("base", "videossr")]
        # VinoGround is scored by groups of questions, and of two questions none is a whole group.
        gains = [(name, cell) for line in measured[1::2] for name, cell in zip(head[2:], line[2:], strict=True)]
        assert all(re.search(r" [+-]\d+\.\d$", cell) or (name, cell) == ("Vino", "\u2013") for name, cell in gains)
        assert not any(re.search(r" [+-]\d+\.\d$", cell) for line in measured[::2] for cell in line[2:])
        assert {line[1] for line in lines if line not in measured} == {"Qwen3-VL-8B †", "VideoSSR-8B †"}
    assert heads == [BENCHMARKS.get(name).facts.column for name in paper_names()]


def test_steps_that_are_complete_are_left_as_they_are(
    run: subprocess.CompletedProcess[str], script: Script, folder: Path
) -> None:
    kept = {path: path.stat().st_mtime_ns for path in (folder / "work").rglob("manifest.json")}
    again = script("run.sh", "index", "build", "train")

    assert again.returncode == 0, again.stderr[-4000:]
    assert again.stdout.count("was complete already") == 2
    assert "is complete: nothing is left to do" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_the_ablations_end_with_the_papers_table(
    run: subprocess.CompletedProcess[str], script: Script, folder: Path
) -> None:
    done = script("ablations.sh")

    assert done.returncode == 1, done.stderr[-4000:]
    lines = rows((folder / "work" / "ablations.md").read_text("utf-8"), "Ablations")[2:]
    at_four = [line[1] for line in lines if line[0] == "4"]
    trained = ["all-strict", "counting-smooth", "counting-strict", "only-slow"]
    assert at_four == ["base", "videossr", *trained]
    assert "| 32 | all, smooth (VideoSSR-8B) †" in done.stdout
    assert "MVB" not in done.stdout.split("**Ablations**")[1]
    rewards = {name: (folder / "work/ablations/train" / name / CONFIG).read_text("utf-8") for name in trained}
    assert {name for name, text in rewards.items() if 'reward = "strict"' in text} == {"all-strict", "counting-strict"}


def test_a_benchmark_of_which_nothing_is_answered_stops_the_script(script: Script, folder: Path) -> None:
    for name in ("empty", "stopped"):
        (folder / name).mkdir()
    public.write("charades", folder / "empty" / "charades")
    for video in (folder / "empty").rglob("*.mp4"):
        video.unlink()

    done = script(
        "run.sh",
        *("public", "report"),
        BENCHMARKS=str(folder / "empty"),
        BENCHES="charades",
        MODELS="base",
        WORK=str(folder / "stopped"),
    )

    assert done.returncode == 2
    assert "no question was answered" in done.stderr
    assert "  public\n" in done.stdout
    assert "  report\n" not in done.stdout


@pytest.mark.parametrize(
    ("name", "steps", "changes", "message"),
    [
        ("run.sh", ["tarin"], {}, "tarin: the steps are check index build"),
        ("run.sh", [], {"VIDEOS": ""}, "VIDEOS is not set"),
        ("run.sh", ["public"], {"BENCHMARKS": ""}, "BENCHMARKS is not set"),
        ("ablations.sh", [], {"WORK": "nowhere"}, "run run.sh first"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_done(
    script: Script, folder: Path, name: str, steps: list[str], changes: dict[str, str], message: str
) -> None:
    done = script(name, *steps, **changes)

    assert done.returncode == 2
    assert message in done.stderr
    assert not done.stdout
