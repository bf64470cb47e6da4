"""The report in a browser: its figures, the switch of what counts, its frames. Nothing may leave it or complain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.helpers.pages import quiet
from tests.report.conftest import HOSTILE
from videossr.bench.comparison import compare
from videossr.bench.records import Run
from videossr.bench.scoring import Estimate, percent, score
from videossr.question_set import open_questions
from videossr.report.benchmark.page import write_report
from videossr.report.benchmark.table import PUBLISHED, gather

SHOWN = ("odd", "constant", "stopped")


@pytest.fixture(scope="module")
def address(runs: dict[str, Run], dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("report") / "report.html"
    benchmarks = gather([runs[name] for name in SHOWN], paper=True)
    write_report(benchmarks, {benchmarks[0].hash: open_questions(dataset)}, out, most=2)
    return out.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with quiet(browser, address) as page:
        yield page


def figures(page: Page, table: str, row: str, kind: str = "run") -> dict[str, str]:
    """The figures of a row that can be seen, by their names."""
    cells = page.locator(f'[data-table="{table}"] .{kind} tr[data-row="{row}"] td[data-name]')
    found: dict[str, str] = cells.evaluate_all(
        "cells => Object.fromEntries(cells.map(cell => [cell.dataset.name,"
        " [...cell.querySelectorAll('b, .nothing')].filter(b => b.checkVisibility()).map(b => b.textContent).join()]))"
    )
    return found


def shown(estimate: Estimate | None) -> str:
    return "–" if estimate is None else percent(estimate.value)  # noqa: RUF001


def test_the_figures_are_those_of_the_scores_by_both_denominators(page: Page, runs: dict[str, Run]) -> None:
    for denominator, label in (("asked", "all asked"), ("answered", "parsed alone")):
        page.get_by_label(label).check(force=True)
        for name in SHOWN:
            board = score(runs[name], denominator)  # type: ignore[arg-type]
            categories = {
                each.category: shown(each.score if denominator == "asked" else each.answered_score)
                for each in board.categories
            }
            got = figures(page, "categories", name)
            assert {category: got[category] for category in categories} == categories
            assert got["overall"] == shown(board.overall)
            means = figures(page, "means", name)
            assert {task: means[task] for task in board.tasks} == {
                task: shown(each) for task, each in board.tasks.items()
            }
            assert means["coverage"] == f"{100 * board.coverage:.1f}"
            assert means["unparsed"] == f"{100 * (board.unparsed or 0):.1f}"
        expect(page.locator(f"#charts0 .charts.{denominator}")).to_be_visible()
        expect(page.locator("#charts0 .charts:visible")).to_have_count(1)


def test_scores_and_chart_come_first_and_what_was_run_is_folded(page: Page) -> None:
    first = page.locator("main .sheet").first
    expect(first.locator('[data-table="categories"]')).to_be_in_viewport()
    assert first.locator("svg.chart:visible").count() >= 3
    facts = page.locator("#runs0 .run-facts").first
    expect(facts).to_be_hidden()
    page.locator("#runs0 summary").click()
    expect(facts).to_be_visible()


def test_scores_of_a_few_questions_are_not_said_to_be_below_chance(page: Page) -> None:
    """Of the one or two questions of a category nothing follows, though some of the scores are below all guesses."""
    expect(page.locator("#table0 .key")).to_contain_text(
        "below chance: the upper end of the score\u2019s 95 % interval"
    )
    expect(page.locator(".scores .below")).to_have_count(0)


def test_the_difference_is_to_the_baseline_that_is_chosen(page: Page, runs: dict[str, Run]) -> None:
    def cell(name: str) -> Locator:
        return page.locator(f'[data-table="categories"] .run [data-row="{name}"] [data-name="difference"]')

    choice = page.get_by_label("Baseline of the differences")
    for base in SHOWN:
        choice.select_option(base)
        for name in SHOWN:
            if name == base:
                expect(cell(name).locator(":visible", has_text="baseline").first).to_be_visible()
                continue
            found = compare(runs[base], runs[name], shared=True).overall
            assert found.change is not None
            value = f"{100 * found.change.value + 1e-9:+.1f}".replace("-", "−")  # noqa: RUF001
            expect(cell(name).locator("b:visible")).to_have_text(value)
            expect(cell(name).locator(".real:visible")).to_have_count(int(found.real))
    expect(cell("odd").locator("small:visible").last).to_have_text("of 5 shared questions")
    choice.select_option("guess: constant")
    (benchmark,) = gather([runs[name] for name in SHOWN])
    ours = next(row for row in benchmark.rows if (row.kind, row.name) == ("run", "odd"))
    guess = next(row for row in benchmark.rows if (row.kind, row.name) == ("guess", "constant"))
    assert ours.overall.asked is not None
    assert guess.overall.asked is not None
    value = f"{100 * (ours.overall.asked.value - guess.overall.asked.value):+.1f}".replace("-", "−")  # noqa: RUF001
    expect(cell("odd").locator("b:visible")).to_have_text(value)
    page.get_by_label("parsed alone").check(force=True)
    expect(cell("odd")).to_be_hidden()


def test_a_table_that_goes_on_says_so_until_its_end(browser: Browser, address: str) -> None:
    with quiet(browser, address, 390) as page:
        hint, table = page.locator("#table0 .goes-on"), page.locator("#table0 .wide")
        expect(hint).to_be_visible()
        assert "gradient" in table.evaluate("e => getComputedStyle(e).maskImage")
        table.evaluate("e => e.scrollTo(e.scrollWidth, 0)")
        expect(hint).not_to_be_visible()
        expect(table).not_to_have_class(re.compile("more"))
    with quiet(browser, address, 1600) as page:
        expect(page.locator("#table0 .goes-on")).to_be_hidden()


def test_the_switch_works_by_keys(page: Page) -> None:
    page.locator("#count-asked").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#table0 .lead .answered")).to_be_visible()
    expect(page.locator("#table0 .lead .asked")).to_be_hidden()


def test_what_is_published_is_marked_and_what_is_unfinished_too(page: Page) -> None:
    expect(page.locator(".published .from").first).to_contain_text(PUBLISHED)
    expect(page.locator('[data-table="categories"] tr[data-row="stopped"] .note')).to_have_text(
        "unfinished: 5 of 8 asked"
    )
    assert figures(page, "categories", "GPT-5", "published")["counting/easy"] == "88.4"


def test_frames_are_unpacked_when_they_come_near(page: Page) -> None:
    items = page.locator(".item")
    assert items.count() >= 8
    for at in range(items.count()):
        items.nth(at).scroll_into_view_if_needed()
        expect(items.nth(at).locator("script")).to_have_count(0)
        frame = items.nth(at).locator(".frame").first
        assert frame.evaluate("frame => getComputedStyle(frame).backgroundImage").startswith('url("blob:')
        assert frame.evaluate("frame => frame.getBoundingClientRect().height") > 8


def test_hostile_answers_are_read_as_text(page: Page) -> None:
    expect(page.locator("#failures0")).to_contain_text(HOSTILE)
    expect(page.locator("#failures0")).to_contain_text(r"3 to 9\u202e\x1b[31m\x00 seconds")
    expect(page.locator("#failures0")).to_contain_text("cut off before it could be parsed")
    assert page.title() == "Benchmark report"
    assert page.locator("img").count() == 0


def test_the_histogram_counts_every_answer_once(page: Page, runs: dict[str, Run]) -> None:
    summary = page.locator("#grounding0 details summary").first
    summary.click()
    rows = page.locator('[data-table="histogram"] tbody tr').evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('td:not(.left)')].map(cell => Number(cell.textContent)))"
    )
    asked = sum(prediction.category.startswith("grounding") for name in SHOWN for prediction in runs[name].predictions)
    assert sum(map(sum, rows)) == asked


def test_details_open(page: Page) -> None:
    question = page.locator(".item details", has=page.locator("summary", has_text="Question")).first
    question.locator("summary").click()
    expect(question.locator(".prompt")).to_be_visible()
    expect(question.locator(".prompt")).to_contain_text("clip")


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_but_tables_is_wider_than_the_window(browser: Browser, address: str, width: int) -> None:
    with quiet(browser, address, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = page.locator("body *:visible").evaluate_all(
            "(elements, width) => elements.filter(e => !e.closest('.wide, .hidden, svg') &&"
            " e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 80))",
            width,
        )
        assert outside == []


def test_sets_of_questions_have_pages_parts_of_their_own(
    browser: Browser, runs: dict[str, Run], dataset: Path, tmp_path: Path
) -> None:
    benchmarks = gather([runs["chance"], runs["other"]])
    reasons = {benchmark.hash: "not here" for benchmark in benchmarks}
    write_report(benchmarks, reasons, tmp_path / "two.html", most=1)
    with quiet(browser, (tmp_path / "two.html").as_uri()) as page:
        expect(page.locator(".warning").first).to_contain_text("2 different sets of questions")
        sections = page.locator("section.benchmark")
        expect(sections).to_have_count(2)
        for at, name in enumerate(("chance", "other")):
            rows = sections.nth(at).locator('[data-table="categories"] tbody.run tr')
            assert rows.evaluate_all("rows => rows.map(row => row.dataset.row)") == [name]
