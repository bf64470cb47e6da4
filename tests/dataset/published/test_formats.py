"""Rows of each format that is read as it is: what is asked, what is the gold answer, and what a bad row lacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.dataset.published.conftest import write_json
from videossr.dataset.published.formats.easyvideor1 import TYPES
from videossr.dataset.published.formats.golds import gold_text
from videossr.dataset.published.formats.words import words
from videossr.question import VIDEO
from videossr.question_set import QuestionSet, open_questions
from videossr.rewards import compute_score

Row = dict[str, Any]

LABELLED: Row = {"video": "bikes.mp4", "prompt": "Who?\nA. a dog\nB. a man", "answer": "B", "answer_type": "choice"}
EASYVIDEOR1: Row = {
    "problem": "What color is the car?",
    "answer": "<answer>B</answer>",
    "videos": ["path/to/bikes.mp4"],
    "data_type": "video",
    "problem_type": "multiple choice",
    "options": ["A. Red", "B. Blue", "C. Green"],
    "preprocessed_video": "0123456789abcdef.pt",
    "problem_id": 7,
}
TIMELENS: Row = {
    "source": "hirest",
    "video_path": "hirest/bikes.mp4",
    "duration": 10.0,
    "events": [
        {"query": "A man  rides a bicycle.", "span": [[1.5, 4.0]]},
        {"query": "a car passes", "span": [[0, 1], [5, 6.25]]},
    ],
}
SWIFT: Row = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<video>When?"}],
    "videos": ["/data/bikes.mp4"],
    "solution": "4.5-9.0",
    "data_source": "videossr/span",
    "chat_template_kwargs": {"fps": 1.0, "max_frames": 4, "min_pixels": 1024, "max_pixels": 61440},
}
VERL: Row = {
    "data_source": "videossr/choice",
    "prompt": [{"role": "user", "content": "<video>\nWho?"}],
    "videos": [{"video": "bikes.mp4", "nframes": 4, "min_pixels": 1024, "max_pixels": 4096}],
    "reward_model": {"ground_truth": "B"},
}
FORMATS: dict[str, Row] = {
    "labelled": LABELLED,
    "EasyVideoR1": EASYVIDEOR1,
    "TimeLens": TIMELENS,
    "ms-swift": SWIFT,
    "verl": VERL,
}


@pytest.fixture
def folder(videos: Path, tmp_path: Path) -> Path:
    """A folder with a real clip in it, for rows about it."""
    shutil.copyfile(videos / "real/bikes.mp4", tmp_path / "bikes.mp4")
    return tmp_path


def write_rows(path: Path, rows: list[Row]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    return write_json(path, rows)


def opened(folder: Path, *rows: Row, name: str = "rows.jsonl", source: str | None = None) -> QuestionSet:
    return open_questions(write_rows(folder / name, list(rows)), source=source)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_read_from_each_kind_of_file(folder: Path, name: str, suffix: str) -> None:
    questions = opened(folder, FORMATS[name], FORMATS[name], name=f"rows{suffix}")
    again = opened(folder, FORMATS[name], name="rows.jsonl")
    assert len(questions) == 2 * len(again) == (4 if name == "TimeLens" else 2)
    for index in range(len(again)):
        question = questions.question(index)
        assert (question.prompt, question.answer) == (again.question(index).prompt, again.question(index).answer)
        assert question.prompt.count(VIDEO) == 1
        assert compute_score(question.data_source, question.answer, question.answer)["score"] == 1
        (clip,) = questions.clips(index)
        assert clip.clock == question.clocks[0]
        assert clip.clock.end_ms / 1000 == pytest.approx(10, abs=0.5), "the clock of the clip, not of a list of frames"
        assert len(clip.frames) == (4 if name in ("ms-swift", "verl") else 20)


def test_easyvideor1_rows_show_their_options_and_say_how_to_answer(folder: Path) -> None:
    plain = {**EASYVIDEOR1, "options": ["Red", "Blue"], "answer": "Blue", "data_source": "cars"}
    questions = opened(folder, EASYVIDEOR1, plain)
    question = questions.question(0)
    reply = words()["reply"]["choice"]
    assert question.prompt == f"<video>\nWhat color is the car?\nA. Red\nB. Blue\nC. Green\n{reply}"
    assert (question.data_source, question.answer, questions.category(0)) == ("videossr/choice", "B", "choice")
    assert questions.question(1).prompt == f"<video>\nWhat color is the car?\nA. Red\nB. Blue\n{reply}"
    assert (questions.question(1).answer, questions.category(1)) == ("B", "choice/cars")


def test_easyvideor1_options_that_begin_with_a_letter_as_a_word_have_no_letters(folder: Path) -> None:
    row = {**EASYVIDEOR1, "options": ["A cat", "B dog"], "answer": "A cat"}
    question = opened(folder, row).question(0)
    assert "A. A cat\nB. B dog" in question.prompt
    assert question.answer == "A"


@pytest.mark.parametrize(
    ("problem_type", "answer", "gold"),
    [
        ("boolean", "True", "True"),
        ("binary classification", False, "no"),
        ("numerical", 3, "3"),
        ("regression", "42.7", "42.7"),
        ("temporal grounding", '{"time": [24.3, 30.4]}', "24.3-30.4"),
        ("Temporal_Grounding", "<answer>[24.3, 30.4]</answer>", "24.3-30.4"),
        ("multiple choice", "C", "C"),
    ],
)
def test_easyvideor1_problem_types_have_answer_types(
    folder: Path, problem_type: str, answer: object, gold: str
) -> None:
    row = {**EASYVIDEOR1, "problem_type": problem_type, "answer": answer, "options": []}
    question = opened(folder, row).question(0)
    kind = TYPES[problem_type.lower().replace("_", " ")]
    assert (question.data_source, question.answer) == (f"videossr/{kind}", gold)
    assert question.prompt.endswith(words()["reply"][kind])


def test_an_easyvideor1_type_without_a_rule_is_scored_as_the_user_says(folder: Path) -> None:
    row = {**EASYVIDEOR1, "problem_type": "ocr", "answer": "7"}
    with pytest.raises(ValueError, match=r"rows.jsonl, line 1: unknown data_source 'ocr'.*--source"):
        opened(folder, row).question(0)
    assert opened(folder, row, source="videossr/number").question(0).data_source == "videossr/number"


def test_timelens_lines_have_a_question_for_each_event(folder: Path) -> None:
    questions = opened(folder, TIMELENS)
    first, second = questions.question(0), questions.question(1)
    assert "the following happens: A man rides a bicycle.\n" in first.prompt
    assert (first.data_source, first.answer, questions.category(0)) == ("videossr/span", "1.5-4", "span/hirest")
    assert (second.data_source, second.answer) == ("videossr/moments", "0-1, 5-6.25")
    assert first.id != second.id
    assert questions.source(0) == questions.source(1) == "hirest/bikes.mp4"


def test_timelens_bench_and_filtered_lines_are_the_same_questions(folder: Path) -> None:
    bench = {"bikes": {"duration": 10.0, "spans": [[1.5, 4.0]], "queries": ["A man rides a bicycle."]}}
    (folder / "bench.json").write_text(json.dumps(bench))
    filtered = {key: value for key, value in TIMELENS.items() if key != "events"} | TIMELENS["events"][0] | {"iou": 0.3}
    one, other = open_questions(folder / "bench.json").question(0), opened(folder, filtered).question(0)
    assert (one.prompt, one.answer, one.clocks) == (other.prompt, other.answer, other.clocks)


def test_swift_rows_without_a_solution_have_the_turn_of_the_assistant(folder: Path) -> None:
    turns = [*SWIFT["messages"], {"role": "assistant", "content": "4.5-9.0"}]
    question = opened(folder, {**SWIFT, "messages": turns, "solution": None}).question(0)
    assert (question.system, question.answer) == ("Be brief.", "4.5-9.0")


def test_labelled_rows_may_show_frames_and_several_videos(released: Path) -> None:
    names = [f"48frames/academic/v1/{number}.jpg" for number in range(4)]
    sizes = {"max_pixels": 65536, "min_pixels": 16384}
    base = {"prompt": "In which order?", "answer": [2, 1], "answer_type": "sequence", **sizes}
    rows = [{**base, "frames": names, "sample_fps": 4}, {**base, "videos": [names[:2], names[2:]], "system": "Look."}]
    path = write_json(released / "labelled.jsonl", rows)
    questions = open_questions(path)
    path.unlink()
    assert questions.question(0).prompt == "<video>\nIn which order?"
    assert questions.clips(0)[0].clock.times_ms == (0, 250, 500, 750)
    assert questions.question(1).prompt == "<video>\n<video>\nIn which order?"
    assert [len(clip.frames) for clip in questions.clips(1)] == [2, 2]
    assert questions.question(1).system == "Look."


@pytest.mark.parametrize(
    ("kind", "value", "gold"),
    [
        ("span", [14.5, 26.2], "14.5-26.2"),
        ("span", "[14.5, 26.2]", "14.5-26.2"),
        ("moments", [[3, 4], [10, 12.5]], "3-4, 10-12.5"),
        ("moments", [3, 4], "3-4"),
        ("sequence", [3, 1, 2], "3,1,2"),
        ("counts", "[3, 0, 2]", "3,0,2"),
        ("yes_no", True, "yes"),
        ("number", -2.5, "-2.5"),
        ("number", "-2.5", "-2.5"),
        ("choice", "<think>A</think>B", "B"),
    ],
)
def test_gold_answers_of_many_forms_become_texts_that_score_one(kind: str, value: object, gold: str) -> None:
    assert gold_text(kind, value) == gold
    assert compute_score(f"videossr/{kind}", gold, gold)["score"] == 1


BAD: list[tuple[str, Row, str]] = [
    ("labelled", {"answer": None}, "there is no answer"),
    ("labelled", {"prompt": ""}, "prompt is '', not a text"),
    ("labelled", {"video": None}, "there is no video"),
    ("labelled", {"frames": ["a.jpg"]}, "it has both video and frames"),
    ("labelled", {"prompt": "<video> and <video>?"}, "2 <video> in the prompt, but 1 videos"),
    ("labelled", {"video": "lost.mp4"}, "lost.mp4 does not exist"),
    ("labelled", {"answer": "a dog"}, "gold answer 'a dog' is not the letter"),
    ("labelled", {"answer": {"a": 1}}, "answer is {'a': 1}, which is no answer of the type choice"),
    ("labelled", {"answer_type": "choise"}, "there is no answer_type 'choise'; did you mean 'choice'.*Known: .*yes_no"),
    ("labelled", {"answer_type": None}, "it has no data_source or answer_type: .*--source .train: --data.source"),
    ("labelled", {"answer_type": "number", "answer": "many"}, "gold answer 'many' is not a number"),
    ("labelled", {"answer_type": "span", "answer": [4, 4]}, "the answer '4-4' would be scored 0 if a model gave it"),
    ("labelled", {"images": ["a.jpg"]}, "it shows images"),
    ("EasyVideoR1", {"data_type": "image"}, "data_type is 'image'; only videos"),
    ("EasyVideoR1", {"answer": None}, "there is no answer"),
    ("EasyVideoR1", {"answer": "a tree"}, "answer is 'a tree', which is none of the 3 options"),
    ("EasyVideoR1", {"videos": []}, "it has no videos but a preprocessed_video, '0123456789abcdef.pt': a pickle"),
    ("EasyVideoR1", {"videos": [], "preprocessed_video": None}, "there is no videos|shows no video"),
    ("EasyVideoR1", {"problem": None}, "there is no problem"),
    ("EasyVideoR1", {"options": "AB"}, "options is 'AB', not a list"),
    ("EasyVideoR1", {"options": [1, 2]}, r"options is \[1, 2\], not a list of texts"),
    ("TimeLens", {"events": []}, r"events is \[\], not a list of at least one"),
    ("TimeLens", {"events": [{"query": "a man"}]}, r"there is no span"),
    ("TimeLens", {"events": [{"query": "", "span": [1, 2]}]}, r"query is '', not a text"),
    ("TimeLens", {"events": [{"query": "a", "span": [2, 1]}]}, r"gold answer '2-1' is not an interval"),
    ("TimeLens", {"events": [{"query": "a", "span": [0, 10**400]}]}, r"span is \[0, 10+.*, which is no answer of"),
    ("TimeLens", {"events": [{"query": "a", "span": [-1, 2]}]}, r"span is \[-1, 2\], which is no answer"),
    ("TimeLens", {"video_path": None}, "there is no video_path"),
    ("ms-swift", {"solution": None}, "there is no solution, nor a turn of the assistant"),
    ("ms-swift", {"messages": "Who?"}, "messages is 'Who\\?', not a list of messages"),
    ("ms-swift", {"videos": None}, "there is no videos"),
    ("ms-swift", {"videos": ["bikes.mp4", "bikes.mp4"]}, "1 <video> in the prompt, but 2 videos"),
    ("ms-swift", {"chat_template_kwargs": 3}, "chat_template_kwargs is 3, not a table"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), BAD)
def test_what_a_row_lacks_is_told_by_its_line(folder: Path, name: str, change: Row, message: str) -> None:
    good = FORMATS[name]
    path = folder / "rows.jsonl"
    path.write_text("\n\n".join(json.dumps(row) for row in (good, {**good, **change}, good)))
    questions = open_questions(path)
    parts = 2 if name == "TimeLens" else 1
    with pytest.raises(ValueError, match=f"rows.jsonl, line 3(, events.0.)?: .*({message})"):
        questions.question(parts)
    assert questions.question(0) == questions.question(len(questions) - parts)


def test_a_format_is_told_by_several_rows(folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_text("{broken\n" + json.dumps({"note": "a row of nothing"}) + "\n" + json.dumps(LABELLED))
    questions = open_questions(path)
    assert questions.question(2).answer == "B"
    with pytest.raises(ValueError, match="line 1: not valid JSON"):
        questions.question(0)
    with pytest.raises(ValueError, match="line 2: there is no prompt"):
        questions.question(1)
    path.write_text(json.dumps({"video": "bikes.mp4", "question": "Who?"}))
    with pytest.raises(ValueError, match=r"its rows have \['question', 'video'\], by which no format is known"):
        open_questions(path)


def test_the_hash_of_rows_with_our_words_depends_on_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [opened(folder, FORMATS[name]).hash for name in FORMATS]
    monkeypatch.setattr("videossr.dataset.published.rows.words_hash", lambda: "other words")
    after = [opened(folder, FORMATS[name]).hash for name in FORMATS]
    changed = {name for name, one, other in zip(FORMATS, before, after, strict=True) if one != other}
    assert changed == {"EasyVideoR1", "TimeLens"}


ODD: tuple[Any, ...] = (
    None,
    False,
    -1,
    1e308,
    10**400,
    float("nan"),
    "\ud800",
    VIDEO,
    "[",
    [],
    {},
    [[1]],
    [1, 2],
    [{"role": ["user"]}],
)
"""Values that a field may have in a row of a stranger."""


def places_in(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of each value within tables and lists."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [inner for key in keys for inner in ((*place, key), *places_in(value[key], (*place, key)))]


@pytest.mark.parametrize("name", FORMATS)
def test_odd_values_raise_nothing_but_errors_that_name_the_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "rows.jsonl"
    told = 0
    for *outer, last in places_in(FORMATS[name]):
        lines = [json.dumps(FORMATS[name])]
        for value in ODD:
            row = json.loads(lines[0])
            inner = row
            for key in outer:
                inner = inner[key]
            inner[last] = value
            lines.append(json.dumps(row))
        path.write_text("\n".join(lines))
        questions = open_questions(path)
        for index in range(len(questions)):
            questions.category(index)
            try:
                questions.gold(index)
                questions.question(index)
            except ValueError as error:
                told += f"{path}, line " in str(error)
            except FileNotFoundError:
                pass  # there is no clip in this folder
    assert told > 20
