"""What the gates' thresholds were chosen from: cues of changes nobody sees, and of every perturbation on real clips.

    python speed/gates.py ../shared/videos/real

The baseline is the invisible: a second compression, a shift of one pixel, a change of brightness of 1 %.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import simplejpeg

from videossr.config import parse
from videossr.perturb import SPEEDS
from videossr.perturb.gates import Look, look, motion_jump, picture_jump
from videossr.question import Frames
from videossr.sample import Reject, VideoKey
from videossr.tasks.base import Video
from videossr.tasks.grounding import Grounding, GroundingKnobs, Perturbation
from videossr.tasks.jigsaw import Jigsaw, JigsawKnobs
from videossr.video.decode import decode
from videossr.video.plan import Plan, RejectedError


def recompress(frames: Frames) -> Frames:
    """Each frame through a JPEG of quality 75."""
    jpegs = (simplejpeg.encode_jpeg(frame, 75, "RGB", "420") for frame in frames)
    return np.stack([simplejpeg.decode_jpeg(jpeg, "RGB") for jpeg in jpegs])


def brighten(frames: Frames) -> Frames:
    """Each frame 1 % brighter."""
    return np.minimum(np.round(frames * 1.01), 255).astype(np.uint8)


def shift(frames: Frames) -> Frames:
    """Each frame one pixel to the left."""
    return np.roll(frames, -1, axis=2)


INVISIBLE: dict[str, Callable[[Frames], Frames]] = {
    "JPEG quality 75": recompress,
    "one pixel to the left": shift,
    "1 % brighter": brighten,
}


def cues(a: Look, b: Look) -> tuple[float, float, float, float]:
    """Largest jump of picture, palette, texture and motion between frames of the same slots."""
    palette = np.linalg.norm(a.palettes - b.palettes, axis=-1)
    texture = np.abs(a.textures - b.textures)
    jumps = (picture_jump(a.pictures, b.pictures), palette, texture, motion_jump(a.pictures, b.pictures))
    return tuple(float(jump.max()) for jump in jumps)  # type: ignore[return-value]


def read(path: Path, frames: int) -> Video | None:
    """Decode so many frames of a video; None, with a comment, where it is rejected."""
    try:
        decoded = decode(path, Plan(frames=frames))
    except RejectedError as error:
        print(f"<!-- {path.name}, {frames} frames: {error} -->")
        return None
    return Video(VideoKey("", ""), decoded.choice.clock, decoded.frames)


def verdict(rejected: Reject | None) -> str:
    """Say why a video is not admitted."""
    if rejected is None:
        return "yes"
    if rejected.reason == "hard_cut":
        return f"cut: {rejected.value:.0f} of {rejected.threshold:.0f}"
    if rejected.reason == "hidden_ends":
        return f"ends at {rejected.value:.0f}"
    return f"{rejected.value:.1f} < {rejected.threshold:.1f}"


def main(folder: Path) -> None:
    """Print both tables."""
    clips, dense = {}, {}
    for path in sorted(folder.iterdir()):
        if video := read(path, 48):
            clips[path.stem] = video
            dense[path.stem] = read(path, 192)

    print("| nobody sees | picture | palette | texture | motion |\n|---|---|---|---|---|")
    for name, change in INVISIBLE.items():
        worst = np.max([cues(video.look, look(change(video.frames))) for video in clips.values()], axis=0)
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in worst) + " |")

    names = [name for name in get_args(Perturbation) if name != "swap"]
    print("\n| clip | " + " | ".join(names) + " | jigsaw |\n" + "|---" * (len(names) + 2) + "|")
    admitted = 0
    for clip, video in clips.items():
        cells = []
        for name in names:
            shown = dense[clip] if name in SPEEDS else video
            knobs = parse(GroundingKnobs, {"perturbation": name}, name)
            cells.append(verdict(Grounding().admits(shown, knobs)) if shown else "too short")
        cells.append(verdict(Jigsaw().admits(video, JigsawKnobs())))
        admitted += cells.count("yes")
        print(f"| {clip} | " + " | ".join(cells) + " |")
    print(f"\n{admitted} of {len(clips) * (len(names) + 1)} admitted")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
