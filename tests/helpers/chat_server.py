"""A local server of the chat API, over real sockets, that answers each request as a test says."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

Fields: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class CannedResponse:
    """A response to send; `drop` cuts the connection after so many bytes of the body, `slow` is a delay in seconds."""

    body: bytes | str | Fields
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: int | None = None
    slow: float = 0.0


def texts(*answers: str | None, finish: str = "stop") -> Fields:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {"index": k, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
            for k, text in enumerate(answers)
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8},
    }


def refusal(
    status: int, message: str, param: str | None = None, code: str | None = None, **headers: str
) -> CannedResponse:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return CannedResponse({"error": error}, status, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass
class Seen:
    """A received request: its time, its body and its headers."""

    time: float
    fields: Fields
    headers: Mapping[str, str]

    @property
    def question(self) -> str:
        """The last text of the user turn, where tests put the question's number."""
        turn = self.fields["messages"][-1]["content"]
        return str([part["text"] for part in turn if part["type"] == "text"][-1])


class ChatServer:
    """A server that answers with `respond(seen, k)`, where `k` counts the earlier requests of the same question.

    `version` is the answer at `/version`. `join` is put between the texts of a turn at `/tokenize`, which exists only
    if `join` is given.
    """

    def __init__(
        self,
        respond: Callable[[Seen, int], CannedResponse],
        version: CannedResponse | None = None,
        join: str | None = None,
    ) -> None:
        self.seen: list[Seen] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                is_version = self.path == "/version" and version is not None
                self._send(version if is_version and version else refusal(404, "Not Found"))

            def do_POST(self) -> None:
                fields = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.path == "/tokenize" and join is not None:
                    text = join.join(part["text"] for part in fields["messages"][0]["content"])
                    self._send(CannedResponse({"tokens": [*text.encode()]}))
                    return
                if self.path != "/v1/chat/completions":
                    self._send(refusal(404, "no such page"))
                    return
                seen = Seen(time.monotonic(), fields, {name.lower(): value for name, value in self.headers.items()})
                with outer._lock:
                    outer._at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer._at_once)
                    earlier = sum(other.question == seen.question for other in outer.seen)
                    outer.seen.append(seen)
                try:
                    self._send(respond(seen, earlier))
                finally:
                    with outer._lock:
                        outer._at_once -= 1

            def _send(self, response: CannedResponse) -> None:
                kind = "text/html" if isinstance(response.body, str) else "application/json"
                body = json.dumps(response.body) if isinstance(response.body, dict) else response.body
                data = body.encode() if isinstance(body, str) else body
                time.sleep(response.slow)
                try:
                    self.send_response(response.status)
                    for name, value in {"content-type": kind, **response.headers}.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data[: response.drop])
                except OSError:
                    self.close_connection = True  # the client has closed the connection, as in some tests
                if response.drop is not None:
                    self.wfile.flush()
                    # Linger of 0: the connection is reset instead of closed.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.01)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def chat_server(
    respond: Callable[[Seen, int], CannedResponse],
    version: CannedResponse | Fields | None = None,
    join: str | None = None,
) -> Iterator[ChatServer]:
    """Run a server while the block lasts."""
    server = ChatServer(respond, CannedResponse(version) if isinstance(version, dict) else version, join)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
