"""Runs: nothing is asked twice, nothing that was said is lost, and what fails is written down."""

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
from videossr.question import Question

SLOW = Path(__file__).parents[1] / "helpers/slow_model.py"


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / PREDICTIONS).read_bytes().splitlines()]


def fail(*indices: int) -> Callable[[Request], Response]:
    """Fails on these questions and is right about the others."""
    right = Script().says
    return lambda ask: Response(ask.index, error="no frames") if ask.index in indices else right(ask)


class Broken(VideoSSRDataset):
    """Its question 3 cannot be read, and question 5 has a gold answer that is none."""

    def question(self, index: Any) -> Question:
        if index == 3:
            raise ValueError("row 3 was altered")
        found = super().question(index)
        return replace(found, answer="gold") if index == 5 else found


class Rows:
    """The same as rows that others have published: nothing but the contract, and no recipe."""

    def __init__(self, inner: VideoSSRDataset) -> None:
        self.path, self.hash = inner.path, inner.hash
        self.question, self.clips, self.category, self.source = (
            inner.question,
            inner.clips,
            inner.category,
            inner.source,
        )
        self.difficulty, self.truth, self.length = inner.difficulty, inner.truth, len(inner)

    def __len__(self) -> int:
        return self.length


class Reworded(VideoSSRDataset):
    """Other questions, in the same place."""

    @property
    def hash(self) -> str:
        return "another"


def test_a_run_holds_all_that_was_asked_and_said(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    seen: list[Progress] = []
    done = evaluate(built, script.spec(), tmp_path / "run", progress=seen.append)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {CONFIG, PREDICTIONS, MANIFEST}
    assert [p.index for p in done.predictions] == list(range(len(built)))
    for p in done.predictions:
        question = built.question(p.index)
        assert (p.id, p.answer, p.data_source, p.category) == (
            question.id,
            question.answer,
            question.data_source,
            built.category(p.index),
        )
        assert p.texts == (question.answer,)
        assert p.source == built.sample(p.index).sources[0].content
        assert dict(p.difficulty) == dict(built.difficulty(p.index))
        assert (p.times_ms, p.end_ms) == (question.clocks[0].times_ms, question.clocks[0].end_ms)
    assert done.manifest is not None
    assert done.manifest["model"] == {"library": "1.0"}
    assert (done.manifest["asked"], done.manifest["answered"]) == (len(built), len(built))
    assert done.manifest["hash"] == done.config.hash == built.hash
    assert done.manifest["waited"] == 0.25 * len(built)
    assert done.manifest["versions"]["videossr"]
    assert done.manifest["chance"]["counting/easy"]["uniform"]["score"] == pytest.approx(1 / 9)
    assert seen[0] == Progress(0, len(built), 0, None)
    assert seen[-1] == Progress(len(built), len(built), 0, 1.0)


def test_a_complete_run_asks_nothing_and_loads_no_model(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    evaluate(built, script.spec(), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    evaluate(built, script.spec(), tmp_path / "run")
    assert script.loaded == 1
    assert len(script.asked) == len(built)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == before


def slow(built: VideoSSRDataset, out: Path, seconds: float, *more: str) -> list[str]:
    return [sys.executable, str(SLOW), str(built.path), str(out), str(out.parent / "log"), str(seconds), *more]


@pytest.mark.parametrize("answered", [1, 4])
def test_a_run_that_is_killed_goes_on_and_asks_no_answered_question_again(
    built: VideoSSRDataset, tmp_path: Path, answered: int
) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    child = subprocess.Popen(slow(built, out, 0.4))
    deadline = time.monotonic() + 120
    while not (out / PREDICTIONS).exists() or len((out / PREDICTIONS).read_bytes().splitlines()) < answered:
        assert child.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = read_run(out)
    assert kept.manifest is None
    assert answered <= len(kept.predictions) < len(built)
    asked = log.read_text().split()
    subprocess.run(slow(built, out, 0), check=True)
    again = log.read_text().split()[len(asked) :]
    assert not {str(p.index) for p in kept.predictions} & set(again)
    assert {str(p.index) for p in kept.predictions} | set(again) == {str(index) for index in range(len(built))}
    assert max(Counter(again).values()) == 1
    done = read_run(out)
    assert done.manifest is not None
    assert [p.texts for p in done.predictions] == [(f"said {index}",) for index in range(len(built))]
    assert len(lines(out)) == len(built), "a question was stored twice"


def test_a_full_disk_is_told_with_the_file_and_the_run_goes_on(built: VideoSSRDataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told = subprocess.run(slow(built, out, 0, "3000"), capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "File too large" in told.stderr
    assert str(out / PREDICTIONS) in told.stderr
    kept = read_run(out).predictions
    assert 0 < len(kept) < len(built)
    assert (out / PREDICTIONS).stat().st_size == 3000, "the line that did not fit is cut in the middle"
    subprocess.run(slow(built, out, 0), check=True)
    assert len(lines(out)) == len(built)


def test_a_line_cut_off_anywhere_is_asked_again(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    evaluate(built, script.spec(), tmp_path / "run")
    whole = (tmp_path / "run" / PREDICTIONS).read_bytes()
    ends = [at + 1 for at, sign in enumerate(whole) if sign == ord("\n")]
    for cut in (0, 1, ends[0] - 1, ends[0], ends[0] + 1, ends[-1] - 1):
        (tmp_path / "run" / PREDICTIONS).write_bytes(whole[:cut])
        (tmp_path / "run" / MANIFEST).unlink()
        script.asked.clear()
        done = evaluate(built, script.spec(), tmp_path / "run")
        assert (tmp_path / "run" / PREDICTIONS).read_bytes() == whole
        assert script.asked == list(range(sum(end <= cut for end in ends), len(built)))
        assert done.manifest is not None


def test_a_run_goes_on_with_settings_that_only_tune(
    built: VideoSSRDataset, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After memory ended a smaller batch must do; a setting that may change the answers must not differ."""

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
    ("change", "told"),
    [
        ({"model": "other"}, "model is 'scripted' there, 'other' now"),
        ({"decoding": Decoding(max_tokens=9)}, "decoding.max_tokens is 64 there, 9 now"),
        ({"limit": 4}, "limit is not set there, 4 now"),
        ({"verb": "probe"}, "verb is 'run' there, 'probe' now"),
        ({"other": True}, "hash is"),
    ],
)
def test_a_run_that_was_asked_otherwise_is_refused(
    built: VideoSSRDataset, script: Script, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    evaluate(built, script.spec(), tmp_path / "run")
    before = (tmp_path / "run" / PREDICTIONS).read_bytes()
    questions = Reworded(built.path) if change.pop("other", False) else built
    with pytest.raises(ValueError, match="run that was made otherwise") as refused:
        evaluate(questions, script.spec(change.pop("model", "scripted")), tmp_path / "run", **change)
    assert told in str(refused.value)
    assert (tmp_path / "run" / PREDICTIONS).read_bytes() == before


def test_what_is_no_run_is_left_alone(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
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


def test_a_model_that_cannot_be_loaded_leaves_nothing(built: VideoSSRDataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no guess"):
        evaluate(built, replace(CHANCE, target="nonsense"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_failures_are_written_down_and_asked_once_more(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    script.says = fail(2, 6)
    seen: list[Progress] = []
    first = evaluate(built, script.spec(), tmp_path / "run", progress=seen.append)
    assert [(p.index, p.error, p.texts) for p in first.predictions if p.error] == [
        (2, "no frames", ()),
        (6, "no frames", ()),
    ]
    assert seen[-1].failed == 2
    assert first.manifest is not None
    assert first.manifest["answered"] == len(built) - 2
    script.asked.clear()
    script.says = fail(6)
    second = evaluate(built, script.spec(), tmp_path / "run")
    assert script.asked == [2, 6]
    assert [p.index for p in second.predictions if p.error] == [6]
    assert len(second.predictions) == len(built)
    assert second.manifest is not None
    assert second.manifest["answered"] == len(built) - 1
    assert second.manifest["waited"] == 0.25 * (len(built) + 2)


def test_a_broken_row_is_a_failure_and_the_others_are_asked(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    done = evaluate(Broken(built.path), script.spec(), tmp_path / "run")
    failed = {p.index: p for p in done.predictions if p.error}
    assert script.asked == [index for index in range(len(built)) if index not in (3, 5)]
    assert failed.keys() == {3, 5}
    assert failed[3].error == "question: ValueError: row 3 was altered"
    assert failed[3].category == built.category(3)
    assert "gold answer 'gold'" in failed[5].error


def test_rows_of_others_are_run_though_some_are_broken(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    done = evaluate(Rows(Broken(built.path)), script.spec(), tmp_path / "run")
    assert sum(not p.error for p in done.predictions) == len(built) - 2
    assert done.manifest is not None
    assert set(done.manifest["chance"]) == {built.category(index) for index in range(len(built))}
    assert len(evaluate(Rows(Broken(built.path)), CHANCE, tmp_path / "chance").predictions) == len(built)


def test_a_model_that_breaks_its_word_is_found_out(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    script.says = lambda ask: Response(ask.index, ("a", "b"), ("stop", "stop"))
    done = evaluate(built, script.spec(), tmp_path / "many")
    assert {p.error for p in done.predictions} == {"model: gave 2 answers of 1"}
    script.says = lambda ask: Response(999, ("a",), ("stop",))
    with pytest.raises(ValueError, match="999, which is not open"):
        evaluate(built, script.spec(), tmp_path / "wrong")
    (tmp_path / "few").mkdir()
    script.says = lambda ask: Response(ask.index, ("a",), ("stop",))
    spec = script.spec()
    whole = spec.kind.answer
    kind: Any = spec.kind
    kind.answer = lambda self, requests, decoding: whole(self, list(requests)[:-2], decoding)
    done = evaluate(built, spec, tmp_path / "few")
    assert [p.error for p in done.predictions][-3:] == ["", "model: gave no reply", "model: gave no reply"]


def test_hostile_text_is_kept_word_for_word(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    texts = ["\x1b[2J\x07\x00", "a\nb\r\n\u2028c", "9" * 1_000_000, "\u202eabc", '{"index": 3}\n', "", "é😀"]
    script.says = lambda ask: Response(ask.index, (texts[ask.index % len(texts)],), ("length",))
    done = evaluate(built, script.spec(), tmp_path / "run")
    assert [p.texts[0] for p in done.predictions] == [texts[k % len(texts)] for k in range(len(built))]
    script.says = lambda ask: Response(ask.index, ("half \ud83d of a sign, \ud83d\ude00",), ("stop",))
    halves = evaluate(built, script.spec(), tmp_path / "halves")
    assert halves.predictions[0].texts == ("half \ufffd of a sign, 😀",)


def test_stopping_by_hand_keeps_everything_and_time_adds_up(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    right = script.says

    def stop(ask: Request) -> Response:
        time.sleep(0.05)
        if ask.index == 4:
            raise KeyboardInterrupt
        return right(ask)

    script.says = stop
    with pytest.raises(KeyboardInterrupt):
        evaluate(built, script.spec(), tmp_path / "run")
    assert len(read_run(tmp_path / "run").predictions) == 4
    script.says = right
    done = evaluate(built, script.spec(), tmp_path / "run")
    assert script.asked == [0, 1, 2, 3, 4, 4, 5, 6, 7]
    assert done.manifest is not None
    assert done.manifest["waited"] == 0.25 * 9
    assert done.manifest["seconds"] >= 0.25


def test_one_run_at_a_time(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    right = script.says
    refused: list[str] = []

    def meddle(ask: Request) -> Response:
        if not refused:
            with pytest.raises(ValueError, match="another run is at work") as found:
                evaluate(built, Script().spec(), tmp_path / "run")
            refused.append(str(found.value))
        return right(ask)

    script.says = meddle
    assert len(evaluate(built, script.spec(), tmp_path / "run").predictions) == len(built)
    assert refused


def test_a_limit_is_spread_over_the_categories(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    done = evaluate(built, script.spec(), tmp_path / "run", limit=5)
    assert len(script.asked) == 5
    assert Counter(p.category for p in done.predictions).most_common()[-1][1] == 1
    assert len({p.category for p in done.predictions}) == 4
    script.asked.clear()
    evaluate(built, script.spec(), tmp_path / "run", limit=5)
    assert not script.asked


def test_a_limit_takes_from_all_of_a_category(viubench: VideoSSRDataset) -> None:
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
