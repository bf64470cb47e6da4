"""The gallery in a browser: filters, keys, outlines, playing, links, and no errors or requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.helpers.pages import drawn_pixels, open_checked
from videossr.report.gallery.gallery import Card, write_gallery


@pytest.fixture(scope="module")
def address(cards: list[Card], tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("gallery") / "gallery.html"
    write_gallery(cards, out, "Test dataset", {"seed": "0"})
    return out.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The gallery; at the end it is checked that it logged nothing and requested nothing but itself."""
    with open_checked(browser, address) as page:
        yield page


def visible_ids(page: Page) -> list[str]:
    card_ids: list[str] = page.locator(".card:visible").evaluate_all("cards => cards.map(card => card.dataset.id)")
    return card_ids


def ids_of_task(cards: list[Card], task: str) -> list[str]:
    return [card.sample.id for card in cards if card.sample.task == task]


def chip(page: Page, group: str, name: str) -> Locator:
    return page.locator(f"#{group} button[data-value={name!r}]")


def current_card_id(page: Page) -> str | None:
    card_id: str | None = page.evaluate("document.activeElement.closest('.card')?.dataset.id")
    return card_id


def test_gallery_filters_show_the_cards_that_they_count(page: Page, cards: list[Card]) -> None:
    assert len(visible_ids(page)) == len(cards)
    for task in ("grounding", "counting", "jigsaw"):
        expect(chip(page, "tasks", task).locator("b")).to_have_text(str(len(ids_of_task(cards, task))))
        chip(page, "tasks", task).click()
        assert visible_ids(page) == ids_of_task(cards, task)
    chip(page, "tasks", "grounding").click()
    chip(page, "categories", "grounding/rotate_180").click()
    assert visible_ids(page) == [cards[3].sample.id]
    expect(page.locator("#count")).to_have_text(f"1 of {len(cards)} samples")


def test_gallery_search_finds_ids_and_settings_and_reports_no_match(page: Page, cards: list[Card]) -> None:
    page.keyboard.press("/")
    page.keyboard.type(cards[4].sample.id[:9])
    assert visible_ids(page) == [cards[4].sample.id]
    page.locator("#search").fill("kind.name=mirror rotate_180")
    assert visible_ids(page) == [cards[3].sample.id]
    page.locator("#search").fill("no such setting")
    expect(page.locator("#empty")).to_be_visible()
    page.locator("#clear").click()
    assert len(visible_ids(page)) == len(cards)


def test_gallery_keys_move_between_visible_cards(page: Page, cards: list[Card]) -> None:
    chip(page, "tasks", "jigsaw").click()
    page.locator("h1").click()
    reached = []
    for key in ("j", "j", "k", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
        reached.append(current_card_id(page))
    first, second = ids_of_task(cards, "jigsaw")
    assert reached == [first, second, first, second, first]


def test_gallery_arrow_keys_show_the_next_slot(page: Page, cards: list[Card]) -> None:
    page.keyboard.press("j")
    stage = page.locator(".card.current .stage > .frame")
    caption = page.locator(".card.current .caption")
    expect(caption).to_contain_text("slot 12")
    page.keyboard.press("ArrowRight")
    start, end = cards[0].clips[0].clock.span(13, 13)
    expect(caption).to_have_text(re.compile(rf"^slot 13 · {start:.2f}.{end:.2f} s$"))
    position = stage.evaluate("frame => getComputedStyle(frame).backgroundPosition")
    assert position == page.locator(".card.current .slot:focus .frame").evaluate(
        "frame => getComputedStyle(frame).backgroundPosition"
    )


def test_gallery_stage_shows_the_pixels_of_the_clip(page: Page, cards: list[Card]) -> None:
    card = page.locator(".card").first
    stage = card.locator(".stage > .frame")
    card.locator(".slot").nth(30).hover()
    expect(card.locator(".caption")).to_contain_text("slot 30")
    picture = drawn_pixels(stage)
    errors = [
        np.abs(cv2.resize(frame, picture.shape[1::-1]).astype(float) - picture).mean()
        for frame in (cards[0].clips[0].frames[30], cards[0].clips[0].frames[30, :, ::-1])
    ]
    assert errors[0] < 12 < errors[1]


def test_gallery_slot_widths_follow_their_durations_and_the_span_covers_its_slots(page: Page) -> None:
    card = page.locator(".card").nth(3)
    slots = card.locator(".slot")
    widths = slots.evaluate_all("slots => slots.map(slot => slot.getBoundingClientRect().width)")
    durations = slots.evaluate_all("slots => slots.map(slot => slot.dataset.end - slot.dataset.start)")
    scale = sum(widths) / sum(durations)
    assert max(durations) > 1.5 * min(durations)
    assert all(abs(width - duration * scale) < 1.6 for width, duration in zip(widths, durations, strict=True))
    marked = card.locator(".slot.marked").evaluate_all(
        "slots => slots.reduce((sum, slot) => sum + slot.getBoundingClientRect().width, 0)"
    )
    spans = card.locator(".axis .line i").evaluate_all(
        "parts => parts.reduce((sum, part) => sum + part.getBoundingClientRect().width, 0)"
    )
    assert spans == pytest.approx(marked, abs=3)


def test_gallery_outlines_are_drawn_on_demand_over_the_shapes(page: Page) -> None:
    card = page.locator(".card").nth(1)
    outline = card.locator(".close-up polygon").first
    expect(outline).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("o")
    expect(outline).to_be_visible()
    expect(card.locator(".reveal")).to_have_attribute("aria-pressed", "true")
    frame, shape = card.locator(".close-up .frame").first.bounding_box(), outline.bounding_box()
    assert frame is not None
    assert shape is not None
    scale = frame["width"] / 288
    assert (shape["x"] + shape["width"] / 2 - frame["x"]) / scale == pytest.approx(80, abs=2)
    assert (shape["y"] + shape["height"] / 2 - frame["y"]) / scale == pytest.approx(60, abs=2)
    card.locator(".reveal").click()
    expect(outline).to_be_hidden()


def test_gallery_true_order_shows_positions_in_the_order_of_the_answer(page: Page, cards: list[Card]) -> None:
    card = page.locator(".card").nth(2)
    read_positions = "pieces => pieces.map(piece => piece.dataset.shown).join('')"
    assert card.locator(".piece").evaluate_all(read_positions) == "123456"
    expect(card.locator(".original").first).to_be_hidden()
    card.locator(".order").click()
    assert card.locator(".piece").evaluate_all(read_positions) == cards[2].sample.answer
    expect(card.locator(".original").first).to_be_visible()
    page.keyboard.press("t")
    assert card.locator(".piece").evaluate_all(read_positions) == "123456"


def test_gallery_before_button_shows_the_segment_before_the_change(page: Page, cards: list[Card]) -> None:
    card = page.locator(".card").first
    stage, small = card.locator(".stage > .frame"), card.locator(".slot .frame").nth(13)
    before, after = card.locator(".before"), card.locator(".after")
    card.locator(".slot").nth(13).click()
    for action in ("before", "after", "key"):
        pressed = after if action == "after" else before
        if action == "key":
            page.keyboard.press("b")
        else:
            pressed.click()
        expect(pressed).to_have_attribute("aria-pressed", "true")
        assert card.locator("[aria-pressed=true]").count() == 1
        shown_frame = cards[0].clips[0].frames[13]
        expected = shown_frame[:, ::-1] if pressed is before else shown_frame
        for frame in (stage, small):
            picture = drawn_pixels(frame)
            error, mirrored_error = (
                np.abs(cv2.resize(candidate, picture.shape[1::-1]).astype(float) - picture)[:, 4:-4].mean()
                for candidate in (expected, expected[:, ::-1])
            )
            assert error < mirrored_error / 2
    expect(card.locator(".caption")).to_contain_text("slot 13")
    assert page.locator(".card").nth(2).locator(".before").count() == 0, "no piece of a jigsaw is altered"


def test_gallery_before_button_goes_to_the_segment(page: Page) -> None:
    card = page.locator(".card").first
    card.locator(".slot").nth(2).click()
    card.locator(".before").click()
    expect(card.locator(".caption")).to_contain_text("slot 12")


def test_gallery_prints_every_frame(browser: Browser, cards: list[Card], tmp_path: Path) -> None:
    """Frames that were never near the window are printed too, and no strip is wider than the paper."""
    write_gallery(cards, tmp_path / "page.html", "Printed", {})
    with open_checked(browser, (tmp_path / "page.html").as_uri()) as page:
        assert page.locator("script.sprite").count() > 0, "some frames are not unpacked before printing"
        printed = page.pdf(format="A4")
        expect(page.locator("script.sprite")).to_have_count(0)
    frames = {frame.tobytes() for card in cards for clip in card.clips for frame in clip.frames}
    assert len(re.findall(rb"/Subtype\s*/Image", printed)) >= len(frames)
    with open_checked(browser, (tmp_path / "page.html").as_uri(), 700) as page:
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("document.documentElement.scrollWidth") <= 700
        expect(page.locator(".bar")).to_be_hidden()


def test_gallery_play_changes_the_frame_and_stops(page: Page) -> None:
    card = page.locator(".card").nth(1)
    caption = card.locator(".caption")
    card.locator(".play").click()
    before = caption.inner_text()
    expect(caption).not_to_have_text(before)
    expect(card.locator(".play")).to_have_text("Stop")
    page.keyboard.press("p")
    expect(card.locator(".play")).to_have_text("Play")


def test_gallery_link_opens_its_card_and_filters(page: Page, address: str, cards: list[Card]) -> None:
    wanted = cards[5].sample
    page.goto("about:blank")
    page.goto(f"{address}#task=jigsaw&card={wanted.id}")
    assert visible_ids(page) == ids_of_task(cards, "jigsaw")
    assert current_card_id(page) == wanted.id
    expect(page.locator(".card.current")).to_be_in_viewport()
    other = cards[2].sample.id
    page.locator(f"a.id[href='#card={other}']").click()
    page.wait_for_url(f"{address}#task=jigsaw&card={other}")  # written once the page has been told of the link
    assert current_card_id(page) == other


def test_gallery_help_opens_and_closes_with_the_keyboard(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_gallery_shows_hostile_text_and_runs_nothing(page: Page, cards: list[Card]) -> None:
    hostile = cards[-1].sample.category
    last = page.locator(".card").last
    assert last.locator("h2").inner_text() == hostile
    assert hostile in last.locator(".prompt").first.inner_text()
    assert page.title() == "Test dataset"
    page.locator("#categories button").filter(has_text="onerror").click()
    assert len(visible_ids(page)) == 1
    page.reload()
    assert len(visible_ids(page)) == 1
    assert page.title() == "Test dataset"


def test_gallery_controls_have_names(page: Page) -> None:
    unnamed = page.locator("button, input, a").evaluate_all(
        "all => all.filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"
    )
    assert unnamed == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_gallery_never_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.wait_for_function(f"document.documentElement.scrollWidth <= {width}")
    rows = page.locator(".card").first.locator(".row").count()
    assert rows > 1
