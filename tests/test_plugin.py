"""A task that another package adds: installed as a user installs it, found by its name, and held to its own tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import videossr
from videossr.corpus.corpus import Corpus

EXAMPLE = Path(__file__).parents[1] / "examples" / "custom_task"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables under which Python finds the example, installed in a folder of its own, and the videossr under test."""
    site = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    run([sys.executable, "-m", "pip", "install", *options, "--target", str(site), str(EXAMPLE)], dict(os.environ))
    package = Path(videossr.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(package), os.environ.get("PYTHONPATH", "")])}


def run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_example_passes_its_own_tests_once_installed(environment: dict[str, str]) -> None:
    tests = str(EXAMPLE / "tests")
    assert " passed" in run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", tests], environment)


def test_scoring_imports_the_reward_and_nothing_heavy(environment: dict[str, str]) -> None:
    code = (
        "import sys; from videossr.rewards import compute_score\n"
        "print(compute_score('videossr/tiles', '2134', '1234')['smooth'], 'numpy' in sys.modules)"
    )
    assert run([sys.executable, "-c", code], environment) == "0.5 False\n"


def test_unknown_tasks_are_answered_with_the_installed_ones(environment: dict[str, str]) -> None:
    code = "from videossr.tasks.base import TASKS\ntry: TASKS.get('tile')\nexcept ValueError as error: print(error)"
    assert "did you mean 'tiles'?" in run([sys.executable, "-c", code], environment)


def test_its_samples_are_built_validated_and_shown(environment: dict[str, str], corpus: Corpus, tmp_path: Path) -> None:
    def videossr(*words: str) -> str:
        return run([sys.executable, "-c", "from videossr.cli import main; main()", *words], environment)

    dataset = str(tmp_path / "tiles")
    recipe = str(EXAMPLE / "tiles.toml")
    videossr("build", recipe, "--limit", "6", "--corpus", str(corpus.path), "--out", dataset, "--workers", "1")
    assert "FAILS" not in videossr("validate", dataset)
    videossr("gallery", dataset, "--out", str(tmp_path / "tiles.html"))
    assert "Every frame of this video was cut into" in (tmp_path / "tiles.html").read_text("utf-8")
    manifest = json.loads((tmp_path / "tiles" / "manifest.json").read_text("utf-8"))
    assert manifest["samples"] == 6
    assert "videossr-tiles" in manifest["versions"]
