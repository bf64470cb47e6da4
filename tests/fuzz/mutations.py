"""Make damaged copies of a file: bytes for any format, words and numbers for text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

NUMBERS = (b"0", b"-1", b"1e999", b"NaN", b"2147483648", b"9223372036854775808", b"1" * 400, b"0.1", b"true", b"null")
"""Numbers that fit no field, and words that stand where JSON and TOML have numbers."""

WORDS = (
    b"",
    b"\\u0000",
    b"\\ud800",
    b"../../etc/passwd",
    b"/dev/zero",
    b"http://127.0.0.1:9/x",
    b"\\u001b[2J",
    b"a\\nb: c",
    b"x" * 70_000,
    b"{x:>999999999}",
    "\u202e\u00e9".encode(),
)
"""Contents of strings that are long, empty, no text, or that name a file, a host or a format."""

_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Change 1 to 4 places of a file; a fifth of the changes know about text."""
    for _ in range(int(rng.integers(1, 5))):
        change = (_flip, _flip, _set, _set, _cut, _remove, _repeat, _insert, _number, _string)[int(rng.integers(10))]
        data = change(data, rng)
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    """Draw a place; headers and footers as often as all that lies between."""
    size = max(1, len(data))
    edge = min(size, 256)
    return (
        int(rng.integers(size)),
        int(rng.integers(edge)),
        size - 1 - int(rng.integers(edge)),
    )[int(rng.integers(3))]


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    return data[:at] + bytes(byte ^ (1 << int(rng.integers(8))) for byte in data[at : at + 1]) + data[at + 1 :]


def _set(data: bytes, rng: np.random.Generator) -> bytes:
    at, count = _place(data, rng), int(rng.choice([1, 2, 4, 8]))
    value = (b"\x00" * count, b"\xff" * count, b"\x7f" + b"\xff" * (count - 1), rng.bytes(count))[int(rng.integers(4))]
    return data[:at] + value + data[at + count :]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)]


def _remove(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + int(rng.integers(1, 64)) :]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    at, count = _place(data, rng), int(rng.integers(1, 64))
    return data[: at + count] + data[at : at + count] * int(rng.integers(1, 20)) + data[at + count :]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    nested = b"[" * int(rng.choice([10, 2_000, 200_000]))
    return data[:at] + (rng.bytes(16), nested, b'{"a":' * 5_000)[int(rng.integers(3))] + data[at:]


def _number(data: bytes, rng: np.random.Generator) -> bytes:
    return _replace_match(data, _NUMBER, NUMBERS, rng)


def _string(data: bytes, rng: np.random.Generator) -> bytes:
    return _replace_match(data, _STRING, [b'"' + word + b'"' for word in WORDS], rng)


def _replace_match(data: bytes, pattern: re.Pattern[bytes], values: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """Replace one match of a pattern near a drawn place; flip a bit where there is none."""
    at = _place(data, rng)
    match = pattern.search(data, at) or pattern.search(data)
    if match is None:
        return _flip(data, rng)
    return data[: match.start()] + values[int(rng.integers(len(values)))] + data[match.end() :]
