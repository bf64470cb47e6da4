"""Our frames are those of other decoders, byte for byte and at the same times, wherever those are right."""

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
"""The second is for what is too short for the first."""

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
"""Where what we keep is another part of the picture."""

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
"""Where another decoder goes wrong, and why. The tests hold it to that, so that this table stays true."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What we make of one file: the slots' frames at full size as hashes, and any other moments to ask about."""

    timeline: Timeline
    choice: FrameChoice
    hashes: tuple[str, ...]
    moments: tuple[Fraction, ...]

    def offsets(self) -> list[Fraction]:
        """Seconds from the start of the video: of each slot, then of the moments."""
        return [*self.choice.offsets(), *self.moments]

    def seconds(self, offset: Fraction) -> float:
        return float(self.timeline.times[0] * self.timeline.base + offset)


def fingerprint(picture: Frames) -> str:
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()


def upright(facts: StreamFacts, frame: av.VideoFrame) -> str:
    """Converted as all these decoders do, and turned by our own reading of the file."""
    picture = frame.to_ndarray(format="rgb24")
    return fingerprint(np.rot90(picture[:, ::-1] if facts.mirrored else picture, facts.turn))


def ours_of(path: Path) -> Ours | None:
    for plan in PLANS:
        try:
            _, timeline, choice, hashes = pick(path, plan, upright)
        except RejectedError:
            continue
        by_frame = dict(zip(dict.fromkeys(choice.frames), hashes, strict=True))
        # What lies behind the last slot may be damaged, and is not looked at.
        *_, last = choice.offsets()
        rng = random.Random(path.name)
        moments = tuple(Fraction(rng.random()) * last for _ in range(24))
        return Ours(timeline, choice, tuple(by_frame[frame] for frame in choice.frames), moments)
    return None


@pytest.fixture(scope="session")
def ours(shared_videos: Path) -> dict[str, Ours]:
    """Every video of the folder that we accept, by its path."""
    found = {str(path): mine for path in sorted(shared_videos.glob("*/*")) if (mine := ours_of(path))}
    assert len(found) >= 40
    return found


def query(library: str, ours: Mapping[str, Ours]) -> dict[str, object]:
    """The question to side/decoders.py. Each time is a microsecond late: a float may lie before its fraction."""
    files = {
        path: {
            "indices": mine.choice.frames,
            "seconds": [mine.seconds(offset) + 1e-6 for offset in mine.offsets()],
            "whole": len(mine.choice.frames) // 2,
        }
        for path, mine in ours.items()
        if path.endswith(INDEXED)
    }
    assert len(files) >= 35
    return {"library": library, "files": files}


@pytest.fixture(scope="session")
def torchcodec(ask: Ask, ours: dict[str, Ours]) -> dict[str, Any]:
    """What torchcodec makes of the same videos, by path."""
    if not shutil.which("ffmpeg"):
        pytest.skip("torchcodec needs the libraries of ffmpeg: install ffmpeg")
    answer: dict[str, Any] = ask("decoders", "decoders.py", query("torchcodec", ours))
    return answer


def others(ours: Mapping[str, Ours], hashes: Mapping[str, list[str] | None]) -> set[str]:
    """Names of the files whose slots show other frames than ours."""
    return {
        Path(path).name
        for path, theirs in hashes.items()
        if Path(path).name not in CONVERTED
        and (theirs is None or any(their != our for their, our in zip(theirs, ours[path].hashes, strict=False)))
    }


def test_torchcodec_shows_our_frame_at_any_time(torchcodec: dict[str, Any], ours: dict[str, Ours]) -> None:
    elsewhere = set()
    for path, answer in torchcodec.items():
        mine = ours[path]
        base, times = mine.timeline.base, mine.timeline.times
        mapped = [float(times[mine.timeline.at(offset)] * base) for offset in mine.offsets()]
        if answer.get("times") != pytest.approx(mapped, abs=1e-6):
            elsewhere.add(Path(path).name)
    assert elsewhere == set(WRONG["torchcodec"])


def test_torchcodec_has_the_same_bytes(torchcodec: dict[str, Any], ours: dict[str, Ours]) -> None:
    hashes = {path: answer.get("hashes") for path, answer in torchcodec.items()}
    assert others(ours, hashes) == set(WRONG["torchcodec"])


def test_what_is_kept_has_the_colors_and_the_turn_of_torchcodec(torchcodec: dict[str, Any]) -> None:
    """Resizing and the exact conversion that we keep frames with shift a color by little; a wrong matrix, range, turn
    or frame by far more.
    """
    for path, answer in torchcodec.items():
        name = Path(path).name
        if name in WRONG["torchcodec"] or name in CROPPED:
            continue
        kept = keep(Path(path))
        picture = cv2.resize(np.load(answer["whole"]), kept.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        apart = picture.astype(np.int16) - kept
        assert np.abs(apart.mean((0, 1))).max() < 2, name
        assert np.abs(apart).mean() < (4 if name in CONVERTED else 2), name


def keep(path: Path) -> Frames:
    """The middle slot, kept at the full size; HDR as it is, since the others do not map it."""
    for plan in PLANS:
        whole = replace(plan, max_pixels=4_000_000, hdr="keep")
        try:
            frames = decode(path, whole).frames
        except RejectedError:
            continue
        middle: Frames = frames[len(frames) // 2]
        return middle
    raise AssertionError(path)


def test_decord_has_the_same_bytes(ask: Ask, ours: dict[str, Ours]) -> None:
    answers = ask("decoders", "decoders.py", query("decord", ours))
    assert others(ours, {path: answer.get("hashes") for path, answer in answers.items()}) == set(WRONG["decord"])


def test_opencv_has_the_same_bytes(ours: dict[str, Ours]) -> None:
    """In every container: it is read from the start."""
    hashes = {path: in_order(path, mine.choice.frames) for path, mine in ours.items()}
    assert others(ours, hashes) == set(WRONG["opencv"])


def in_order(path: str, wanted: Sequence[int]) -> list[str] | None:
    video = cv2.VideoCapture(path)
    found: dict[int, str] = {}
    for index in range(max(wanted) + 1):
        if not video.grab():
            return None
        if index in wanted:
            there, picture = video.retrieve()
            if not there:
                return None
            found[index] = fingerprint(np.asarray(picture[..., ::-1], np.uint8))
    return [found[index] for index in wanted]
