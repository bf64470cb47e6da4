"""A redirect is followed on the server that was named, and to its TLS port."""

from __future__ import annotations

import pytest

from videossr.errors import ServerError
from videossr.storage.redirects import Server, check_redirect


@pytest.mark.parametrize(
    ("asked", "to"),
    [
        (("http", "a.b", None), ("http", "a.b", 80)),
        (("https", "a.b", 8443), ("https", "a.b", 8443)),
        (("http", "a.b", None), ("https", "a.b", None)),
        (("http", "a.b", 80), ("https", "a.b", 443)),
    ],
)
def test_check_redirect_allows_the_same_server_and_its_tls(asked: Server, to: Server) -> None:
    check_redirect("http://a.b/x", asked, to)


@pytest.mark.parametrize(
    ("asked", "to", "place"),
    [
        (("http", "a.b", None), ("http", "c.d", None), "http://c.d"),
        (("http", "a.b", None), ("http", "a.b", 8080), "http://a.b:8080"),
        (("http", "a.b", 8080), ("https", "a.b", None), "https://a.b"),
        (("http", "a.b", None), ("https", "a.b", 8443), "https://a.b:8443"),
        (("https", "a.b", None), ("http", "a.b", None), "http://a.b"),
        (("http", "a.b", None), ("http", None, None), "http://None"),
        (("http", "a.b", None), ("http", "c.d\x1b[2J", None), r"http://c.d\x1b[2J"),
    ],
)
def test_check_redirect_refuses_another_server(asked: Server, to: Server, place: str) -> None:
    with pytest.raises(ServerError) as refused:
        check_redirect("http://a.b/x", asked, to)
    assert str(refused.value).startswith(f"http://a.b/x redirects to another server, {place}, which is not asked")
