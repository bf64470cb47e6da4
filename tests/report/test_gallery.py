"""The gallery as a file: its cards and frames, that it is self-contained, and that hostile text stays text."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from tests.helpers.pages import ParsedPage, check_policy
from videossr.cli import gallery
from videossr.dataset.dataset import VideoSSRDataset
from videossr.report.gallery.filmstrip import make_sprite
from videossr.report.gallery.gallery import Card, shown_parameters, write_gallery
from videossr.sample import JSON
from videossr.tasks.base import open_task


@pytest.fixture(scope="module")
def text(cards: list[Card], tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("gallery") / "gallery.html"
    write_gallery(cards, out, "Test <dataset>", {"seed": "0", "where": cards[-1].sample.category})
    return out.read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> ParsedPage:
    return ParsedPage(text)


def test_gallery_has_a_card_for_every_sample_and_a_button_for_every_slot(page: ParsedPage, cards: list[Card]) -> None:
    shown = page.of_class("card")
    assert [card["data-id"] for card in shown] == [card.sample.id for card in cards]
    assert [card["data-category"] for card in shown] == [card.sample.category for card in cards]
    assert len(page.of_class("slot")) == sum(len(clip.clock) for card in cards for clip in card.clips)


def test_gallery_slots_have_the_times_of_the_clock(page: ParsedPage, cards: list[Card]) -> None:
    clock = cards[0].clips[0].clock
    slots = page.of_class("slot")[: len(clock)]
    assert [int(slot["data-start"]) for slot in slots] == list(clock.times_ms)
    assert [int(slot["data-end"]) for slot in slots] == [*clock.times_ms[1:], clock.end_ms]


def test_gallery_marks_the_slots_of_the_answer(page: ParsedPage, cards: list[Card]) -> None:
    start, end = (float(part) for part in cards[0].sample.answer.split("-"))
    spans = next(clip["data-spans"] for clip in page.of_class("timeline"))
    marked = [slot for slot in page.of_class("slot")[:48] if "marked" in slot["class"].split()]
    assert re.findall(r"\d+", spans) == [marked[0]["data-start"], marked[-1]["data-end"]]
    assert float(marked[0]["data-start"]) / 1000 == pytest.approx(start, abs=0.005)
    assert float(marked[-1]["data-end"]) / 1000 == pytest.approx(end, abs=0.005)


def test_gallery_shows_pieces_at_the_positions_of_the_answer(page: ParsedPage, cards: list[Card]) -> None:
    pieces = page.of_class("piece")[:6]
    position = {piece["data-original"]: piece["data-shown"] for piece in pieces}
    assert "".join(position[str(original)] for original in range(1, 7)) == cards[2].sample.answer


def test_gallery_sprites_show_every_frame_in_its_cell(page: ParsedPage, cards: list[Card]) -> None:
    frames = cards[0].clips[0].frames
    sheet = simplejpeg.decode_jpeg(base64.b64decode(page.scripts[0]), "RGB")
    side = 8  # for 48 slots, and 10 altered ones before the change
    height, width = sheet.shape[0] // side, sheet.shape[1] // side
    places = [frame["style"] for frame in page.of_class("frame") if "--x" in frame.get("style", "")]
    for style, frame in zip(places, frames, strict=False):
        x, y = (round(float(part) * (side - 1) / 100) for part in re.findall(r"([\d.]+)%", style)[:2])
        cell = sheet[y * height : (y + 1) * height, x * width : (x + 1) * width]
        expected = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        assert np.abs(cell.astype(float) - expected).mean() < 6
    assert height == frames.shape[1], "the large frame has all the lines that the model sees"


def test_gallery_shows_an_altered_segment_before_the_change(dataset: Path, tmp_path: Path) -> None:
    """In a built dataset, a mirrored segment is turned back and a shuffled one put in the order of the video."""
    questions = VideoSSRDataset(dataset)
    items = [questions[index] for index in range(len(questions))]
    for item in items:
        before = questions.unaltered(item.sample)
        if item.sample.task != "grounding":
            assert before is None
            continue
        assert before is not None
        ((first, last),) = item.truth.spans
        after = item.clips[0].frames[first : last + 1]
        if item.sample.category == "grounding/mirror":
            assert np.array_equal(before, after[:, :, ::-1])
        else:
            order = item.sample.integers("order")
            assert np.array_equal(before[order], after)
            assert not np.array_equal(before, after)
    for item in items:
        shown = open_task(item.sample.task).shown_params(item.sample)
        if item.sample.task == "jigsaw":
            assert shown["order, from 1"] == [piece + 1 for piece in item.sample.integers("order")]
            assert "order" not in shown
        else:
            assert shown == item.sample.params
    gallery.command(str(dataset), out=tmp_path / "page.html")
    toggles = ParsedPage((tmp_path / "page.html").read_text("utf-8")).of_class("before")
    assert len(toggles) == sum(item.sample.task == "grounding" for item in items) > 2


def test_gallery_escapes_hostile_text(text: str, page: ParsedPage, cards: list[Card]) -> None:
    hostile = cards[-1].sample.category
    assert "</script>" in hostile
    assert hostile not in text
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert "img" not in {tag for tag, _ in page.elements}
    assert page.of_class("card")[-1]["data-category"] == hostile
    assert "{{ 7 * 7 }}" in text
    kinds = [attributes.get("type") for tag, attributes in page.elements if tag == "script"]
    clips = sum(len(card.clips) for card in cards)
    assert kinds == ["text/plain"] * clips + [None]


def test_gallery_policy_allows_one_script_and_no_network(page: ParsedPage) -> None:
    check_policy(page)


def test_write_gallery_takes_cards_one_at_a_time(cards: list[Card], tmp_path: Path) -> None:
    events: list[str] = []

    def generate_cards() -> Iterator[Card]:
        for card in cards[:3]:
            events.append("made")
            yield card

    write_gallery(
        generate_cards(), tmp_path / "page.html", "Title", {}, progress=lambda done: events.append(f"wrote {done}")
    )
    assert events == ["made", "wrote 1", "made", "wrote 2", "made", "wrote 3"]


def test_write_gallery_leaves_the_old_page_after_an_error(cards: list[Card], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("old")

    def fail_after_one_card() -> Iterator[Card]:
        yield cards[0]
        raise ValueError("broken pack")

    with pytest.raises(ValueError, match="broken pack"):
        write_gallery(fail_after_one_card(), out, "Title", {})
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(("count", "height", "width"), [(1, 160, 288), (7, 288, 160), (48, 40, 72)])
def test_make_sprite_cells_are_whole_jpeg_blocks_and_no_larger_than_the_frame(
    count: int, height: int, width: int
) -> None:
    sprite = make_sprite(np.full((count, height, width, 3), 90, np.uint8), 96, 80)
    sheet_height, sheet_width, _, _ = simplejpeg.decode_jpeg_header(sprite.jpeg)
    assert sprite.columns * sprite.rows >= count
    assert sheet_height % (16 * sprite.rows) == sheet_width % (16 * sprite.columns) == 0
    assert sheet_height // sprite.rows <= min(96, height)


def test_shown_parameters_are_flat_text_and_count_long_lists() -> None:
    params: dict[str, JSON] = {
        "kind": {"name": "mirror", "gain": 0.5},
        "order": [2, 0, 1],
        "inner": {"order": [2, 0]},
        "slots": [*range(48)],
        "still": None,
    }
    assert shown_parameters(params) == {
        "kind.name": "mirror",
        "kind.gain": "0.5",
        "order": "[2, 0, 1]",
        "inner.order": "[2, 0]",
        "slots": "48 values",
        "still": "null",
    }
