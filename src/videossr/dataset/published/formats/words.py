"""The words of `prompts.toml`, for rows that have a question but do not say how it is to be answered."""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def words() -> dict[str, dict[str, Any]]:
    """Return the tables of `prompts.toml`."""
    return tomllib.loads(_text())


def reply(kind: str) -> str:
    """Return the sentence that asks for an answer of a type."""
    sentence: str = words()["reply"][kind]
    return sentence


@cache
def words_hash() -> str:
    """Return the SHA-256 in hex over the words."""
    return hashlib.sha256(_text().encode()).hexdigest()


def _text() -> str:
    return (files("videossr.dataset.published") / "prompts.toml").read_text("utf-8")
