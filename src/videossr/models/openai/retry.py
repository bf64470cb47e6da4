"""When a server is asked again: its own wish where it tells one, else waits that double.

Exercised by `videossr bench run BENCH --model openai:MODEL@URL --out RUN`.
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
"""Characters of a header that may be a time; more would be work for nothing."""
_EPOCH = 1e9
"""A number of seconds beyond this is a time of day, counted from 1970, not a wait."""


class Backoff:
    """The wait of all requests together that one of them was told of, and the wait of each after its own failures.

    Args:
        first: seconds of the first wait after a failure; each further one is twice as long.
        most: seconds that such a wait has at most.
        patience: seconds that a server's own wish may have at most.
    """

    def __init__(self, first: float, most: float, patience: float) -> None:
        self._first, self._most, self._patience = first, most, patience
        self._resume = -math.inf

    async def ready(self) -> None:
        """Wait until requests are welcome. What others are told meanwhile counts too."""
        while (wait := self._resume - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def hold(self, seconds: float) -> None:
        """Let all requests wait for what a server has asked for."""
        self._resume = max(self._resume, time.monotonic() + min(seconds, self._patience))

    def after(self, failures: int) -> float:
        """Seconds before a request is sent again that has failed so often; drawn, so that not all come at once."""
        return min(self._most, self._first * 2.0 ** min(failures - 1, 60)) * random.uniform(0.5, 1)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait, by Retry-After or by what is told of its limits; None where it does not.

    Of the limits, those count of which nothing remains, or of which the remainder is not told.
    """
    text = headers.get("retry-after", "")
    for told in (_length(headers.get("retry-after-ms", ""), 0.001), _length(text), _date(text)):
        if told is not None:
            return told
    waits = [
        wait
        for kind in ("", "-requests", "-tokens")
        if headers.get(f"x-ratelimit-remaining{kind}", "0").strip() in ("0", "")
        and (wait := _length(headers.get(f"x-ratelimit-reset{kind}", ""))) is not None
    ]
    return max(waits, default=None)


def _length(text: str, unit: float = 1.0) -> float | None:
    """`3`, `0.5`, `20ms`, `1m30s`, or a time of day as seconds or milliseconds since 1970."""
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
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - time.time())
