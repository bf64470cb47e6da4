"""A server that takes uploads as the Hugging Face hub does, as far as huggingface_hub asks it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TOKEN = "hf_of_the_test"


@dataclass
class Hub:
    """What the server was sent.

    Attributes:
        address: of the server.
        created: the bodies of requests to create a repository.
        cards: that were to be checked.
        files: what was committed, by `REPOSITORY/PATH`.
        forbidden: whether it refuses commits.
    """

    address: str = ""
    created: list[dict[str, Any]] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    forbidden: bool = False


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve while the block lasts."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def _answer(self, body: bytes) -> None:
            status, answer = self._respond(urlsplit(self.path).path, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _respond(self, path: str, body: bytes) -> tuple[int, Any]:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return 401, {"error": "Invalid username or password."}
            if path == "/api/whoami-v2":
                return 200, {"type": "user", "name": "me"}
            if path == "/api/validate-yaml":
                hub.cards.append(json.loads(body)["content"])
                return 200, {"errors": [], "warnings": []}
            if path == "/api/repos/create":
                hub.created.append(json.loads(body))
                return 200, {"url": f"{hub.address}/datasets/me/small"}
            owner, name, verb = path.removeprefix("/api/datasets/").split("/")[:3]
            repository = f"{owner}/{name}"
            if verb == "revision":
                return 200, {"id": repository, "sha": "abc", "xetEnabled": False}
            if verb == "preupload":
                files = json.loads(body)["files"]
                return 200, {
                    "files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
                }
            if verb == "commit" and not hub.forbidden:
                for line in body.splitlines():
                    record = json.loads(line)
                    if record["key"] == "file":
                        value = record["value"]
                        assert value["encoding"] == "base64"
                        hub.files[f"{repository}/{value['path']}"] = base64.b64decode(value["content"])
                return 200, {"commitUrl": f"{hub.address}/datasets/{repository}/commit/abc", "commitOid": "abc"}
            return 403, {"error": "Forbidden: you must use a write token"}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
