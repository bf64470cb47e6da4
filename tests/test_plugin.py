"""Plug-in tasks and perturbations: installed as users install them, found by name, and passing their own tests."""

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

EXAMPLES = Path(__file__).parents[1] / "examples"
TASK, PERTURBATION = EXAMPLES / "custom_task", EXAMPLES / "custom_perturbation"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the examples into a folder, and return environment variables with which Python finds them."""
    site = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(site), str(TASK), str(PERTURBATION)],
        dict(os.environ),
    )
    package = Path(videossr.__file__).parents[1]
    return {
        **os.environ,
        "SITE": str(site),
        "PYTHONPATH": os.pathsep.join([str(site), str(package), os.environ.get("PYTHONPATH", "")]),
    }


def run(command: list[str], environment: dict[str, str], status: int = 0) -> str:
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert completed.returncode == status, f"{completed.stdout}\n{completed.stderr}"
    return completed.stderr if status else completed.stdout


def videossr_command(environment: dict[str, str], *words: str, status: int = 0) -> str:
    return run([sys.executable, "-m", "videossr.cli", *words], environment, status)


@pytest.mark.parametrize("example", [TASK, PERTURBATION], ids=lambda example: example.name)
def test_examples_pass_their_own_tests_once_installed(example: Path, environment: dict[str, str]) -> None:
    tests = str(example / "tests")
    assert " passed" in run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", tests], environment)


def test_compute_score_of_a_plugin_imports_nothing_heavy(environment: dict[str, str]) -> None:
    code = (
        "import sys; from videossr.rewards import compute_score\n"
        "print(compute_score('videossr/tiles', '2134', '1234')['smooth'], 'numpy' in sys.modules)"
    )
    assert run([sys.executable, "-c", code], environment) == "0.5 False\n"


def test_tasks_registry_suggests_installed_plugin_tasks(environment: dict[str, str]) -> None:
    code = "from videossr.tasks.base import TASKS\ntry: TASKS.get('tile')\nexcept ValueError as error: print(error)"
    assert "did you mean 'tiles'?" in run([sys.executable, "-c", code], environment)


def test_interval_plugin_task_has_checks_baselines_and_report_panels(
    environment: dict[str, str], corpus: Corpus, tmp_path: Path
) -> None:
    """Metric, guesses, distribution checks, shortcuts and panels come with the line `answer_type = INTERVAL`."""

    def videossr(*words: str | Path) -> str:
        return run([sys.executable, "-c", "from videossr.cli import main; main()", *map(str, words)], environment)

    (tmp_path / "recipe.toml").write_text(
        'name = "scramble"\n[categories."scramble/4"]\ntask = "scramble"\ncount = 24\n'
        "config = { rows = 2, columns = 2, difference = 1.0 }\n"
    )
    dataset = tmp_path / "dataset"
    videossr("build", tmp_path / "recipe.toml", "--corpus", str(corpus.path), "--out", dataset, "--workers", "1")
    output = videossr("validate", dataset, "--renders", "3")
    assert "FAILS" not in output
    for check in (
        *("distribution of lengths", "distribution of positions", "best constant share"),
        *("duration tells the place", "duration tells the length", "borders change"),
    ):
        assert check in output
    for model in ("chance", "constant"):
        videossr("bench", "run", dataset, "--model", model, "--out", tmp_path / model)
    runs = [tmp_path / "chance", tmp_path / "constant"]
    (tmp_path / "score.json").write_text(videossr("report", *runs, "--format", "json"))
    (benchmark,) = json.loads((tmp_path / "score.json").read_text())["benchmarks"]
    assert benchmark["metrics"] == {"scramble/4": "miou"}
    expected_score = {row["name"]: row["overall"]["asked"]["value"] for row in benchmark["reference"]}
    distribution = SpanDistribution(48, uniform_spans(48, 8, 16))
    assert expected_score == {
        guess: pytest.approx(distribution.expected_score(guess).score) for guess in ("uniform", "prior", "constant")
    }
    for figures in benchmark["runs"]:
        (spans,) = figures["answers"].values()
        assert sum(spans["histogram"]) == 24
        assert spans["start"]["low"] <= spans["start"]["value"] <= spans["start"]["high"]
    videossr("report", *runs, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    section = page.partition('<section id="scramble0"')[2].partition("</section>")[0]
    assert "IoU of the spans in scramble/4" in section
    assert 'data-name="start, s"' in section
    card = page.partition('<article class="item" data-task="scramble"')[2].partition("</article>")[0]
    assert card.count('<i class="lane">') >= 2 * 48
    assert "marked" in card


def test_plugin_task_is_built_validated_and_shown_in_the_gallery(
    environment: dict[str, str], corpus: Corpus, tmp_path: Path
) -> None:
    dataset = str(tmp_path / "tiles")
    build = ["build", str(TASK / "tiles.toml"), "--limit", "6", "--corpus", str(corpus.path), "--out", dataset]
    videossr_command(environment, *build, "--workers", "1")
    assert "FAILS" not in videossr_command(environment, "validate", dataset)
    videossr_command(environment, "gallery", dataset, "--out", str(tmp_path / "tiles.html"))
    assert "Every frame of this video was cut into" in (tmp_path / "tiles.html").read_text("utf-8")
    manifest = json.loads((tmp_path / "tiles" / "manifest.json").read_text("utf-8"))
    assert manifest["samples"] == 6
    assert "videossr-tiles" in manifest["versions"]


def test_plugin_perturbations_are_built_validated_and_shown_in_the_gallery(
    environment: dict[str, str], corpus: Corpus, tmp_path: Path
) -> None:
    dataset, page = str(tmp_path / "backwards"), tmp_path / "backwards.html"
    build = ["build", str(PERTURBATION / "recipe.toml"), "--limit", "8", "--corpus", str(corpus.path), "--out", dataset]
    videossr_command(environment, *build, "--workers", "1")
    output = videossr_command(environment, "validate", dataset)
    assert "FAILS" not in output
    for check in ("ends are seen", "borders change", "renders repeat"):
        assert check in output
    videossr_command(environment, "gallery", dataset, "--out", str(page))
    for words in ("the scene runs backwards in time", "the picture is made of coarse square blocks"):
        assert words in page.read_text("utf-8")
    manifest = json.loads((tmp_path / "backwards" / "manifest.json").read_text("utf-8"))
    assert manifest["categories"].keys() == {"grounding/reverse", "grounding/pixelate"}
    assert {"videossr-reverse", "perturbation reverse", "perturbation pixelate"} <= manifest["versions"].keys()
    assert manifest["recipe"]["categories"]["grounding/pixelate"]["config"]["settings"] == {"least": 12, "most": 16}

    module = Path(environment["SITE"]) / "videossr_reverse" / "reverse.py"
    text = module.read_text("utf-8")
    module.write_text(f"{text}# mended\n", "utf-8")
    error = videossr_command(environment, *build, status=2)
    module.write_text(text, "utf-8")
    assert "the code of perturbation reverse (its file" in " ".join(error.split())
    assert "perturbation pixelate" not in error

    without = {**environment, "PYTHONPATH": environment["PYTHONPATH"].partition(os.pathsep)[2]}
    unknown_error = videossr_command(without, "validate", dataset, status=2)
    assert "there is no perturbation 'reverse'" in " ".join(unknown_error.split())
