"""What a server says where it does not answer, made fit to be shown and kept.

Exercised by `videossr bench run BENCH --model openai:MODEL@URL --out RUN`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai import APIStatusError

_MOST = 100_000
"""Characters of a refusal that are looked at."""


class RequestFailed(Exception):  # noqa: N818 (an outcome rather than an error)
    """One request has no answer; `again` tells whether it is worth another try."""

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.again = again


EXCERPT = "; the response: "
"""What stands in an error before the words of a response."""


def reason(error: str) -> str:
    """Return what failures of one kind have in common: the error without excerpts, and without ids and numbers.

    The status of a response stays. Two questions that are too long are refused with other numbers of tokens, and for
    the same reason; 400 and 413 are two reasons.
    """
    kept = error.partition(EXCERPT)[0]
    status = re.match(r"status \d+:|", kept)
    head = status[0] if status else ""
    return head + re.sub(r"\w+", lambda word: "N" if re.search(r"\d", word[0]) else word[0], kept[len(head) :])


def printable(text: str) -> str:
    """Return the text with control characters, which may move a cursor or reverse the writing, spelled out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def harmless(text: str, most: int = 300) -> str:
    """A stranger's words on one line of at most `most` characters, with control characters spelled out."""
    line = printable(" ".join(text[: 10 * most].split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def message(error: APIStatusError) -> str:
    """What a server says in an error, in any of the usual forms, or else its body as it stands."""
    text = error.response.text
    try:
        found = json.loads(text) if len(text) <= _MOST else None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        found = found.get("error", found)
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail")
    return found if isinstance(found, str) else text[:_MOST]


def named(error: APIStatusError, fields: Iterable[str]) -> str | None:
    """Which of these fields of a request a refusal is about: its `param`, or else the first that its text quotes."""
    names = list(fields)
    if error.param in names:
        return error.param
    text = error.response.text[:_MOST].replace("\\", "")
    return next((name for name in names if re.search(f"[`'\"]{name}[`'\"]", text)), None)


def no_system_role(error: APIStatusError) -> bool:
    """Return whether a server refuses a request because it, or the model's chat template, knows no system role.

    Servers have no code for it: `System role not supported`, `'messages[0].role' does not support 'system'`,
    `Conversation roles must alternate user/assistant/user/...`, `Input should be 'user' or 'assistant'`. The role and
    its denial must stand in one sentence, and a sentence about lengths is about something else.
    """
    if error.status_code not in (400, 422, 500):
        return False
    text = message(error)[:_MOST].lower()
    if "roles must alternate" in text:
        return True
    if any("assistant" in roles[0] and "system" not in roles[0] for roles in _ROLES.finditer(text)):
        return True
    sentences = re.split(r"[.;!?]\s|\n", text)
    return any(_SYSTEM.search(each) and _DENIED.search(each) and not _LENGTH.search(each) for each in sentences)


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


def transport_errors() -> type[Exception]:
    """The errors of the HTTP library that this version of `openai` brings: httpx, or httpx2 from its version 3 on."""
    from openai import DefaultAsyncHttpxClient

    modules = (base.__module__.partition(".")[0] for base in DefaultAsyncHttpxClient.__mro__)
    library = next(name for name in modules if name.startswith("httpx"))
    found: type[Exception] = sys.modules[library].HTTPError
    return found
