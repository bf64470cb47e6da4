"""`PublishedDataset`: rows are asked as published, and facts about them are read from the rows alone."""

from __future__ import annotations

import base64
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg

from tests.dataset.published.conftest import ELSEWHERE, FPS, ORDER, entry, row, write_json
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.published.dataset import PublishedDataset
from videossr.dataset.published.frames import clip_of
from videossr.errors import ConfigError, DataError
from videossr.question import Frames
from videossr.question_set import QuestionSet, open_questions
from videossr.rewards import compute_score
from videossr.video.decoding import decode
from videossr.video.plan import Plan
from videossr.video.scaling import resize

CATEGORIES = [
    "counting/easy",
    "counting/hard",
    "counting",
    "jigsaw/6",
    "grounding/mirror",
    "grounding/mirror",
    "grounding/stutter",
]
"""The category of each row, in the order of the files' names."""


@pytest.fixture(scope="module")
def opened(released: Path) -> QuestionSet:
    return open_questions(released / "rows", corpus=released)


def test_published_dataset_asks_every_row_in_its_own_words(opened: QuestionSet) -> None:
    assert isinstance(opened, PublishedDataset)
    assert len(opened) == len(CATEGORIES)
    for index, category in enumerate(CATEGORIES):
        question, clips = opened.question(index), opened.clips(index)
        assert opened.category(index) == category
        assert question.system == "Say it at once."
        assert [clip.clock for clip in clips] == list(question.clocks)
        assert compute_score(question.data_source, question.answer, question.answer)["score"] == 1
    assert len({opened.question(index).id for index in range(len(opened))}) == len(opened)
    assert opened.question(3).prompt.startswith("Clip 1: <video>\nClip 2: <video>")
    assert opened.question(4).prompt == "<video>\nWhen is it altered?"


def test_published_clips_have_the_frames_and_times_of_the_row(opened: QuestionSet, released: Path) -> None:
    (clip,) = opened.clips(4)
    files = [released / f"48frames/academic/v1/{k}{'_mirror' if 10 <= k < 20 else ''}.jpg" for k in range(48)]
    full = np.stack([simplejpeg.decode_jpeg(file.read_bytes(), "RGB") for file in files])
    assert full.shape[1:3] == (150, 262)
    assert np.array_equal(clip.frames, resize(full, 160, 256))
    assert clip.clock.times_ms == tuple(round(k * 1000 / FPS) for k in range(48))
    assert clip.clock.end_ms == round(48 * 1000 / FPS)


def test_published_jigsaw_shows_its_pieces(opened: QuestionSet) -> None:
    pieces = opened.clips(3)
    (whole,) = opened.clips(2)
    assert len(pieces) == 6
    for piece, original in zip(pieces, ORDER, strict=True):
        assert np.array_equal(piece.frames, whole.frames[8 * original : 8 * original + 8])
        assert piece.clock == whole.clock.slice(0, 8)
    assert opened.truth(3).order == tuple(ORDER)


def test_published_truth_and_difficulty_are_read_from_the_row(opened: QuestionSet) -> None:
    assert opened.truth(4).spans == ((10, 19),)
    assert opened.difficulty(4) == {"perturbation": "mirror", "length": 10, "seconds": 5.883, "duration": 28.235}
    assert opened.truth(6).spans == ((20, 23),)
    assert opened.truth(0).spans == ((5, 5), (20, 20), (30, 30))
    assert opened.difficulty(0) == {"shapes": 6, "slots": 3}
    assert opened.difficulty(3) == {"pieces": 6, "seconds": 4.706}
    assert opened.truth(2).spans == ()
    assert opened.difficulty(2) == {}


def test_published_source_is_the_video_of_the_question(released: Path, videos: Path, tmp_path: Path) -> None:
    opened = PublishedDataset(released / "rows")
    assert opened.source(3) == opened.source(4) == "academic/v1"
    assert opened.source(0) == f"{ELSEWHERE}/academic/v1"
    file = str(videos / "real/bikes.mp4")
    inline = "data:image/jpeg;base64,AAAA/AAA"
    rows = [row("counting", "<video>?", [{"video": video}], "0,0,0") for video in (file, [inline], [file], [3], [])]
    path = write_json(tmp_path / "rows.json", rows)
    sources = [PublishedDataset(path).source(index) for index in range(5)]
    assert sources[:3:2] == [file, str(videos / "real")]
    assert len(set(sources)) == 5


def test_published_dataset_gives_processes_and_threads_the_same(opened: QuestionSet) -> None:
    copy = pickle.loads(pickle.dumps(opened))
    assert len(pickle.dumps(opened)) < 2000
    assert copy.hash == opened.hash
    with ThreadPoolExecutor(4) as pool:
        clips = list(pool.map(copy.clips, [0, 4] * 4))
    for index in (0, 1):
        assert all(np.array_equal(clips[index][0].frames, other[0].frames) for other in clips[index::2])


def test_published_hash_depends_on_the_rows_and_their_scoring(released: Path, tmp_path: Path) -> None:
    mirror, frames = released / "rows/mirror.parquet", released / "48frames"
    questions = open_questions(mirror, corpus=frames)
    assert questions.hash == open_questions(mirror, corpus=released).hash
    assert questions.hash != open_questions(mirror, corpus=frames, source="videossr/choice").hash
    rows = pq.read_table(mirror).to_pylist()
    rows[0]["reward_model"]["ground_truth"] = "5.9-11.7"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mirror.parquet")
    assert questions.hash != open_questions(tmp_path / "mirror.parquet", corpus=frames).hash


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_open_questions_reads_the_same_from_json(released: Path, tmp_path: Path, suffix: str) -> None:
    table = released / "rows/jigsaw6.parquet"
    rows = pq.read_table(table).to_pylist()
    from_json = open_questions(write_json(tmp_path / f"rows{suffix}", rows), corpus=released)
    from_table = open_questions(table, corpus=released)
    assert from_json.question(0) == from_table.question(0)
    assert [clip.frames.tobytes() for clip in from_json.clips(0)] == [
        clip.frames.tobytes() for clip in from_table.clips(0)
    ]


def test_open_questions_finds_frames_at_their_path_or_below_the_corpus(
    released: Path, frames: Frames, tmp_path: Path
) -> None:
    absolute = [str(released / f"48frames/academic/v1/{k}.jpg") for k in range(4)]
    relative = [f"academic/v1/{k}.jpg" for k in range(4)]
    rows = [
        row("counting", "<video>?", [entry(names)], "0,0,0")
        for names in (absolute, [f"file://{absolute[0]}"], relative)
    ]
    opened = open_questions(write_json(tmp_path / "rows.jsonl", rows), anywhere=True)
    assert opened.clips(0)[0].frames.shape == (4, 160, 256, 3)
    assert len(opened.clips(1)[0].frames) == 1
    with pytest.raises(ValueError, match=r"rows.jsonl, line 3: academic/v1/0.jpg does not exist.*--corpus"):
        opened.clips(2)
    with_corpus = open_questions(tmp_path / "rows.jsonl", corpus=released / "48frames")
    assert np.array_equal(with_corpus.clips(2)[0].frames, opened.clips(0)[0].frames)


def test_open_questions_matches_the_longest_end_of_a_path(released: Path, tmp_path: Path) -> None:
    names = ["v1/0.jpg", "a/v1/0.jpg"]
    for name, number in zip(names, (3, 7), strict=True):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes((released / f"48frames/academic/v1/{number}.jpg").read_bytes())
    rows = [row("counting", "<video>?", [entry([f"/x/{name}"])], "0,0,0") for name in (*names, "../" + names[0])]
    opened = open_questions(write_json(tmp_path / "rows.json", rows), corpus=tmp_path)
    assert not np.array_equal(opened.clips(0)[0].frames, opened.clips(1)[0].frames)
    assert np.array_equal(opened.clips(0)[0].frames, opened.clips(2)[0].frames)


def test_published_video_files_are_decoded_at_their_own_times(videos: Path, tmp_path: Path) -> None:
    file = str(videos / "real/bikes.mp4")
    entries = [
        {"video": file, "fps": 2.0, "max_frames": 48, "max_pixels": 65536, "min_pixels": 16384},
        {"video": file, "nframes": 12, "max_pixels": 65536, "min_pixels": 16384},
    ]
    rows = [row("mine", "<video>\nWhich?\nA. one\nB. two", [item], "B") for item in entries]
    opened = open_questions(write_json(tmp_path / "rows.jsonl", rows), source="videossr/choice", anywhere=True)
    expected = decode(videos / "real/bikes.mp4", Plan(kind="fps", frames=48, fps=2.0, max_pixels=65536))
    (clip,) = opened.clips(0)
    assert clip.clock == expected.choice.clock == opened.question(0).clocks[0]
    assert clip.frames.shape[1:3] == (160, 384)  # of 272 x 640
    resized = resize(clip.frames, *expected.frames.shape[1:3])
    assert np.abs(resized.astype(int) - expected.frames).mean() < 8
    assert len(opened.clips(1)[0].frames) == 12
    assert opened.category(0) == "mine"
    assert opened.question(0).data_source == "videossr/choice"
    assert not opened.difficulty(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_source": "riddles"}, "unknown data_source 'riddles'.*Known: .*videossr/choice.*--source"),
        ({"data_source": "a" * 1000}, "data_source is 'a+\\.\\.\\., not a name"),
        ({"data_source": None}, "there is no data_source"),
        ({"prompt": "Which?"}, "prompt is 'Which\\?', not a list"),
        ({"prompt": [{"role": "user", "content": [{"type": "video"}]}]}, "content of the user's turn"),
        ({"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "the turns of prompt"),
        ({"prompt": [{"role": "user", "content": "Which?"}]}, "0 <video> in the prompt, but 1 videos"),
        ({"prompt": [{"role": "user", "content": "<video><video>"}]}, "2 <video> in the prompt, but 1 videos"),
        ({"videos": []}, "shows no video"),
        ({"videos": 7}, "videos is 7, not a list"),
        ({"videos": [{"video": []}]}, "must have the path of a video"),
        ({"videos": [{"video": [3]}]}, "must have the path of a video"),
        ({"videos": [{"video": ["a.jpg"], "sample_fps": 0}]}, "sample_fps .* is 0, not a number above 0"),
        ({"videos": [{"video": ["a.jpg"], "sample_fps": 1e-320}]}, "sample_fps .* is 1e-320, not a number above 0"),
        ({"videos": [{"video": ["a.jpg"], "sample_fps": 10**400}]}, "sample_fps .* is 10+, not a number above 0"),
        ({"videos": [{"video": ["a.jpg"], "sample_fps": 1e9}]}, "times must increase strictly"),
        ({"videos": [{"video": ["a.jpg"], "video_start": 3}]}, "has video_start, which is not known"),
        ({"videos": [{"video": "nowhere.mp4"}]}, "nowhere.mp4 does not exist"),
        ({"videos": [{"video": "data:video/mp4;base64," + "A" * 5000}]}, "data:.* has 5022 characters, too many"),
        ({"videos": [{"video": "https://a.b/c.mp4"}]}, "is an address; download it"),
        ({"videos": [{"video": "rows.jsonl"}]}, "rows.jsonl: unreadable"),
        ({"videos": [{"video": "rows.jsonl", "fps": 2, "nframes": 8}]}, "both fps and nframes"),
        ({"reward_model": {}}, "no text as its ground_truth"),
        ({"reward_model": {"ground_truth": "many"}}, "gold answer 'many' is not counts"),
        ({"images": ["a.jpg"]}, "it shows images"),
    ],
)  # fmt: skip
def test_published_dataset_names_a_bad_row_and_reads_the_others(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    good = row("counting", "<video>\nHow many?", [{"video": ["a.jpg"]}], "1,2,3")
    path = write_json(tmp_path / "rows.jsonl", [good, {**good, **change}, good])
    opened = open_questions(path)
    with pytest.raises(ValueError, match=f"rows.jsonl, line 2: .*{message}"):
        opened.question(1)
    assert opened.question(0) == opened.question(2)
    assert opened.question(0).clocks[0].end_ms == 500
    assert opened.category(1)
    assert opened.category(2) == "counting"


def test_published_clips_name_damaged_frames(released: Path, tmp_path: Path) -> None:
    jpeg = (released / "48frames/academic/v1/0.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "whole.jpg").write_bytes(jpeg)
    (tmp_path / "other.jpg").write_bytes(simplejpeg.encode_jpeg(np.zeros((262, 150, 3), np.uint8)))
    shown = [["cut.jpg"], ["text.jpg"], ["whole.jpg", "other.jpg"]]
    rows = [row("counting", "<video>?", [entry(names)], "0,0,0") for names in shown]
    opened = open_questions(write_json(tmp_path / "rows.jsonl", rows))
    for index, message in enumerate(
        (
            "line 1: .*cut.jpg: damaged",
            "line 2: .*text.jpg is no picture",
            "line 3: other.jpg has 150 x 262 pixels.*whole",
        )
    ):
        with pytest.raises(ValueError, match=message):
            opened.clips(index)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"max_pixels": 10**300, "min_pixels": 10**299}, "min_pixels .* not a number above 0"),
        ({"resized_height": 1e300, "resized_width": 32}, "resized_height .* not a number above 0"),
        ({"resized_height": 0.1, "resized_width": 900}, "900 x 1 is too long"),
        ({"resized_height": 1e9, "resized_width": 32}, "32 x 1000000000 is too long"),
    ],
)
def test_clip_of_refuses_absurd_sizes(released: Path, sizes: dict[str, float], message: str) -> None:
    frames = {"video": ["0.jpg"], **sizes}
    with pytest.raises(ValueError, match=message):
        clip_of(frames, lambda name: released / "48frames/academic/v1" / name)


@pytest.mark.parametrize("line", ['{"data_source": ', "[1]", "7", "\xff", pytest.param("[" * 100_000, id="deep")])
def test_published_dataset_names_a_line_that_is_no_row(line: str, tmp_path: Path) -> None:
    good = row("counting", "<video>\nHow many?", [{"video": ["a.jpg"]}], "1,2,3")
    path = write_json(tmp_path / "rows.jsonl", [good])
    path.write_bytes(path.read_bytes() + line.encode("latin-1") + b"\n")
    opened = open_questions(path)
    assert opened.category(1) == "unreadable"
    with pytest.raises(ValueError, match=r"rows.jsonl, line 2: not"):
        opened.question(1)


def test_open_questions_refuses_what_is_no_set_of_questions(released: Path, dataset: Path, tmp_path: Path) -> None:
    assert isinstance(open_questions(dataset), VideoSSRDataset)
    with pytest.raises(ValueError, match="leave out --source"):
        open_questions(dataset, source="grounding")
    with pytest.raises(FileNotFoundError, match=r"neither a dataset .* nor has it rows"):
        open_questions(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        open_questions(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"is no folder.*--corpus"):
        open_questions(released / "rows", corpus=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"unknown data_source 'grouding'.*Known:"):
        open_questions(released / "rows", source="grouding")
    (tmp_path / "rows.txt").write_text("{}")
    with pytest.raises(ValueError, match=r"rows are read from .parquet, .jsonl, .json files"):
        open_questions(tmp_path / "rows.txt")
    for name, data in (
        ("a.parquet", b"PAR1"),
        ("b.json", b"{"),
        ("c.json", b"{}"),
        ("d.json", b"[]"),
        ("e.jsonl", b""),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=name):
            open_questions(tmp_path / name)
    pq.write_table(pa.table({"video": ["a"], "answer": ["B"]}), tmp_path / "f.parquet")
    with pytest.raises(
        ValueError,
        match=r"f.parquet: its rows have \['answer', 'video'\], by which no .* verl: reward_model",
    ):
        open_questions(tmp_path / "f.parquet")
    (tmp_path / ".unfinished").mkdir()
    with pytest.raises(FileNotFoundError, match="is not complete"):
        open_questions(tmp_path)


def test_published_frames_may_be_data_uris(released: Path, frames: Frames, tmp_path: Path) -> None:
    data = (released / "48frames/academic/v1/0.jpg").read_bytes()
    uri = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    rows = [row("counting", "<video>?", [entry([uri, uri])], "0,0,0"), row("counting", "<video>?", [[uri]], "0,0,0")]
    opened = open_questions(write_json(tmp_path / "rows.json", rows))
    (clip,) = opened.clips(0)
    assert np.array_equal(clip.frames[1], resize(decode_frames(data), 160, 256)[0])
    (bare,) = opened.clips(1)
    assert bare.clock.end_ms == 500
    assert bare.frames.shape[1:3] == (288, 480)


def decode_frames(data: bytes) -> Frames:
    picture: Frames = simplejpeg.decode_jpeg(data, "RGB")[None]
    return picture


def test_open_questions_reads_rows_merged_from_several_files(released: Path, tmp_path: Path) -> None:
    """A column that only some of the merged files have is null in the rows of the others."""
    parts = [pq.read_table(file) for file in sorted((released / "rows").glob("*.parquet"))]
    merged = pa.concat_tables(parts, promote_options="permissive")
    pq.write_table(merged, tmp_path / "all.parquet")
    opened = open_questions(tmp_path / "all.parquet", corpus=released)
    assert [opened.category(index) for index in range(len(opened))] == CATEGORIES
    assert opened.clips(0)[0].frames.shape == (48, 160, 256, 3)


def test_open_questions_corpus_replaces_paths_of_another_machine(released: Path) -> None:
    assert not Path(ELSEWHERE).exists()
    opened = open_questions(released / "rows/mirror.parquet", corpus=str(released))
    assert len(opened.clips(1)[0].frames) == 48


@pytest.fixture
def outside(released: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A folder of rows, and beside it a picture of the user."""
    picture = tmp_path / "private/0.jpg"
    picture.parent.mkdir()
    picture.write_bytes((released / "48frames/academic/v1/0.jpg").read_bytes())
    (tmp_path / "received/frames").mkdir(parents=True)
    return tmp_path / "received", picture


@pytest.mark.parametrize("name", ["ABSOLUTE", "file://ABSOLUTE", "../private/0.jpg", "frames/../../private/0.jpg"])
def test_files_outside_the_rows_folder_are_shown_only_when_that_is_allowed(
    outside: tuple[Path, Path], name: str
) -> None:
    received, picture = outside
    name = name.replace("ABSOLUTE", str(picture))
    path = write_json(received / "rows.jsonl", [row("counting", "<video>?", [entry([name])], "0,0,0")])
    with pytest.raises(ValueError, match=r"rows.jsonl, line 1: .*0.jpg does not exist.*--corpus.*--anywhere"):
        open_questions(path).clips(0)
    with pytest.raises(ValueError, match="does not exist"):
        open_questions(path, corpus=received / "frames").clips(0)
    assert len(open_questions(path, corpus=picture.parent).clips(0)) == 1
    if not name.startswith(("..", "frames")):
        assert len(open_questions(path, anywhere=True).clips(0)) == 1


@pytest.mark.parametrize("link", ["frames/0.jpg", "frames"])
def test_links_that_lead_out_of_the_rows_folder_are_not_followed(outside: tuple[Path, Path], link: str) -> None:
    received, picture = outside
    (received / "frames").rmdir()
    if link == "frames":
        (received / link).symlink_to("../private")
    else:
        (received / "frames").mkdir()
        (received / link).symlink_to("../../private/0.jpg")
    names = ["frames/0.jpg", str(received / "frames/0.jpg"), "/elsewhere/frames/0.jpg"]
    rows = [row("counting", "<video>?", [entry([name])], "0,0,0") for name in names]
    path = write_json(received / "rows.jsonl", rows)
    opened, allowed = open_questions(path), open_questions(path, anywhere=True)
    for index in range(3):
        with pytest.raises(ValueError, match=r"frames/0.jpg is a link that leads out of .*received; --anywhere"):
            opened.clips(index)
        assert len(allowed.clips(index)) == 1
    if link == "frames/0.jpg":
        (received / link).unlink()
        (received / "frames/1.jpg").write_bytes(picture.read_bytes())
        (received / link).symlink_to("1.jpg")
        assert len(open_questions(path).clips(0)) == 1


def test_video_files_outside_the_rows_folder_are_not_opened(videos: Path, tmp_path: Path) -> None:
    rows = [row("counting", "<video>?", [{"video": str(videos / "real/bikes.mp4")}], "0,0,0")]
    path = write_json(tmp_path / "rows.jsonl", rows)
    with pytest.raises(ValueError, match=r"bikes.mp4 does not exist"):
        open_questions(path).question(0)
    assert open_questions(path, anywhere=True).question(0).clocks


def test_a_dataset_takes_no_option_of_rows(dataset: Path) -> None:
    with pytest.raises(ConfigError, match="whose frames are in its corpus: leave out --anywhere"):
        open_questions(dataset, anywhere=True)


def test_a_row_that_is_nested_too_deeply_is_unreadable(tmp_path: Path) -> None:
    """Python reads brackets up to a depth that depends on who asks; no depth may be another error than the row's."""
    good = row("counting", "<video>\nHow many?", [{"video": ["a.jpg"]}], "1,2,3")
    text = json.dumps(good)[:-1]
    depths = [*range(800, 1000, 4), 10_000]
    lines = [f'{text}, "deep": {"[" * depth}{"]" * depth}}}' for depth in depths]
    (tmp_path / "rows.jsonl").write_text("\n".join([json.dumps(good), *lines]))
    opened = open_questions(tmp_path / "rows.jsonl")
    unreadable = 0
    for index in range(len(opened)):
        if opened.category(index) == "unreadable":
            unreadable += 1
            with pytest.raises(DataError, match=f"rows.jsonl, line {index + 1}: "):
                opened.question(index)
    assert 0 < unreadable < len(opened)
