"""Paths and addresses: which file they mean, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from videossr.store import place


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("videos/a#b?c%20d", "videos/a#b?c%20d"),
        ("file:///videos/take#2", "/videos/take#2"),
        ("file:///videos/what?", "/videos/what?"),
        ("FILE:///my%20videos", "/my videos"),
        ("local:///my%20videos", "/my videos"),
        ("./odd:/videos", "odd:/videos"),
    ],
)
def test_local_ones(text: str, path: str) -> None:
    assert place(text) == Path(path)
    assert isinstance(place(text), Path)


@pytest.mark.parametrize("text", ["memory://videos/what?#2", "MEMORY://videos/what?#2"])
def test_remote_ones(text: str) -> None:
    assert str(place(text)) in ("memory://videos/what?#2", "memory:///videos/what?#2")


def test_a_key_of_an_object_store_may_hold_any_sign() -> None:
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'videossr[remote]'")
    found = place("S3://bucket/what?/a#b@c")
    assert not isinstance(found, Path)
    assert (found.protocol, found.path) == ("s3", "bucket/what?/a#b@c")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file://videos/a", "no server"),
        ("file://", "no server"),
        ("odd://videos", r"unknown kind of address odd://.* as \./odd://videos"),
        ("a b://videos", "unknown kind of address"),
        ("://videos", "unknown kind of address"),
        ("https://server/videos?token=hush", "give no credentials"),
        ("HTTPS://server?token=hush", "give no credentials"),
        ("s3://key:hush@bucket/videos", "give no credentials"),
    ],
)
def test_refused_ones(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        place(text)
    assert "hush" not in str(refused.value)
