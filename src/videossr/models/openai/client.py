"""The client of all requests to a server. It reads bounded bodies, and asks no server but the one that was named.

`videossr.models.openai.model` and `videossr.models.openai.endpoint` open it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from videossr.errors import ConfigError
from videossr.models.openai.errors import MOST_OF_ERROR, RequestFailed, http_library
from videossr.storage.redirects import check_redirect

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_OPENAI = "api.openai.com"
"""The host that the organization and the project of the environment are meant for."""

_PLAIN = ("", "identity")


def open_client(url: str, key: str, timeout: float, most_bytes: int) -> AsyncOpenAI:
    """Open a client for the API at an address.

    Args:
        url: address of the API.
        key: is sent with every request.
        timeout: seconds that a connection may take, and that may pass between two pieces of a body.
        most_bytes: of a body. A longer answer fails its request; of an error no more than `MOST_OF_ERROR` are read.

    Returns:
        A client whose requests fail with an `APIConnectionError`, which has the `RequestFailed` or `ServerError` as its
        cause, where a body is too long or compressed, or another server is to be asked instead.

    Raises:
        ConfigError: a proxy cannot be used.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    with _proxy_errors(url):
        hooks = {"request": [_only(url)], "response": [_bound(most_bytes)]}
        transport = DefaultAsyncHttpxClient(trust_env=not is_loopback(url), event_hooks=hooks)
    client = AsyncOpenAI(
        base_url=url,
        api_key=key or "none",
        max_retries=0,
        timeout=timeout,
        http_client=transport,
        default_headers={"Accept-Encoding": "identity"},
    )
    if urlsplit(url).hostname != _OPENAI:
        client.organization = client.project = None
    return client


def is_loopback(url: str) -> bool:
    """Return whether a server runs on this machine, which no proxy can reach for us."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _bound(most_bytes: int) -> Callable[[Any], Awaitable[None]]:
    """Return a hook that reads the body of a response within limits, before anything else does.

    A compressed body is not read: some kilobytes of it can be gigabytes. None was asked for.
    """

    async def read(response: Any) -> None:
        compressed = response.headers.get("content-encoding", "").strip().lower() not in _PLAIN
        if compressed and response.is_success:
            raise RequestFailed("the response is compressed, which it was asked not to be", again=False)
        response.headers.pop("content-encoding", None)
        most = most_bytes if response.is_success else 0 if compressed else MOST_OF_ERROR
        body = bytearray()
        try:
            async for piece in response.stream:
                body += piece
                if len(body) > most:
                    break
        finally:
            await response.stream.aclose()
        if len(body) > most and response.is_success:
            raise RequestFailed(f"the response is longer than most_bytes, {most}", again=False)
        response.stream = http_library().ByteStream(bytes(body[:most]))

    return read


def _only(url: str) -> Callable[[Any], Awaitable[None]]:
    """Return a hook that refuses requests to another server, to which a response may send one with frames and key."""
    named = http_library().URL(url)

    async def refuse(request: Any) -> None:
        to = request.url
        check_redirect(url, (named.scheme, named.host, named.port), (to.scheme, to.host, to.port))

    return refuse


@contextmanager
def _proxy_errors(url: str) -> Iterator[None]:
    """Turn errors of the HTTP library about the proxies of the environment into messages that name them."""
    try:
        yield
    except Exception as error:  # ImportError for SOCKS, ValueError for a scheme, its own class for an address
        names = [f"{scheme.upper()}_PROXY" for scheme in sorted(getproxies()) if scheme != "no"]
        if not names:
            raise
        socks = isinstance(error, ImportError)
        remedy = "pip install socksio" if socks else "correct it"
        raise ConfigError(
            f"{url}: the proxy that the environment names ({', '.join(names)}) cannot be used: "
            f"{'it is a SOCKS proxy' if socks else type(error).__name__}; {remedy}, or unset it"
        ) from error
