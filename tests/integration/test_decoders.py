"""Our frames have the bytes and times of those of other decoders, except where those are wrong."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.integration.conftest import Ask
from videossr.question import Frames
from videossr.video.container import StreamFacts
from videossr.video.decoding import decode, pick
from videossr.video.plan import FrameChoice, Plan, RejectedError, Timeline

pytestmark = pytest.mark.integration

PLANS = (Plan(frames=24, margin=0.013, min_step=0.001), Plan(kind="fps", frames=24, fps=7.3))
"""The second plan is for videos that are too short for the first."""

INDEXED = (".mp4", ".mov", ".mkv", ".webm")
"""Other containers have no exact times to seek to, and seeking is how decord and torchcodec find a frame."""

CONVERTED = {
    "h264_10bits.mp4": "ten bits become eight in another way",
    "h265_10bits.mp4": "ten bits become eight in another way",
    "hdr_pq.mp4": "ten bits become eight in another way",
    "interlaced.mp4": "newer versions of swscale treat the two fields of a frame apart",
}
"""The same frames, with bytes that depend on the version of ffmpeg that a decoder is built with."""

CROPPED = {"crop_clap.mp4": "they show what the clean aperture hides"}
"""Videos of which we keep another part of the picture."""

WRONG: Mapping[str, Mapping[str, str]] = {
    "torchcodec": {
        "test_video_66x50.mov": "an edit list hides its first key frame: the first frame after a seek is taken instead",
    },
    "decord": {
        "av1.mp4": "it has no decoder for AV1",
        "av1_video.mkv": "it has no decoder for AV1",
        "cut_copy.mp4": "it counts the frames that the edit list hides",
        "no_duration.webm": "it needs a duration in the header",
        "opengop_hevc.mp4": "it is lost in the leading pictures of an open group",
        "test_video_66x50.mov": "it counts the frames that the edit list hides",
        "trunc_faststart.mp4": "it cannot read up to where the file is cut off",
    },
    "opencv": {
        "av1.mp4": "it has no decoder for AV1",
        "av1_video.mkv": "it has no decoder for AV1",
        "nasa_320x180_13s.mp4": "of two video streams it takes the first, not the best",
    },
}
"""Videos that another decoder reads wrongly, and why. The tests compare this table with what they find."""


@dataclass(frozen=True, slots=True)
class OurVideo:
    """Our decoding of one file: hashes of the slots' frames at full size, and other moments to ask about."""

    timeline: Timeline
    choice: FrameChoice
    hashes: tuple[str, ...]
    moments: tuple[Fraction, ...]

    def offsets(self) -> list[Fraction]:
        """Return seconds from the start of the video: of each slot, then of the moments."""
        return [*self.choice.offsets(), *self.moments]

    def seconds(self, offset: Fraction) -> float:
        return float(self.timeline.times[0] * self.timeline.base + offset)


def fingerprint(picture: Frames) -> str:
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()


def upright(facts: StreamFacts, frame: av.VideoFrame) -> str:
    """Convert a frame as all these decoders do, turn it as we do, and return its hash."""
    picture = frame.to_ndarray(format="rgb24")
    return fingerprint(np.rot90(picture[:, ::-1] if facts.mirrored else picture, facts.turn))


def read_our_video(path: Path) -> OurVideo | None:
    for plan in PLANS:
        try:
            _, timeline, choice, hashes = pick(path, plan, upright)
        except RejectedError:
            continue
        by_frame = dict(zip(dict.fromkeys(choice.frames), hashes, strict=True))
        # After the last slot the file may be damaged, so no moments are taken there.
        *_, last = choice.offsets()
        rng = random.Random(path.name)
        moments = tuple(Fraction(rng.random()) * last for _ in range(24))
        return OurVideo(timeline, choice, tuple(by_frame[frame] for frame in choice.frames), moments)
    return None


@pytest.fixture(scope="session")
def our_videos(shared_videos: Path) -> dict[str, OurVideo]:
    """Return every video of the folder that we accept, by its path."""
    videos_by_path = {str(path): video for path in sorted(shared_videos.glob("*/*")) if (video := read_our_video(path))}
    assert len(videos_by_path) >= 40
    return videos_by_path


def make_question(library: str, our_videos: Mapping[str, OurVideo]) -> dict[str, object]:
    """Make the question to side/decoders.py. Times are a microsecond late, since a float may be below its fraction."""
    files = {
        path: {
            "indices": video.choice.frames,
            "seconds": [video.seconds(offset) + 1e-6 for offset in video.offsets()],
            "whole": len(video.choice.frames) // 2,
        }
        for path, video in our_videos.items()
        if path.endswith(INDEXED)
    }
    assert len(files) >= 35
    return {"library": library, "files": files}


@pytest.fixture(scope="session")
def torchcodec(ask: Ask, our_videos: dict[str, OurVideo]) -> dict[str, Any]:
    """Decode the same videos with torchcodec, by path."""
    if not shutil.which("ffmpeg"):
        pytest.skip("torchcodec needs the libraries of ffmpeg: install ffmpeg")
    answer: dict[str, Any] = ask("decoders", "decoders.py", make_question("torchcodec", our_videos))
    return answer


def differing_files(our_videos: Mapping[str, OurVideo], hashes: Mapping[str, list[str] | None]) -> set[str]:
    """Return the names of the files whose slots show other frames than ours."""
    return {
        Path(path).name
        for path, other_hashes in hashes.items()
        if Path(path).name not in CONVERTED
        and (
            other_hashes is None
            or any(other != own for other, own in zip(other_hashes, our_videos[path].hashes, strict=False))
        )
    }


def test_decode_shows_the_frames_of_torchcodec_at_any_time(
    torchcodec: dict[str, Any], our_videos: dict[str, OurVideo]
) -> None:
    differing = set()
    for path, answer in torchcodec.items():
        video = our_videos[path]
        base, times = video.timeline.base, video.timeline.times
        expected_times = [float(times[video.timeline.at(offset)] * base) for offset in video.offsets()]
        if answer.get("times") != pytest.approx(expected_times, abs=1e-6):
            differing.add(Path(path).name)
    assert differing == set(WRONG["torchcodec"])


def test_decode_has_the_bytes_of_torchcodec(torchcodec: dict[str, Any], our_videos: dict[str, OurVideo]) -> None:
    hashes = {path: answer.get("hashes") for path, answer in torchcodec.items()}
    assert differing_files(our_videos, hashes) == set(WRONG["torchcodec"])


def test_decode_has_the_colors_and_the_rotation_of_torchcodec(torchcodec: dict[str, Any]) -> None:
    """Resizing and conversion shift colors a little; a wrong matrix, range, rotation or frame shifts them far more."""
    for path, answer in torchcodec.items():
        name = Path(path).name
        if name in WRONG["torchcodec"] or name in CROPPED:
            continue
        frame = decode_middle_slot(Path(path))
        picture = cv2.resize(np.load(answer["whole"]), frame.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        difference = picture.astype(np.int16) - frame
        assert np.abs(difference.mean((0, 1))).max() < 2, name
        assert np.abs(difference).mean() < (4 if name in CONVERTED else 2), name


def decode_middle_slot(path: Path) -> Frames:
    """Decode the middle slot at full size; HDR is not mapped, since the other decoders do not map it."""
    for plan in PLANS:
        whole = replace(plan, max_pixels=4_000_000, hdr="keep")
        try:
            frames = decode(path, whole).frames
        except RejectedError:
            continue
        middle: Frames = frames[len(frames) // 2]
        return middle
    raise AssertionError(path)


def test_decode_has_the_bytes_of_decord(ask: Ask, our_videos: dict[str, OurVideo]) -> None:
    answers = ask("decoders", "decoders.py", make_question("decord", our_videos))
    assert differing_files(our_videos, {path: answer.get("hashes") for path, answer in answers.items()}) == set(
        WRONG["decord"]
    )


def test_decode_has_the_bytes_of_opencv(our_videos: dict[str, OurVideo]) -> None:
    """All containers can be compared, since OpenCV reads each video from its start."""
    hashes = {path: read_in_order(path, video.choice.frames) for path, video in our_videos.items()}
    assert differing_files(our_videos, hashes) == set(WRONG["opencv"])


def read_in_order(path: str, wanted: Sequence[int]) -> list[str] | None:
    video = cv2.VideoCapture(path)
    hashes: dict[int, str] = {}
    for index in range(max(wanted) + 1):
        if not video.grab():
            return None
        if index in wanted:
            retrieved, picture = video.retrieve()
            if not retrieved:
                return None
            hashes[index] = fingerprint(np.asarray(picture[..., ::-1], np.uint8))
    return [hashes[index] for index in wanted]
