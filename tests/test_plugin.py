"""A task that another package adds: installed as a user installs it, found by its name, and held to its own tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import videossr
from videossr.answers.interval import SpanDistribution, uniform_spans
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


def test_an_interval_task_has_all_that_intervals_have(
    environment: dict[str, str], corpus: Corpus, tmp_path: Path
) -> None:
    """Metric, chance, tests of the distribution, shortcuts and panels come with the line `answer_type = INTERVAL`."""

    def videossr(*words: str | Path) -> str:
        return run([sys.executable, "-c", "from videossr.cli import main; main()", *map(str, words)], environment)

    (tmp_path / "recipe.toml").write_text(
        'name = "scramble"\n[categories."scramble/4"]\ntask = "scramble"\ncount = 24\n'
        "config = { rows = 2, columns = 2, difference = 1.0 }\n"
    )
    dataset = tmp_path / "dataset"
    videossr("build", tmp_path / "recipe.toml", "--corpus", str(corpus.path), "--out", dataset, "--workers", "1")
    told = videossr("validate", dataset, "--renders", "3")
    assert "FAILS" not in told
    for check in (
        *("law of lengths", "law of positions", "best constant share"),
        *("duration tells the place", "duration tells the length", "borders change"),
    ):
        assert check in told
    for model in ("chance", "constant"):
        videossr("bench", "run", dataset, "--model", model, "--out", tmp_path / model)
    runs = [tmp_path / "chance", tmp_path / "constant"]
    (tmp_path / "score.json").write_text(videossr("report", *runs, "--format", "json"))
    (benchmark,) = json.loads((tmp_path / "score.json").read_text())["benchmarks"]
    assert benchmark["metrics"] == {"scramble/4": "miou"}
    worth = {row["name"]: row["overall"]["asked"]["value"] for row in benchmark["reference"]}
    law = SpanDistribution(48, uniform_spans(48, 8, 16))
    assert worth == {guess: pytest.approx(law.worth(guess).score) for guess in ("uniform", "law", "constant")}
    for figures in benchmark["runs"]:
        (found,) = figures["answers"].values()
        assert sum(found["histogram"]) == 24
        assert found["start"]["low"] <= found["start"]["value"] <= found["start"]["high"]
    videossr("report", *runs, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    section = page.partition('<section id="scramble0"')[2].partition("</section>")[0]
    assert "IoU of the spans in scramble/4" in section
    assert 'data-name="start, s"' in section
    card = page.partition('<article class="item" data-task="scramble"')[2].partition("</article>")[0]
    assert card.count('<i class="lane">') >= 2 * 48
    assert "marked" in card


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
