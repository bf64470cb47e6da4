"""The wheel as a user installs it, into an empty environment: small, complete, and quick to import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "videossr"


def run(*command: str | Path) -> str:
    """Run a command outside the source tree, and without variables that lead Python to it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    completed = subprocess.run(
        [str(part) for part in command], cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, f"{completed.stdout}\n{completed.stderr}"
    return completed.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel and what it asks for, nothing else."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    # The versions of the lock: pip would take a hash as an order to check those of all packages, the wheel's too.
    lock = (ROOT / "requirements" / "dev.lock").read_text("utf-8").splitlines()
    versions = home / "constraints.txt"
    versions.write_text("\n".join(line.removesuffix("\\") for line in lock if re.match(r"\w.*==", line)), "utf-8")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", versions, wheel)
    assert Path(run(python, "-c", "import videossr; print(videossr.__file__)")).is_relative_to(home)
    return python


def test_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        str(path.relative_to(PACKAGE.parent))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in packed if name.startswith("videossr/")} == sources
    assert {"videossr/py.typed", "videossr/prompts.toml", "videossr/report/static/gallery.html.jinja"} <= packed
    assert any(name.startswith("videossr/recipes/") and name.endswith(".toml") for name in packed)


def test_installing_the_wheel_installs_no_torch(python: Path) -> None:
    installed = {line.split("==")[0].lower() for line in run(python, "-m", "pip", "freeze", "--all").splitlines()}
    assert {"av", "numpy", "pyarrow"} <= installed
    assert not installed & {"torch", "torchvision", "transformers", "ray", "verl", "openai", "datasets"}


def test_importing_the_installed_package_imports_nothing_heavy(python: Path) -> None:
    code = "import sys, videossr; print({'torch', 'numpy', 'cv2', 'av', 'pyarrow', 'pydantic'} & set(sys.modules))"
    assert run(python, "-c", code) == "set()\n"


def test_installed_package_has_every_public_name(python: Path) -> None:
    """Some need torch, which the wheel does not install, and say what to install."""
    code = """
import videossr
for name in videossr.__all__:
    try:
        getattr(videossr, name)
    except videossr.VideoSSRError as error:
        print(type(error).__name__, error)
"""
    collator, training = sorted(run(python, "-c", code).splitlines(), key=len)
    assert collator.startswith("MissingExtraError videossr.QwenCollator: No module named")
    assert collator.endswith(": pip install 'videossr[hf]'")
    assert training.startswith("MissingExtraError training needs more libraries: pip install 'videossr[train]'")


@pytest.mark.parametrize("verb", ["", "index", "build", "validate", "gallery"])
def test_installed_command_prints_help(python: Path, verb: str) -> None:
    assert f"Usage: videossr {verb}".rstrip() in run(python.with_name("videossr"), *verb.split(), "--help")


def test_installed_package_has_every_recipe(python: Path) -> None:
    code = (
        "from videossr.builder.recipe import load_recipe, recipe_names; print(*recipe_names());"
        "[load_recipe(name) for name in recipe_names()]"
    )
    assert set(run(python, "-c", code).split()) == {path.stem for path in (PACKAGE / "recipes").glob("*.toml")}
