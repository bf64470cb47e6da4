"""The benchmark report in a browser: its figures, the switch of denominators, its frames, and no errors or requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.helpers.pages import open_checked
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
    with open_checked(browser, address) as page:
        yield page


def visible_figures(page: Page, table: str, row: str, kind: str = "run") -> dict[str, str]:
    """Return the visible figures of a row by their names."""
    cells = page.locator(f'[data-table="{table}"] .{kind} tr[data-row="{row}"] td[data-name]')
    figures_by_name: dict[str, str] = cells.evaluate_all(
        "cells => Object.fromEntries(cells.map(cell => [cell.dataset.name,"
        " [...cell.querySelectorAll('b, .nothing')].filter(b => b.checkVisibility()).map(b => b.textContent).join()]))"
    )
    return figures_by_name


def format_score(estimate: Estimate | None) -> str:
    return "–" if estimate is None else percent(estimate.value)  # noqa: RUF001


def test_report_shows_the_scores_by_both_denominators(page: Page, runs: dict[str, Run]) -> None:
    for denominator, label in (("asked", "all asked"), ("answered", "parsed alone")):
        page.get_by_label(label).check(force=True)
        for name in SHOWN:
            board = score(runs[name], denominator)  # type: ignore[arg-type]
            categories = {
                result.category: format_score(result.score if denominator == "asked" else result.answered_score)
                for result in board.categories
            }
            figures = visible_figures(page, "categories", name)
            assert {category: figures[category] for category in categories} == categories
            assert figures["overall"] == format_score(board.overall)
            means = visible_figures(page, "means", name)
            assert {task: means[task] for task in board.tasks} == {
                task: format_score(estimate) for task, estimate in board.tasks.items()
            }
            assert means["coverage"] == f"{100 * board.coverage:.1f}"
            assert means["unparsed"] == f"{100 * (board.unparsed or 0):.1f}"
        expect(page.locator(f"#charts0 .charts.{denominator}")).to_be_visible()
        expect(page.locator("#charts0 .charts:visible")).to_have_count(1)


def test_report_begins_with_scores_and_folds_the_facts_of_runs(page: Page) -> None:
    first = page.locator("main .sheet").first
    expect(first.locator('[data-table="categories"]')).to_be_in_viewport()
    assert first.locator("svg.chart:visible").count() >= 3
    facts = page.locator("#runs0 .run-facts").first
    expect(facts).to_be_hidden()
    page.locator("#runs0 summary").click()
    expect(facts).to_be_visible()


def test_report_marks_no_score_of_few_questions_as_below_chance(page: Page) -> None:
    """One or two questions per category are too few, although some of the scores are below all guesses."""
    expect(page.locator("#table0 .key")).to_contain_text(
        "below chance: the upper end of the score\u2019s 95 % interval"
    )
    expect(page.locator(".scores .below")).to_have_count(0)


def test_difference_column_follows_the_chosen_baseline(page: Page, runs: dict[str, Run]) -> None:
    def cell(name: str) -> Locator:
        return page.locator(f'[data-table="categories"] .run [data-row="{name}"] [data-name="difference"]')

    choice = page.get_by_label("Baseline of the differences")
    for base in SHOWN:
        choice.select_option(base)
        for name in SHOWN:
            if name == base:
                expect(cell(name).locator(":visible", has_text="baseline").first).to_be_visible()
                continue
            difference = compare(runs[base], runs[name], shared=True).overall
            assert difference.change is not None
            value = f"{100 * difference.change.value + 1e-9:+.1f}".replace("-", "−")  # noqa: RUF001
            expect(cell(name).locator("b:visible")).to_have_text(value)
            expect(cell(name).locator(".real:visible")).to_have_count(int(difference.real))
    expect(cell("odd").locator("small:visible").last).to_have_text("of 5 shared questions")
    choice.select_option("guess: constant")
    (benchmark,) = gather([runs[name] for name in SHOWN])
    run_row = next(row for row in benchmark.rows if (row.kind, row.name) == ("run", "odd"))
    guess = next(row for row in benchmark.rows if (row.kind, row.name) == ("guess", "constant"))
    assert run_row.overall.asked is not None
    assert guess.overall.asked is not None
    value = f"{100 * (run_row.overall.asked.value - guess.overall.asked.value):+.1f}".replace("-", "−")  # noqa: RUF001
    expect(cell("odd").locator("b:visible")).to_have_text(value)
    page.get_by_label("parsed alone").check(force=True)
    expect(cell("odd")).to_be_hidden()


def test_wide_table_shows_a_hint_until_it_is_scrolled_to_its_end(browser: Browser, address: str) -> None:
    with open_checked(browser, address, 390) as page:
        hint, table = page.locator("#table0 .goes-on"), page.locator("#table0 .wide")
        expect(hint).to_be_visible()
        assert "gradient" in table.evaluate("e => getComputedStyle(e).maskImage")
        table.evaluate("e => e.scrollTo(e.scrollWidth, 0)")
        expect(hint).not_to_be_visible()
        expect(table).not_to_have_class(re.compile("more"))
    with open_checked(browser, address, 1600) as page:
        expect(page.locator("#table0 .goes-on")).to_be_hidden()


def test_denominator_switch_works_with_the_keyboard(page: Page) -> None:
    page.locator("#count-asked").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#table0 .lead .answered")).to_be_visible()
    expect(page.locator("#table0 .lead .asked")).to_be_hidden()


def test_report_marks_published_and_unfinished_rows(page: Page) -> None:
    expect(page.locator(".published .from").first).to_contain_text(PUBLISHED)
    expect(page.locator('[data-table="categories"] tr[data-row="stopped"] .note')).to_have_text(
        "unfinished: 5 of 8 asked"
    )
    assert visible_figures(page, "categories", "GPT-5", "published")["counting/easy"] == "88.4"


def test_report_unpacks_frames_when_they_come_near(page: Page) -> None:
    items = page.locator(".item")
    assert items.count() >= 8
    for number in range(items.count()):
        items.nth(number).scroll_into_view_if_needed()
        expect(items.nth(number).locator("script")).to_have_count(0)
        frame = items.nth(number).locator(".frame").first
        assert frame.evaluate("frame => getComputedStyle(frame).backgroundImage").startswith('url("blob:')
        assert frame.evaluate("frame => frame.getBoundingClientRect().height") > 8


def test_report_shows_hostile_answers_as_text(page: Page) -> None:
    expect(page.locator("#failures0")).to_contain_text(HOSTILE)
    expect(page.locator("#failures0")).to_contain_text(r"3 to 9\u202e\x1b[31m\x00 seconds")
    expect(page.locator("#failures0")).to_contain_text("cut off before it could be parsed")
    assert page.title() == "Benchmark report"
    assert page.locator("img").count() == 0


def test_histogram_counts_every_answer_once(page: Page, runs: dict[str, Run]) -> None:
    summary = page.locator("#grounding0 details summary").first
    summary.click()
    rows = page.locator('[data-table="histogram"] tbody tr').evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('td:not(.left)')].map(cell => Number(cell.textContent)))"
    )
    asked = sum(prediction.category.startswith("grounding") for name in SHOWN for prediction in runs[name].predictions)
    assert sum(map(sum, rows)) == asked


def test_question_details_open(page: Page) -> None:
    question = page.locator(".item details", has=page.locator("summary", has_text="Question")).first
    question.locator("summary").click()
    expect(question.locator(".prompt")).to_be_visible()
    expect(question.locator(".prompt")).to_contain_text("clip")


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_report_has_only_tables_wider_than_the_window(browser: Browser, address: str, width: int) -> None:
    with open_checked(browser, address, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = page.locator("body *:visible").evaluate_all(
            "(elements, width) => elements.filter(e => !e.closest('.wide, .hidden, svg') &&"
            " e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 80))",
            width,
        )
        assert outside == []


def test_report_has_a_section_for_each_set_of_questions(
    browser: Browser, runs: dict[str, Run], dataset: Path, tmp_path: Path
) -> None:
    benchmarks = gather([runs["chance"], runs["other"]])
    reasons = {benchmark.hash: "not here" for benchmark in benchmarks}
    write_report(benchmarks, reasons, tmp_path / "two.html", most=1)
    with open_checked(browser, (tmp_path / "two.html").as_uri()) as page:
        expect(page.locator(".warning").first).to_contain_text("2 different sets of questions")
        sections = page.locator("section.benchmark")
        expect(sections).to_have_count(2)
        for number, name in enumerate(("chance", "other")):
            rows = sections.nth(number).locator('[data-table="categories"] tbody.run tr')
            assert rows.evaluate_all("rows => rows.map(row => row.dataset.row)") == [name]
