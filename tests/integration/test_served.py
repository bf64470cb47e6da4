"""`OpenAIModel` with real servers: `transformers serve` with a tiny model, and a vLLM where an address is given."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.chat_server import CannedResponse, Seen, chat_server, refusal
from tests.integration.conftest import HERE, ROOT
from videossr.clock import Clock, uniform_clock
from videossr.models.base import Decoding, Request, Response
from videossr.models.openai.messages import as_video, pictures
from videossr.models.openai.model import OpenAIModel, ServerSettings
from videossr.prompt.qwen3_vl import markers
from videossr.question import VIDEO, Clip, Question
from videossr.question_set import QuestionSet

pytestmark = pytest.mark.integration

NO_QUESTIONS: QuestionSet = None  # type: ignore[assignment]  # a served model does not use them
SECONDS = 180
"""How long the server may take to start."""


def make_request(index: int, clocks: tuple[Clock, ...] = (uniform_clock(4, 2_000),), seed: int = 0) -> Request:
    prompt = "".join(f"Clip {k + 1}: {VIDEO}\n" for k in range(len(clocks))) + f"When? {index}"
    question = Question(f"q{index}", "videossr/grounding", "Be short.", prompt, "0.0-0.5", clocks)

    def clips() -> list[Clip]:
        rng = np.random.default_rng(seed)
        return [Clip(rng.integers(0, 256, (len(clock), 64, 96, 3), np.uint8), clock) for clock in clocks]

    return Request(index, question, "grounding/mirror", clips)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `transformers serve` with a tiny Qwen3-VL."""
    from videossr.models.tiny import make_tiny

    python = ROOT / ".side" / "serve" / "bin" / "python"
    if not python.exists():
        pytest.fail("no side environment 'serve': run `make integration`, which makes it")
    folder = tmp_path_factory.mktemp("serve")
    make_tiny(folder / "tiny")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        python,
        HERE / "side" / "serve.py",
        "tiny",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--device",
        "cpu",
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log, cwd=folder, env=env)
        try:
            _wait_for_server(process, f"http://127.0.0.1:{port}", folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _wait_for_server(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server has not started:\n{log.read_text('utf-8', 'replace')[-4000:]}", pytrace=False)


def ask_server(url: str, requests: list[Request], decoding: Decoding, **settings: Any) -> dict[int, Response]:
    quick = {"concurrency": 2, "picture": "png", "backoff": 0.05, **settings}
    model = OpenAIModel(f"tiny@{url}", ServerSettings(**quick), NO_QUESTIONS)
    assert model.describe()["label"] == "frames as single images"
    replies = list(model.answer(requests, decoding))
    assert len(replies) == len(requests)
    return {reply.index: reply for reply in replies}


ASKS = [
    make_request(0),
    make_request(1, seed=1),
    make_request(2, (uniform_clock(4, 2_000),) * 6),
    make_request(3, (uniform_clock(4, 2_000), Clock((0, 40, 700), 900))),
]
SHORT = Decoding(max_tokens=8)


def test_openai_model_gets_answers_that_depend_on_the_frames(server: str) -> None:
    replies = ask_server(server, ASKS, SHORT)
    assert all((reply.error, len(reply.texts), reply.tries) == ("", 1, 1) for reply in replies.values()), replies
    lengths = [replies[k].prompt_tokens or 0 for k in range(4)]
    assert lengths[0] == lengths[1] < lengths[3] < lengths[2], "prompts with more frames have more tokens"
    repeated = ask_server(server, [make_request(0), make_request(1, seed=0)], SHORT)
    assert repeated[0].texts == replies[0].texts
    assert repeated[1].texts != replies[1].texts, "other frames give another answer"


def test_openai_model_retries_faults_between_it_and_the_server(server: str) -> None:
    """Each question meets another fault on its way to the server."""
    faults = [
        refusal(429, "slow down", retry_after="0.2"),
        refusal(500, "out of memory"),
        CannedResponse("x" * 5_000, drop=100),
        CannedResponse("<html>Service Unavailable</html>", 503),
        CannedResponse("late", slow=6),
        CannedResponse("<html>Log in</html>"),
        CannedResponse({"choices": [{"message": {"content": "9" * 10_000_000}}]}),
    ]

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        if not earlier:
            return faults[int(seen.question.split()[-1])]
        body = json.dumps(seen.fields).encode()
        request = urllib.request.Request(f"{server}/v1/chat/completions", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return CannedResponse(answer.read())

    straight = ask_server(server, [make_request(k) for k in range(5)], SHORT)
    with chat_server(respond) as proxy:
        replies = ask_server(proxy.url, [make_request(k) for k in range(7)], SHORT, timeout=5.0)
    for k in range(5):
        assert (replies[k].texts, replies[k].tries) == (straight[k].texts, 2), replies[k]
    assert "not the answer of a chat server" in replies[5].error
    assert "most_bytes" in replies[6].error
    assert len(proxy.seen) == 5 * 2 + 2


def test_openai_model_reports_a_model_that_the_server_does_not_have(server: str) -> None:
    model = OpenAIModel(f"no/such@model@{server}", ServerSettings(tries=1), NO_QUESTIONS)
    replies = list(model.answer([make_request(0)], SHORT))
    # `transformers serve` that was started for one model answers 400 where others answer 404.
    assert replies[0].error.startswith("status 400")


@pytest.mark.parametrize("picture", ["jpeg", "png"])
@pytest.mark.parametrize(
    "clocks",
    [
        (uniform_clock(48, 24_000),),
        (uniform_clock(48, 33_367),),
        (uniform_clock(8, 3_733),) * 6,
        (Clock((0, 40, 1_000, 1_250, 5_333), 6_000),),
    ],
)
def test_vllm_shows_our_times_in_its_prompts(clocks: tuple[Clock, ...], picture: Any) -> None:
    """This needs the address of a vLLM with a Qwen3-VL; `vllm launch render` starts one without a GPU."""
    url = os.environ.get("VIDEOSSR_TEST_VLLM")
    if url is None:
        pytest.skip("VIDEOSSR_TEST_VLLM names no server, MODEL@URL")
    model = OpenAIModel(url, ServerSettings(picture=picture), NO_QUESTIONS)
    assert model.describe()["order"] == "kept"
    request = make_request(0, clocks)
    body = as_video(request.question, request.clips(), pictures(picture, 95))
    name, _, root = url.rpartition("@")
    rendered = _post_json(
        f"{root}/v1/chat/completions/render", {"model": name, "messages": body.messages, **body.extra}
    )
    text = _post_json(f"{root}/detokenize", {"model": name, "tokens": rendered["token_ids"]})["prompt"]
    assert isinstance(text, str)
    clip_labels = [piece.partition("<|vision_start|>")[0] for piece in text.split("Clip ")[1:]]
    assert len(clip_labels) == len(clocks)
    shown = [part for part in text.replace(">", ">\n").splitlines() if part.endswith(" seconds>")]
    assert [part[part.rindex("<") :] for part in shown] == [mark for clock in clocks for mark in markers(clock)]
    assert text.count("<|video_pad|>") == sum(len(markers(clock)) for clock in clocks) * 6, "64 x 96 was not resized"


def _post_json(url: str, fields: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(fields).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            reply: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        pytest.fail(f"{url}: {error}: {error.read()[:500]!r}")
    return reply
