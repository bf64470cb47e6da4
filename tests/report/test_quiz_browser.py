"""A quiz taken in a browser, by keys and by clicks, over a reload, and the score of the file that it saves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.helpers.pages import open_checked
from videossr.bench.comparison import compare
from videossr.bench.evaluation import evaluate
from videossr.bench.records import Run
from videossr.bench.scoring import score
from videossr.cli import gallery
from videossr.cli.bench.tables import print_failures
from videossr.dataset.dataset import VideoSSRDataset
from videossr.models.base import ModelSpec
from videossr.models.baselines import Chance, NoSettings
from videossr.models.human import NOT_ANSWERED, Human
from videossr.report.benchmark.table import gather

WRONG = {"span": ("900", "901.5"), "counts": ("70", "71", "72"), "order": None}


@pytest.fixture(scope="module")
def address(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("quiz") / "quiz.html"
    gallery.command(str(dataset), out=out, quiz=True)
    return out.as_uri()


@pytest.fixture(scope="module")
def questions(dataset: Path) -> VideoSSRDataset:
    return VideoSSRDataset(dataset)


def visible_card(page: Page) -> Locator:
    return page.locator(".card:visible")


def save(page: Page, out: Path) -> Path:
    with page.expect_download() as waiting:
        page.locator("#save").click()
    assert re.fullmatch(r"answers-[0-9a-f]{8}\.json", waiting.value.suggested_filename)
    waiting.value.save_as(out)
    return out


def evaluate_answers(questions: VideoSSRDataset, answers: Path, out: Path) -> Run:
    return evaluate(questions, ModelSpec(f"human:{answers}", Human, str(answers), NoSettings()), out)


def mark_segment(page: Page, questions: VideoSSRDataset, index: int) -> None:
    """Mark the altered stretch with the keyboard, frame by frame."""
    ((first, last),) = questions.truth(index).spans
    caption = visible_card(page).locator(".caption")
    times = (*questions.question(index).clocks[0].times_ms, questions.question(index).clocks[0].end_ms)
    for slot, key in ((first, "s"), (last, "e")):
        while not caption.inner_text().startswith(f"{(times[slot] + 50) // 100 / 10:.1f}\u2013"):
            page.keyboard.press("ArrowRight")
        page.keyboard.press(key)


def tap_order(page: Page, gold: str) -> None:
    for digit in gold:
        visible_card(page).locator(".take").nth(int(digit) - 1).click()


def type_order(page: Page, gold: str) -> None:
    page.keyboard.press("9")  # there is no such clip
    page.keyboard.press(gold[1])
    page.keyboard.press("Backspace")
    for digit in gold:
        page.keyboard.press(digit)


def fill(page: Page, *values: str) -> None:
    for place, value in enumerate(values):
        visible_card(page).locator(".field input").nth(place).fill(value)


def give_gold_answer(page: Page, questions: VideoSSRDataset, k: int) -> None:
    """Give the gold answer to the question that is shown, each time in another way."""
    index = questions.find(visible_card(page).get_attribute("data-id") or "")
    gold = questions.question(index).answer
    form = visible_card(page).get_attribute("data-form")
    if form == "span":
        mark_segment(page, questions, index) if k % 2 else fill(
            page, *(part.replace(".", ",") for part in gold.split("-"))
        )
    elif form == "order":
        (tap_order if k % 2 else type_order)(page, gold)
    elif k % 2:
        fill(page, *gold.split(","))
    else:
        page.keyboard.press("a")
        page.keyboard.type(gold.split(",")[0])
        for part in gold.split(",")[1:]:
            page.keyboard.press("Enter")
            page.keyboard.type(part)
        page.keyboard.press("Escape")
        visible_card(page).focus()
    expect(visible_card(page).locator(".state")).to_have_text(f"Answer: {gold}")


def give_wrong_answer(page: Page) -> None:
    form = visible_card(page).get_attribute("data-form") or ""
    if form == "order":
        fill(page, "123456")  # never the true order, as `videossr.tasks.jigsaw` draws it
    else:
        fill(page, *(WRONG[form] or ()))


def take_quiz(page: Page, answer_question: Callable[[int], None]) -> None:
    for k in range(page.locator(".card").count()):
        expect(visible_card(page).locator("h2")).to_contain_text(f"Question {k + 1} of")
        answer_question(k)
        page.keyboard.press("Escape")
        if visible_card(page).locator(".later").is_enabled():
            visible_card(page).locator(".later").click()


def test_quiz_with_gold_answers_scores_one_over_a_reload(
    browser: Browser, address: str, questions: VideoSSRDataset, tmp_path: Path
) -> None:
    with open_checked(browser, address) as page:

        def answer_question(k: int) -> None:
            give_gold_answer(page, questions, k)
            if k == 3:
                page.reload()
                expect(visible_card(page).locator("h2")).to_contain_text("Question 4 of")
                expect(page.locator("#count")).to_have_text(f"4 of {len(questions)} answered")

        take_quiz(page, answer_question)
        expect(page.locator("#count")).to_have_text(f"{len(questions)} of {len(questions)} answered")
        answers = save(page, tmp_path / "answers.json")
        expect(page.locator("#notice")).to_contain_text(f"{len(questions)} answers saved")
    run = evaluate_answers(questions, answers, tmp_path / "person")
    board = score(run)
    assert board.overall is not None
    assert (board.overall.value, board.coverage, board.unparsed) == (1.0, 1.0, 0.0)
    assert run.manifest is not None
    assert run.manifest["model"]["label"] == "answered by a person"
    assert "as large as a model sees them" in run.manifest["model"]["shown"]
    (benchmark,) = gather([run])
    assert benchmark.rows[0].note == "answered by a person"


def test_quiz_with_wrong_answers_scores_zero_and_lists_open_questions(
    browser: Browser, address: str, questions: VideoSSRDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every third question is begun, but not completed."""
    unanswered: list[str] = []
    with open_checked(browser, address) as page:

        def answer_question(k: int) -> None:
            if k % 3 != 2:
                give_wrong_answer(page)
                return
            unanswered.append(visible_card(page).get_attribute("data-id") or "")
            fill(page, "1")
            expect(visible_card(page).locator(".state")).to_contain_text("Not complete")

        take_quiz(page, answer_question)
        answers = save(page, tmp_path / "answers.json")
        expect(page.locator("#notice")).to_contain_text("Not answered: 3, 6")
    run = evaluate_answers(questions, answers, tmp_path / "person")
    failed = {p.id: p.error for p in run.predictions if not p.texts}
    assert failed == dict.fromkeys(unanswered, NOT_ANSWERED)
    assert len(unanswered) == len(questions) // 3
    board = score(run, "answered")
    assert board.overall is not None
    assert board.overall.value == 0.0
    assert board.outcomes.failed == len(unanswered)
    assert board.outcomes.unparsed == 0
    print_failures(run)
    output = capsys.readouterr().out
    assert f"{len(unanswered)} questions failed" in output
    assert "not answered" in output
    assert "asks them again" not in output, "running it again would read the same answers"


def test_quiz_of_a_part_of_a_dataset_is_compared_on_shared_questions(
    browser: Browser, dataset: Path, questions: VideoSSRDataset, tmp_path: Path
) -> None:
    gallery.command(str(dataset), out=tmp_path / "quiz.html", quiz=True, per_category=1)
    with open_checked(browser, (tmp_path / "quiz.html").as_uri(), 390) as page:
        take_quiz(page, lambda k: give_gold_answer(page, questions, k))
        answers = save(page, tmp_path / "answers.json")
    run = evaluate_answers(questions, answers, tmp_path / "person")
    assert len(run.predictions) == 4 < len(questions)
    chance_run = evaluate(questions, ModelSpec("chance", Chance, "", NoSettings()), tmp_path / "chance")
    comparison = compare(chance_run, run, shared=True)
    assert comparison.left_out == len(questions) - 4
    assert comparison.overall.second == 1.0
    (benchmark,) = gather([run])
    assert benchmark.rows[0].note == f"answered by a person; asked 4 of {len(questions)}"


def test_quiz_keeps_the_answers_of_two_pages_apart(browser: Browser, dataset: Path, tmp_path: Path) -> None:
    for name, count in (("one", 1), ("two", 2)):
        gallery.command(str(dataset), out=tmp_path / f"{name}.html", quiz=True, per_category=count)
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "one.html").as_uri())
    give_wrong_answer(page)
    expect(page.locator("#count")).to_have_text("1 of 4 answered")
    page.goto((tmp_path / "two.html").as_uri())
    expect(page.locator("#count")).to_have_text("0 of 8 answered")
    page.goto((tmp_path / "one.html").as_uri())
    expect(page.locator("#count")).to_have_text("1 of 4 answered")
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#anew").click()
    expect(page.locator("#count")).to_have_text("0 of 4 answered")
    page.reload()
    expect(page.locator("#count")).to_have_text("0 of 4 answered")
    context.close()


def test_quiz_warns_if_the_browser_stores_nothing(browser: Browser, address: str, tmp_path: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }")
    page.goto(address)
    expect(page.locator("#notice")).to_contain_text("remembers nothing")
    give_wrong_answer(page)
    answers = json.loads(save(page, tmp_path / "answers.json").read_text())["answers"]
    assert sum(map(bool, answers.values())) == 1
    context.close()


def test_quiz_frames_move_by_keys_slider_and_player(browser: Browser, address: str) -> None:
    with open_checked(browser, address) as page:
        while visible_card(page).get_attribute("data-form") != "span":
            page.keyboard.press("j")
        caption, seek = visible_card(page).locator(".caption"), visible_card(page).locator(".seek")
        expect(caption).to_have_text(re.compile(r"^0\.0.\d+\.\d s$"))
        before = caption.inner_text()
        page.keyboard.press("ArrowRight")
        expect(seek).to_have_value("1")
        assert caption.inner_text() != before
        seek.fill("30")
        assert visible_card(page).locator(".slot.on").get_attribute("data-index") == "30"
        page.keyboard.press("f")
        expect(page.locator("#speed")).to_have_text("2\u00d7 speed")
        page.keyboard.press("p")
        expect(seek).not_to_have_value("30")
        expect(visible_card(page).locator(".play")).to_have_text("Stop")
        page.keyboard.press("j")
        expect(page.locator(".play[aria-pressed=true]")).to_have_count(0)


def test_quiz_plays_one_clip_or_all_clips_in_the_order_of_the_answer(browser: Browser, address: str) -> None:
    def playing_piece() -> Any:
        return visible_card(page).locator(".piece:has(.slot.on)").get_attribute("data-shown")

    with open_checked(browser, address) as page:
        while visible_card(page).get_attribute("data-form") != "order":
            page.keyboard.press("j")
        visible_card(page).locator(".loop").nth(4).click()
        expect(visible_card(page).locator(".caption")).to_contain_text("clip 5 · ")
        visible_card(page).locator(".play").click()
        fill(page, "361245")
        visible_card(page).locator(".piece").nth(2).locator(".slot").last.click()
        assert playing_piece() == "3"
        visible_card(page).locator(".play").click()
        expect(visible_card(page).locator(".caption")).to_contain_text("clip 6 · ")


def test_quiz_explains_what_is_wrong_with_an_answer(browser: Browser, address: str) -> None:
    messages: dict[str, dict[tuple[str, ...], str]] = {
        "span": {("2", "1"): "end must come after", ("1 s", "2"): "not a number", ("", "3"): "start is missing"},
        "counts": {("1", "x", "2"): "whole numbers", ("1", "", "2"): "whole numbers"},
        "order": {("1123",): "does not fit", ("127",): "does not fit", ("12",): "4 of 6 clips are missing"},
    }
    with open_checked(browser, address) as page:
        for _ in range(page.locator(".card").count()):
            for values, text in messages[visible_card(page).get_attribute("data-form") or ""].items():
                fill(page, *values)
                expect(visible_card(page).locator(".state")).to_contain_text(text)
            expect(page.locator("#count")).to_contain_text("0 of")
            visible_card(page).locator(".later").click(force=True)
        page.locator("#save").click()
        expect(page.locator("#notice")).to_contain_text("no complete answer to save")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_quiz_fits_the_window_and_its_controls_have_names(
    browser: Browser, address: str, width: int, scheme: Any
) -> None:
    with open_checked(browser, address, width) as page:
        page.emulate_media(color_scheme=scheme)
        for _ in range(page.locator(".card").count()):
            give_wrong_answer(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            outside = page.locator(".card:visible :is(button, input):visible").evaluate_all(
                "(all, width) => all.filter(e => e.getBoundingClientRect().right > width).length", width
            )
            assert outside == 0
            visible_card(page).locator(".later").click(force=True)
        unnamed = page.locator("button, input, a, progress").evaluate_all(
            "all => all.filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"
        )
        assert unnamed == 0


def test_quiz_help_opens_and_closes_with_the_keyboard(browser: Browser, address: str) -> None:
    with open_checked(browser, address) as page:
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#keys")).to_be_hidden()
