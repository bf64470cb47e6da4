"""The gates of the jigsaw reject videos whose pieces have no visible order; the choice of trims."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from tests.helpers.clips import pan
from videossr.clock import uniform_clock
from videossr.config import parse
from videossr.measure import rejected
from videossr.perturb.gates import clip_features, picture_jump
from videossr.perturb.order import unlike_starts
from videossr.question import Frames
from videossr.sample import Rejection, VideoKey
from videossr.tasks.base import Video
from videossr.tasks.jigsaw import Jigsaw, JigsawConfig

SLOTS = 48
GATES = "still_picture", "cut_border", "loop", "seen_again", "unseen_course", "unseen_link"


def shot(seed: int, frames: int, step: float = 0.08) -> Frames:
    """Pan over patches of color at `step` patches a frame."""
    return np.stack([*pan(seed, frames, 96, 128, patches=6, step=step)])


def montage(*lengths: int) -> Frames:
    """Cut shots of these lengths together, each of another place."""
    return np.concatenate([shot(10 + seed, length) for seed, length in enumerate(lengths)])


def captions(picture: Frames, every: int) -> Frames:
    """Hold one picture, below which a bar of another size and color appears every so many slots."""
    held = np.repeat(picture[None], SLOTS, axis=0)
    rng = np.random.default_rng(0)
    for start in range(0, SLOTS, every):
        width = int(rng.integers(20, 100))
        held[start : start + every, 84:90, 10 : 10 + width] = rng.integers(0, 256, 3, np.uint8)
    return held


def loop_pan() -> Frames:
    """Pan around a place, back to where it began."""
    wide = np.concatenate([shot(3, 1, 0)[0]] + [shot(3 + k, 1, 0)[0] for k in range(1, 4)], axis=1)
    around = np.concatenate([wide, wide], axis=1)
    lefts = (np.arange(SLOTS) * wide.shape[1] / (SLOTS - 1)).astype(int)
    return np.stack([around[:, left : left + 128] for left in lefts])


def rejection_of(frames: Frames, seconds: float = 24, **values: Any) -> Rejection | None:
    video = Video(VideoKey("0" * 64, "1" * 64), uniform_clock(len(frames), round(seconds * 1000)), frames)
    return rejected(Jigsaw().gates(video, parse(JigsawConfig, values, "test")))


def reason_of(frames: Frames, **values: Any) -> str | None:
    rejection = rejection_of(frames, **values)
    return rejection.reason if rejection else None


def test_jigsaw_gates_admit_a_scene_that_moves_on() -> None:
    assert rejection_of(shot(0, SLOTS)) is None
    assert rejection_of(shot(0, SLOTS), pieces=8) is None


def test_jigsaw_gates_reject_cuts_at_the_borders_of_pieces_only() -> None:
    assert reason_of(montage(16, 16, 16)) == "cut_border"
    assert reason_of(montage(8, 40)) == "cut_border"
    assert rejection_of(montage(14, 22, 12)) is None  # each cut lies within a piece, which shows both of its sides
    assert reason_of(montage(14, 22, 12), gap=6) == "cut_border"  # within a gap nothing shows it
    assert rejection_of(montage(16, 16, 16), limits={"cut": 1}) is None


def test_jigsaw_gates_reject_a_still_picture_with_changing_captions() -> None:
    assert reason_of(captions(shot(0, 1)[0], 3), difference=1) == "still_picture"
    assert (
        rejection_of(captions(shot(0, 1)[0], 3), difference=1, limits={"area": 0.03, "again": 1, "course": 0}) is None
    )


def test_jigsaw_gates_reject_a_video_whose_end_joins_its_beginning() -> None:
    assert reason_of(loop_pan()) == "loop"
    assert rejection_of(loop_pan()[: SLOTS * 3 // 4].repeat(4, axis=0)[::3][:SLOTS], limits={"cut": 1}) is None


def test_jigsaw_gates_reject_a_scene_that_is_seen_again() -> None:
    forward = shot(5, 13)
    repeated = np.concatenate([forward, forward[::-1], forward, forward[::-1]])[:SLOTS]
    assert reason_of(repeated, difference=0, limits={"loop": 0}) == "seen_again"


def test_jigsaw_gates_reject_frames_in_random_order() -> None:
    mixed = shot(0, SLOTS, step=0.4)[np.random.default_rng(1).permutation(SLOTS)]
    assert reason_of(mixed, limits={"cut": 1, "loop": 0}) in ("unseen_course", "unseen_link")


def test_jigsaw_gates_reject_a_gap_shorter_than_gap_seconds() -> None:
    assert rejection_of(shot(0, SLOTS), seconds=12, gap=4, gap_seconds=1.5) == Rejection("brief_gap", 1.0, 1.5)
    assert rejection_of(shot(0, SLOTS), seconds=18, gap=4, gap_seconds=1.5) is None


@pytest.mark.parametrize("values", [{"trim": "unlike"}, {"gap_seconds": 1}])
def test_jigsaw_config_refuses_trim_and_gap_seconds_without_a_gap(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="set gap to 1 or more"):
        parse(JigsawConfig, values, "test")


def test_jigsaw_without_gates_admits_every_video() -> None:
    for frames in (montage(8, 40), loop_pan(), captions(shot(0, 1)[0], 3)):
        assert rejection_of(frames, gates=False) is None


def test_unlike_starts_maximizes_the_jumps_at_the_borders() -> None:
    pictures = clip_features(shot(7, 20, step=0.6)).pictures
    pieces, length, pitch = 4, 2, 5
    starts = unlike_starts(pictures, pieces, length)

    def total_jump(starts: list[int]) -> float:
        return sum(float(picture_jump(pictures[a + length - 1], pictures[b])) for a, b in pairwise(starts))

    everywhere = (
        [k * pitch + o for k, o in enumerate(offsets)] for offsets in product(range(pitch - length + 1), repeat=pieces)
    )
    assert total_jump(starts) == pytest.approx(max(total_jump(starts) for starts in everywhere))
