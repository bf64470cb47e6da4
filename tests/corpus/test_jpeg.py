"""JPEGs: full and reduced sizes, the same bytes on every machine, and errors for damaged ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossr.corpus.jpeg import JPEGError, decode, encode, reduced
from videossr.question import Frames
from videossr.tasks.base import Video
from videossr.video.scaling import resize


def decode_frames(jpegs: list[bytes], size: tuple[int, int], least: tuple[int, int] | None = None) -> Frames:
    return np.stack([frame[..., :3].copy() for frame in decode(jpegs, size, least)])


SIDES = st.integers(1, 3000)


@given(SIDES, SIDES, SIDES, SIDES)
def test_reduced_is_never_below_the_least_size(height: int, width: int, least_h: int, least_w: int) -> None:
    size = reduced((height, width), (least_h, least_w))
    parts = [(-(-height // part), -(-width // part)) for part in (2, 4, 8)]
    enough = [
        part_size for part_size in parts if 16 * part_size[0] >= 17 * least_h and 16 * part_size[1] >= 17 * least_w
    ]
    assert size == (min(enough) if enough else (height, width))
    assert reduced((height, width), None) == (height, width)


@pytest.mark.parametrize("part", [1, 2, 4, 8])
def test_decode_at_a_reduced_size_shows_the_same_picture(part: int, clip: Callable[..., Video]) -> None:
    frames = clip("bikes.mp4").frames[::8]
    height, width = frames.shape[1] // part, frames.shape[2] // part
    expected = resize(frames, height, width).astype(np.int16)
    least_height, least_width = (side * 16 // 17 for side in (height, width))
    frames_shown = decode_frames(encode(frames, chroma="444"), frames.shape[1:3], (least_height, least_width))
    assert frames_shown.shape == expected.shape
    assert np.abs(frames_shown - expected).mean() < 2
    assert np.abs(frames_shown - np.roll(expected, 1, axis=2)).mean() > 4  # one pixel off is seen


def test_decode_rounds_reduced_sizes_up() -> None:
    frames = np.full((2, 33, 50, 3), 90, np.uint8)
    for least, expected in (((16, 23), (17, 25)), ((17, 20), (33, 50)), ((4, 6), (5, 7)), ((1, 1), (5, 7))):
        assert decode_frames(encode(frames), (33, 50), least).shape[1:3] == expected


PROGRAM = """
import hashlib
import numpy as np
from videossr.corpus.jpeg import decode, encode
noise = np.random.default_rng(0).integers(0, 256, (2, 96, 160, 3), dtype=np.uint8)
for chroma in ("444", "420"):
    jpegs = encode(noise, 90, chroma)
    for part in (1, 2, 4, 8):
        frames = [frame[..., :3].tobytes() for frame in decode(jpegs, (96, 160), (90 // part, 150 // part))]
        print(hashlib.sha256(b"".join(jpegs + frames)).hexdigest())
"""


def test_encode_and_decode_do_not_depend_on_vector_instructions() -> None:
    hashes = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "JSIMD_FORCENONE": plain, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for plain in ("0", "1")
    ]
    assert len(set(hashes[0])) == 8
    assert hashes[0] == hashes[1]


def test_decode_names_the_number_of_a_damaged_image() -> None:
    jpegs = encode(np.full((3, 32, 32, 3), 77, np.uint8))
    other = encode(np.full((1, 16, 32, 3), 77, np.uint8))
    for bad in (b"", jpegs[1][:-20], jpegs[1][5:], *other):
        with pytest.raises(JPEGError) as error:
            list(decode([jpegs[0], bad, jpegs[2]], (32, 32)))
        assert error.value.number == 1
