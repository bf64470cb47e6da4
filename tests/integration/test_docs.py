"""Every block of shell and Python in the documentation runs, or its page says why it cannot run here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.snippets import PAGES, ROOT, RUNNABLE, START, run_page, snippets

pytestmark = pytest.mark.integration

OTHERS = [page for page in PAGES if page != START and page.name not in ("CHANGELOG.md", "CONTRIBUTING.md")]


def has_runnable_blocks(page: Path) -> bool:
    """Return whether a page has a block that can be run."""
    return any(snippet.language in RUNNABLE and not snippet.reason and not snippet.title for snippet in snippets(page))


def relative_path(page: Path) -> str:
    return str(page.relative_to(ROOT))


def link_checkout(folder: Path) -> None:
    """Link the folders of this checkout, which commands in pages name."""
    for name in ("examples", "benchmarks", "tests", "src"):
        (folder / name).symlink_to(ROOT / name)


@pytest.fixture(scope="session")
def start_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the blocks of the start page were run."""
    folder = tmp_path_factory.mktemp("start")
    link_checkout(folder)
    run_page(START, folder)
    return folder


def test_start_page_leads_to_a_trained_model(start_folder: Path) -> None:
    for path in ("demo/gallery.html", "demo/report.html", "demo/train.html", "demo/runs/grpo/model/config.json"):
        assert (start_folder / path).exists()


@pytest.mark.parametrize("page", [page for page in OTHERS if has_runnable_blocks(page)], ids=relative_path)
def test_code_blocks_of_a_page_run(page: Path, start_folder: Path, tmp_path: Path) -> None:
    """Each page starts with the files that the start page has made, and without those of other pages."""
    link_checkout(tmp_path)
    shutil.copytree(start_folder / "demo", tmp_path / "demo")
    run_page(page, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```sh\nfalse | true\n```\n", "page.md:2: exit status 1"),
        ("\n```sh\ntrue\n```\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", "line 11"),
        ("```python\nimport warnings; warnings.warn('old')\n```\n", "UserWarning: old"),
    ],
)
def test_run_page_reports_the_place_of_a_failing_block(text: str, message: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tests.helpers.snippets.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(AssertionError, match=message):
        run_page(page, tmp_path)


def test_run_page_understands_markers_files_and_setups(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tests.helpers.snippets.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        '<!-- setup\necho 1 > one\n-->\n```toml title="a.toml"\nx = 1\n```\n<!-- not run: it would fail here -->\n'
        "```sh\nfalse\n```\n- in a list\n\n    ```sh\n    cat one a.toml > both\n    ```\n"
    )
    run_page(page, tmp_path)
    assert (tmp_path / "both").read_text() == "1\nx = 1\n"
