"""The address of a server, and probes whether it is a vLLM that reads the times of frames as they are sent.

`videossr.models.openai.model` calls it before the first question.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from videossr.errors import ConfigError, ServerError
from videossr.models.openai.bridge import run_in_background
from videossr.models.openai.client import open_client
from videossr.models.openai.errors import RequestFailed, harmless

READS_TIMES = (0, 20)
"""First version of vLLM that takes the times of a list of frames from a request."""

PROBE_SECONDS = 30.0
"""Seconds that the answer to a probe may take in all."""
_PROBE_BYTES = 65_536
_FORM = "openai:MODEL@URL, such as openai:Qwen/Qwen3-VL-8B-Instruct@http://localhost:8000"
_WAY_OUT = "Use a newer vLLM, the model vllm:PATH, or --model.mode=images, which is labeled as not comparable"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model on a server.

    Attributes:
        model: its name on the server.
        url: address of the API.
        root: address of the server.
    """

    model: str
    url: str
    root: str


def parse_endpoint(text: str) -> Endpoint:
    """Parse `MODEL@URL`. The model's name may hold `@` and `/`; the last `@` before an address separates the two.

    An address without a path gets `/v1`, where these servers have their API.

    Raises:
        ConfigError: the text has another form. The message never quotes what may be a key.
    """
    match = re.fullmatch(r"(.+)@(https?://.+)", text.strip(), re.IGNORECASE | re.DOTALL)
    if match is None:
        raise ConfigError(f"a served model is {_FORM}; the address starts with http:// or https://")
    model, address = match.groups()
    try:
        parts = urlsplit(address)
        has_server = bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text may quote a part of a password as the port
        raise ConfigError(f"the address behind {model}@ is not one: see its brackets and its port") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"give no key, password or query in the address behind {model}@: it is written into results; put the key "
            "into an environment variable, and its name into --model.key=NAME"
        )
    if not has_server or re.search(r"\s", address):
        raise ConfigError(f"the address behind {model}@ names no server; a served model is {_FORM}")
    path = parts.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    server = f"{parts.scheme.lower()}://{parts.netloc}"
    return Endpoint(model, f"{server}{path or '/v1'}", server + path.removesuffix("/v1"))


def server_version(target: Endpoint, key: str) -> str:
    """Ask a vLLM server for its version, at `/version`; return an empty text for any other server.

    Raises:
        ServerError: no server answers.
    """
    reply = _request(target, key, "version", None)
    version = reply["version"] if reply is not None and reply.keys() == {"version"} else None
    return harmless(version, 40) if isinstance(version, str) else ""


def keeps_order(target: Endpoint, key: str) -> bool | None:
    """Return whether a vLLM server keeps the parts of a turn in their order; None where it has no `/tokenize`.

    vLLM guesses from the checkpoint's chat template whether that takes parts. If it guesses that it does not, it joins
    all texts by line ends and puts all videos before them.

    Raises:
        ServerError: no server answers.
    """

    def tokens(*texts: str) -> object:
        content = [{"type": "text", "text": text} for text in texts]
        body = {"model": target.model, "messages": [{"role": "user", "content": content}]}
        reply = _request(target, key, "tokenize", body)
        return None if reply is None else reply.get("tokens")

    apart = tokens("see A", "B when")
    whole = tokens("see AB when")
    return apart == whole if isinstance(apart, list) and isinstance(whole, list) else None


def _request(target: Endpoint, key: str, page: str, body: object) -> dict[str, object] | None:
    """Fetch the JSON object at a page of the server itself; None where it has none. Raises ServerError."""
    from openai import APIConnectionError, APIError

    async def fetch(put: Callable[[object], None]) -> None:
        async with open_client(target.url, key, PROBE_SECONDS, _PROBE_BYTES) as client, asyncio.timeout(PROBE_SECONDS):
            url = f"{target.root}/{page}"
            reply = client.get(url, cast_to=object) if body is None else client.post(url, cast_to=object, body=body)
            put(await reply)

    try:
        (reply,) = run_in_background(fetch)
    except APIConnectionError as error:
        cause = error.__cause__ or error
        if isinstance(cause, ServerError):
            raise cause from None
        if isinstance(cause, RequestFailed):
            return None
        raise ServerError(f"no server answers at {target.url}: {harmless(str(cause))}") from error
    except TimeoutError as error:
        raise ServerError(f"{target.url} does not answer within {PROBE_SECONDS:g} s") from error
    except ConfigError:
        raise
    except (APIError, RequestFailed, ValueError):
        return None
    return reply if isinstance(reply, dict) else None


def vllm_refusal(version: str, *, asserted: bool) -> str | None:
    """Explain why a vLLM of this version cannot be sent videos; return None if it can.

    Args:
        version: of the server; empty for a server that is not known to be vLLM.
        asserted: whether the user has said that it is a vLLM that reads times, which decides for a version without
            numbers, as that of a build from source.
    """
    if not version:
        return f"the server has no version at /version, as vLLM does, so it cannot be sent videos. {_WAY_OUT}"
    parts = re.match(r"v?(\d+)\.(\d+)", version)
    numbers = (int(parts[1]), int(parts[2])) if parts else (0, 0)
    if numbers < (0, 2):  # a build from source may call itself 0.1.dev1
        unknown = f"vLLM {version}: it is not known whether it reads the times of frames; videos need at least 0.20"
        return None if asserted else f"{unknown}. If it is newer, say --model.mode=vllm. {_WAY_OUT}"
    if numbers >= READS_TIMES:
        return None
    if numbers >= (0, 19):
        why = "numbers the frames of a list from 0 and ignores the times that are sent, so that the model reads others"
    elif numbers >= (0, 18):
        why = "drops the times of a list of frames, without which Qwen3-VL fails"
    else:
        why = "drops the times of a list of frames, and all frames behind the 32nd"
    return f"vLLM {version} {why}; versions from 0.20 on read them. {_WAY_OUT}"
