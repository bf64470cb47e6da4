"""A fingerprint says what a frame shows, whatever bars are around it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.clips import Picture, pan
from videossr.corpus.fingerprint import WAVES, fingerprint, unpack


def alike(one: NDArray[np.int8], other: NDArray[np.int8]) -> float:
    """The least correlation between frames of the same place."""
    a, b = (each.reshape(len(each), -1).astype(float) for each in (one, other))
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def on_bars(picture: Picture, top: int, left: int, color: int = 0, text: str = "") -> Picture:
    """Put a picture onto one of 192 x 192 of one color, with its corner at (top, left), and text above it."""
    bars = np.full((192, 192, 3), color, np.uint8)
    bars[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    if text:
        cv2.putText(bars, text, (16, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
    return bars


def test_a_mirror_image_changes_signs_alone() -> None:
    frames = np.stack(list(pan(0, 4)))
    odd = np.where(np.arange(WAVES) % 2, -1, 1)
    assert (fingerprint(frames[:, :, ::-1]) == fingerprint(frames) * odd).all()


def test_bytes_are_read_again() -> None:
    prints = fingerprint(np.stack(list(pan(0, 4))))
    assert prints.shape == (4, WAVES, WAVES)
    assert (unpack(prints.tobytes()) == prints).all()


@pytest.mark.parametrize(
    ("height", "width", "top", "left", "color", "text"),
    [
        (96, 192, 48, 0, 0, ""),
        (192, 96, 0, 48, 0, ""),
        (96, 192, 60, 0, 255, ""),
        (128, 128, 32, 32, 90, ""),
        (96, 192, 48, 0, 0, "wait for it"),
    ],
)
def test_bars_are_left_out(height: int, width: int, top: int, left: int, color: int, text: str) -> None:
    pictures = list(pan(1, 6, height=height, width=width))
    bars = np.stack([on_bars(picture, top, left, color, text) for picture in pictures])
    assert alike(fingerprint(bars), fingerprint(np.stack(pictures))) > 0.99


def test_dark_edges_of_one_frame_are_no_bars() -> None:
    """Once a frame has shown something there."""
    first, second = pan(2, 2, height=192, width=192)
    dark = second.copy()
    dark[:40] = dark[-40:] = 0
    alone, behind = fingerprint(dark[None])[0], fingerprint(np.stack([first, dark]))[1]
    assert alike(alone[None], behind[None]) < 0.9
    bright = dark.copy()
    bright[0], bright[-1] = np.arange(0, 192)[:, None], np.arange(0, 192)[:, None]
    assert alike(fingerprint(bright[None]), behind[None]) > 0.95


def test_text_alone_says_nothing() -> None:
    """Else titles on black would look alike."""
    for title in ("the end", "one day later", "how it began"):
        frame = np.zeros((160, 288, 3), np.uint8)
        cv2.putText(frame, title, (40, 90), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
        frame[0], frame[-1] = np.arange(288)[:, None], np.arange(288)[:, None]  # not taken for bars
        assert not fingerprint(frame[None]).any()


def test_flat_frames_say_nothing() -> None:
    for frame in (np.full((64, 96, 3), 90, np.uint8), np.zeros((32, 32, 3), np.uint8)):
        assert not fingerprint(np.stack([frame] * 3)).any()


def test_fingerprints_of_an_older_version_are_refused() -> None:
    with pytest.raises(ValueError, match="of an older version of videossr: build it again"):
        unpack([1, 2, 3])  # type: ignore[arg-type]
