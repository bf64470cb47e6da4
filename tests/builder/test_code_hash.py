"""The hash of a task's code: it covers every module that the task imports, and a change asks for a rebuild."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import videossr
from tests.helpers.building import SLOTS
from tests.helpers.plugins import write_entry_points
from videossr.builder.code_hash import code_hash, code_versions
from videossr.corpus.corpus import Corpus
from videossr.tasks.base import TASKS
from videossr.tasks.counting import Counting
from videossr.tasks.jigsaw import Jigsaw

EXAMPLE = Path(__file__).parents[2] / "examples/custom_task/src/videossr_tiles"

RECIPE = f"""
name = "tiles"
[categories.tiles]
task = "tiles"
count = 3
config = {{ frames = {SLOTS}, difference = 1 }}
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a task that uses some of its modules by an absolute, a relative and a late import."""
    folder = tmp_path / "site/mended"
    (folder / "inner").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "task.py": "import numpy\nfrom mended.draw import draw\n\n\nclass Mended:\n    name = 'mended'\n",
        "draw.py": "from .inner import shapes\n\n\ndef draw():\n    import mended.late\n",
        "inner/__init__.py": "",
        "inner/shapes.py": "SIDES = 3\n",
        "late.py": "",
        "unused.py": "",
    }.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "site")
    for name in ("mended", "mended.task", "mended.draw", "mended.inner", "mended.inner.shapes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def test_code_hash_covers_every_module_that_a_task_imports(package: Path) -> None:
    from mended.task import Mended  # type: ignore[import-not-found]

    original = code_hash(Mended)
    assert code_hash(Mended) == original
    for name in ("task.py", "draw.py", "inner/shapes.py", "late.py", "inner/__init__.py"):
        text = (package / name).read_text()
        (package / name).write_text(f"{text}# mended\n")
        assert code_hash(Mended) != original, name
        (package / name).write_text(text)
        assert code_hash(Mended) == original
    (package / "unused.py").write_text("# mended\n")
    assert code_hash(Mended) == original
    moved = package.parents[1] / "elsewhere"
    shutil.move(package.parent, moved)
    code = f"import sys; sys.path.insert(0, {str(moved)!r}); from mended.task import Mended\n"
    code += "from videossr.builder.code_hash import code_hash; print(code_hash(Mended))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == original


def test_code_hash_differs_between_the_shipped_tasks() -> None:
    assert code_hash(Jigsaw) != code_hash(Counting)
    assert code_versions(["jigsaw", "jigsaw"]) == {"task jigsaw": code_hash(TASKS.get("jigsaw"))[:16]}


@pytest.mark.slow
def test_build_command_refuses_a_dataset_of_a_changed_plugin_until_rebuild(made: Corpus, tmp_path: Path) -> None:
    """The code of the plug-in changes under the same version."""
    site = tmp_path / "site"
    shutil.copytree(EXAMPLE, site / "videossr_tiles")
    write_entry_points(site, "videossr-tiles", "[videossr.tasks]\ntiles = videossr_tiles.task:Tiles\n")
    (tmp_path / "tiles.toml").write_text(RECIPE)
    paths = [str(site), str(Path(videossr.__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "300"}

    def build(*options: str) -> subprocess.CompletedProcess[str]:
        arguments = ["build", "tiles.toml", "--corpus", str(made.path), "--out", "tiles", "--workers", "1", *options]
        command = [sys.executable, "-m", "videossr.cli", *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    first = build()
    assert first.returncode == 0, first.stderr
    assert "complete already" not in first.stdout
    manifest = (tmp_path / "tiles/manifest.json").read_text()
    second = build()
    assert second.returncode == 0, second.stderr
    assert "tiles was complete already" in second.stdout

    task = site / "videossr_tiles/task.py"
    task.write_text(task.read_text().replace("changed places, alike", "moved about, alike"))
    refused = build()
    assert refused.returncode == 2
    version = json.loads(manifest)["versions"]["task tiles"]
    assert (
        "made otherwise: the code of task tiles (its file, or a module of its package that it imports) has changed. "
        in refused.stderr
    )
    assert version not in refused.stderr
    assert "--rebuild" in refused.stderr
    assert (tmp_path / "tiles/manifest.json").read_text() == manifest

    rebuilt = build("--rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "complete already" not in rebuilt.stdout
    rebuilt_manifest = json.loads((tmp_path / "tiles/manifest.json").read_text())
    assert rebuilt_manifest["versions"]["task tiles"] != version
    assert rebuilt_manifest["hash"] != json.loads(manifest)["hash"]
    assert "complete already" in build("--rebuild").stdout
