"""A web server on loopback that answers each request as a test says, also with bodies that never end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

Respond: TypeAlias = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class HostileServer:
    """Where it listens, and the requests that came: their method, path and headers."""

    url: str = ""
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0
    """Bytes of endless bodies that clients took."""

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.seen]

    def endless(self, handler: BaseHTTPRequestHandler, status: int = 200, **headers: str) -> None:
        """Send a body without an end, until the client goes."""
        answer(handler, None, status, **headers)
        piece = b" " * 65_536
        while True:
            handler.wfile.write(piece)
            self.sent += len(piece)


def answer(handler: BaseHTTPRequestHandler, body: bytes | None, status: int = 200, **headers: str) -> None:
    """Send a status, headers (with `_` for `-`) and a body; without one, the body is left to the caller."""
    handler.send_response(status)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        named.setdefault("content-length", str(len(body)))
    for name, value in named.items():
        handler.send_header(name, value)
    handler.end_headers()
    if body is not None and handler.command != "HEAD":
        handler.wfile.write(body)


@contextmanager
def hostile_server(respond: Respond, host: str = "127.0.0.1") -> Iterator[HostileServer]:
    """Run a server while the block lasts."""
    record = HostileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            record.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            try:
                respond(self)
            except OSError:
                self.close_connection = True  # the client has gone

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    record.url = f"http://{host}:{server.server_port}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    try:
        yield record
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
