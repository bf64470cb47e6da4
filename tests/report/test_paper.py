"""The paper's tables as a page in a browser, as text, and on the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.pages import ParsedPage, check_policy, open_checked
from tests.helpers.public.paper_runs import predictions, write_run
from tests.report.conftest import HOSTILE
from videossr.bench.public.base import BENCHMARKS
from videossr.cli import main
from videossr.cli.console import console

TASKS = ("action_count", "moving_count")
STRANGE = "<b>mine & co"
"""The folder of the second model."""


def report(*words: str) -> int:
    """Run the command, and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["report", *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The runs of two models: three of MVBench, one of which failed, and one of VCRBench that is all of it."""
    top = tmp_path_factory.mktemp("trees")
    steps = predictions(["3,1,2"] * (BENCHMARKS.get("vcrbench").facts.questions or 0), "3,1,2", "sequence")
    for frames, said in ((32, ["A", "B", "B", "B"]), (48, ["A", "A", "B", "B"])):
        write_run(top / "base", "mvbench", predictions(said, categories=TASKS), frames)
    write_run(top / STRANGE, "mvbench", predictions(["A", "A", "A", "B"], categories=TASKS), 32, model=HOSTILE)
    write_run(top / STRANGE, "mvbench", predictions([None] * 4, categories=TASKS), 48, model=HOSTILE)
    write_run(top / STRANGE, "vcrbench", steps, 32)
    return [str(top / "base"), str(top / STRANGE)]


@pytest.fixture(scope="module")
def address(trees: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "paper.html"
    assert report(*trees, "--layout", "paper", "--out", str(out)) == 0
    return out.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with open_checked(browser, address) as page:
        yield page


def printed(capsys: pytest.CaptureFixture[str], trees: list[str], *options: str) -> str:
    assert report(*trees, "--layout", "paper", *options) == 0
    return capsys.readouterr().out


def cell(page: Page, row: str, heading: str, frames: int = 32, table: str = "general") -> str:
    place = f'[data-table="{table}"] tbody[data-frames="{frames}"] tr'
    rows = page.locator(place).filter(has=page.locator("th bdi").get_by_text(row, exact=True))
    return " ".join(rows.locator(f'td[data-name="{heading}"]').inner_text().split())


def test_page_shows_scores_gains_and_the_printed_rows(page: Page) -> None:
    assert cell(page, "base", "general MVB").startswith("25.0*")
    assert cell(page, STRANGE, "general MVB").startswith("75.0*")
    assert cell(page, STRANGE, "general MVB").endswith("+50.0")
    assert cell(page, "VideoSSR-8B", "general MVB") == "68.6 +1.7"
    assert cell(page, "VideoSSR-8B", "reasoning VCR", 64, "grounding") == "17.8 +9.0"
    assert cell(page, "VideoSSR-8B", "TACoS R@0.7", 64, "recall") == "14.4 +2.1"
    assert cell(page, "grounding, strict", "Charades-STA mIoU", 32, "ablation") == "47.5 −2.8"  # noqa: RUF001
    assert cell(page, STRANGE, "reasoning VCR", 32, "grounding") == "100.0"


def test_page_has_a_dash_where_nothing_was_measured(page: Page) -> None:
    dash = "–"  # noqa: RUF001
    assert cell(page, "base", "general TempC") == dash
    assert cell(page, STRANGE, "general MVB", 48) == dash
    assert cell(page, STRANGE, "Video-MME long", 32, "ablation") == dash


def test_page_says_what_can_be_compared_and_why_not(page: Page) -> None:
    rows = page.locator("#comparable tbody tr")
    expect(rows).to_have_count(16)
    mvbench = page.locator('#comparable tr[data-column="MVB"] td').first
    expect(mvbench.locator("b")).to_have_text("no")
    expect(mvbench).to_contain_text("32, 48 frames: 4 questions were found, and 4,000 are published")
    expect(page.locator('#comparable tr[data-column="VCR"] td').nth(1)).to_contain_text("as far as is known")
    expect(page.locator('#comparable tr[data-column="TempC"]')).to_contain_text("which of the four formats")
    expect(page.locator("#comparable .warning")).to_contain_text(HOSTILE)


def test_page_draws_a_chart_for_each_benchmark_that_was_measured(page: Page) -> None:
    charts = page.locator("#figure6 svg.chart")
    expect(charts).to_have_count(2)
    names = charts.evaluate_all("charts => charts.map(chart => chart.getAttribute('aria-label'))")
    assert [name.partition(":")[0] for name in names] == ["MVBench", "VCRBench"]
    expect(page.locator("#figure6 .legend span", has_text="dashed")).to_have_count(2)


@pytest.mark.parametrize("width", [390, 1280])
def test_page_has_only_tables_wider_than_the_window(browser: Browser, address: str, width: int) -> None:
    with open_checked(browser, address, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_page_takes_names_for_text_and_asks_for_nothing(address: str) -> None:
    page = ParsedPage(Path(address.removeprefix("file://")).read_text())
    check_policy(page)
    assert "b" not in {tag for tag, attributes in page.elements if "co" in attributes}
    assert "img" not in {tag for tag, _ in page.elements}


def test_terminal_prints_tables_and_reasons(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trees: list[str]
) -> None:
    monkeypatch.setattr(console, "width", 400)  # words of a cell are then on one line
    text = printed(capsys, trees)
    for words in (
        "Qwen3-VL-8B †",
        "+50.0",
        "as far as is known",
        "which of the four formats",
        "4 questions were found",
    ):
        assert words in text
    assert "paper, arXiv 2511.06281" in text


def test_base_and_rule_are_options(capsys: pytest.CaptureFixture[str], trees: list[str]) -> None:
    found = json.loads(printed(capsys, trees, "--json", "--base", STRANGE, "--rule", "micro"))
    assert (found["base"], found["rules"]) == (STRANGE, {"mvbench": "micro", "vcrbench": "ours"})
    base, mine = (line["entries"][0] for line in found["tables"][0]["lines"][:2])
    assert base["gain"]["value"] == pytest.approx(-0.5)
    assert mine["gain"] is None


def test_text_formats_hold_every_cell(capsys: pytest.CaptureFixture[str], trees: list[str]) -> None:
    found = json.loads(printed(capsys, trees, "--json"))
    cells = [entry for table in found["tables"] for line in table["lines"] for entry in line["entries"]]
    rows = list(csv.DictReader(io.StringIO(printed(capsys, trees, "--format", "csv"))))
    assert len(rows) == len(cells)
    assert [float(row["value"]) if row["value"] else None for row in rows] == [
        entry["value"] and entry["value"]["value"] for entry in cells
    ]
    markdown = printed(capsys, trees, "--format", "md")
    assert "| 32 | base | 25.0\\* | – |" in markdown  # noqa: RUF001
    assert "| 32 | VideoSSR-8B † | 68.6 +1.7 | 75.7 +0.8 |" in markdown
    assert "| 32 | \\<b\\>mine & co | 75.0\\* +50.0 |" in markdown


def test_options_of_other_layouts_are_refused(capsys: pytest.CaptureFixture[str], trees: list[str]) -> None:
    assert report(*trees, "--layout", "runs", "--base", "base", "--format", "md") != 0
    assert "--base and --rule are for --layout paper" in capsys.readouterr().err
    assert report(*trees, "--layout", "paper", "--paper") != 0
    assert "leave out --paper" in capsys.readouterr().err
