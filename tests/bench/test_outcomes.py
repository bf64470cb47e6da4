"""Outcomes of a run: failed questions, unparsed answers, and runs without any answer, which have no score."""

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


def run_command(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `videossr` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "videossr.cli", *arguments], capture_output=True, text=True, check=False, env=env
    )


@pytest.mark.parametrize("denominator", ["asked", "answered"])
def test_score_is_none_where_no_question_was_answered(denominator: str) -> None:
    failed = [prediction(index, CATEGORY, GOLD, error="status 413: too large") for index in range(3)]
    board = score(a_run(*failed), "asked" if denominator == "asked" else "answered")
    assert (board.overall, board.unparsed, board.tasks, board.abilities) == (
        None,
        None,
        {"jigsaw": None},
        {"temporal": None},
    )
    (category,) = board.categories
    assert (category.score, category.answered_score, category.smooth, category.strict) == (None,) * 4
    other = [prediction(index, "counting/easy", "1,1,1", "1,1,1") for index in range(3, 6)]
    mixed = score(a_run(*failed, *other))
    assert mixed.tasks["jigsaw"] is None
    assert mixed.overall is not None
    assert mixed.overall.value == 0.5, "in a mean that has answers, what failed is wrong"
    wrong = score(a_run(*failed[:2], prediction(2, CATEGORY, GOLD, "no idea")))
    assert wrong.overall is not None
    assert wrong.overall.value == 0, "an answer of another form is an answer"


def test_compare_refuses_a_run_without_an_answer() -> None:
    failed = a_run(*(prediction(index, CATEGORY, GOLD, error="refused") for index in range(3)), name="refused")
    right = a_run(*(prediction(index, CATEGORY, GOLD, GOLD) for index in range(3)))
    for first, second in ((failed, right), (right, failed)):
        with pytest.raises(ValueError, match="refused: none of the 3 questions was answered, so there is nothing to"):
            compare(first, second)


def test_compare_gives_no_change_for_a_category_without_an_answer() -> None:
    right = [prediction(index, "counting/easy", "1,1,1", "1,1,1") for index in range(3)]
    failed = [prediction(index, CATEGORY, GOLD, error="too many images") for index in range(3, 6)]
    answered = [prediction(index, CATEGORY, GOLD, GOLD) for index in range(3, 6)]
    counting, jigsaw = compare(a_run(*right, *failed), a_run(*right, *answered)).categories
    assert (jigsaw.first, jigsaw.second, jigsaw.change, jigsaw.p, jigsaw.real) == (None, 1, None, None, False)
    assert counting.change is not None


def test_outcomes_line_counts_failed_and_unparsed_answers() -> None:
    answers = ["341562", "<think>Let me", "\n <think>Hm", "From 3.2 to 5", "From 7 on", "<think>"]
    predictions = [prediction(index, CATEGORY, GOLD, text) for index, text in enumerate(answers)]
    predictions[1] = replace(predictions[1], finish=("length",))
    predictions.append(prediction(9, CATEGORY, GOLD, error="status 500"))
    result = outcomes(a_run(*predictions))
    assert (result.questions, result.failed, result.answers, result.unparsed) == (7, 1, 6, 5)
    assert (result.cut_off, result.opening, result.openings) == (1, "<think>", 3)
    assert result.line() == (
        "1 of 7 questions failed; 5 of 6 answers cannot be parsed; most often they begin with '<think>' (3); "
        "1 were cut off by --max-tokens. The model thinks before it answers"
    )
    counted = replace(predictions[0], answer_tokens=(7,)), replace(predictions[3], answer_tokens=(300,))
    assert outcomes(a_run(*counted)).tokens == 153.5
    assert "; 154 tokens an answer on average" in outcomes(a_run(*counted)).line()
    thought = replace(predictions[0], thoughts=("Two.</think>",)), replace(predictions[3], texts=("",), thoughts=("A",))
    assert outcomes(a_run(*thought)).unended == 1
    assert "; 1 never ended their thoughts by </think>: raise --max-tokens" in outcomes(a_run(*thought)).line()
    assert outcomes(a_run(predictions[0])).line() == ("0 of 1 questions failed; 0 of 1 answers cannot be parsed")
    assert (
        outcomes(a_run(predictions[-1])).line() == "all 1 questions failed: nothing was answered, so there is no score"
    )


@pytest.mark.parametrize(
    ("texts", "opening"),
    [
        (["3.2s to 4", "14.75s", "Yes"], "N.Ns"),
        (["", "  "], "(an empty text)"),
        (["\x1b[31mred \u202e"], "\\x1b[Nmred"),
        (["word" * 1000], "wordwordwordwordwordword"),
    ],
)
def test_outcomes_opening_is_short_and_printable(texts: list[str], opening: str) -> None:
    result = outcomes(a_run(*(prediction(index, CATEGORY, GOLD, text) for index, text in enumerate(texts))))
    assert result.opening == opening
    assert result.line().isprintable()


@pytest.mark.parametrize("kind", ["hf", "vllm", "openai"])
def test_outcomes_line_names_the_setting_that_switches_thinking_off(kind: str) -> None:
    for text in ("<think>Let me see</think>341562", "opened by the template</think>\n341562"):
        run = a_run(prediction(0, CATEGORY, GOLD, text))
        config = replace(run.config, model=f"{kind}:x")
        assert "--model.thinking=false" in outcomes(replace(run, config=config)).line()


def test_reason_ignores_numbers_and_excerpts() -> None:
    first = "status 400: question 377ddb43: 33123 tokens are more than 32768"
    second = "status 400: question 9ab01: 35000 tokens are more than 32768"
    assert reason(first) == reason(second) != reason("status 400: system role")
    assert reason("status 400: too large") != reason("status 413: too large")
    assert reason("status 400: too large") == "status 400: too large"
    assert reason("no text; the response: {1}") == reason("no text; the response: other words")
    assert len(reason("7a" * 1_000_000)) == 1


def refuse_request(request: Request) -> Response:
    return Response(request.index, error=f"status 400: {1000 + request.index} tokens are too many")


def test_evaluate_stops_after_equal_failures_and_resumes_later(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    answer_correctly, script.respond = script.respond, refuse_request
    with pytest.raises(NothingAnsweredError, match=r"3 questions failed for the same reason.*1002 tokens are too many"):
        evaluate(built, script.spec(), tmp_path / "run", stop_after=3)
    assert script.asked == [0, 1, 2]
    partial = read_run(tmp_path / "run")
    assert (len(partial.predictions), partial.manifest) == (3, None)
    script.respond = answer_correctly
    run = evaluate(built, script.spec(), tmp_path / "run", stop_after=3)
    assert not any(prediction.error for prediction in run.predictions)
    assert script.asked[3:] == list(range(len(built)))


def test_evaluate_asks_everything_after_an_answer_or_without_stop_after(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    answer_correctly = script.respond
    script.respond = lambda request: answer_correctly(request) if request.index == 1 else refuse_request(request)
    assert len(evaluate(built, script.spec(), tmp_path / "one", stop_after=3).predictions) == len(built)
    script.respond = refuse_request
    assert len(evaluate(built, script.spec(), tmp_path / "one", stop_after=3).predictions) == len(built), (
        "answered before"
    )
    assert len(evaluate(built, script.spec(), tmp_path / "none", stop_after=0).predictions) == len(built)
    script.respond = lambda request: Response(request.index, error="abcdefgh"[request.index])
    assert len(evaluate(built, script.spec(), tmp_path / "each", stop_after=3).predictions) == len(built), (
        "all reasons differ"
    )


def test_evaluate_stop_after_does_not_count_unreadable_rows(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    class Broken(VideoSSRDataset):
        def question(self, index: Any) -> Question:
            if index < 4:
                raise ValueError("altered")
            return super().question(index)

    run = evaluate(Broken(built.path), script.spec(), tmp_path / "run", stop_after=2)
    assert sum(bool(prediction.error) for prediction in run.predictions) == 4


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
def test_bench_command_gives_no_score_if_the_server_refuses_everything(
    built: VideoSSRDataset, tmp_path: Path, verb: str, name: str
) -> None:
    release = threading.Event()

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        if len(server.seen) > 3:
            release.wait(120)  # holds the request that is sent while the third refusal is handled
        return REFUSALS[name]

    out = str(tmp_path / "run")
    with chat_server(respond) as server:
        arguments = ("bench", verb, str(built.path), "--model", f"openai:m@{server.url}", "--out", out)
        process = run_command(*arguments, "--stop-after", "3", "--model.concurrency=1", "--model.system=turn")
        release.set()
    assert process.returncode == 2
    assert "3 questions failed for the same reason" in process.stderr
    assert "0.0" not in process.stdout
    assert len(server.seen) <= 4
    assert not (tmp_path / "run" / MANIFEST).exists()


def test_bench_commands_refuse_a_run_without_an_answer(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    with chat_server(lambda seen, k: REFUSALS["too large"]) as server:
        out = tmp_path / "refused"
        arguments = ("bench", "run", str(built.path), "--model", f"openai:m@{server.url}", "--out", str(out))
        process = run_command(*arguments, "--stop-after", "0")
    assert process.returncode == 2
    assert f"all {len(built)} questions failed: nothing was answered" in process.stdout
    assert f"{len(built)} x status 413: Request Entity Too Large" in process.stdout
    assert "no question was answered, so there is no score" in process.stderr
    chance = evaluate(built, CHANCE, tmp_path / "chance")
    scored = run_command("bench", "score", str(out), str(chance.path))
    assert scored.returncode == 1
    assert f"refused: all {len(built)} questions failed" in scored.stdout
    alone = run_command("bench", "score", str(out))
    row = next(line for line in alone.stdout.splitlines() if line.startswith("refused"))
    assert set(row.split()[1:]) == {"-"}
    (board,) = json.loads(run_command("bench", "score", str(out), "--json").stdout)
    assert (board["overall"], board["outcomes"]["failed"]) == (None, len(built))
    compared = run_command("bench", "compare", str(chance.path), str(out))
    assert compared.returncode == 2
    assert "nothing to compare" in compared.stderr
    comparison = run_command("bench", "compare", str(chance.path), str(chance.path))
    assert (
        f"chance: 0 of {len(built)} questions failed; 0 of {len(built)} answers cannot be parsed" in comparison.stdout
    )


@pytest.mark.parametrize("verb", ["run", "probe"])
def test_bench_command_exits_with_1_until_all_questions_are_answered(
    built: VideoSSRDataset, tmp_path: Path, verb: str
) -> None:
    alive = len(built) // 2

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        return CannedResponse(texts("1,1,1", "2,2,2")) if len(server.seen) <= alive else refusal(500, "out of memory")

    out = str(tmp_path / "run")
    options = ("--n", "2") if verb == "probe" else ()
    with chat_server(respond) as server:
        arguments = ("bench", verb, str(built.path), "--model", f"openai:m@{server.url}", "--out", out, *options)
        first = run_command(*arguments, "--model.concurrency=1", "--model.tries=1")
        assert first.returncode == 1, first.stderr
        assert f"{len(built) - alive} of {len(built)} questions failed" in " ".join(first.stdout.split())
        assert f"{len(built) - alive} x status 500: out of memory" in first.stdout
        alive = 3 * len(built)
        second = run_command(*arguments, "--model.concurrency=1", "--model.tries=1")
    assert second.returncode == 0, second.stderr


def test_bench_run_records_a_refused_system_role_and_resumes_without_it(built: VideoSSRDataset, tmp_path: Path) -> None:
    """An expired key stops the first session; in the second one the server would accept a system turn."""
    used_system_role: list[bool] = []

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        used_system_role.append(seen.fields["messages"][0]["role"] == "system")
        if len(used_system_role) == 1:
            return refusal(400, "System role not supported")
        return refusal(401, "expired") if len(used_system_role) == 5 else CannedResponse(texts("1,1,1"))

    out = tmp_path / "run"
    with chat_server(respond) as server:
        arguments = ("bench", "run", str(built.path), "--model", f"openai:m@{server.url}", "--out", str(out))
        stopped = run_command(*arguments, "--model.concurrency=1")
        assert stopped.returncode == 2
        assert "status 401" in stopped.stderr
        assert json.loads((out / ".unfinished/session.json").read_text())["model"]["system"] == "user"
        resumed = run_command(*arguments, "--model.concurrency=1")
    assert resumed.returncode == 0, resumed.stderr
    assert used_system_role == [True, *[False] * (len(used_system_role) - 1)], (
        "the second session asks as the first did"
    )
    manifest = read_run(out).manifest
    assert manifest is not None
    assert manifest["model"]["system"] == "user"
