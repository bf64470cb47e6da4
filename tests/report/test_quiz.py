"""The page of a quiz as a file: it holds its questions and frames, and nothing of the answers."""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import simplejpeg

from tests.helpers.pages import ParsedPage, check_policy
from videossr.answers.base import EntryForm
from videossr.cli import gallery
from videossr.dataset import dataset as datasets
from videossr.dataset.dataset import VideoSSRDataset
from videossr.question import Question, Truth
from videossr.report.gallery.quiz import form_of, quiz_order
from videossr.tasks.base import open_task


def write_quiz(dataset: Path, out: Path, **more: Any) -> str:
    gallery.command(str(dataset), out=out, quiz=True, **more)
    return out.read_text("utf-8")


@pytest.fixture(scope="module")
def text(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_quiz(dataset, tmp_path_factory.mktemp("quiz") / "quiz.html")


def test_quiz_page_does_not_depend_on_the_gold_answers(
    dataset: Path, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page has the same bytes whatever the answers are, so no answer is in it."""
    gold = {"videossr/grounding": "123.4-567.8", "videossr/counting": "91,92,93", "videossr/jigsaw": "654321"}
    read_question = datasets._question

    def with_other_answer(row: Any) -> Question:
        question = read_question(row)
        return replace(question, answer=gold[question.data_source])

    monkeypatch.setattr(datasets, "_question", with_other_answer)
    monkeypatch.setattr(datasets, "open_task", lambda task: TaskWithoutTruth(open_task(task)))
    item = VideoSSRDataset(dataset)[0]
    assert item.question.answer == gold[item.question.data_source]
    assert item.truth == Truth()
    assert write_quiz(dataset, tmp_path / "quiz.html") == text


class TaskWithoutTruth:
    """A task whose truth is empty."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return (lambda sample: Truth()) if name == "truth" else getattr(self._task, name)


def test_quiz_page_holds_no_answer_and_no_category(dataset: Path, text: str) -> None:
    questions = VideoSSRDataset(dataset)
    page = ParsedPage(text)
    assert not [tag for tag, _ in page.elements if tag in ("polygon", "svg")]
    assert not page.of_class("marked")
    assert not page.of_class("badge")
    assert {clip["data-spans"] for clip in page.of_class("timeline")} == {"[]"}
    words = re.sub(r'<script type="text/plain" class="sprite">[^<]*</script>', "", text)
    for index in range(len(questions)):
        question = questions.question(index)
        assert questions.category(index) not in words
        if question.data_source != "videossr/jigsaw":  # six digits may stand in a place of a slot
            assert question.answer not in words.replace(question.prompt, "")
        else:
            assert not re.search(rf"(?<!\d){question.answer}(?!\d)", words)


def test_quiz_pictures_hold_only_the_frames_of_the_question(dataset: Path, text: str) -> None:
    questions, page = VideoSSRDataset(dataset), ParsedPage(text)
    clips = [clip for card in page.of_class("card") for clip in questions[questions.find(card["data-id"])].clips]
    pictures = [base64.b64decode(script) for script in page.scripts[: len(clips)]]
    assert len(page.of_class("slot")) == sum(len(clip.clock) for clip in clips)
    for clip, holder, picture in zip(clips, page.of_class("clip"), pictures, strict=True):
        columns, rows = (int(side) for side in re.findall(r"--[cr]:(\d+)", holder["style"]))
        assert (rows - 1) * columns < len(clip.clock) <= rows * columns
        height, width, _, _ = simplejpeg.decode_jpeg_header(picture)
        assert (height // rows, width // columns) == clip.frames.shape[1:3], "frames have the size that a model sees"


def test_quiz_page_shows_the_prompt_and_system_text_of_the_question(dataset: Path, text: str) -> None:
    questions, page = VideoSSRDataset(dataset), ParsedPage(text)
    cards = page.of_class("card")
    assert len(cards) == len(questions)
    plain = re.sub(r"<[^>]*>", "\n", text).replace("&#39;", "'")
    for card in cards:
        question = questions.question(questions.find(card["data-id"]))
        for part in question.prompt.split("<video>"):
            assert part.strip() in plain
        assert question.system in plain


def test_quiz_order_is_reproducible_and_mixes_categories(dataset: Path, text: str) -> None:
    questions = VideoSSRDataset(dataset)
    ids = [questions.question(index).id for index in range(len(questions))]
    order = quiz_order(questions.hash, ids)
    assert [card["data-id"] for card in ParsedPage(text).of_class("card")] == order
    assert quiz_order(questions.hash, reversed(ids)) == order
    assert quiz_order("another", ids) != order
    many = [f"{number:020x}" for number in range(4000)]  # of two categories, one after the other
    first = Counter(int(name, 16) < 2000 for name in quiz_order("d", many)[:2000])
    assert 900 < first[True] < 1100


def test_quiz_options_only_and_per_category_choose_the_questions(dataset: Path, tmp_path: Path) -> None:
    questions = VideoSSRDataset(dataset)
    wanted = [questions.question(index).id for index in (1, 4)]
    only = ParsedPage(write_quiz(dataset, tmp_path / "only.html", only=(wanted[0], wanted[1][:8], wanted[0])))
    assert {card["data-id"] for card in only.of_class("card")} == set(wanted)
    assert len(only.of_class("card")) == 2, "a sample that is named twice is asked once"
    few = ParsedPage(write_quiz(dataset, tmp_path / "few.html", per_category=1))
    categories = [questions.category(questions.find(card["data-id"])) for card in few.of_class("card")]
    assert Counter(categories) == Counter(set(categories))
    assert len(categories) == len(questions.manifest["recipe"]["categories"])


def test_quiz_option_thumb_height_makes_frames_smaller(dataset: Path, text: str, tmp_path: Path) -> None:
    small = write_quiz(dataset, tmp_path / "small.html", thumb_height=64)
    assert len(small) < len(text) / 2
    assert "at most 64 px high" in small


def test_quiz_page_policy_allows_one_script_and_no_network(text: str) -> None:
    check_policy(ParsedPage(text))


def test_form_of_is_text_for_an_unknown_task_and_counts_for_counting(dataset: Path) -> None:
    question = VideoSSRDataset(dataset).question(0)
    assert form_of(replace(question, data_source="videossr/choice", answer="B")) == EntryForm("text")
    assert form_of(replace(question, data_source="videossr/counting", answer="1,2")) == EntryForm("counts", 2)
