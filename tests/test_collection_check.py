"""The check that every test module is collected, the summary of skipped tests, and the marker `slow`."""

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
def test_collection_check_passes_modules_in_any_folder(tmp_path: Path) -> None:
    for name in ("build/test_one.py", "dist/test_two.py", "venv/test_three.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("def test_it():\n    pass\n")
    completed = run("tests.helpers.collection_check", str(tmp_path))
    assert (completed.returncode, completed.stderr) == (0, "")


@pytest.mark.slow
def test_collection_check_names_modules_without_a_test(tmp_path: Path) -> None:
    (tmp_path / "test_whole.py").write_text("def test_it():\n    pass\n")
    bare = ["", "def tset_it():\n    pass\n", "class Cases:\n    def test_it(self):\n        pass\n"]
    for number, text in enumerate(bare):
        (tmp_path / f"test_bare_{number}.py").write_text(text)
    completed = run("tests.helpers.collection_check", str(tmp_path))
    assert completed.returncode == 1
    assert completed.stderr.splitlines() == [
        f"{tmp_path / f'test_bare_{number}.py'}: pytest collects no test of it" for number in range(len(bare))
    ]


def test_collection_check_shows_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text("import nothing_of_that_name\n")
    completed = run("tests.helpers.collection_check", str(tmp_path))
    assert completed.returncode == 1
    assert "nothing_of_that_name" in completed.stderr


def test_collection_check_limits_the_tests_that_need_the_shared_videos(tmp_path: Path) -> None:
    texts = [f"def test_{number}(shared_videos):\n    pass\n" for number in range(2)]
    texts += [f"def test_plain_{number}():\n    pass\n" for number in range(8)]
    (tmp_path / "test_some.py").write_text("".join(texts))
    completed = run("tests.helpers.collection_check", str(tmp_path))
    assert completed.returncode == 1
    assert "2 of 10 tests need the shared videos; at most 15% may" in completed.stderr


@pytest.mark.slow
def test_summary_of_a_pytest_run_counts_skipped_tests_by_reason(tmp_path: Path) -> None:
    """Tests that need the missing folder are skipped; the same tests run with the generated videos."""
    words = ["pytest", "-p", "no:cacheprovider", "tests/video/test_decoding.py", "-k", "short_clips or no_video"]
    completed = run(*words, VIDEOSSR_TEST_VIDEOS=str(tmp_path / "nowhere"))
    assert completed.returncode == 0, completed.stdout
    lines = completed.stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if "skipped tests" in line)
    assert lines[place + 1] == "2 of 4 tests were skipped (50.0%):"
    assert lines[place + 2].startswith("      2  needs the shared videos: ")


@pytest.mark.slow
def test_shared_fixtures_mark_their_tests_as_slow() -> None:
    """The tests of datasets share a fixture, and are slow; the tests of the clock share none, and are not."""
    words = ["pytest", "-p", "no:cacheprovider", "--collect-only", "-o", "addopts=-q --import-mode=importlib"]
    all_collected = run(*words, "tests/test_clock.py")
    fast_collected = run(*words, "-m", "not slow", "tests/test_clock.py", "tests/dataset/test_dataset.py")
    assert all_collected.returncode == fast_collected.returncode == 0
    fast_tests = [line for line in fast_collected.stdout.splitlines() if "::" in line]
    assert fast_tests
    assert fast_tests == [line for line in all_collected.stdout.splitlines() if "::" in line]
