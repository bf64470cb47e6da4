"""Waits before a request is sent again: the time that the server asks for, else a time that doubles.

`videossr.models.openai.model` waits by it.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LENGTH = re.compile(r"(?:\d+(?:\.\d*)?(?:ms|[smhd]))+")
_PIECE = re.compile(r"(\d+(?:\.\d*)?)(ms|[smhd])")
_LONGEST = 40
"""Characters of the longest header that is parsed as a time."""
_EPOCH = 1e9
"""A number of seconds beyond this is a time of day, counted from 1970, not a wait."""


class Backoff:
    """Waits of requests: of all of them where the server asks for it, and of each after its own failures.

    Args:
        first: seconds of the first wait after a failure; each further one is twice as long.
        most: seconds of such a wait, at most.
        patience: seconds of a wait that the server asks for, at most.
    """

    def __init__(self, first: float, most: float, patience: float) -> None:
        self._first = first
        self._most = most
        self._patience = patience
        self._resume = -math.inf

    async def ready(self) -> None:
        """Wait until requests may be sent, also where another request extends the wait meanwhile."""
        while (wait := self._resume - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def hold(self, seconds: float) -> None:
        """Let all requests wait for the seconds that the server has asked for."""
        self._resume = max(self._resume, time.monotonic() + min(seconds, self._patience))

    def after(self, failures: int) -> float:
        """Draw the seconds before a request that has failed so often is sent again, so that not all come at once."""
        return min(self._most, self._first * 2.0 ** min(failures - 1, 60)) * random.uniform(0.5, 1)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Read the seconds that a response asks to wait, from Retry-After or the headers about its limits.

    Only limits count of which nothing remains, or whose remainder is not given.

    Returns:
        Seconds; None where the response does not ask to wait.
    """
    text = headers.get("retry-after", "")
    for seconds in (_length(headers.get("retry-after-ms", ""), 0.001), _length(text), _date(text)):
        if seconds is not None:
            return seconds
    waits = [
        wait
        for kind in ("", "-requests", "-tokens")
        if headers.get(f"x-ratelimit-remaining{kind}", "0").strip() in ("0", "")
        and (wait := _length(headers.get(f"x-ratelimit-reset{kind}", ""))) is not None
    ]
    return max(waits, default=None)


def _length(text: str, unit: float = 1.0) -> float | None:
    """Parse seconds from `3`, `0.5`, `20ms`, `1m30s`, or a time of day in seconds or milliseconds since 1970."""
    text = text.strip().lower()
    if len(text) > _LONGEST:
        return None
    if _LENGTH.fullmatch(text):
        return sum(float(number) * _UNITS[name] for number, name in _PIECE.findall(text))
    try:
        value = float(text) * unit
    except ValueError:
        return None
    if not math.isfinite(value) or value < 0:
        return None
    if value > _EPOCH:
        return max(0.0, (value / 1000 if value > _EPOCH * 1000 else value) - time.time())
    return value


def _date(text: str) -> float | None:
    """Parse the seconds until a date in the form of HTTP headers; None where it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - time.time())
