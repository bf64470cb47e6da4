"""Rows of published question sets: found in their files, read and checked.

The format is that of verl's training data, in which the paper's data is published: `data_source`, `prompt` (a system
turn, or none, and the user's), `videos`, `reward_model` with the `ground_truth`, and `extra_info`.
`videossr.dataset.published.dataset` turns rows into questions.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeAlias

import pyarrow as pa

from videossr.errors import DataError, NotFoundError
from videossr.question import VIDEO
from videossr.storage import limits
from videossr.storage.parquet import read_parquet
from videossr.storage.paths import AnyPath, check_regular, file_hash, is_local

SUFFIXES = (".parquet", ".jsonl", ".json")
_LONGEST = 200
"""Characters of a name, at most."""
_NEEDED = ("data_source", "prompt", "videos", "reward_model")

Table: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """The checked fields of one row.

    Attributes:
        where: file and number of the row, for messages.
        id: the first 20 hex digits of the SHA-256 of the whole row; published rows have no ids of their own.
        data_source: of the row, unchanged.
        system: text of the system turn, which may be empty.
        prompt: text of the user turn.
        answer: the gold answer.
        videos: one entry for each ``<video>`` of the prompt.
        extra: the row's `extra_info`.
    """

    where: str
    id: str
    data_source: str
    system: str
    prompt: str
    answer: str
    videos: tuple[Table, ...]
    extra: Table


class PublishedRows:
    """All rows of a file, or of the files in a folder, in the order of their names.

    Of a folder the `.parquet` files are read; where it has none, its `.jsonl` and `.json` files. A JSON file is a list
    of rows, a JSONL file has one on each line. A damaged row raises only when it is read.

    Raises:
        NotFoundError: the path does not exist, or the folder has no rows.
        DataError: a file is damaged or has another format; the message names it.
    """

    def __init__(self, path: AnyPath) -> None:
        self.files = _files_of(path)
        self._ends = list(accumulate(len(part) for part in self._parts))

    @cached_property
    def _parts(self) -> list[Sequence[object]]:
        return [_read(file) for file in self.files]

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the names and bytes of the files, in hex."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.name}\0{file_hash(file)}\0".encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> PublishedRow:
        """Read and check a row. Raises IndexError, and DataError that names the file and the row."""
        where, raw = self.raw(index)
        try:
            return _checked(where, raw)
        except RecursionError as error:
            raise DataError(f"{where}: it is nested too deeply") from error

    def raw(self, index: int) -> tuple[str, object]:
        """Return the file and number of a row, for messages, and the unchecked row.

        Raises:
            IndexError: there is no such row.
            DataError: it is not valid JSON.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.files[0].parent} has {len(self)} rows, no {index}")
        file = bisect.bisect_right(self._ends, index)
        number = index - (self._ends[file - 1] if file else 0)
        where = f"{self.files[file]}, row {number}"
        item = self._parts[file][number]
        if not isinstance(item, bytes):
            return where, item
        try:
            return where, json.loads(item)
        except (ValueError, RecursionError) as error:  # RecursionError for deeply nested brackets
            raise DataError(f"{where}: not valid JSON: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_parts"}


class _Parquet(Sequence[object]):
    """The rows of a Parquet file, each converted to Python's own types when it is asked for."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: Any) -> Any:
        return self._table.slice(index, 1).to_pylist()[0]


def _files_of(path: AnyPath) -> list[AnyPath]:
    """List the files of rows at a path. Raises NotFoundError or DataError."""
    if not path.exists():
        # Some file systems also say so of a path that cannot be reached, as the Hub does with HF_HUB_OFFLINE.
        unreachable = "" if is_local(path) else ", or cannot be reached (is HF_HUB_OFFLINE set?)"
        raise NotFoundError(f"{path} does not exist{unreachable}")
    if not path.is_dir():
        if path.suffix not in SUFFIXES:
            raise DataError(f"{path}: rows are read from {', '.join(SUFFIXES)} files, or from a folder of them")
        return [path]
    files = sorted((file for file in path.iterdir() if not file.name.startswith(".")), key=lambda file: file.name)
    parquet = [file for file in files if file.suffix == ".parquet"]
    with_rows = parquet or [file for file in files if file.suffix in SUFFIXES]
    if not with_rows:
        raise NotFoundError(
            f"{path} is neither a dataset (there is no manifest.json) nor has it rows ({', '.join(SUFFIXES)} files)"
        )
    return with_rows


def _read(file: AnyPath) -> Sequence[object]:
    """Read the rows of a file; those of JSONL are its lines. Raises DataError."""
    rows: Sequence[object]
    if file.suffix != ".parquet" and (size := file.stat().st_size) > limits.ROWS_BYTES:
        raise DataError(f"{file}: {limits.exceeds('bytes', size, 'ROWS_BYTES')}")
    check_regular(file)
    if file.suffix == ".parquet":
        rows = _Parquet(read_parquet(file, required=_NEEDED))
    elif file.suffix == ".jsonl":
        rows = [line for line in file.read_bytes().splitlines() if line.strip()]
    else:
        try:
            rows = json.loads(file.read_bytes())
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file}: damaged, or no {file.suffix} file: {error}") from error
    if not isinstance(rows, Sequence):
        raise DataError(f"{file} is not a list of rows")
    if not rows:
        raise DataError(f"{file} holds no rows")
    return rows


def _checked(where: str, raw: object) -> PublishedRow:
    """Check a row and read its fields. Raises DataError that begins with `where`."""
    if not isinstance(raw, Mapping):
        raise DataError(f"{where}: not a row, but {_short(raw)}")
    missing = [name for name in _NEEDED if raw.get(name) is None]
    if missing:
        raise DataError(f"{where}: there is no {', '.join(missing)}")
    source = raw["data_source"]
    if not isinstance(source, str) or len(source) > _LONGEST:
        raise DataError(f"{where}: data_source is {_short(source)}, not a name")
    reward = raw["reward_model"]
    answer = reward.get("ground_truth") if isinstance(reward, Mapping) else None
    if not isinstance(answer, str | int) or isinstance(answer, bool):
        raise DataError(f"{where}: reward_model has no text as its ground_truth, but {_short(answer)}")
    if raw.get("images"):
        raise DataError(f"{where}: it shows images; only videos can be shown")
    system, prompt = _turns(where, raw["prompt"])
    try:
        f"{system}{prompt}{answer}{source}".encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: its texts hold half a character (a lone surrogate)") from error
    videos = raw["videos"]
    if not isinstance(videos, Sequence) or isinstance(videos, str | bytes):
        raise DataError(f"{where}: videos is {_short(videos)}, not a list")
    if not videos:
        raise DataError(f"{where}: it shows no video")
    if prompt.count(VIDEO) != len(videos):
        raise DataError(f"{where}: {prompt.count(VIDEO)} {VIDEO} in the prompt, but {len(videos)} videos")
    entries = tuple(entry if isinstance(entry, Mapping) else {"video": entry} for entry in videos)
    frames = sum(len(entry["video"]) for entry in entries if isinstance(entry.get("video"), list))
    if frames > limits.ROW_FRAMES:
        raise DataError(f"{where}: {limits.exceeds('frames', frames, 'ROW_FRAMES')}")
    text = json.dumps(raw, sort_keys=True, default=str)
    return PublishedRow(
        where=where,
        id=hashlib.sha256(text.encode()).hexdigest()[:20],
        data_source=source,
        system=system,
        prompt=prompt,
        answer=str(answer),
        videos=entries,
        extra=_extra(raw.get("extra_info")),
    )


def _turns(where: str, messages: Any) -> tuple[str, str]:
    """Read the texts of the system and of the user. Raises DataError that begins with `where`."""
    if not isinstance(messages, Sequence) or not all(isinstance(message, Mapping) for message in messages):
        raise DataError(f"{where}: prompt is {_short(messages)}, not a list of messages")
    roles = [message.get("role") for message in messages]
    if roles not in (["user"], ["system", "user"]):
        raise DataError(f"{where}: the turns of prompt are {roles}; allowed are user, or system and user")
    texts = [message.get("content") for message in messages]
    for role, text in zip(roles, texts, strict=True):
        if not isinstance(text, str):
            raise DataError(f"{where}: the content of the {role}'s turn is {_short(text)}, not a text")
    return texts[0] if len(texts) == 2 else "", texts[-1]


def _extra(extra: object) -> Table:
    """Read `extra_info`, which some sets write as JSON; empty where it cannot be read."""
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except (ValueError, RecursionError):
            return {}
    return extra if isinstance(extra, Mapping) else {}


def _short(value: object) -> str:
    """Shorten the repr of a value for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
