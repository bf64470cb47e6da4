"""Runs: no question is asked twice, no answer is lost, and failures are recorded."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.bench.conftest import CHANCE, Script
from videossr.bench.evaluation import Progress, choose_questions, evaluate
from videossr.bench.records import CONFIG, MANIFEST, PREDICTIONS, read_run
from videossr.dataset.dataset import VideoSSRDataset
from videossr.models.base import Decoding, Request, Response
from videossr.question import Gold, Question

SLOW = Path(__file__).parents[1] / "helpers/slow_model.py"


def read_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / PREDICTIONS).read_bytes().splitlines()]


def fail_on(*indices: int) -> Callable[[Request], Response]:
    """A `respond` that fails on these questions and answers the others correctly."""
    answer_correctly = Script().respond
    return lambda request: (
        Response(request.index, error="no frames") if request.index in indices else answer_correctly(request)
    )


class Broken(VideoSSRDataset):
    """A dataset whose question 3 cannot be read, and whose question 5 has an invalid gold answer."""

    def question(self, index: Any) -> Question:
        if index == 3:
            raise ValueError("row 3 was altered")
        return super().question(index)

    def gold(self, index: Any) -> Gold:
        gold = super().gold(index)
        return replace(gold, answer="gold") if index == 5 else gold


class Rows:
    """The same questions as a plain question set, without a recipe."""

    def __init__(self, inner: VideoSSRDataset) -> None:
        self.path, self.hash = inner.path, inner.hash
        self.question, self.clips, self.category, self.source = (
            inner.question,
            inner.clips,
            inner.category,
            inner.source,
        )
        self.difficulty, self.truth, self.length = inner.difficulty, inner.truth, len(inner)
        self.gold = inner.gold

    def __len__(self) -> int:
        return self.length


class Reworded(VideoSSRDataset):
    """A dataset at the same path with another hash."""

    @property
    def hash(self) -> str:
        return "0f" * 32


def test_evaluate_records_every_question_and_answer(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    reports: list[Progress] = []
    run = evaluate(built, script.spec(), tmp_path / "run", progress=reports.append)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {CONFIG, PREDICTIONS, MANIFEST}
    assert [prediction.index for prediction in run.predictions] == list(range(len(built)))
    for prediction in run.predictions:
        question = built.question(prediction.index)
        assert (prediction.id, prediction.answer, prediction.data_source, prediction.category) == (
            question.id,
            question.answer,
            question.data_source,
            built.category(prediction.index),
        )
        assert prediction.texts == (question.answer,)
        assert prediction.source == built.sample(prediction.index).sources[0].content
        assert dict(prediction.difficulty) == dict(built.difficulty(prediction.index))
        assert (prediction.times_ms, prediction.end_ms) == (question.clocks[0].times_ms, question.clocks[0].end_ms)
    assert run.manifest is not None
    assert run.manifest["model"] == {"library": "1.0"}
    assert (run.manifest["asked"], run.manifest["answered"]) == (len(built), len(built))
    assert run.manifest["hash"] == run.config.hash == built.hash
    assert run.manifest["waited"] == 0.25 * len(built)
    assert run.manifest["versions"]["videossr"]
    assert run.manifest["chance"]["counting/easy"]["uniform"]["score"] == pytest.approx(1 / 9)
    assert reports[0] == Progress(0, len(built), 0, None)
    assert reports[-1] == Progress(len(built), len(built), 0, 1.0)


def test_evaluate_of_a_complete_run_asks_nothing_and_loads_no_model(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    evaluate(built, script.spec(), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    evaluate(built, script.spec(), tmp_path / "run")
    assert script.loaded == 1
    assert len(script.asked) == len(built)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == before


def slow_command(built: VideoSSRDataset, out: Path, seconds: float, *extra: str) -> list[str]:
    return [sys.executable, str(SLOW), str(built.path), str(out), str(out.parent / "log"), str(seconds), *extra]


@pytest.mark.parametrize("answered", [1, 4])
def test_evaluate_resumes_a_killed_run_without_asking_answered_questions(
    built: VideoSSRDataset, tmp_path: Path, answered: int
) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    child = subprocess.Popen(slow_command(built, out, 0.4))
    deadline = time.monotonic() + 120
    while not (out / PREDICTIONS).exists() or len((out / PREDICTIONS).read_bytes().splitlines()) < answered:
        assert child.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    partial = read_run(out)
    assert partial.manifest is None
    assert answered <= len(partial.predictions) < len(built)
    asked_before = log.read_text().split()
    subprocess.run(slow_command(built, out, 0), check=True)
    asked_later = log.read_text().split()[len(asked_before) :]
    assert not {str(prediction.index) for prediction in partial.predictions} & set(asked_later)
    assert {str(prediction.index) for prediction in partial.predictions} | set(asked_later) == {
        str(index) for index in range(len(built))
    }
    assert max(Counter(asked_later).values()) == 1
    run = read_run(out)
    assert run.manifest is not None
    assert [prediction.texts for prediction in run.predictions] == [(f"said {index}",) for index in range(len(built))]
    assert len(read_lines(out)) == len(built), "a question was stored twice"


def test_evaluate_names_the_file_on_a_full_disk_and_resumes(built: VideoSSRDataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.run(slow_command(built, out, 0, "3000"), capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "File too large" in process.stderr
    assert str(out / PREDICTIONS) in process.stderr
    predictions = read_run(out).predictions
    assert 0 < len(predictions) < len(built)
    assert (out / PREDICTIONS).stat().st_size == 3000, "the line that did not fit is cut in the middle"
    subprocess.run(slow_command(built, out, 0), check=True)
    assert len(read_lines(out)) == len(built)


def test_evaluate_asks_again_where_a_line_was_cut_off(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    evaluate(built, script.spec(), tmp_path / "run")
    whole = (tmp_path / "run" / PREDICTIONS).read_bytes()
    ends = [offset + 1 for offset, byte in enumerate(whole) if byte == ord("\n")]
    for cut in (0, 1, ends[0] - 1, ends[0], ends[0] + 1, ends[-1] - 1):
        (tmp_path / "run" / PREDICTIONS).write_bytes(whole[:cut])
        (tmp_path / "run" / MANIFEST).unlink()
        script.asked.clear()
        run = evaluate(built, script.spec(), tmp_path / "run")
        assert (tmp_path / "run" / PREDICTIONS).read_bytes() == whole
        assert script.asked == list(range(sum(end <= cut for end in ends), len(built)))
        assert run.manifest is not None


def test_evaluate_resumes_with_other_tuning_settings_only(
    built: VideoSSRDataset, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch size may change between sessions; a setting that may change the answers may not."""

    @dataclass(frozen=True)
    class Speed:
        batch: int = 8
        layout: str = "bare"

    spec = script.spec()
    monkeypatch.setattr(spec.kind, "tuning", frozenset({"batch"}), raising=False)
    evaluate(built, replace(spec, settings=Speed()), tmp_path / "run", limit=2)
    assert (
        evaluate(built, replace(spec, settings=Speed(batch=1)), tmp_path / "run", limit=2).config.settings["batch"] == 8
    )
    with pytest.raises(ValueError, match=r"settings\.layout is 'bare' there, 'wrapped' now"):
        evaluate(built, replace(spec, settings=Speed(layout="wrapped")), tmp_path / "run", limit=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "other"}, "model is 'scripted' there, 'other' now"),
        ({"decoding": Decoding(max_tokens=9)}, "decoding.max_tokens is 64 there, 9 now"),
        ({"limit": 4}, "limit is not set there, 4 now"),
        ({"verb": "probe"}, "verb is 'run' there, 'probe' now"),
        ({"other": True}, "hash is"),
    ],
)
def test_evaluate_refuses_to_resume_with_other_settings(
    built: VideoSSRDataset, script: Script, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    evaluate(built, script.spec(), tmp_path / "run")
    before = (tmp_path / "run" / PREDICTIONS).read_bytes()
    questions = Reworded(built.path) if change.pop("other", False) else built
    with pytest.raises(ValueError, match="run that was made otherwise") as error:
        evaluate(questions, script.spec(change.pop("model", "scripted")), tmp_path / "run", **change)
    assert message in str(error.value)
    assert (tmp_path / "run" / PREDICTIONS).read_bytes() == before


def test_evaluate_refuses_folders_that_are_no_runs(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/text.txt").write_text("precious")
    with pytest.raises(ValueError, match="has not made"):
        evaluate(built, script.spec(), tmp_path / "thesis")
    with pytest.raises(FileNotFoundError, match=r"is no run: there is no config\.toml in it; name the folder"):
        read_run(tmp_path / "thesis")
    with pytest.raises(ValueError, match="is no run"):
        evaluate(built, script.spec(), built.path)
    with pytest.raises(ValueError, match="only a local folder"):
        evaluate(built, script.spec(), "memory://bucket/run")
    assert not script.loaded
    assert (tmp_path / "thesis/text.txt").read_text() == "precious"


def test_evaluate_writes_nothing_if_the_model_cannot_be_loaded(built: VideoSSRDataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no guess"):
        evaluate(built, replace(CHANCE, target="nonsense"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_evaluate_records_failures_and_asks_them_again(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    script.respond = fail_on(2, 6)
    reports: list[Progress] = []
    first = evaluate(built, script.spec(), tmp_path / "run", progress=reports.append)
    assert [
        (prediction.index, prediction.error, prediction.texts) for prediction in first.predictions if prediction.error
    ] == [
        (2, "no frames", ()),
        (6, "no frames", ()),
    ]
    assert reports[-1].failed == 2
    assert first.manifest is not None
    assert first.manifest["answered"] == len(built) - 2
    script.asked.clear()
    script.respond = fail_on(6)
    second = evaluate(built, script.spec(), tmp_path / "run")
    assert script.asked == [2, 6]
    assert [prediction.index for prediction in second.predictions if prediction.error] == [6]
    assert len(second.predictions) == len(built)
    assert second.manifest is not None
    assert second.manifest["answered"] == len(built) - 1
    assert second.manifest["waited"] == 0.25 * (len(built) + 2)


def test_evaluate_records_a_broken_row_as_failed_and_asks_the_others(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    run = evaluate(Broken(built.path), script.spec(), tmp_path / "run")
    failed = {prediction.index: prediction for prediction in run.predictions if prediction.error}
    assert script.asked == [index for index in range(len(built)) if index not in (3, 5)]
    assert failed.keys() == {3, 5}
    assert failed[3].error == "question: ValueError: row 3 was altered"
    assert failed[3].category == built.category(3)
    assert "gold answer 'gold'" in failed[5].error


def test_evaluate_accepts_any_question_set_with_broken_rows(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    run = evaluate(Rows(Broken(built.path)), script.spec(), tmp_path / "run")
    assert sum(not prediction.error for prediction in run.predictions) == len(built) - 2
    assert run.manifest is not None
    assert set(run.manifest["chance"]) == {built.category(index) for index in range(len(built))}
    assert len(evaluate(Rows(Broken(built.path)), CHANCE, tmp_path / "chance").predictions) == len(built)


def test_evaluate_detects_a_model_that_breaks_the_contract(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    script.respond = lambda request: Response(request.index, ("a", "b"), ("stop", "stop"))
    run = evaluate(built, script.spec(), tmp_path / "many")
    assert {prediction.error for prediction in run.predictions} == {"model: gave 2 answers of 1"}
    script.respond = lambda request: Response(999, ("a",), ("stop",))
    with pytest.raises(ValueError, match="999, which is not open"):
        evaluate(built, script.spec(), tmp_path / "wrong")
    (tmp_path / "few").mkdir()
    script.respond = lambda request: Response(request.index, ("a",), ("stop",))
    spec = script.spec()
    answer = spec.kind.answer
    kind: Any = spec.kind
    kind.answer = lambda self, requests, decoding: answer(self, list(requests)[:-2], decoding)
    run = evaluate(built, spec, tmp_path / "few")
    assert [prediction.error for prediction in run.predictions][-3:] == [
        "",
        "model: gave no reply",
        "model: gave no reply",
    ]


def test_evaluate_stores_hostile_text_unchanged(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    texts = ["\x1b[2J\x07\x00", "a\nb\r\n\u2028c", "9" * 1_000_000, "\u202eabc", '{"index": 3}\n', "", "é😀"]
    script.respond = lambda request: Response(request.index, (texts[request.index % len(texts)],), ("length",))
    run = evaluate(built, script.spec(), tmp_path / "run")
    assert [prediction.texts[0] for prediction in run.predictions] == [
        texts[index % len(texts)] for index in range(len(built))
    ]
    script.respond = lambda request: Response(request.index, ("half \ud83d of a sign, \ud83d\ude00",), ("stop",))
    halves = evaluate(built, script.spec(), tmp_path / "halves")
    assert halves.predictions[0].texts == ("half \ufffd of a sign, 😀",)


def test_evaluate_keeps_answers_on_interrupt_and_adds_up_time(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    answer_correctly = script.respond

    def interrupt(request: Request) -> Response:
        time.sleep(0.05)
        if request.index == 4:
            raise KeyboardInterrupt
        return answer_correctly(request)

    script.respond = interrupt
    with pytest.raises(KeyboardInterrupt):
        evaluate(built, script.spec(), tmp_path / "run")
    assert len(read_run(tmp_path / "run").predictions) == 4
    script.respond = answer_correctly
    run = evaluate(built, script.spec(), tmp_path / "run")
    assert script.asked == [0, 1, 2, 3, 4, 4, 5, 6, 7]
    assert run.manifest is not None
    assert run.manifest["waited"] == 0.25 * 9
    assert run.manifest["seconds"] >= 0.25


def test_evaluate_refuses_a_folder_that_another_run_uses(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    answer_correctly = script.respond
    messages: list[str] = []

    def start_another_run(request: Request) -> Response:
        if not messages:
            with pytest.raises(ValueError, match="another run is at work") as error:
                evaluate(built, Script().spec(), tmp_path / "run")
            messages.append(str(error.value))
        return answer_correctly(request)

    script.respond = start_another_run
    assert len(evaluate(built, script.spec(), tmp_path / "run").predictions) == len(built)
    assert messages


def test_evaluate_spreads_a_limit_over_the_categories(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    run = evaluate(built, script.spec(), tmp_path / "run", limit=5)
    assert len(script.asked) == 5
    assert Counter(prediction.category for prediction in run.predictions).most_common()[-1][1] == 1
    assert len({prediction.category for prediction in run.predictions}) == 4
    script.asked.clear()
    evaluate(built, script.spec(), tmp_path / "run", limit=5)
    assert not script.asked


def test_choose_questions_takes_equally_from_every_category(viubench: VideoSSRDataset) -> None:
    chosen = choose_questions(viubench, 100)
    assert len(chosen) == len(set(chosen)) == 100
    assert chosen == choose_questions(viubench, 100)
    counts = Counter(viubench.category(index) for index in chosen)
    assert len(counts) == 9
    assert set(counts.values()) == {11, 12}
    assert choose_questions(viubench, None) == choose_questions(viubench, 10_000) == list(range(2700))
    assert len(choose_questions(viubench, 3)) == 3


class Greedy(VideoSSRDataset):
    """Its question 2 takes all memory, and question 3 is nested too deeply."""

    def question(self, index: Any) -> Question:
        if index in (2, 3):
            raise MemoryError if index == 2 else RecursionError("too deep")
        return super().question(index)


def test_a_question_that_takes_all_memory_fails_alone(
    dataset: Path, built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    done = evaluate(Greedy(dataset), script.spec(), tmp_path / "run")
    failed = {p.index: p.error for p in done.predictions if p.error}
    assert failed == {2: "question: MemoryError: ", 3: "question: RecursionError: too deep"}
    assert len(done.predictions) == len(built)
