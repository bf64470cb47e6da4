"""The session in which web servers are asked for files and for pages that list a folder.

`videossr.storage.paths.to_path` gives it to fsspec for `http://` and `https://` addresses. A server can neither send us
to another one, nor fill the memory, nor keep us busy with a page.
"""

from __future__ import annotations

import re
from typing import Any

import aiohttp
from yarl import URL

from videossr.errors import ServerError
from videossr.storage.redirects import check_redirect

MOST_BYTES = 1 << 26
"""Bytes of a file or page that is read in one piece: a manifest, a list, an image, a page of links."""

MOST_LINKS = 100_000
"""Links of a page that lists a folder."""

_LONGEST_LINK = 2048
_TIMES = aiohttp.ClientTimeout(total=300, sock_connect=30, sock_read=60)
"""Seconds that a request may take in all, until it is connected, and between two pieces of its body."""

_TAG = re.compile(r"<a\s[^<>]*", re.IGNORECASE)
_HREF = re.compile(r"""\shref\s?=\s?["']([^"'<>]*)""", re.IGNORECASE)
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


async def open_session(**options: Any) -> aiohttp.ClientSession:
    """Open a session that follows no redirect to another server, and reads bodies and pages within limits."""
    redirects = aiohttp.TraceConfig()
    redirects.on_request_redirect.append(_refuse_other_server)
    return aiohttp.ClientSession(
        response_class=_Response,
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,  # some kilobytes of a compressed body can be gigabytes
        timeout=_TIMES,
        trace_configs=[redirects],
        **options,
    )


async def _refuse_other_server(_session: object, _context: object, sent: aiohttp.TraceRequestRedirectParams) -> None:
    """Raise ServerError where a response sends the request to another server; asking for TLS instead is allowed."""
    headers = sent.response.headers
    asked = sent.url
    to = asked.join(URL(headers.get("Location") or headers.get("URI") or ""))
    check_redirect(f"{asked}", (asked.scheme, asked.host, asked.explicit_port), (to.scheme, to.host, to.explicit_port))


class _Response(aiohttp.ClientResponse):
    """A response whose body is read within limits."""

    async def start(self, connection: Any) -> _Response:
        """Read the head of the response."""
        await super().start(connection)
        asked = _RANGE.fullmatch(self.request_info.headers.get("Range", ""))
        most = int(asked[2]) - int(asked[1]) + 1 if asked and self.status == 206 else MOST_BYTES
        compressed = self.headers.get("Content-Encoding", "identity").lower() not in ("identity", "")
        self.content = _Limited(self.content, most, str(self.url), compressed=compressed)  # type: ignore[assignment]
        return self

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """Return the links of a page, one a line. Nobody asks for the text of anything else.

        The patterns by which fsspec finds them take hours for a page that was made so.
        """
        links = []
        for tag in _TAG.finditer(await super().text(encoding, errors)):
            link = _HREF.search(tag[0][:_LONGEST_LINK])
            if link is not None and not {"..", "."} & set(link[1].split("/")):
                links.append(link[1].replace(" ", "%20"))
        if len(links) > MOST_LINKS:
            raise ServerError(f"{self.url} lists more than {MOST_LINKS:,} files: list those that you mean with --list")
        return "\n".join(f'<a href="{link}">' for link in links)


class _Limited:
    """A body of which a reader that asks for all of it gets no more than `most` bytes, and of a compressed one none."""

    def __init__(self, body: aiohttp.StreamReader, most: int, url: str, *, compressed: bool) -> None:
        self._body = body
        self._most = most
        self._url = url
        self._compressed = compressed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    async def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, or all of them. Raises ServerError where that is too much, or compressed."""
        if self._compressed:
            raise ServerError(f"{self._url}: the server sends it compressed, which it was asked not to do")
        if size >= 0:
            return await self._body.read(size)
        data = bytearray()
        while piece := await self._body.readany():
            data += piece
            if len(data) > self._most:
                raise ServerError(f"{self._url}: the server sends more than {self._most:,} bytes at once")
        return bytes(data)
