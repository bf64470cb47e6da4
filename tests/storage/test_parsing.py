"""JSON and TOML of strangers: too long, too deep or damaged, always an error that the caller can name."""

from __future__ import annotations

from pathlib import Path

import pytest

from videossr.storage.parsing import load_json, load_toml, parse_json, parse_toml, read_limited


def test_ordinary_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, {"b": "ü"}]}', "utf-8")
    (tmp_path / "a.toml").write_bytes('a.b = "ü"\r\n[c]\r\nd = [1]\r\n'.encode())
    assert load_json(tmp_path / "a.json") == {"a": [1, {"b": "ü"}]}
    assert load_toml(tmp_path / "a.toml") == {"a": {"b": "ü"}, "c": {"d": [1]}}
    with pytest.raises(FileNotFoundError):
        load_json(tmp_path / "b.json")


@pytest.mark.parametrize("depth", [64, 65, 900, 1000, 100_000])
def test_depth(depth: int) -> None:
    text = "[" * depth + "]" * depth
    if depth == 64:
        assert parse_json(text)
        assert parse_toml(f"a = {text[1:-1]}")
        return
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        parse_json(text)
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        parse_toml(f"a = {text}")


def test_no_more_is_read_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videossr.storage.limits.TOML_BYTES", 10)
    (tmp_path / "a.toml").write_text("a = 1\n" * 10)
    with pytest.raises(ValueError, match=r"11 bytes or more are more than 10; .* set VIDEOSSR_TOML_BYTES higher"):
        load_toml(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text("a = 1234\n")
    assert read_limited(tmp_path / "a.toml", "TOML_BYTES") == b"a = 1234\n"
