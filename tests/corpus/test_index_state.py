"""Unfinished work of an index that somebody else has left is read as data, and names no file elsewhere."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from videossr.corpus.corpus import Corpus
from videossr.corpus.entry import RejectedFile, entry_json
from videossr.corpus.index_state import IndexState

HASH = "ab" * 32


class KnownFile:
    """The part of an `Input` by which a file is known again."""

    def __init__(self, path: str) -> None:
        self.path, self.size, self.stamp = path, 7, "now"


@pytest.mark.parametrize("content", ["ab/../../../../victim", "", HASH.upper(), HASH + "\n", 5, None])
def test_hashes_that_are_none_count_as_absent(tmp_path: Path, content: object) -> None:
    lines = [{"path": "a.mp4", "size": 7, "stamp": "now", "content": content}]
    lines.append({"path": "b.mp4", "size": 7, "stamp": "now", "content": HASH})
    (tmp_path / "hashes.jsonl").write_text("".join(f"{json.dumps(list(line.values()))}\n" for line in lines))
    with IndexState(tmp_path) as state:
        assert state.hashes([KnownFile("a.mp4"), KnownFile("b.mp4")]) == {"b.mp4": HASH}  # type: ignore[list-item]


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "5", "null", '{"reason": 1}', "[" * 200_000, '{"reason": "unreadable"}']
)
def test_results_of_another_form_count_as_absent(tmp_path: Path, text: str) -> None:
    with IndexState(tmp_path) as state:
        (tmp_path / "parts" / HASH).write_text(text)
        assert state.result(HASH) is None


def test_results_are_read_as_they_were_recorded(tmp_path: Path, corpus: Corpus) -> None:
    entry = corpus.videos[0]
    rejected = RejectedFile("a.mp4", HASH, "unreadable", "no video", 3, None)
    with IndexState(tmp_path) as state:
        state.add_result(HASH, rejected)
        assert state.result(HASH) == rejected
        assert type(state.result(HASH).value) is int  # type: ignore[union-attr]
        (tmp_path / "parts" / f"{entry.content}.jpegs").write_bytes(
            b"".join(corpus.pack(entry.content[:2]).pieces(entry))
        )
        state.add_result(entry.content, entry)
        assert state.result(entry.content) == entry
        row = json.loads(entry_json(asdict(entry)))
        (tmp_path / "parts" / entry.content).write_text(json.dumps({**row, "times_ms": ["x"]}))
        assert state.result(entry.content) is None
