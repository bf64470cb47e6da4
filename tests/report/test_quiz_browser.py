"""A quiz taken in a browser: by keys and by taps, over a reload, up to the score of the file that it saves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.helpers.pages import quiet
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
def opened(dataset: Path) -> VideoSSRDataset:
    return VideoSSRDataset(dataset)


def card(page: Page) -> Locator:
    return page.locator(".card:visible")


def save(page: Page, out: Path) -> Path:
    with page.expect_download() as waiting:
        page.locator("#save").click()
    assert re.fullmatch(r"answers-[0-9a-f]{8}\.json", waiting.value.suggested_filename)
    waiting.value.save_as(out)
    return out


def human(opened: VideoSSRDataset, answers: Path, out: Path) -> Run:
    return evaluate(opened, ModelSpec(f"human:{answers}", Human, str(answers), NoSettings()), out)


def by_frames(page: Page, opened: VideoSSRDataset, index: int) -> None:
    """Mark the altered stretch with the keyboard, frame by frame."""
    ((first, last),) = opened.truth(index).spans
    caption = card(page).locator(".caption")
    times = (*opened.question(index).clocks[0].times_ms, opened.question(index).clocks[0].end_ms)
    for at, key in ((first, "s"), (last, "e")):
        while not caption.inner_text().startswith(f"{(times[at] + 50) // 100 / 10:.1f}\u2013"):
            page.keyboard.press("ArrowRight")
        page.keyboard.press(key)


def by_taps(page: Page, gold: str) -> None:
    for digit in gold:
        card(page).locator(".take").nth(int(digit) - 1).click()


def by_keys(page: Page, gold: str) -> None:
    page.keyboard.press("9")  # there is no such clip
    page.keyboard.press(gold[1])
    page.keyboard.press("Backspace")
    for digit in gold:
        page.keyboard.press(digit)


def fill(page: Page, *values: str) -> None:
    for place, value in enumerate(values):
        card(page).locator(".field input").nth(place).fill(value)


def right(page: Page, opened: VideoSSRDataset, k: int) -> None:
    """Give the gold answer to the question that is shown, each time in another way."""
    index = opened.find(card(page).get_attribute("data-id") or "")
    gold = opened.question(index).answer
    form = card(page).get_attribute("data-form")
    if form == "span":
        by_frames(page, opened, index) if k % 2 else fill(page, *(part.replace(".", ",") for part in gold.split("-")))
    elif form == "order":
        (by_taps if k % 2 else by_keys)(page, gold)
    elif k % 2:
        fill(page, *gold.split(","))
    else:
        page.keyboard.press("a")
        page.keyboard.type(gold.split(",")[0])
        for part in gold.split(",")[1:]:
            page.keyboard.press("Enter")
            page.keyboard.type(part)
        page.keyboard.press("Escape")
        card(page).focus()
    expect(card(page).locator(".state")).to_have_text(f"Answer: {gold}")


def wrong(page: Page) -> None:
    form = card(page).get_attribute("data-form") or ""
    if form == "order":
        fill(page, "123456")  # never the true order, as `videossr.tasks.jigsaw` draws it
    else:
        fill(page, *(WRONG[form] or ()))


def take(page: Page, act: Callable[[int], None]) -> None:
    for k in range(page.locator(".card").count()):
        expect(card(page).locator("h2")).to_contain_text(f"Question {k + 1} of")
        act(k)
        page.keyboard.press("Escape")
        if card(page).locator(".later").is_enabled():
            card(page).locator(".later").click()


def test_gold_answers_score_one_over_a_reload(
    browser: Browser, address: str, opened: VideoSSRDataset, tmp_path: Path
) -> None:
    with quiet(browser, address) as page:

        def act(k: int) -> None:
            right(page, opened, k)
            if k == 3:
                page.reload()
                expect(card(page).locator("h2")).to_contain_text("Question 4 of")
                expect(page.locator("#count")).to_have_text(f"4 of {len(opened)} answered")

        take(page, act)
        expect(page.locator("#count")).to_have_text(f"{len(opened)} of {len(opened)} answered")
        answers = save(page, tmp_path / "answers.json")
        expect(page.locator("#notice")).to_contain_text(f"{len(opened)} answers saved")
    done = human(opened, answers, tmp_path / "person")
    board = score(done)
    assert board.overall is not None
    assert (board.overall.value, board.coverage, board.unparsed) == (1.0, 1.0, 0.0)
    assert done.manifest is not None
    assert done.manifest["model"]["label"] == "answered by a person"
    assert "as large as a model sees them" in done.manifest["model"]["shown"]
    (benchmark,) = gather([done])
    assert benchmark.rows[0].note == "answered by a person"


def test_wrong_answers_score_nothing_and_open_ones_are_told(
    browser: Browser, address: str, opened: VideoSSRDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every third question is left open, or begun and not completed: a start alone, two counts of three."""
    left: list[str] = []
    with quiet(browser, address) as page:

        def act(k: int) -> None:
            if k % 3 != 2:
                wrong(page)
                return
            left.append(card(page).get_attribute("data-id") or "")
            fill(page, "1")
            expect(card(page).locator(".state")).to_contain_text("Not complete")

        take(page, act)
        answers = save(page, tmp_path / "answers.json")
        expect(page.locator("#notice")).to_contain_text("Not answered: 3, 6")
    done = human(opened, answers, tmp_path / "person")
    failed = {p.id: p.error for p in done.predictions if not p.texts}
    assert failed == dict.fromkeys(left, NOT_ANSWERED)
    assert len(left) == len(opened) // 3
    board = score(done, "answered")
    assert board.overall is not None
    assert board.overall.value == 0.0
    assert board.outcomes.failed == len(left)
    assert board.outcomes.unparsed == 0
    print_failures(done)
    said = capsys.readouterr().out
    assert f"{len(left)} questions failed" in said
    assert "not answered" in said
    assert "asks them again" not in said, "the same file has the same answers"


def test_a_part_of_a_dataset_is_compared_where_both_were_asked(
    browser: Browser, dataset: Path, opened: VideoSSRDataset, tmp_path: Path
) -> None:
    gallery.command(str(dataset), out=tmp_path / "quiz.html", quiz=True, per_category=1)
    with quiet(browser, (tmp_path / "quiz.html").as_uri(), 390) as page:
        take(page, lambda k: right(page, opened, k))
        answers = save(page, tmp_path / "answers.json")
    done = human(opened, answers, tmp_path / "person")
    assert len(done.predictions) == 4 < len(opened)
    guessed = evaluate(opened, ModelSpec("chance", Chance, "", NoSettings()), tmp_path / "chance")
    found = compare(guessed, done, shared=True)
    assert found.left_out == len(opened) - 4
    assert found.overall.second == 1.0
    (benchmark,) = gather([done])
    assert benchmark.rows[0].note == f"answered by a person; asked 4 of {len(opened)}"


def test_answers_belong_to_the_samples_of_their_page(browser: Browser, dataset: Path, tmp_path: Path) -> None:
    """Two pages of one dataset, opened in one browser, keep their answers apart."""
    for name, count in (("one", 1), ("two", 2)):
        gallery.command(str(dataset), out=tmp_path / f"{name}.html", quiz=True, per_category=count)
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "one.html").as_uri())
    wrong(page)
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


def test_a_browser_that_keeps_nothing_says_so(browser: Browser, address: str, tmp_path: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }")
    page.goto(address)
    expect(page.locator("#notice")).to_contain_text("remembers nothing")
    wrong(page)
    answers = json.loads(save(page, tmp_path / "answers.json").read_text())["answers"]
    assert sum(map(bool, answers.values())) == 1
    context.close()


def test_frames_move_by_keys_slider_and_player(browser: Browser, address: str) -> None:
    with quiet(browser, address) as page:
        while card(page).get_attribute("data-form") != "span":
            page.keyboard.press("j")
        caption, seek = card(page).locator(".caption"), card(page).locator(".seek")
        expect(caption).to_have_text(re.compile(r"^0\.0.\d+\.\d s$"))
        before = caption.inner_text()
        page.keyboard.press("ArrowRight")
        expect(seek).to_have_value("1")
        assert caption.inner_text() != before
        seek.fill("30")
        assert card(page).locator(".slot.on").get_attribute("data-index") == "30"
        page.keyboard.press("f")
        expect(page.locator("#speed")).to_have_text("2\u00d7 speed")
        page.keyboard.press("p")
        expect(seek).not_to_have_value("30")
        expect(card(page).locator(".play")).to_have_text("Stop")
        page.keyboard.press("j")
        expect(page.locator(".play[aria-pressed=true]")).to_have_count(0)


def test_a_clip_of_a_puzzle_is_played_alone_and_all_in_the_order_of_the_answer(browser: Browser, address: str) -> None:
    def piece() -> Any:
        return card(page).locator(".piece:has(.slot.on)").get_attribute("data-shown")

    with quiet(browser, address) as page:
        while card(page).get_attribute("data-form") != "order":
            page.keyboard.press("j")
        card(page).locator(".loop").nth(4).click()
        expect(card(page).locator(".caption")).to_contain_text("clip 5 · ")
        card(page).locator(".play").click()
        fill(page, "361245")
        card(page).locator(".piece").nth(2).locator(".slot").last.click()
        assert piece() == "3"
        card(page).locator(".play").click()
        expect(card(page).locator(".caption")).to_contain_text("clip 6 · ")


def test_what_is_no_answer_is_told(browser: Browser, address: str) -> None:
    told: dict[str, dict[tuple[str, ...], str]] = {
        "span": {("2", "1"): "end must come after", ("1 s", "2"): "not a number", ("", "3"): "start is missing"},
        "counts": {("1", "x", "2"): "whole numbers", ("1", "", "2"): "whole numbers"},
        "order": {("1123",): "does not fit", ("127",): "does not fit", ("12",): "4 of 6 clips are missing"},
    }
    with quiet(browser, address) as page:
        for _ in range(page.locator(".card").count()):
            for values, text in told[card(page).get_attribute("data-form") or ""].items():
                fill(page, *values)
                expect(card(page).locator(".state")).to_contain_text(text)
            expect(page.locator("#count")).to_contain_text("0 of")
            card(page).locator(".later").click(force=True)
        page.locator("#save").click()
        expect(page.locator("#notice")).to_contain_text("no complete answer to save")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_every_control_has_a_name(browser: Browser, address: str, width: int, scheme: Any) -> None:
    with quiet(browser, address, width) as page:
        page.emulate_media(color_scheme=scheme)
        for _ in range(page.locator(".card").count()):
            wrong(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            outside = page.locator(".card:visible :is(button, input):visible").evaluate_all(
                "(all, width) => all.filter(e => e.getBoundingClientRect().right > width).length", width
            )
            assert outside == 0
            card(page).locator(".later").click(force=True)
        unnamed = page.locator("button, input, a, progress").evaluate_all(
            "all => all.filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"
        )
        assert unnamed == 0


def test_help_opens_and_closes_from_the_keyboard(browser: Browser, address: str) -> None:
    with quiet(browser, address) as page:
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#keys")).to_be_hidden()
