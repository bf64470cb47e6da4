"""Servers that send endless or compressed bodies, that let us wait, or that send us to others."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
import warnings
from http.server import BaseHTTPRequestHandler

import pytest

from tests.helpers.chat_server import texts
from tests.helpers.hostile_server import HostileServer, answer, hostile_server
from tests.models.openai.test_model import NO_QUESTIONS, QUICK, make_request
from videossr.errors import ServerError
from videossr.models.base import Decoding, Response
from videossr.models.openai import endpoint
from videossr.models.openai.endpoint import parse_endpoint, server_version
from videossr.models.openai.model import OpenAIModel, ServerSettings

CHAT = "/v1/chat/completions"
ANSWER = json.dumps(texts("0.0-0.5")).encode()
BOMB = gzip.compress(bytes(200_000_000), 9)
"""200 KB that are 200 MB."""
MOST_MEMORY = 20_000_000


def ordinary(handler: BaseHTTPRequestHandler) -> None:
    if handler.path == CHAT:
        answer(handler, ANSWER, content_type="application/json")
    else:
        answer(handler, b"{}", 404)


def reply(server: HostileServer, **settings: object) -> Response:
    """The reply to one question."""
    model = OpenAIModel(f"m@{server.url}", ServerSettings(**{**QUICK, "tries": 1, **settings}), NO_QUESTIONS)
    (only,) = model.answer([make_request(0)], Decoding())
    return only


@pytest.mark.parametrize("status", [200, 404, 500])
def test_an_endless_body_of_a_probe_ends(status: int) -> None:
    with hostile_server(lambda handler: server.endless(handler, status)) as server:
        began = time.monotonic()
        assert server_version(parse_endpoint(f"m@{server.url}"), "") == ""
        assert time.monotonic() - began < 10
        assert server.sent < MOST_MEMORY


@pytest.mark.parametrize(
    ("status", "told"), [(200, "longer than most_bytes"), (500, "status 500"), (400, "status 400")]
)
def test_an_endless_answer_ends(status: int, told: str) -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == CHAT:
            server.endless(handler, status)
        else:
            ordinary(handler)

    with hostile_server(respond) as server:
        began = time.monotonic()
        assert told in reply(server).error
        assert time.monotonic() - began < 10
        assert server.sent < MOST_MEMORY


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("page", [CHAT, "/version"])
def test_a_compressed_body_is_not_unpacked(page: str, status: int) -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == page:
            answer(handler, BOMB, status, content_encoding="gzip", content_type="application/json")
        else:
            ordinary(handler)

    with hostile_server(respond) as server:
        tracemalloc.start()
        said = reply(server)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < MOST_MEMORY
    assert (said.texts == ("0.0-0.5",)) == (page != CHAT)
    assert server.seen[0][2]["accept-encoding"] == "identity"


def test_a_body_that_trickles_is_given_up_after_the_time_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece comes in time for a read; together they take for ever."""
    monkeypatch.setattr(endpoint, "PROBE_SECONDS", 1.0)

    def respond(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, None)
        for _ in range(200):
            handler.wfile.write(b" ")
            time.sleep(0.1)

    with hostile_server(respond) as server:
        began = time.monotonic()
        with pytest.raises(ServerError, match=r"does not answer within 1 s"):
            server_version(parse_endpoint(f"m@{server.url}"), "")
        assert time.monotonic() - began < 5


def test_another_server_is_not_asked_for_the_one_that_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with hostile_server(ordinary) as other:
        for pages in ("/version", CHAT):

            def respond(handler: BaseHTTPRequestHandler, pages: str = pages) -> None:
                if handler.path == pages:
                    answer(handler, b"\x1b[31mred", 307, location=other.url + handler.path)
                else:
                    ordinary(handler)

            with hostile_server(respond) as server, pytest.raises(ServerError, match="name its address") as refused:
                reply(server)
            assert other.url in str(refused.value)
            assert "red" not in str(refused.value).replace("redirects", "")
        assert not other.seen


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}\\\\@[::1]:9/",
        "http://[",
        "http://127.0.0.1:{port}@[::1]:9/",
        "//[::1]:9",
        "\x1b[31m",
        "ftp://a",
    ],
)
def test_a_redirect_to_no_or_an_odd_address_is_an_error(location: str) -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == CHAT:
            answer(handler, b"", 307, location=location.format(port=server.url.rpartition(":")[2]))
        else:
            ordinary(handler)

    with hostile_server(respond) as server:
        try:
            said = reply(server).error
        except ServerError as error:
            said = str(error)
    assert said
    assert said.isprintable()
    assert "Connect" not in said, "no other server was asked"


def test_a_server_may_send_a_request_to_another_page_of_its_own() -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == CHAT:
            answer(handler, b"", 307, location="/other")
        elif handler.path == "/other":
            answer(handler, ANSWER)
        else:
            ordinary(handler)

    with hostile_server(respond) as server:
        assert reply(server).texts == ("0.0-0.5",)


def test_a_redirect_without_an_end_ends() -> None:
    with hostile_server(lambda handler: answer(handler, b"", 307, location=handler.path + "x")) as server:
        with pytest.raises(ServerError, match="redirects"):
            reply(server)
        assert len(server.seen) < 60


def test_names_of_the_environment_are_for_openai_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {name: f"secret-{name}" for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY")}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_API_KEY", "the-key")
    with hostile_server(ordinary) as server:
        assert reply(server).texts == ("0.0-0.5",)
    sent = json.dumps([headers for _, _, headers in server.seen])
    assert "secret" not in sent
    assert "Bearer the-key" in sent


@pytest.mark.parametrize(
    ("address", "key", "warned"),
    [
        ("http://far.invalid", "the-key", True),
        ("https://far.invalid", "the-key", False),
        ("http://far.invalid", "", False),
        ("http://127.0.0.1:9", "the-key", False),
        ("http://localhost:9", "the-key", False),
    ],
)
def test_a_key_over_plain_http_is_warned_of(
    address: str, key: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setattr("videossr.models.openai.model.server_version", lambda target, key: "")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        OpenAIModel(f"m@{address}", ServerSettings(), NO_QUESTIONS)
    told = [str(each.message) for each in caught if "plain http" in str(each.message)]
    assert len(told) == warned
    assert "the-key" not in "".join(told)
