"""Check that pytest finds a test in every test module, and that few tests need videos that only some machines have.

python -m tests.helpers.collection_check [FOLDER]
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_SHARED = 0.15
"""The largest share of tests, of those that `make test` runs, that may need the folder of shared videos."""


class CollectionRecorder:
    """A plugin of pytest that records which modules have tests, and how many tests need the shared videos."""

    def __init__(self) -> None:
        self.modules: set[Path] = set()
        self.tests = 0
        self.shared = 0

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count a module that skips itself, because a library is missing, as collected."""
        if report.skipped:
            self.modules.add(ROOT / report.nodeid)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self.modules.add(item.path)
            if item.get_closest_marker("integration") is None:
                self.tests += 1
                self.shared += needs_shared_videos(item)


def needs_shared_videos(item: pytest.Item) -> bool:
    """Tell whether a test asks for the fixture `shared_videos`, itself or through another fixture."""
    if not isinstance(item, pytest.Function):
        return False
    chosen = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return "shared_videos" in item.fixturenames or "shared_videos" in chosen


def collection_problems(folder: Path) -> list[str]:
    """Return what is wrong with the tests below `folder`, a sentence each."""
    recorder = CollectionRecorder()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = pytest.main(["--collect-only", "-c", str(ROOT / "pyproject.toml"), str(folder)], [recorder])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return [output.getvalue()]
    problems = [
        f"{path}: pytest collects no test of it" for path in sorted({*folder.rglob("test_*.py")} - recorder.modules)
    ]
    if recorder.shared > MOST_SHARED * recorder.tests:
        problems.append(
            f"{recorder.shared} of {recorder.tests} tests need the shared videos; at most {MOST_SHARED:.0%} may: "
            "use the fixture `videos`, or make the video in the test"
        )
    return problems


if __name__ == "__main__":
    sys.exit("\n".join(collection_problems(Path(*sys.argv[1:]).resolve() if sys.argv[1:] else ROOT / "tests")) or 0)
