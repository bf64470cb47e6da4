"""The check that every test module is collected, and what a run of the tests says about those that were skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_modules_in_any_folder_are_collected(tmp_path: Path) -> None:
    for name in ("build/test_one.py", "dist/test_two.py", "venv/test_three.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("def test_it():\n    pass\n")
    done = run("tests.helpers.collected", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["", "def tset_it():\n    pass\n", "class Cases:\n    def test_it(self):\n        pass\n"]
)
def test_a_module_without_a_test_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "test_whole.py").write_text("def test_it():\n    pass\n")
    (tmp_path / "test_bare.py").write_text(text)
    done = run("tests.helpers.collected", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"{tmp_path / 'test_bare.py'}: pytest collects no test of it"]


def test_a_module_that_cannot_be_imported_is_shown(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text("import nothing_of_that_name\n")
    done = run("tests.helpers.collected", str(tmp_path))
    assert done.returncode == 1
    assert "nothing_of_that_name" in done.stderr


def test_too_many_tests_for_the_shared_videos_are_noticed(tmp_path: Path) -> None:
    texts = [f"def test_{number}(shared_videos):\n    pass\n" for number in range(2)]
    texts += [f"def test_plain_{number}():\n    pass\n" for number in range(8)]
    (tmp_path / "test_some.py").write_text("".join(texts))
    done = run("tests.helpers.collected", str(tmp_path))
    assert done.returncode == 1
    assert "2 of 10 tests need the shared videos; at most 15% may" in done.stderr


@pytest.mark.slow
def test_a_run_says_how_many_tests_were_skipped_and_why(tmp_path: Path) -> None:
    """Here those that need a folder which is not there; the same test with the videos that are made runs."""
    words = ["pytest", "-p", "no:cacheprovider", "tests/video/test_decoding.py", "-k", "short_clips or no_video"]
    done = run(*words, VIDEOSSR_TEST_VIDEOS=str(tmp_path / "nowhere"))
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if "skipped tests" in line)
    assert lines[place + 1] == "2 of 4 tests were skipped (50.0%):"
    assert lines[place + 2].startswith("      2  needs the shared videos: ")


def test_a_fixture_that_outlives_its_test_makes_it_slow() -> None:
    """The tests of a dataset share one; those of the clock, which make what they need, share nothing."""
    words = ["pytest", "-p", "no:cacheprovider", "--collect-only", "-m", "not slow", "tests/test_clock.py"]
    every = run(*words[:-3], words[-1])
    fast = run(*words, "tests/dataset/test_dataset.py")
    assert every.returncode == fast.returncode == 0
    found = [line for line in fast.stdout.splitlines() if "::" in line]
    assert found
    assert found == [line for line in every.stdout.splitlines() if "::" in line]
