"""Fingerprints describe the content of frames, without the bars around it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.clips import Picture, pan
from videossr.corpus.fingerprint import WAVES, fingerprint, unpack


def least_correlation(one: NDArray[np.int8], other: NDArray[np.int8]) -> float:
    """Compute the least correlation between frames at the same position."""
    a, b = (prints.reshape(len(prints), -1).astype(float) for prints in (one, other))
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def put_on_bars(picture: Picture, top: int, left: int, color: int = 0, text: str = "") -> Picture:
    """Put a picture onto one of 192 x 192 of one color, with its corner at (top, left), and text above it."""
    bars = np.full((192, 192, 3), color, np.uint8)
    bars[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    if text:
        cv2.putText(bars, text, (16, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
    return bars


def test_fingerprint_of_a_mirror_image_differs_in_signs_only() -> None:
    frames = np.stack(list(pan(0, 4)))
    odd = np.where(np.arange(WAVES) % 2, -1, 1)
    assert (fingerprint(frames[:, :, ::-1]) == fingerprint(frames) * odd).all()


def test_unpack_reads_the_bytes_of_a_fingerprint() -> None:
    fingerprints = fingerprint(np.stack(list(pan(0, 4))))
    assert fingerprints.shape == (4, WAVES, WAVES)
    assert (unpack(fingerprints.tobytes()) == fingerprints).all()


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
def test_fingerprint_leaves_out_bars(height: int, width: int, top: int, left: int, color: int, text: str) -> None:
    pictures = list(pan(1, 6, height=height, width=width))
    bars = np.stack([put_on_bars(picture, top, left, color, text) for picture in pictures])
    assert least_correlation(fingerprint(bars), fingerprint(np.stack(pictures))) > 0.99


def test_fingerprint_keeps_dark_edges_of_a_single_frame() -> None:
    """Edges are no bars if an earlier frame has shown something there."""
    first, second = pan(2, 2, height=192, width=192)
    dark = second.copy()
    dark[:40] = dark[-40:] = 0
    alone, behind = fingerprint(dark[None])[0], fingerprint(np.stack([first, dark]))[1]
    assert least_correlation(alone[None], behind[None]) < 0.9
    bright = dark.copy()
    bright[0], bright[-1] = np.arange(0, 192)[:, None], np.arange(0, 192)[:, None]
    assert least_correlation(fingerprint(bright[None]), behind[None]) > 0.95


def test_fingerprint_of_text_alone_is_empty() -> None:
    """Otherwise all titles on black would look alike."""
    for title in ("the end", "one day later", "how it began"):
        frame = np.zeros((160, 288, 3), np.uint8)
        cv2.putText(frame, title, (40, 90), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
        frame[0], frame[-1] = np.arange(288)[:, None], np.arange(288)[:, None]  # not taken for bars
        assert not fingerprint(frame[None]).any()


def test_fingerprint_of_flat_frames_is_empty() -> None:
    for frame in (np.full((64, 96, 3), 90, np.uint8), np.zeros((32, 32, 3), np.uint8)):
        assert not fingerprint(np.stack([frame] * 3)).any()


def test_unpack_refuses_fingerprints_of_an_older_version() -> None:
    with pytest.raises(ValueError, match="of an older version of videossr: build it again"):
        unpack([1, 2, 3])  # type: ignore[arg-type]
