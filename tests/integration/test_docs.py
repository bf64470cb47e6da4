"""Every block of shell and Python in the documentation does what it says, or its page says why it cannot run here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.snippets import PAGES, ROOT, RUNNABLE, START, run_page, snippets

pytestmark = pytest.mark.integration

OTHERS = [page for page in PAGES if page != START and page.name not in ("CHANGELOG.md", "CONTRIBUTING.md")]


def runs(page: Path) -> bool:
    """Whether there is anything to run in a page."""
    return any(snippet.language in RUNNABLE and not snippet.reason and not snippet.title for snippet in snippets(page))


def by_page(page: Path) -> str:
    return str(page.relative_to(ROOT))


def as_checkout(folder: Path) -> None:
    """Let a folder look like this checkout to commands that name its files."""
    for name in ("examples", "benchmarks", "tests", "src"):
        (folder / name).symlink_to(ROOT / name)


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the start page was followed."""
    folder = tmp_path_factory.mktemp("start")
    as_checkout(folder)
    run_page(START, folder)
    return folder


def test_the_start_page_leads_to_a_trained_model(started: Path) -> None:
    for made in ("demo/gallery.html", "demo/report.html", "demo/train.html", "demo/runs/grpo/model/config.json"):
        assert (started / made).exists()


@pytest.mark.parametrize("page", [page for page in OTHERS if runs(page)], ids=by_page)
def test_the_blocks_of_a_page_run(page: Path, started: Path, tmp_path: Path) -> None:
    """Each page begins with what the start page has made, and sees nothing of the other pages."""
    as_checkout(tmp_path)
    shutil.copytree(started / "demo", tmp_path / "demo")
    run_page(page, tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```sh\nfalse | true\n```\n", "page.md:2: exit status 1"),
        ("\n```sh\ntrue\n```\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", "line 11"),
        ("```python\nimport warnings; warnings.warn('old')\n```\n", "UserWarning: old"),
    ],
)
def test_a_block_that_fails_is_reported_with_its_place(text: str, told: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tests.helpers.snippets.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(AssertionError, match=told):
        run_page(page, tmp_path)


def test_markers_files_and_setups_are_understood(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tests.helpers.snippets.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        '<!-- setup\necho 1 > one\n-->\n```toml title="a.toml"\nx = 1\n```\n<!-- not run: it would fail here -->\n'
        "```sh\nfalse\n```\n- in a list\n\n    ```sh\n    cat one a.toml > both\n    ```\n"
    )
    run_page(page, tmp_path)
    assert (tmp_path / "both").read_text() == "1\nx = 1\n"
