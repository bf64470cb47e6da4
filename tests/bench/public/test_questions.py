"""The questions of a public benchmark as a question set, and the check of their folder."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.public import write
from videossr.bench.public.base import BENCHMARKS
from videossr.bench.public.check import Finding, check
from videossr.bench.public.frames import FrameCache
from videossr.bench.public.questions import PublicQuestions
from videossr.bench.public.texts import Texts
from videossr.bench.records import UNREAD
from videossr.errors import ConfigError, DataError, NotFoundError
from videossr.storage.paths import to_path, write_bytes


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder in the schema of MVBench."""
    return write("mvbench", tmp_path / "mvbench")


def opened(data: Path, name: str = "mvbench", frames: int = 4, **options: object) -> PublicQuestions:
    return PublicQuestions(name, data, frames=frames, cache=FrameCache(data.parent / "cache", (frames,)), **options)  # type: ignore[arg-type]


def test_a_question_has_the_text_the_clip_and_the_gold_answer(data: Path) -> None:
    questions = opened(data)
    question = questions.question(0)
    assert question.prompt == (
        "<video>\nWhat happened before the lamp was lit?\nA. Opened a drawer.\nB. Closed a window.\nC. Opened a drawer."
        "\nReply with the letter of the right option and nothing else."
    )
    assert question.system == ""
    assert questions.gold(0).answer == question.answer
    (clip,) = questions.clips(0)
    assert clip.clock == question.clocks[0]
    assert clip.clock.end_ms == 3000  # from 1 s to the end of 4 s
    assert pickle.loads(pickle.dumps(questions)).question(0) == question


def test_every_benchmark_opens_and_each_prompt_shows_its_options_once(tmp_path: Path) -> None:
    for name in BENCHMARKS.names():
        questions = opened(write(name, tmp_path / name), name)
        assert questions.hash == opened(tmp_path / name, name).hash
        asked = 0
        for index in range(len(questions)):
            try:
                question = questions.question(index)
            except (DataError, NotFoundError):
                continue
            asked += 1
            prompt = question.prompt.casefold()
            for option in dict.fromkeys(question.answer.casefold().splitlines()[1:]):
                if len(option) > 3:
                    assert option.partition(" ")[2] in prompt, f"{name}: {option}"
            assert "nothing else" in prompt or name == "aotbench", name
            assert len(questions.clips(index)) == len(question.clocks)
        assert asked, name


def test_the_hash_follows_what_is_asked_and_not_where_it_lies(data: Path, tmp_path: Path) -> None:
    first = opened(data).hash
    assert opened(shutil.copytree(data, tmp_path / "elsewhere/mvbench")).hash == first
    assert opened(data, frames=8).hash != first
    overlay = tmp_path / "texts.toml"
    overlay.write_text('[mvbench]\nchoice = "{videos}{question} {options} Letter?"\n')
    assert opened(data, templates=overlay).hash != first
    path = data / "json/counterfactual_inference.json"
    path.write_text(path.read_text().replace("cube", "ball"))
    assert opened(data).hash != first


def test_a_folder_at_an_address_is_read_like_a_local_one(data: Path, tmp_path: Path) -> None:
    for path in data.rglob("*"):
        if path.is_file():
            write_bytes(to_path(f"memory://{tmp_path.name}/{path.relative_to(data)}"), path.read_bytes())
    remote = PublicQuestions("mvbench", f"memory://{tmp_path.name}", frames=4, cache=FrameCache(tmp_path / "new", (4,)))
    local = opened(data)
    assert remote.hash == local.hash
    for index in range(2):
        assert remote.question(index) == local.question(index)
        (mine,), (other,) = remote.clips(index), local.clips(index)
        np.testing.assert_array_equal(mine.frames, other.frames)


def test_a_bad_row_and_a_missing_video_cost_their_own_questions_only(data: Path) -> None:
    path = data / "json/counterfactual_inference.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([*rows, {"video": "x.mp4"}, "nonsense", rows[0]]))
    questions = opened(data)
    categories = [questions.category(index) for index in range(len(questions))]
    assert categories.count(UNREAD) == 2
    with pytest.raises(DataError, match=r"counterfactual_inference\.json, row 2: candidates must be"):
        questions.question(categories.index(UNREAD))
    with pytest.raises(NotFoundError, match=r"has no video/nturgbd/S001\.avi"):
        questions.question(categories.index("fine_grained_pose"))
    assert questions.gold(categories.index("fine_grained_pose")).answer == "B. Clap\nA. Bow\nB. Clap"


@pytest.mark.parametrize("name", ["../../secret.mp4", "/etc/passwd", "http://host/a.mp4"])
def test_a_row_cannot_show_a_file_outside_the_folder(data: Path, name: str) -> None:
    path = data / "json/counterfactual_inference.json"
    path.write_text(json.dumps([{"video": name, "question": "?", "candidates": ["a", "b"], "answer": "a"}]))
    questions = opened(data)
    place = next(k for k in range(len(questions)) if questions.category(k) == "counterfactual_inference")
    with pytest.raises((DataError, NotFoundError)):
        questions.question(place)


def test_a_marker_in_a_published_text_is_no_clip(data: Path) -> None:
    path = data / "json/counterfactual_inference.json"
    path.write_text(
        json.dumps(
            [
                {
                    "video": "video_10001.mp4",
                    "question": "In <video>, who?",
                    "candidates": ["<video>", "b"],
                    "answer": "b",
                }
            ]
        )
    )
    questions = opened(data)
    place = next(k for k in range(len(questions)) if questions.category(k) == "counterfactual_inference")
    assert questions.question(place).prompt.startswith("<video>\nIn video, who?\nA. video")


def test_missing_or_useless_annotations_are_named(tmp_path: Path, data: Path) -> None:
    with pytest.raises(NotFoundError, match=r"has no json/action_sequence\.json: get the files from https"):
        opened(tmp_path)
    for path in (data / "json").iterdir():
        path.write_text('["nonsense"]')
    with pytest.raises(DataError, match=r"none of 4 rows of mvbench can be used; the first: "):
        opened(data)
    (data / "json/action_sequence.json").write_text("{")
    with pytest.raises(DataError, match=r"action_sequence\.json is not valid JSON"):
        opened(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mvbnch]\nchoice = 'x'", "there is no such benchmark; did you mean 'mvbench'"),
        ("[mvbench]\nchoise = 'x'", "there is no text 'choise'; did you mean 'choice'"),
        ("[default]\nchoice = 'x'", "must hold {"),
        ("[default]\nchoice = 1", "choice must be a text"),
        ("default = 1", "default must be a table"),
    ],
)
def test_texts_that_nothing_uses_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "texts.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Texts("mvbench", path, known=tuple(BENCHMARKS.names()))


def found(findings: list[Finding], what: str) -> Finding:
    return next(finding for finding in findings if finding.what == what)


def test_check_tells_what_would_not_be_comparable(data: Path) -> None:
    path = data / "json/counterfactual_inference.json"
    rows = json.loads(path.read_text())
    late = {**rows[0], "start": 50.0, "end": 60.0, "new_field": 1}
    path.write_text(json.dumps([*rows, *rows, late, {}]))
    (data / "video/star/Charades_v1_480/AB12C.mp4").rename(data / "video/AB12C.mkv")
    (data / "video/clevrer/video_validation/broken.mp4").write_text("no video")
    (data / "json/moving_count.json").write_text(
        json.dumps([{"video": "broken.mp4", "question": "?", "candidates": ["1", "2"], "answer": "1"}])
    )
    seen: list[tuple[int, int]] = []
    findings = check(opened(data), lambda done, total: seen.append((done, total)))
    assert found(findings, "rows that cannot be used").verdict == "fault"
    assert found(findings, "number of questions").text == "9, and 4,000 are published"
    assert found(findings, "rows that repeat another one").verdict == "note"
    assert found(findings, "rows with equal options").examples == ("action_sequence/1",)
    assert found(findings, "fields that are not known").examples == ("new_field (in 1)",)
    missing = found(findings, "videos that are missing")
    assert missing.verdict == "fault"
    assert (
        "video/star/Charades_v1_480/AB12C.mp4 (2 questions); a file of that name is video/AB12C.mkv" in missing.examples
    )
    assert "1 question cannot be asked" in found(findings, "videos of fine_grained_pose").text
    (broken,) = found(findings, "videos that cannot be read").examples
    assert "broken.mp4: unreadable" in broken
    assert found(findings, "questions about a part behind the end of the video").verdict == "fault"
    assert seen[-1] == (5, 5)


def test_check_finds_gold_answers_behind_the_video(tmp_path: Path) -> None:
    folder = write("charades", tmp_path / "charades")
    findings = check(opened(folder, "charades"))
    behind = found(findings, "gold answers that end behind the video")
    assert behind.verdict == "note"
    assert behind.examples
