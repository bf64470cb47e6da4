"""Which server is meant, and whether it is a vLLM that reads the times of frames as they are sent.

Exercised by `videossr bench run BENCH --model openai:MODEL@URL --out RUN`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from videossr.errors import ConfigError, ServerError
from videossr.models.openai.errors import harmless

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

READS_TIMES = (0, 20)
"""First vLLM that takes the times of a list of frames from a request."""

_PROBE_SECONDS = 30.0
_FORM = "openai:MODEL@URL, such as openai:Qwen/Qwen3-VL-8B-Instruct@http://localhost:8000"
_WAY_OUT = "Use a newer vLLM, the model vllm:PATH, or --model.mode=images, which is labeled as not comparable"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The model's name on the server, the address of its API, and the server's own."""

    model: str
    url: str
    root: str


def parse_endpoint(text: str) -> Endpoint:
    """`MODEL@URL`, taken apart at the last `@` that an address follows; the model's name may hold `@` and `/`.

    An address without a path is given `/v1`, as all these servers have it. Raises ValueError, which never quotes what
    may be a key.
    """
    found = re.fullmatch(r"(.+)@(https?://.+)", text.strip(), re.IGNORECASE | re.DOTALL)
    if found is None:
        raise ConfigError(f"a served model is {_FORM}; the address starts with http:// or https://")
    model, address = found.groups()
    try:
        parts = urlsplit(address)
        known = bool(parts.hostname) and parts.port != 0
    except ValueError:  # which may quote a part of a password for the port
        raise ConfigError(f"the address behind {model}@ is not one: see its brackets and its port") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"give no key, password or query in the address behind {model}@: it is written into results; put the key "
            "into an environment variable, and its name into --model.key=NAME"
        )
    if not known or re.search(r"\s", address):
        raise ConfigError(f"the address behind {model}@ names no server; a served model is {_FORM}")
    path = parts.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    server = f"{parts.scheme.lower()}://{parts.netloc}"
    return Endpoint(model, f"{server}{path or '/v1'}", server + path.removesuffix("/v1"))


def open_client(target: Endpoint, key: str, timeout: float) -> OpenAI:
    """Return a client for a few requests at first. Raises ValueError for a proxy that cannot be used."""
    from openai import DefaultHttpxClient, OpenAI

    with _proxy_errors(target):
        transport = DefaultHttpxClient(trust_env=not _on_loopback(target))
    return OpenAI(base_url=target.url, api_key=key or "none", max_retries=0, timeout=timeout, http_client=transport)


def open_async_client(target: Endpoint, key: str, timeout: float) -> AsyncOpenAI:
    """Return a client for many requests at the same time. Raises ValueError for a proxy that cannot be used."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    with _proxy_errors(target):
        transport = DefaultAsyncHttpxClient(trust_env=not _on_loopback(target))
    return AsyncOpenAI(
        base_url=target.url, api_key=key or "none", max_retries=0, timeout=timeout, http_client=transport
    )


def _on_loopback(target: Endpoint) -> bool:
    """Whether the server runs on this machine, which no proxy can reach for us."""
    host = urlsplit(target.url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


@contextmanager
def _proxy_errors(target: Endpoint) -> Iterator[None]:
    """Turn what the HTTP library raises for the proxies of the environment into a message that names them."""
    try:
        yield
    except Exception as error:  # ImportError for SOCKS, ValueError for a scheme, its own class for an address
        names = [f"{scheme.upper()}_PROXY" for scheme in sorted(getproxies()) if scheme != "no"]
        if not names:
            raise
        socks = isinstance(error, ImportError)
        way = "pip install socksio" if socks else "correct it"
        raise ConfigError(
            f"{target.url}: the proxy that the environment names ({', '.join(names)}) cannot be used: "
            f"{'it is a SOCKS proxy' if socks else type(error).__name__}; {way}, or unset it"
        ) from error


def server_version(target: Endpoint, key: str) -> str:
    """The version of a vLLM server, which tells it at `/version`; empty for any other server.

    Raises ServerError where there is no server.
    """
    found = _asked(target, key, "version", None)
    version = found["version"] if found is not None and found.keys() == {"version"} else None
    return harmless(version, 40) if isinstance(version, str) else ""


def keeps_order(target: Endpoint, key: str) -> bool | None:
    """Whether a vLLM server leaves the parts of a turn in their order; None where it has no `/tokenize` to tell.

    vLLM guesses from the checkpoint's chat template whether that takes parts. Where it guesses not, it joins all texts
    by line ends and puts all videos before them.
    """

    def tokens(*texts: str) -> object:
        content = [{"type": "text", "text": text} for text in texts]
        body = {"model": target.model, "messages": [{"role": "user", "content": content}]}
        found = _asked(target, key, "tokenize", body)
        return None if found is None else found.get("tokens")

    apart, whole = tokens("see A", "B when"), tokens("see AB when")
    return apart == whole if isinstance(apart, list) and isinstance(whole, list) else None


def _asked(target: Endpoint, key: str, page: str, body: object) -> dict[str, object] | None:
    """The JSON object at a page of the server itself; None where it has none. Raises ServerError."""
    from openai import APIConnectionError, APIError

    with open_client(target, key, _PROBE_SECONDS) as client:
        url = f"{target.root}/{page}"
        try:
            found = client.get(url, cast_to=object) if body is None else client.post(url, cast_to=object, body=body)
        except APIConnectionError as error:
            cause = error.__cause__ or error
            raise ServerError(f"no server answers at {target.url}: {harmless(str(cause))}") from error
        except (APIError, ValueError):
            return None
    return found if isinstance(found, dict) else None


def vllm_refusal(version: str, *, asserted: bool) -> str | None:
    """Why a vLLM of this version cannot be sent videos; None if it can.

    A version that says nothing, as that of a build from source, is taken if the user has `asserted` that it is right.
    """
    if not version:
        return f"the server tells no version at /version, as vLLM does, so it cannot be sent videos. {_WAY_OUT}"
    found = re.match(r"v?(\d+)\.(\d+)", version)
    numbers = (int(found[1]), int(found[2])) if found else (0, 0)
    if numbers < (0, 2):  # a build from source may call itself 0.1.dev1
        unknown = f"vLLM {version}: whether it reads the times of frames cannot be told; videos need at least 0.20"
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
