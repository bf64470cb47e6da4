"""Error responses of servers: parsed, classified, and made safe to print and to store.

`videossr.models.openai.model` uses it for every failed request.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from videossr.untrusted import one_line

if TYPE_CHECKING:
    from openai import APIStatusError

MOST_OF_ERROR = 100_000
"""Bytes of an error response that are read."""


class RequestFailed(Exception):  # noqa: N818 (an outcome rather than an error)
    """One request has no answer.

    Attributes:
        again: whether it is worth another try.
    """

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


EXCERPT = "; the response: "
"""Separates, in an error, our own words from those of a response."""


def reason(error: str) -> str:
    """Reduce an error to the part that failures of one kind share: without excerpts, ids and numbers.

    The status of a response stays. Two questions that are too long are refused with different numbers of tokens for the
    same reason, while 400 and 413 are two reasons.
    """
    text = error.partition(EXCERPT)[0]
    status = re.match(r"status \d+:|", text)
    head = status[0] if status else ""
    return head + re.sub(r"\w+", lambda word: "N" if re.search(r"\d", word[0]) else word[0], text[len(head) :])


def harmless(text: str, most: int = 300) -> str:
    """Shorten a foreign text to one line of at most `most` characters, with control characters escaped."""
    line = one_line(" ".join(text[: 10 * most].split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def message(error: APIStatusError) -> str:
    """Return the message of a server's error, in any of the usual forms, or else the body unchanged."""
    text = error.response.text
    try:
        body = json.loads(text) if len(text) <= MOST_OF_ERROR else None
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        body = body.get("error", body)
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail")
    return body if isinstance(body, str) else text[:MOST_OF_ERROR]


def named(error: APIStatusError, fields: Iterable[str]) -> str | None:
    """Find which of some fields of a request an error is about: its `param`, or else the first that its text quotes."""
    names = list(fields)
    if error.param in names:
        return error.param
    text = error.response.text[:MOST_OF_ERROR].replace("\\", "")
    return next((name for name in names if re.search(f"[`'\"]{name}[`'\"]", text)), None)


def no_system_role(error: APIStatusError) -> bool:
    """Return whether a server refuses a request because it, or the model's chat template, knows no system role.

    Servers have no code for it: `System role not supported`, `'messages[0].role' does not support 'system'`,
    `Conversation roles must alternate user/assistant/user/...`, `Input should be 'user' or 'assistant'`. The role and
    its denial must stand in one sentence, and a sentence about lengths is about something else.
    """
    if error.status_code not in (400, 422, 500):
        return False
    text = message(error)[:MOST_OF_ERROR].lower()
    if "roles must alternate" in text:
        return True
    if any("assistant" in roles[0] and "system" not in roles[0] for roles in _ROLES.finditer(text)):
        return True
    sentences = re.split(r"[.;!?]\s|\n", text)
    return any(
        _SYSTEM.search(sentence) and _DENIED.search(sentence) and not _LENGTH.search(sentence) for sentence in sentences
    )


_SYSTEM = re.compile(r"\b(?:system|developer)\W+(?:role|message|prompt|instruction|turn)|\broles?\b.{0,80}\bsystem\b")
_DENIED = re.compile(
    r"not? (?:supported|allowed|permitted|enabled)|unsupported|n[o']t support|invalid|unexpected|unknown"
)
_LENGTH = re.compile(r"\btokens?\b|\blength\b|\blong(?:er)?\b|\bcontext\b")
_ROLES = re.compile(
    r"(?:should be|must be|permitted|allowed|expected|supported|only)\W+(?:one of\W+)?"
    r"user(?:['\"`]?(?:\s*,\s*(?:(?:or|and)\s+)?|\s+(?:or|and)\s+|\s*[|/]\s*)['\"`]?\w+)*"
)
"""A list of the roles that a server takes, which begins with `user`."""


def http_library() -> Any:
    """Return the module of the HTTP library that `openai` uses: httpx, or httpx2 from its version 3 on."""
    from openai import DefaultAsyncHttpxClient

    modules = (base.__module__.partition(".")[0] for base in DefaultAsyncHttpxClient.__mro__)
    return sys.modules[next(name for name in modules if name.startswith("httpx"))]


def transport_errors() -> type[Exception]:
    """Return the base error of the HTTP library that `openai` uses."""
    base_error: type[Exception] = http_library().HTTPError
    return base_error
