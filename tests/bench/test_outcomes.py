"""A run in which nothing was answered is no score, and each table says what became of the questions."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bench.conftest import CHANCE, Script, a_run, prediction
from tests.helpers.chat_server import CannedResponse, Seen, chat_server, refusal, texts
from videossr.bench.comparison import compare
from videossr.bench.evaluation import evaluate
from videossr.bench.outcomes import outcomes
from videossr.bench.records import MANIFEST, read_run
from videossr.bench.scoring import score
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import NothingAnsweredError
from videossr.models.base import Request, Response
from videossr.models.openai.errors import reason
from videossr.question import Question

GOLD = "341562"
CATEGORY = "jigsaw/6"


def command(*words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`videossr` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "videossr.cli", *words], capture_output=True, text=True, check=False, env=env
    )


@pytest.mark.parametrize("denominator", ["asked", "answered"])
def test_a_mean_over_questions_of_which_none_was_answered_is_none(denominator: str) -> None:
    failed = [prediction(k, CATEGORY, GOLD, error="status 413: too large") for k in range(3)]
    board = score(a_run(*failed), "asked" if denominator == "asked" else "answered")
    assert (board.overall, board.unparsed, board.tasks, board.abilities) == (
        None,
        None,
        {"jigsaw": None},
        {"temporal": None},
    )
    (category,) = board.categories
    assert (category.score, category.answered_score, category.smooth, category.strict) == (None,) * 4
    other = [prediction(k, "counting/easy", "1,1,1", "1,1,1") for k in range(3, 6)]
    mixed = score(a_run(*failed, *other))
    assert mixed.tasks["jigsaw"] is None
    assert mixed.overall is not None
    assert mixed.overall.value == 0.5, "in a mean that has answers, what failed is wrong"
    wrong = score(a_run(*failed[:2], prediction(2, CATEGORY, GOLD, "no idea")))
    assert wrong.overall is not None
    assert wrong.overall.value == 0, "an answer of another form is an answer"


def test_a_run_without_an_answer_is_compared_with_nothing() -> None:
    failed = a_run(*(prediction(k, CATEGORY, GOLD, error="refused") for k in range(3)), name="refused")
    right = a_run(*(prediction(k, CATEGORY, GOLD, GOLD) for k in range(3)))
    for first, second in ((failed, right), (right, failed)):
        with pytest.raises(ValueError, match="refused: none of the 3 questions was answered, so there is nothing to"):
            compare(first, second)


def test_a_category_without_an_answer_has_no_difference() -> None:
    right = [prediction(k, "counting/easy", "1,1,1", "1,1,1") for k in range(3)]
    failed = [prediction(k, CATEGORY, GOLD, error="too many images") for k in range(3, 6)]
    made = [prediction(k, CATEGORY, GOLD, GOLD) for k in range(3, 6)]
    counting, jigsaw = compare(a_run(*right, *failed), a_run(*right, *made)).categories
    assert (jigsaw.first, jigsaw.second, jigsaw.change, jigsaw.p, jigsaw.real) == (None, 1, None, None, False)
    assert counting.change is not None


def test_the_line_tells_how_many_failed_and_what_has_another_form() -> None:
    said = ["341562", "<think>Let me", "\n <think>Hm", "From 3.2 to 5", "From 7 on", "<think>"]
    made = [prediction(k, CATEGORY, GOLD, text) for k, text in enumerate(said)]
    made[1] = replace(made[1], finish=("length",))
    made.append(prediction(9, CATEGORY, GOLD, error="status 500"))
    found = outcomes(a_run(*made))
    assert (found.questions, found.failed, found.answers, found.unparsed) == (7, 1, 6, 5)
    assert (found.cut_off, found.opening, found.openings) == (1, "<think>", 3)
    assert found.line() == (
        "1 of 7 questions failed; 5 of 6 answers cannot be parsed; most often they begin with '<think>' (3); "
        "1 were cut off by --max-tokens. The model thinks before it answers"
    )
    assert outcomes(a_run(made[0])).line() == ("0 of 1 questions failed; 0 of 1 answers cannot be parsed")
    assert outcomes(a_run(made[-1])).line() == "all 1 questions failed: nothing was answered, so there is no score"


@pytest.mark.parametrize(
    ("texts", "opening"),
    [
        (["3.2s to 4", "14.75s", "Yes"], "N.Ns"),
        (["", "  "], "(an empty text)"),
        (["\x1b[31mred \u202e"], "\\x1b[Nmred"),
        (["word" * 1000], "wordwordwordwordwordword"),
    ],
)
def test_openings_are_short_and_safe(texts: list[str], opening: str) -> None:
    found = outcomes(a_run(*(prediction(k, CATEGORY, GOLD, text) for k, text in enumerate(texts))))
    assert found.opening == opening
    assert found.line().isprintable()


@pytest.mark.parametrize("kind", ["hf", "vllm", "openai"])
def test_thoughts_are_told_with_how_to_switch_them_off(kind: str) -> None:
    for text in ("<think>Let me see</think>341562", "opened by the template</think>\n341562"):
        made = a_run(prediction(0, CATEGORY, GOLD, text))
        config = replace(made.config, model=f"{kind}:x")
        assert "--model.thinking=false" in outcomes(replace(made, config=config)).line()


def test_reasons_are_alike_but_for_numbers_and_excerpts() -> None:
    one = "status 400: question 377ddb43: 33123 tokens are more than 32768"
    two = "status 400: question 9ab01: 35000 tokens are more than 32768"
    assert reason(one) == reason(two) != reason("status 400: system role")
    assert reason("status 400: too large") != reason("status 413: too large")
    assert reason("status 400: too large") == "status 400: too large"
    assert reason("no text; the response: {1}") == reason("no text; the response: other words")
    assert len(reason("7a" * 1_000_000)) == 1


def refuse(ask: Request) -> Response:
    return Response(ask.index, error=f"status 400: {1000 + ask.index} tokens are too many")


def test_a_run_stops_where_nothing_is_answered_and_goes_on_later(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    right, script.says = script.says, refuse
    with pytest.raises(NothingAnsweredError, match=r"3 questions failed for the same reason.*1002 tokens are too many"):
        evaluate(built, script.spec(), tmp_path / "run", stop_after=3)
    assert script.asked == [0, 1, 2]
    kept = read_run(tmp_path / "run")
    assert (len(kept.predictions), kept.manifest) == (3, None)
    script.says = right
    done = evaluate(built, script.spec(), tmp_path / "run", stop_after=3)
    assert not any(p.error for p in done.predictions)
    assert script.asked[3:] == list(range(len(built)))


def test_a_run_with_an_answer_or_without_a_bound_asks_everything(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    right = script.says
    script.says = lambda ask: right(ask) if ask.index == 1 else refuse(ask)
    assert len(evaluate(built, script.spec(), tmp_path / "one", stop_after=3).predictions) == len(built)
    script.says = refuse
    assert len(evaluate(built, script.spec(), tmp_path / "one", stop_after=3).predictions) == len(built), (
        "answered before"
    )
    assert len(evaluate(built, script.spec(), tmp_path / "none", stop_after=0).predictions) == len(built)
    script.says = lambda ask: Response(ask.index, error="abcdefgh"[ask.index])
    assert len(evaluate(built, script.spec(), tmp_path / "each", stop_after=3).predictions) == len(built), (
        "all reasons differ"
    )


def test_rows_that_cannot_be_read_are_not_the_models_failures(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    class Broken(VideoSSRDataset):
        def question(self, index: Any) -> Question:
            if index < 4:
                raise ValueError("altered")
            return super().question(index)

    done = evaluate(Broken(built.path), script.spec(), tmp_path / "run", stop_after=2)
    assert sum(bool(p.error) for p in done.predictions) == 4


REFUSALS = {
    "system role": refusal(400, "System role not supported"),
    "too large": refusal(413, "Request Entity Too Large"),
    "too many images": refusal(400, "At most 1 image(s) may be provided in one request."),
    "no text": CannedResponse({"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}),
    "empty text": CannedResponse(texts("")),
    "white space": CannedResponse(texts("  \n")),
}


@pytest.mark.parametrize("verb", ["run", "probe"])
@pytest.mark.parametrize("name", REFUSALS)
def test_a_server_that_refuses_everything_gives_no_score(
    built: VideoSSRDataset, tmp_path: Path, verb: str, name: str
) -> None:
    held = threading.Event()

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        if len(server.seen) > 3:
            held.wait(120)  # what is asked while the third refusal is looked at
        return REFUSALS[name]

    out = str(tmp_path / "run")
    with chat_server(respond) as server:
        words = ("bench", verb, str(built.path), "--model", f"openai:m@{server.url}", "--out", out)
        done = command(*words, "--stop-after", "3", "--model.concurrency=1", "--model.system=turn")
        held.set()
    assert done.returncode == 2
    assert "3 questions failed for the same reason" in done.stderr
    assert "0.0" not in done.stdout
    assert len(server.seen) <= 4
    assert not (tmp_path / "run" / MANIFEST).exists()


def test_no_verb_takes_a_run_without_an_answer_for_a_model(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    with chat_server(lambda seen, k: REFUSALS["too large"]) as server:
        out = tmp_path / "refused"
        words = ("bench", "run", str(built.path), "--model", f"openai:m@{server.url}", "--out", str(out))
        done = command(*words, "--stop-after", "0")
    assert done.returncode == 2
    assert f"all {len(built)} questions failed: nothing was answered" in done.stdout
    assert f"{len(built)} x status 413: Request Entity Too Large" in done.stdout
    assert "no question was answered, so there is no score" in done.stderr
    chance = evaluate(built, CHANCE, tmp_path / "chance")
    scored = command("bench", "score", str(out), str(chance.path))
    assert scored.returncode == 1
    assert f"refused: all {len(built)} questions failed" in scored.stdout
    alone = command("bench", "score", str(out))
    row = next(line for line in alone.stdout.splitlines() if line.startswith("refused"))
    assert set(row.split()[1:]) == {"-"}
    (board,) = json.loads(command("bench", "score", str(out), "--json").stdout)
    assert (board["overall"], board["outcomes"]["failed"]) == (None, len(built))
    compared = command("bench", "compare", str(chance.path), str(out))
    assert compared.returncode == 2
    assert "nothing to compare" in compared.stderr
    fine = command("bench", "compare", str(chance.path), str(chance.path))
    assert f"chance: 0 of {len(built)} questions failed; 0 of {len(built)} answers cannot be parsed" in fine.stdout


@pytest.mark.parametrize("verb", ["run", "probe"])
def test_a_server_that_dies_halfway_gives_exit_status_1_until_all_is_answered(
    built: VideoSSRDataset, tmp_path: Path, verb: str
) -> None:
    alive = len(built) // 2

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        return CannedResponse(texts("1,1,1", "2,2,2")) if len(server.seen) <= alive else refusal(500, "out of memory")

    out = str(tmp_path / "run")
    more = ("--n", "2") if verb == "probe" else ()
    with chat_server(respond) as server:
        words = ("bench", verb, str(built.path), "--model", f"openai:m@{server.url}", "--out", out, *more)
        done = command(*words, "--model.concurrency=1", "--model.tries=1")
        assert done.returncode == 1, done.stderr
        assert f"{len(built) - alive} of {len(built)} questions failed" in " ".join(done.stdout.split())
        assert f"{len(built) - alive} x status 500: out of memory" in done.stdout
        alive = 3 * len(built)
        again = command(*words, "--model.concurrency=1", "--model.tries=1")
    assert again.returncode == 0, again.stderr


def test_what_a_server_refuses_is_in_the_records_and_in_force_when_the_run_goes_on(
    built: VideoSSRDataset, tmp_path: Path
) -> None:
    """The first session is stopped by a key that expires; the second meets a server that takes a system turn."""
    systems: list[bool] = []

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        systems.append(seen.fields["messages"][0]["role"] == "system")
        if len(systems) == 1:
            return refusal(400, "System role not supported")
        return refusal(401, "expired") if len(systems) == 5 else CannedResponse(texts("1,1,1"))

    out = tmp_path / "run"
    with chat_server(respond) as server:
        words = ("bench", "run", str(built.path), "--model", f"openai:m@{server.url}", "--out", str(out))
        stopped = command(*words, "--model.concurrency=1")
        assert stopped.returncode == 2
        assert "status 401" in stopped.stderr
        assert json.loads((out / ".unfinished/session.json").read_text())["model"]["system"] == "user"
        done = command(*words, "--model.concurrency=1")
    assert done.returncode == 0, done.stderr
    assert systems == [True, *[False] * (len(systems) - 1)], "the second session asks as the first did"
    manifest = read_run(out).manifest
    assert manifest is not None
    assert manifest["model"]["system"] == "user"
