"""Source ids in paths, and expressions that never find them."""

from __future__ import annotations

from pathlib import Path

import pytest

from videossr.corpus import source_id
from videossr.corpus.indexer import index_videos
from videossr.corpus.source_id import check_expression, source_ids
from videossr.errors import ConfigError

PATHS = ["films/alien_01.mp4", "films/alien_02.mp4", "odd\\xff/überall.mp4", "\u2603.mp4"]


def test_the_first_group_is_the_source_id() -> None:
    assert source_ids(r"([^/]+)_\d+", PATHS) == dict(zip(PATHS, ["alien", "alien", None, None], strict=True))
    assert source_ids("(ü|\u2603)", PATHS)["\u2603.mp4"] == "\u2603"
    assert source_ids("(@)|mp4", PATHS) == dict.fromkeys(PATHS)
    assert source_ids("(x)", []) == {}


@pytest.mark.parametrize(
    ("expression", "told"),
    [("(", "is not a regular expression"), ("a", "needs a group"), ("(a){1,99999999999}", "repetition number is too")],
)
def test_what_is_no_expression(expression: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_expression(expression)


def test_an_expression_without_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before any video is read."""
    monkeypatch.setattr(source_id, "_SECONDS", 3)
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / f"{'a' * 60}!.mp4").write_bytes(b"no video")
    with pytest.raises(ConfigError, match=r"source_id '\(\(a\+\)\+\)\$', searched in 1 paths, has not ended after 3 s"):
        index_videos(folder, tmp_path / "corpus", source_id="((a+)+)$")
    assert not (tmp_path / "corpus").exists()
