"""`OpenAIModel`: what is sent to a server, how responses are read, and how faults are handled."""

from __future__ import annotations

import base64
import email.utils
import importlib.util
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.helpers.chat_server import CannedResponse, ChatServer, Seen, chat_server, refusal, texts
from videossr.clock import Clock, uniform_clock
from videossr.corpus import jpeg
from videossr.errors import ServerError
from videossr.models.base import Decoding, Request, Response
from videossr.models.openai.endpoint import parse_endpoint, vllm_refusal
from videossr.models.openai.model import OpenAIModel, ServerSettings
from videossr.models.openai.retry import Backoff, asked_wait
from videossr.question import Clip, Question
from videossr.question_set import QuestionSet

NO_QUESTIONS: QuestionSet = None  # type: ignore[assignment]  # a served model does not look at them
SLOTS = 4
QUICK: dict[str, Any] = {"backoff": 0.01, "most_backoff": 0.05, "concurrency": 3, "timeout": 5.0}
GREEDY = Decoding()
VLLM = {"version": "0.33.0"}


def random_frames(seed: int, slots: int = SLOTS) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (slots, 32, 64, 3), np.uint8)


def make_request(index: int, clocks: tuple[Clock, ...] = (uniform_clock(SLOTS, 2_000),), system: str = "") -> Request:
    prompt = "".join(f"piece {number}: <video>\n" for number in range(len(clocks))) + str(index)
    question = Question(f"q{index}", "videossr/grounding", system, prompt, "0.0-0.5", clocks)
    return Request(
        index,
        question,
        "grounding/mirror",
        lambda: [Clip(random_frames(number, len(clock)), clock) for number, clock in enumerate(clocks)],
    )


def open_model(server: ChatServer, **settings: Any) -> OpenAIModel:
    return OpenAIModel(f"org/m@1@{server.url}", ServerSettings(**{**QUICK, **settings}), NO_QUESTIONS)


def ask_all(server: ChatServer, count: int = 6, decoding: Decoding = GREEDY, **settings: Any) -> dict[int, Response]:
    responses = list(open_model(server, **settings).answer(map(make_request, range(count)), decoding))
    assert len(responses) == len({response.index for response in responses}) == count
    return {response.index: response for response in responses}


def echo(seen: Seen, earlier: int) -> CannedResponse:
    return CannedResponse(texts(f"answer {seen.question.strip()}"))


def fail_first(fault: CannedResponse) -> Any:
    """Respond with the fault to the first request of each question, and then with its answer."""
    return lambda seen, earlier: echo(seen, earlier) if earlier else fault


def test_answer_asks_every_question_once() -> None:
    with chat_server(echo) as server:
        responses = ask_all(server, 20)
    assert {index: response.texts for index, response in responses.items()} == {
        index: (f"answer {index}",) for index in range(20)
    }
    assert all(
        (response.finish, response.tries, response.prompt_tokens, response.answer_tokens, response.error)
        == (("stop",), 1, 7, (1,), "")
        for response in responses.values()
    )
    assert len(server.seen) == 20
    assert {seen.fields["model"] for seen in server.seen} == {"org/m@1"}


def test_answer_sends_as_many_requests_at_once_as_concurrency_allows() -> None:
    barrier = threading.Barrier(
        6, timeout=30
    )  # breaks if fewer than six requests come together, and the server then drops them

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        barrier.wait()
        return echo(seen, earlier)

    with chat_server(respond) as server:
        replies = ask_all(server, 12, concurrency=6)
    assert all(reply.tries == 1 for reply in replies.values())
    assert server.most_at_once == 6


# --- what is sent


def test_request_has_images_in_place_of_each_clip_after_their_times() -> None:
    clocks = (Clock((0, 40, 1_000, 1_250), 1_500), Clock((0, 700), 900))
    with chat_server(echo) as server:
        model = open_model(server, picture="png")
        list(model.answer([make_request(0, clocks, system="Be short.")], GREEDY))
    system, user = server.seen[0].fields["messages"]
    assert system == {"role": "system", "content": "Be short."}
    parts = [part.get("text", "image") for part in user["content"]]
    assert parts == [
        *("piece 0: ", "<0.0 seconds>", "image", "<0.0 seconds>", "image", "<1.0 seconds>", "image"),
        *("<1.2 seconds>", "image", "\npiece 1: ", "<0.0 seconds>", "image", "<0.7 seconds>", "image", "\n0"),
    ]
    urls = [part["image_url"]["url"] for part in user["content"] if part["type"] == "image_url"]
    pictures = np.stack([decode_picture(url.removeprefix("data:image/png;base64,")) for url in urls])
    assert np.array_equal(pictures, np.concatenate([random_frames(0, 4), random_frames(1, 2)]))
    assert model.describe()["label"] == "frames as single images"
    assert "extra_body" not in server.seen[0].fields
    assert "mm_processor_kwargs" not in server.seen[0].fields


@pytest.mark.parametrize("quality", [95, 60])
def test_request_jpegs_have_the_quality_of_the_setting(quality: int) -> None:
    with chat_server(echo) as server:
        model = open_model(server, quality=quality)
        list(model.answer([make_request(0)], GREEDY))
    content = server.seen[0].fields["messages"][0]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    expected = [base64.b64encode(file).decode() for file in jpeg.encode(random_frames(0), quality, "444")]
    assert urls == [f"data:image/jpeg;base64,{data}" for data in expected]
    assert model.describe()["picture"] == f"jpeg {quality}"


def decode_picture(data: str) -> np.ndarray[Any, np.dtype[Any]]:
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[..., ::-1]


def test_request_to_vllm_has_videos_with_the_times_of_their_slots() -> None:
    clock = Clock((0, 40, 1_000, 1_250), 1_500)
    with chat_server(echo, version=VLLM) as server:
        model = open_model(server, picture="png")
        list(model.answer([make_request(0, (clock, clock))], GREEDY))
    fields = server.seen[0].fields
    kinds = [part["type"] for part in fields["messages"][0]["content"]]
    assert kinds == ["text", "video_url", "text", "video_url", "text"]
    urls = [part["video_url"]["url"] for part in fields["messages"][0]["content"] if part["type"] == "video_url"]
    for index, url in enumerate(urls):
        pictures = url.removeprefix("data:video/jpeg;base64,").split(",")
        assert np.array_equal(np.stack([decode_picture(picture) for picture in pictures]), random_frames(index))
    assert fields["media_io_kwargs"] == {
        "video": {
            "num_frames": -1,
            "fps": 1000,
            "frames_indices": [0, 40, 1_000, 1_250],
            "total_num_frames": 1_500,
            "do_sample_frames": False,
        }
    }
    assert fields["mm_processor_kwargs"] == {"do_sample_frames": False, "do_resize": False}
    assert (fields["top_k"], fields["min_p"], fields["repetition_penalty"]) == (-1, 0, 1)
    assert model.describe()["server"] == "vllm 0.33.0"
    assert "label" not in model.describe()


def test_request_to_vllm_refuses_clips_of_different_clocks() -> None:
    with chat_server(echo, version=VLLM) as server:
        requests = [make_request(0, (uniform_clock(4, 2_000), uniform_clock(4, 3_000))), make_request(1)]
        replies = {reply.index: reply for reply in open_model(server).answer(requests, GREEDY)}
    assert "2 different clocks" in replies[0].error
    assert "mode=images" in replies[0].error
    assert replies[1].texts == ("answer 1",)


def test_request_contains_all_decoding_settings() -> None:
    decoding = Decoding(n=3, temperature=0.7, top_p=0.9, top_k=20, max_tokens=11, seed=5)
    with chat_server(lambda seen, k: CannedResponse(texts("a", "b", "c")), version=VLLM) as server:
        assert ask_all(server, 1, decoding)[0].texts == ("a", "b", "c")
        ask_all(server, 1, GREEDY)
    fields, greedy = (seen.fields for seen in server.seen)
    expected = {"n": 3, "temperature": 0.7, "top_p": 0.9, "top_k": 20, "max_tokens": 11, "seed": 5}
    assert {name: fields[name] for name in expected} == expected
    assert greedy["temperature"] == 0
    assert not greedy.keys() & {"n", "top_p", "seed"}


def test_answer_asks_again_with_other_seeds_if_a_server_gives_one_answer() -> None:
    def respond(seen: Seen, earlier: int) -> CannedResponse:
        return CannedResponse(texts(f"{seen.fields['seed']}", finish="length" if earlier else "stop"))

    with chat_server(respond) as server:
        reply = ask_all(server, 1, Decoding(n=3, temperature=1, seed=5))[0]
    assert (reply.texts, reply.finish, reply.tries) == (("5", "6", "7"), ("stop", "length", "length"), 3)
    assert [seen.fields["n"] for seen in server.seen] == [3, 2, 1]


def test_answer_refuses_top_k_for_a_server_without_it() -> None:
    with chat_server(echo) as server, pytest.raises(ValueError, match="top_k"):
        open_model(server).answer([make_request(0)], Decoding(temperature=1, top_k=5))


def test_answer_leaves_out_fields_that_a_server_refuses() -> None:
    def respond(seen: Seen, earlier: int) -> CannedResponse:
        for name in ("max_tokens", "seed", "top_p", "n"):
            if name in seen.fields:
                return refusal(400, f"Unsupported parameter: '{name}' is not supported with this model.", param=name)
        return echo(seen, earlier)

    with chat_server(respond) as server:
        model = open_model(server, concurrency=1)
        replies = list(model.answer(map(make_request, range(4)), Decoding(n=2, temperature=1, max_tokens=9)))
        replies.sort(key=lambda reply: reply.index)
        assert [reply.texts for reply in replies] == [(f"answer {index}",) * 2 for index in range(4)]
    assert model.describe()["refused"] == ["max_tokens", "n", "seed", "top_p"]
    assert len(server.seen) == 4 + 4 * 2
    assert all(seen.fields["max_completion_tokens"] == 9 for seen in server.seen[4:])
    assert {reply.tries for reply in replies} == {2}, "what is sent again without a field is not another try"


def test_answer_does_not_leave_out_a_field_that_changes_the_answer() -> None:
    message = "Unsupported value: 'temperature' does not support 0 with this model."
    with chat_server(lambda seen, k: refusal(400, message, param="temperature")) as server:
        with pytest.raises(ServerError, match=r"does not support 0.*sample answers otherwise"):
            ask_all(server, 1)
        assert len(server.seen) == 1


# --- faults


FAULTS = {
    "429": refusal(429, "slow down", retry_after="0.05"),
    "429 without a time": refusal(429, "slow down"),
    "500": refusal(500, "out of memory"),
    "502 in HTML": CannedResponse("<html>Bad Gateway</html>", 502),
    "503": refusal(503, "loading", retry_after="0"),
    "dropped before the answer": CannedResponse(texts("x"), drop=0),
    "dropped within the answer": CannedResponse(texts("x" * 5_000), drop=2_000),
    "dropped within an error": CannedResponse("y" * 5_000, 500, drop=2_000),
    "slow": CannedResponse(texts("too late"), slow=2.5),
}


@pytest.mark.parametrize("name", FAULTS)
def test_answer_retries_after_a_temporary_fault(name: str) -> None:
    with chat_server(fail_first(FAULTS[name])) as server:
        replies = ask_all(server, timeout=1.0 if name == "slow" else 30.0)
    assert {k: reply.texts for k, reply in replies.items()} == {k: (f"answer {k}",) for k in range(6)}
    assert all(reply.tries == 2 for reply in replies.values())
    assert len(server.seen) == 12


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("429", "status 429: slow down"),
        ("500", "status 500: out of memory"),
        ("502 in HTML", "status 502: <html>Bad Gateway"),
        ("dropped within the answer", "no connection: "),
        ("slow", "no answer within 1 s"),
    ],
)
def test_answer_fails_a_question_after_all_tries(name: str, message: str) -> None:
    def respond(seen: Seen, earlier: int) -> CannedResponse:
        return FAULTS[name] if seen.question.endswith("1") else echo(seen, earlier)

    with chat_server(respond) as server:
        replies = ask_all(server, 3, tries=3, timeout=1.0 if name == "slow" else 30.0)
    assert (replies[0].error, replies[2].error, replies[1].texts, replies[1].tries) == ("", "", (), 3)
    assert message in replies[1].error
    assert len(server.seen) == 5


GARBAGE = {
    "HTML": (CannedResponse("<html>\n<b>Log in</b>"), "not the answer of a chat server.*<html> <b>Log in"),
    "cut JSON": (CannedResponse(b'{"choices": [{"mess'), "not the answer"),
    "deep JSON": (CannedResponse(b"[" * 100_000), "not the answer"),
    "not UTF-8": (CannedResponse(b'{"choices": "\xff"}'), "not the answer"),
    "nothing": (CannedResponse(b""), "not the answer"),
    "another object": (CannedResponse({"error": {"message": "no credit"}}), "choices.*no credit"),
    "no choices": (CannedResponse(texts()), "without choices"),
    "no text": (CannedResponse(texts(None, finish="content_filter")), "without text .finish_reason 'content_filter'"),
    "only reasons, cut off": (
        CannedResponse({"choices": [{"message": {"reasoning_content": "hm"}, "finish_reason": "length"}]}),
        "without text .finish_reason 'length'.: its text is in `reasoning_content`.*more --max-tokens",
    ),
    "only reasons": (
        CannedResponse({"choices": [{"message": {"content": "", "reasoning": "0.0-0.5"}, "finish_reason": "stop"}]}),
        r"without text .finish_reason 'stop'.: its text is in `reasoning`(?!.*max-tokens).*--model.thinking=false",
    ),
    "a refusal": (
        CannedResponse({"choices": [{"message": {"content": None, "refusal": "I cannot"}, "finish_reason": "stop"}]}),
        r"its text is in `refusal`(?!.*max-tokens)",
    ),
    "parts without text": (
        CannedResponse({"choices": [{"message": {"content": [{"type": "thinking", "thinking": []}]}}]}),
        r"without text: `content` holds no part of text, but thinking(?!.*max-tokens)",
    ),
    "an empty text": (
        CannedResponse(texts("")),
        "without text .finish_reason 'stop'.: `content` is empty, and so are `reasoning_content`, .*the server's log",
    ),
    "white space": (
        CannedResponse(texts("  \n", finish="length")),
        "without text.*`content` is empty.*more --max-tokens",
    ),
    "empty parts": (
        CannedResponse({"choices": [{"message": {"content": [{"type": "text", "text": "\n"}]}}]}),
        "without text: `content` is empty",
    ),
    "white space and reasons": (
        CannedResponse({"choices": [{"message": {"content": "\n", "reasoning": "0.0-0.5"}}]}),
        "without text: its text is in `reasoning`",
    ),
    "another type": (CannedResponse({"choices": [{"message": {"content": 3}}]}), "choices.0.message.content"),
    "10 MB": (CannedResponse(texts("9" * 10_000_000)), "longer than most_bytes, 4194304"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_answer_fails_a_question_on_an_invalid_response_without_a_retry(name: str) -> None:
    fault, pattern = GARBAGE[name]
    with chat_server(lambda seen, k: fault if seen.question.endswith("1") else echo(seen, k)) as server:
        replies = ask_all(server, 3)
    assert (replies[0].error, replies[2].error) == ("", "")
    assert (replies[1].texts, replies[1].finish, replies[1].tries) == ((), (), 1)
    assert replies[1].error.isprintable()
    assert len(replies[1].error) <= 300
    assert re.search(pattern, replies[1].error), replies[1].error
    assert len(server.seen) == 3


def test_answer_joins_the_parts_of_a_text() -> None:
    parts = [{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "0.0-"}]
    message = {"content": [*parts, {"type": "output_text", "text": "0.5"}], "reasoning": {"any": "form"}}
    with chat_server(lambda seen, k: CannedResponse({"choices": [{"message": message}]})) as server:
        assert ask_all(server, 1)[0].texts == ("0.0-0.5",)


SYSTEM = "Be short."
NO_SYSTEM = {
    "Gemma's template": "System role not supported",
    "Mistral's template": "Conversation roles must alternate user/assistant/user/assistant/...",
    "others": "Only user and assistant roles are supported!",
    "pydantic 2": "Input should be 'user' or 'assistant'",
    "pydantic 1": "value is not a valid enumeration member; permitted: 'user', 'assistant'",
    "Gemini": "Developer instruction is not enabled for models/gemma-3-27b-it",
    "llama.cpp": 'Unexpected role "system"',
    "OpenAI": "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
}


def refuse_system(message: str, status: int = 400) -> Any:
    """Refuse a system turn in these words, and answer any other request."""

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        if seen.fields["messages"][0]["role"] == "system":
            return refusal(status, message)
        return echo(seen, earlier)

    return respond


@pytest.mark.parametrize("name", NO_SYSTEM)
def test_answer_moves_the_system_text_into_the_user_turn_if_refused(name: str) -> None:
    with chat_server(refuse_system(NO_SYSTEM[name])) as server:
        model = open_model(server, concurrency=1)
        assert model.describe()["system"] == "auto"
        replies = sorted(
            model.answer([make_request(index, system=SYSTEM) for index in range(3)], GREEDY),
            key=lambda reply: reply.index,
        )
    assert [(reply.texts, reply.tries) for reply in replies] == [((f"answer {index}",), 1) for index in range(3)]
    assert len(server.seen) == 4, "it is refused once"
    (turn,) = server.seen[-1].fields["messages"]
    assert turn["role"] == "user"
    assert turn["content"][0]["text"] == "Be short.\n\npiece 0: "
    assert model.describe()["system"] == "user"


def test_system_setting_decides_the_turn_and_resume_restores_it() -> None:
    with chat_server(refuse_system("System role not supported")) as server:
        list(open_model(server, system="user").answer([make_request(0, system=SYSTEM)], GREEDY))
        assert len(server.seen) == 1
        (reply,) = open_model(server, system="turn").answer([make_request(0, system=SYSTEM)], GREEDY)
        assert reply.error == "status 400: System role not supported"
        resumed = open_model(server)
        resumed.resume({"system": "user", "refused": ["seed"]})
        list(resumed.answer([make_request(0, system=SYSTEM)], GREEDY))
        assert len(server.seen) == 3
        assert (resumed.describe()["system"], resumed.describe()["refused"]) == ("user", ["seed"])
        resumed_with_turn = open_model(server)
        resumed_with_turn.resume({"system": "turn"})
        (reply,) = resumed_with_turn.answer([make_request(0, system=SYSTEM)], GREEDY)
        assert "System role not supported" in reply.error, "half a run is not asked in another way"


@pytest.mark.parametrize(
    "message",
    [
        "the system is not ready: 9 tokens are not supported",
        "the system prompt and video take 40000 tokens; longer prompts are not supported",
        "the system prompt of 40000 tokens is not supported",
        "role: Input should be 'user', 'assistant', 'system' or 'tool'",
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_answer_keeps_the_system_turn_on_other_refusals_and_names_the_setting(message: str, status: int) -> None:
    with chat_server(lambda seen, k: refusal(status, message)) as server:
        model = open_model(server)
        (reply,) = model.answer([make_request(0, system=SYSTEM)], GREEDY)
        (without_system,) = model.answer([make_request(0)], GREEDY)
    assert reply.error == f"status {status}: {message}; if the server takes no system turn, use --model.system=user"
    assert without_system.error == f"status {status}: {message}", "there was no system turn"
    assert len(server.seen) == 2


def test_answer_keeps_the_system_turn_once_it_was_accepted() -> None:
    def respond(seen: Seen, earlier: int) -> CannedResponse:
        return (
            refuse_system("System role not supported")(seen, earlier) if len(server.seen) > 1 else echo(seen, earlier)
        )

    with chat_server(respond) as server:
        model = open_model(server, concurrency=1)
        first, second = model.answer([make_request(index, system=SYSTEM) for index in range(2)], GREEDY)
    assert first.texts
    assert "System role not supported" in second.error
    assert model.describe()["system"] == "turn"


def test_thinking_setting_is_sent_to_the_chat_template() -> None:
    with chat_server(echo) as server:
        ask_all(server, 1, thinking=False)
        ask_all(server, 1)
    assert server.seen[0].fields["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in server.seen[1].fields
    response = refusal(400, "Unrecognized request argument", param="chat_template_kwargs")
    with (
        chat_server(lambda seen, k: response) as server,
        pytest.raises(ServerError, match=r"leave out --model\.thinking"),
    ):
        ask_all(server, 1, thinking=False)


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY"])
def test_answer_uses_no_proxy_for_a_local_server(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    with chat_server(echo) as server:
        assert ask_all(server, 1)[0].texts == ("answer 0",)


@pytest.mark.parametrize("proxy", ["socks5://me:hunter2@h:1080", "odd://me:hunter2@h:1080", "http://me:hunter2@h:x"])
def test_openai_model_names_an_unusable_proxy_without_its_password(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if proxy.startswith("socks5") and importlib.util.find_spec("socksio"):
        pytest.skip("socksio is installed, so SOCKS proxies can be used")
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ValueError, match=r"http://far\.invalid/v1: the proxy .*ALL_PROXY") as error:
        OpenAIModel("m@http://far.invalid", ServerSettings(), NO_QUESTIONS)
    assert "hunter2" not in str(error.value)
    assert ("socksio" in str(error.value)) == proxy.startswith("socks5")


def test_answer_errors_are_escaped_and_hide_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "sk-very-secret")

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        assert seen.headers["authorization"] == "Bearer sk-very-secret"
        return refusal(400, "\x1b]0;owned\x07 \u202e bad key sk-very-secret " + "z" * 10_000)

    with chat_server(respond) as server:
        model = open_model(server, key="SECRET_KEY")
        (reply,) = model.answer([make_request(0)], GREEDY)
    assert reply.error.startswith(r"status 400: \x1b]0;owned\x07 \u202e bad key (key) zzz")
    assert len(reply.error) <= 300
    assert "secret" not in json.dumps(model.describe())


@pytest.mark.parametrize("status", [401, 403, 404])
def test_answer_raises_server_errors_that_affect_every_question(status: int) -> None:
    def respond(seen: Seen, earlier: int) -> CannedResponse:
        return echo(seen, earlier) if len(server.seen) <= 3 else refusal(status, "The model `m` does not exist.")

    with chat_server(respond) as server:
        replies: list[Response] = []
        with pytest.raises(ServerError, match=f"status {status}: The model `m` does not exist"):
            replies.extend(open_model(server, concurrency=1).answer(map(make_request, range(50)), GREEDY))
    assert sorted(seen.question for seen in server.seen[:3]) == sorted(f"\n{reply.index}" for reply in replies)
    assert len(server.seen) == 4


def test_answer_fails_only_the_question_whose_frames_cannot_be_rendered() -> None:
    def raise_error() -> list[Clip]:
        raise OSError("pack.bin: damaged at byte 7")

    with chat_server(echo) as server:
        replies = list(
            open_model(server).answer(
                [make_request(0), replace(make_request(1), clips=raise_error), make_request(2)], GREEDY
            )
        )
    assert {reply.index: (reply.error, reply.tries) for reply in replies} == {
        0: ("", 1),
        1: ("OSError: pack.bin: damaged at byte 7", 0),
        2: ("", 1),
    }


def test_answer_fails_only_the_refused_question() -> None:
    with chat_server(fail_first(refusal(400, "too many tokens"))) as server:
        replies = ask_all(server, 2)
    assert all((reply.error, reply.tries) == ("status 400: too many tokens", 1) for reply in replies.values())
    assert len(server.seen) == 2


def test_answer_raises_if_vllm_does_not_trust_request_settings() -> None:
    message = "Per-request media_io_kwargs are disabled. Start the server with --trust-request-mm-kwargs only when ..."
    with chat_server(lambda seen, k: refusal(400, message), version=VLLM) as server:  # noqa: SIM117
        with pytest.raises(ServerError, match=r"--trust-request-mm-kwargs.*docs/how-to/servers.md"):
            ask_all(server)


# --- waiting


def test_answer_delays_all_requests_by_retry_after() -> None:
    with chat_server(fail_first(refusal(429, "slow down", retry_after="0.5"))) as server:
        ask_all(server, 3, concurrency=3)
    first, second = server.seen[:3], server.seen[3:]
    assert min(seen.time for seen in second) - min(seen.time for seen in first) >= 0.5


def test_answer_waits_no_longer_than_patience() -> None:
    with chat_server(fail_first(refusal(429, "slow down", retry_after="86400"))) as server:
        start = time.monotonic()
        ask_all(server, 3, patience=0.2)
        assert time.monotonic() - start >= 0.2  # and not a day


def test_backoff_doubles_waits_without_retry_after() -> None:
    pace = Backoff(first=0.1, most=0.4, patience=1)
    for failures, most in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.4), (10_000, 0.4)):
        waits = [pace.after(failures) for _ in range(200)]
        assert most / 2 <= min(waits) < 0.6 * most < 0.9 * most < max(waits) <= most
    with chat_server(lambda seen, k: echo(seen, k) if k == 4 else FAULTS["500"]) as server:
        ask_all(server, 1, backoff=0.1, most_backoff=0.4)
    waited = [after.time - before.time for before, after in itertools.pairwise(server.seen)]
    assert all(wait >= least for wait, least in zip(waited, (0.05, 0.1, 0.2, 0.2), strict=True))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "1m30s"}, 90),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "9" * 5_000}, None),
        ({"retry-after": "1" * 80 + "x"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"x-ratelimit-reset-requests": "1m30s"}, 90),
        ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "6s"}, 6),
        (
            {
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m",
                "x-ratelimit-remaining-tokens": "5000",
            },
            2,
        ),
    ],
)
def test_asked_wait_reads_the_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(headers) == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("form", ["date", "seconds", "milliseconds"])
def test_asked_wait_reads_times_of_day(form: str) -> None:
    end = time.time() + 30
    text = {
        "date": email.utils.formatdate(end, usegmt=True),
        "seconds": f"{end:.0f}",
        "milliseconds": f"{end * 1000:.0f}",
    }
    name = "retry-after" if form == "date" else "x-ratelimit-reset"
    assert asked_wait({name: text[form]}) == pytest.approx(30, abs=2)


def test_waited_measures_time_without_frames() -> None:
    def render_slowly() -> list[Clip]:
        time.sleep(0.2)
        return make_request(0).clips()

    slow = [replace(make_request(index), clips=render_slowly) for index in range(8)]
    with chat_server(echo) as server:
        starved, fed = open_model(server, concurrency=1), open_model(server, concurrency=1)
        list(starved.answer(slow, GREEDY))
        list(fed.answer(map(make_request, range(8)), GREEDY))
    assert starved.waited > 0.3
    assert fed.waited < starved.waited / 2


def test_answer_does_not_render_far_ahead() -> None:
    taken = itertools.count()

    def make_requests() -> Iterator[Request]:
        for k in range(500):
            next(taken)
            yield make_request(k)

    with chat_server(lambda seen, k: replace(echo(seen, k), slow=0.2)) as server:
        replies = open_model(server, concurrency=2).answer(make_requests(), GREEDY)
        next(replies)
        replies.close()  # type: ignore[attr-defined]
    assert next(taken) <= 2 * 2 + 3 * (os.cpu_count() or 1)


def test_answer_stops_all_threads_when_closed() -> None:
    release, answered = threading.Event(), list[str]()

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        if not seen.question.endswith("0"):
            release.wait(60)
        answered.append(seen.question)
        return echo(seen, earlier)

    with chat_server(respond) as server:
        replies = open_model(server).answer(map(make_request, range(6)), GREEDY)
        next(replies)
        replies.close()  # type: ignore[attr-defined]
        assert [question.strip() for question in answered] == ["0"]
        assert not [thread for thread in threading.enumerate() if thread.name.startswith(("requests", "render"))]
        release.set()


def test_answer_raises_errors_of_the_request_iterator() -> None:
    def make_requests() -> Iterator[Request]:
        yield make_request(0)
        raise FileNotFoundError("samples.parquet is gone")

    with chat_server(echo) as server, pytest.raises(FileNotFoundError, match="is gone"):
        list(open_model(server).answer(make_requests(), GREEDY))


@pytest.mark.slow
def test_answer_stops_at_once_on_an_interrupt(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "from tests.models.openai.test_model import NO_QUESTIONS, GREEDY, OpenAIModel, ServerSettings, make_request\n"
        "model = OpenAIModel('m@' + sys.argv[1], ServerSettings(), NO_QUESTIONS)\n"
        "for reply in model.answer(map(make_request, range(9)), GREEDY):\n"
        "    print(reply.index, flush=True)\n"
    )

    release = threading.Event()

    def respond(seen: Seen, earlier: int) -> CannedResponse:
        return echo(seen, earlier) if seen.question.endswith("0") or release.wait(120) else CannedResponse(b"")

    with chat_server(respond) as server:
        root = Path(__file__).parents[3]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
        command = [sys.executable, str(script), server.url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)  # half of the time for which the server would keep it waiting
        release.set()
    assert errors.rstrip().endswith("KeyboardInterrupt")


# --- which server


@pytest.mark.parametrize(
    ("text", "model", "url", "root"),
    [
        ("m@http://h:8000", "m", "http://h:8000/v1", "http://h:8000"),
        ("m@http://h:8000/", "m", "http://h:8000/v1", "http://h:8000"),
        ("m@http://h:8000/v1", "m", "http://h:8000/v1", "http://h:8000"),
        ("m@http://h:8000/v1/", "m", "http://h:8000/v1", "http://h:8000"),
        ("m@https://h/v1/chat/completions", "m", "https://h/v1", "https://h"),
        ("a/b@c:free@https://h/api/v1", "a/b@c:free", "https://h/api/v1", "https://h/api"),
        ("m@https://h/v1beta/openai/", "m", "https://h/v1beta/openai", "https://h/v1beta/openai"),
        ("m@http://x@http://[::1]:80", "m@http://x", "http://[::1]:80/v1", "http://[::1]:80"),
    ],
)
def test_parse_endpoint_splits_at_the_last_address(text: str, model: str, url: str, root: str) -> None:
    target = parse_endpoint(text)
    assert (target.model, target.url, target.root) == (model, url, root)


@pytest.mark.parametrize(
    "text",
    ["m", "m@", "@http://h", "m@h:8000", "m@ftp://h", "m@http://", "m@http://h:x", "m@http://h h", "http://h/v1", ""],
)
def test_parse_endpoint_refuses_invalid_targets(text: str) -> None:
    with pytest.raises(ValueError, match=r"MODEL@URL|is not one"):
        parse_endpoint(text)


@pytest.mark.parametrize(
    "address", ["http://me:hunter2@h/v1", "http://hunter2@h", "https://h/v1?key=hunter2", "https://h#hunter2"]
)
def test_parse_endpoint_refuses_an_address_with_a_key_without_showing_it(address: str) -> None:
    with pytest.raises(ValueError, match="environment variable") as error:
        parse_endpoint(f"m@{address}")
    assert "hunter2" not in str(error.value)


def test_parse_endpoint_does_not_quote_a_possible_password() -> None:
    with pytest.raises(ValueError, match="is not one") as error:
        parse_endpoint("m@http://me:hunter2/x@h")
    assert "hunter2" not in str(error.value)


def test_key_setting_refuses_the_key_itself() -> None:
    with chat_server(echo) as server, pytest.raises(ValueError, match="name of an environment variable") as error:
        open_model(server, key="sk-hunter2")
    assert "hunter2" not in str(error.value)


def test_answer_names_a_missing_key_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELSEWHERE", raising=False)
    with chat_server(lambda seen, k: refusal(401, "no key")) as server:  # noqa: SIM117
        with pytest.raises(ServerError, match="no key; the environment variable ELSEWHERE is not set"):
            ask_all(server, key="ELSEWHERE")


def test_openai_model_refuses_an_unreachable_server() -> None:
    with chat_server(echo) as server:
        pass
    with pytest.raises(ServerError, match=r"no server answers at http://127\.0\.0\.1"):
        open_model(server)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("0.11.0", "behind the 32nd"),
        ("0.18.1", "Qwen3-VL fails"),
        ("0.19.1", "from 0 and ignores"),
        ("0.20.0", None),
        ("0.33.0", None),
        ("0.34.0rc1.dev5+gabc", None),
        ("1.0", None),
        ("0.1.dev1+g123", "it is not known whether"),
        ("nightly", "it is not known whether"),
    ],
)
def test_openai_model_refuses_vllm_versions_that_misread_times(version: str, reason: str | None) -> None:
    with chat_server(echo, version={"version": version}) as server:
        if reason is None:
            assert "label" not in open_model(server).describe()
        else:
            with pytest.raises(ValueError, match=f"{reason}.*mode=images"):
                open_model(server)
        assert open_model(server, mode="images").describe()["label"]
    asserted = vllm_refusal(version, asserted=True)
    assert (asserted is None) == (reason is None or "not known" in reason)


@pytest.mark.parametrize(("join", "order"), [("", "kept"), (None, "not checked")])
def test_describe_names_whether_vllm_keeps_the_order_of_a_turn(join: str | None, order: str) -> None:
    with chat_server(echo, version=VLLM, join=join) as server:
        assert open_model(server).describe()["order"] == order


def test_openai_model_refuses_a_vllm_that_puts_videos_first() -> None:
    with chat_server(echo, version=VLLM, join="\n") as server:
        with pytest.raises(ValueError, match="--chat-template-content-format openai"):
            open_model(server)
        assert open_model(server, mode="images").describe()["label"]


@pytest.mark.parametrize(
    "version",
    [
        None,
        CannedResponse("<html>welcome</html>"),
        CannedResponse(b"not json"),
        CannedResponse({"version": 3}),
        CannedResponse({"version": "1.2", "name": "other"}),
        CannedResponse(b"{", headers={"content-type": "application/json"}),
        refusal(500, "broken"),
        refusal(401, "no key"),
    ],
)
def test_openai_model_sends_images_to_servers_other_than_vllm(version: CannedResponse | None) -> None:
    with chat_server(echo, version=version) as server:
        assert open_model(server).describe()["label"] == "frames as single images"
        with pytest.raises(ValueError, match="has no version"):
            open_model(server, mode="vllm")
