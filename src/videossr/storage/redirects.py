"""Decide whether a redirect stays on the server that the user has named. The clients of models and of files call it."""

from __future__ import annotations

from typing import TypeAlias

from videossr.errors import ServerError
from videossr.untrusted import one_line

Server: TypeAlias = tuple[str, str | None, int | None]
"""Scheme, host and port of an address, as the client that sends the request parses them; None for the usual port."""

_PORTS = {"http": 80, "https": 443}


def check_redirect(address: str, asked: Server, to: Server) -> None:
    """Refuse a request to another server; one that asks for TLS instead stays the same.

    Args:
        address: that the user has named, for the message.
        asked: the server of that address.
        to: that of the request which would be sent.

    Raises:
        ServerError: it is another server.
    """
    scheme, host, port = asked
    new_scheme, new_host, new_port = to
    ends = (scheme, port or _PORTS.get(scheme)), (new_scheme, new_port or _PORTS.get(new_scheme))
    if host == new_host and (ends[0] == ends[1] or ends == (("http", 80), ("https", 443))):
        return
    place = one_line(f"{new_scheme}://{new_host}" + (f":{new_port}" if new_port else ""), 100)
    raise ServerError(
        f"{address} redirects to another server, {place}, which is not asked: if that is the one that you mean, name "
        "its address"
    )
