"""The fields that a reader of rows returns, and the checks that readers share.

A reader takes one row as its file has it, and raises `DataError` that names the field which is missing or wrong. File
and line are put before it by `videossr.dataset.published.rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from videossr.errors import DataError
from videossr.question import VIDEO

Table: TypeAlias = Mapping[str, Any]

SAMPLING = ("fps", "nframes", "max_frames")
"""Fields of an entry of `videos` that say which frames of a video file are shown."""

SIZES = ("max_pixels", "min_pixels", "total_pixels", "resized_height", "resized_width")
"""Fields of an entry of `videos` that say how large frames are shown."""


@dataclass(frozen=True, slots=True)
class RowFields:
    """The fields of one row, whatever its format.

    Attributes:
        data_source: by which it is scored; empty where the row does not say.
        system: text of the system turn, which may be empty.
        prompt: text of the user turn.
        answer: the gold answer.
        videos: one entry for each ``<video>`` of the prompt.
        extra: further facts.
        category: by which tables group it; empty where that is its `data_source`.
    """

    data_source: str
    system: str
    prompt: str
    answer: str
    videos: Sequence[object]
    extra: Table = field(default_factory=dict)
    category: str = ""


@dataclass(frozen=True, slots=True)
class RowFormat:
    """A format of rows.

    Attributes:
        name: for messages.
        known_by: sets of fields: rows that have all fields of one set are of this format.
        read: reads a row.
        split: returns the questions of a row that has several: a name of each for messages, and its own row.
        has_words: whether `read` puts words of `prompts.toml` into prompts.
    """

    name: str
    known_by: tuple[frozenset[str], ...]
    read: Callable[[Table], RowFields]
    split: Callable[[Table], Sequence[tuple[str, Table]]] | None = None
    has_words: bool = False


def short(value: object) -> str:
    """Shorten the repr of a value for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def require(row: Table, *names: str) -> None:
    """Raise DataError for fields that a row lacks. Null counts as absent, as where several files were joined."""
    if missing := [name for name in names if row.get(name) is None]:
        raise DataError(f"there is no {', '.join(missing)}")


def text_of(row: Table, name: str, default: str | None = None) -> str:
    """Return a field that is a text. Raises DataError; without a default also where it is missing or empty."""
    value = row.get(name)
    if value is None and default is not None:
        return default
    require(row, name)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise DataError(f"{name} is {short(value)}, not a text")
    return value


def list_of(row: Table, name: str) -> Sequence[Any]:
    """Return a field that is a list. Raises DataError."""
    value = row.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise DataError(f"{name} is {short(value)}, not a list")
    return value


def with_videos(prompt: str, videos: Sequence[object]) -> str:
    """Put a ``<video>`` before a prompt for each entry, if the prompt does not say where they are shown."""
    return prompt if VIDEO in prompt else f"{VIDEO}\n" * len(videos) + prompt


def entries_of(videos: Sequence[object], fields: Table) -> list[object]:
    """Return entries of `videos`, each with the fields that a row gives for all of them."""
    given = {name: fields[name] for name in (*SAMPLING, *SIZES, "sample_fps") if fields.get(name) is not None}
    return [{**given, **(entry if isinstance(entry, Mapping) else {"video": entry})} for entry in videos]


def turns_of(row: Table, name: str, roles: Sequence[Sequence[str]]) -> dict[str, str]:
    """Read the texts of messages by their roles.

    Args:
        row: that has them.
        name: of the field.
        roles: the orders of roles that are allowed.

    Raises:
        DataError: it is no list of messages, has other turns, or their content is no text.
    """
    messages = row.get(name)
    if not isinstance(messages, Sequence) or not all(isinstance(message, Mapping) for message in messages):
        raise DataError(f"{name} is {short(messages)}, not a list of messages")
    found = [message.get("role") for message in messages]
    if found not in [list(order) for order in roles]:
        allowed = ", or ".join(" and ".join(order) for order in roles)
        raise DataError(f"the turns of {name} are {found}; allowed are {allowed}")
    texts = {message["role"]: message.get("content") for message in messages}
    for role, text in texts.items():
        if not isinstance(text, str):
            raise DataError(f"the content of the {role}'s turn is {short(text)}, not a text")
    return texts
