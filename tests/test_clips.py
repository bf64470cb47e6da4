"""The generated clips have the same bytes in every run, so that all tests see the same samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import clips


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", clips.X264),
        ("a.mkv", "libx264", clips.X264),
        ("a.webm", "libvpx", {"cpu-used": "8", "deadline": "realtime"}),
        ("a.avi", "mpeg4", {}),
    ],
)
def test_write_and_copy_give_the_same_bytes_each_time(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    one, other = (clips.write(tmp_path / folder / name, clips.pan(1), codec, options) for folder in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    copies = [clips.copy(one, tmp_path / f"{count}.mkv") for count in range(2)]
    assert copies[0].read_bytes() == copies[1].read_bytes()
