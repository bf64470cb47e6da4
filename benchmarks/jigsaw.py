"""Measure what a gap costs and gains: jigsaws solved by borders alone, and clips that can still be used.

    python benchmarks/jigsaw.py CLIPS

A row is a setting; the baseline is the paper's, without a gap. The solver is tried on the true order of each clip that
the setting admits, and on all clips.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from statistics import fmean

import numpy as np

from videossr.clock import uniform_clock
from videossr.config import parse
from videossr.measure import rejected
from videossr.sample import Sample, VideoKey
from videossr.tasks.base import Video
from videossr.tasks.jigsaw import Jigsaw, JigsawConfig
from videossr.validation import shortcuts
from videossr.video.decoding import decode
from videossr.video.plan import Plan, RejectedError

COURSE = {"course": 1.6, "link": 0.0}
OURS = {"pieces": 6, "gap": 4, "trim": "unlike", "gap_seconds": 0.75, "limits": COURSE}
SETTINGS: list[dict[str, object]] = [{"pieces": 6}]
SETTINGS += [{"pieces": 6, "gap": gap, "trim": trim} for gap in (2, 4, 6) for trim in ("even", "unlike")]
SETTINGS += [{"pieces": 8}]
SETTINGS += [{"pieces": 8, "gap": gap, "trim": trim} for gap in (2, 4) for trim in ("even", "unlike")]
SETTINGS += [{"pieces": 4, "gap": 6, "trim": "unlike"}]
SETTINGS += [{"pieces": 6, "gap": 4, "trim": "unlike", "gap_seconds": 0.75}, OURS]


def solved(video: Video, config: JigsawConfig) -> bool:
    """Tell whether the chain of borders is the true order."""
    sample = Jigsaw().draw(video, "", config, np.random.default_rng(0), ())
    assert isinstance(sample, Sample)
    clips = Jigsaw().render(video.frames[[frame for _, frame in sample.slots]], sample)
    return shortcuts.chain(clips) == sample.answer


def main(folder: Path) -> None:
    """Print the table, and the reasons for which the first and the last setting reject clips."""
    videos = []
    for path in sorted(folder.iterdir()):
        try:
            decoded = decode(path, Plan())
        except RejectedError as error:
            print(f"<!-- {path.name}: {error} -->")
            continue
        videos.append(
            Video(VideoKey("0" * 64, "1" * 64), uniform_clock(48, decoded.choice.clock.end_ms), decoded.frames)
        )
    print("| pieces | gap | trim | also | clips admitted | solver | solver, all clips |\n" + "|---" * 7 + "|")
    for setting in SETTINGS:
        config = parse(JigsawConfig, setting, "setting")
        reasons = [reject.reason if (reject := rejected(Jigsaw().gates(video, config))) else "" for video in videos]
        right = [solved(video, config) for video in videos]
        served = [solved_clip for solved_clip, reason in zip(right, reasons, strict=True) if not reason]
        more = ", ".join(f"{name} {value}" for name, value in setting.items() if name in ("gap_seconds", "limits"))
        share = f"{fmean(served):.2f}" if served else ""
        print(
            f"| {config.pieces} | {config.gap} | {config.trim} | {more} | {len(served)} of {len(videos)} "
            f"| {share} | {fmean(right):.2f} |"
        )
        if setting in (SETTINGS[0], OURS):
            print(f"<!-- {dict(Counter(filter(None, reasons)).most_common())} -->", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
