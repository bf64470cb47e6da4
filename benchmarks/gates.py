"""Compare the thresholds of the gates with invisible changes, and show the weakest samples that they admit.

    python benchmarks/gates.py ../shared/videos/real docs/results/gates.md

The command writes the tables of the page between its marks, and the pictures beside it. The baseline are invisible
changes of the same clips: a second compression, a shift of one pixel, a change of brightness of 1 %; and orders, speeds
and ends that nobody could recognize.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from videossr.builder import recipe
from videossr.config import parse
from videossr.measure import Measure, rejected, weakest
from videossr.perturb import PERTURBATIONS, open_perturbation
from videossr.perturb.gates import clip_features, motion_jump, picture_jump
from videossr.perturb.pixel import PixelPerturbation
from videossr.perturb.speed import SpeedPerturbation, pace
from videossr.question import Frames
from videossr.sample import Sample, VideoKey
from videossr.tasks.base import OpenTask, Video, open_task
from videossr.video.decoding import decode
from videossr.video.plan import Plan, RejectedError
from videossr.video.scaling import fill

PERTURBED = {name: open_perturbation(name) for name in PERTURBATIONS.names()}
PIXELS = {name: kind for name, kind in PERTURBED.items() if isinstance(kind, PixelPerturbation)}

SLOTS, DENSE = 48, 192
"""Frames of a clip, and of one in which the speed changes."""

FACTS = {"too_brief", "uneven_clock", "brief_gap", "too_small"}
"""Gates that no eye is needed for."""

DRAWS = 40
"""Samples drawn of the weakest clip; the one whose borders stand out least is shown."""


def recompress(frames: Frames) -> Frames:
    """Send each frame through a JPEG of quality 75."""
    jpegs = (simplejpeg.encode_jpeg(np.ascontiguousarray(frame), 75, "RGB", "420") for frame in frames)
    return np.stack([simplejpeg.decode_jpeg(jpeg, "RGB") for jpeg in jpegs])


def brighten(frames: Frames) -> Frames:
    """Make each frame 1 % brighter."""
    return np.minimum(np.round(frames * 1.01), 255).astype(np.uint8)


def shift(frames: Frames) -> Frames:
    """Move each frame one pixel to the left."""
    return np.roll(frames, -1, axis=2)


INVISIBLE: dict[str, Callable[[Frames], Frames]] = {
    "JPEG quality 75": recompress,
    "one pixel to the left": shift,
    "1 % brighter": brighten,
}

GROUPS = {
    "color": ("saturation", "noise", "blur", "grayscale", "invert", "channel_swap"),
    "geometry": ("zoom_in", "zoom_out", "mirror", "rotate_90", "rotate_180", "rotate_270"),
    "time": ("swap", "stutter", "shuffle", "slow", "fast", "slow x 1/3", "fast x 3"),
    "tasks": ("jigsaw, 6 pieces", "jigsaw, 8 pieces", "counting"),
}
"""Kinds by the picture that shows their weakest samples."""


class Kind:
    """A kind of question: its task and config, and the measures of each clip that is long enough."""

    def __init__(self, task: str, config: Mapping[str, Any], clips: Mapping[str, Mapping[int, Video]]) -> None:
        self.task: OpenTask = open_task(task)
        self.config = parse(self.task.Config, dict(config), task)
        frames = DENSE if self.task.required_frames(self.config)[1] > 1 else SLOTS
        self.videos = {clip: sizes[frames] for clip, sizes in clips.items() if frames in sizes}
        self.measures = {clip: self.task.gates(video, self.config) for clip, video in self.videos.items()}

    @property
    def admitted(self) -> list[str]:
        return [clip for clip, measures in self.measures.items() if rejected(measures) is None]

    def values(self) -> dict[tuple[str, str], list[Measure]]:
        """Group all measures by gate and setting."""
        by_gate: dict[tuple[str, str], list[Measure]] = defaultdict(list)
        for measures in self.measures.values():
            for measure in measures:
                by_gate[measure.gate, measure.setting].append(measure)
        return by_gate


def kinds(clips: Mapping[str, Mapping[int, Video]]) -> dict[str, Kind]:
    """Measure all clips for all kinds."""
    measured = {name: Kind("grounding", {"perturbation": name}, clips) for name in PERTURBATIONS.names()}
    for name, speed, strength in (("slow x 1/3", "slow", 1 / 3), ("fast x 3", "fast", 3)):
        measured[name] = Kind("grounding", {"perturbation": speed, "strengths": {speed: strength}}, clips)
    measured |= {f"jigsaw, {pieces} pieces": Kind("jigsaw", {"pieces": pieces}, clips) for pieces in (6, 8)}
    return measured | {"counting": Kind("counting", {}, clips)}


def read(folder: Path) -> dict[str, dict[int, Video]]:
    """Decode every clip to `SLOTS` frames, and to `DENSE` where it is long enough."""
    clips: dict[str, dict[int, Video]] = {}
    for path in sorted(folder.iterdir()):
        for frames in (SLOTS, DENSE):
            try:
                decoded = decode(path, Plan(frames=frames))
            except RejectedError:
                continue
            key = VideoKey(path.name.encode().hex().ljust(64, "0")[:64], "1" * 64)
            clips.setdefault(path.stem, {})[frames] = Video(key, decoded.choice.clock, decoded.frames)
    return clips


def captioned(video: Video) -> Video:
    """Hold the middle frame, with a line of white letters below that changes every few slots."""
    frames = np.repeat(video.frames[len(video.frames) // 2][None], len(video.frames), axis=0)
    height, width = video.size
    for slot, frame in enumerate(frames):
        text = ("AND THEN THEY", "WENT ALL", "THE LONG WAY HOME")[slot // 3 % 3]
        cv2.putText(frame, text, (width // 4, height - 8), cv2.FONT_HERSHEY_SIMPLEX, height / 350, (255,) * 3, 2)
    return Video(video.key, video.clock, frames)


def mixed(video: Video) -> Video:
    """Show the frames in a random order."""
    order = np.random.default_rng(0).permutation(len(video.frames))
    return Video(video.key, video.clock, video.frames[order])


def looped(video: Video) -> Video:
    """Show every second frame, and then the same backwards."""
    half = video.frames[::2]
    return Video(video.key, video.clock, np.concatenate([half, half[::-1]])[: len(video.frames)])


MOTION = {"hidden_motion": "limits.motion", "hidden_ends": "", "pieces_alike": "difference", "still_piece": "motion"}
"""Gates that ask for motion, each between two frames or mean pictures at a time, and the config."""


def unseen(kind: Kind, video: Video) -> Iterator[tuple[str, str, float]]:
    """Yield gate, setting and value of a clip that was changed invisibly, or into frames without a visible order."""
    config = kind.config
    if kind.task.name != "counting":
        moved = max(
            float(motion_jump(video.features.pictures, clip_features(c(video.frames)).pictures).max())
            for c in INVISIBLE.values()
        )
        yield from ((gate, setting, moved) for gate, setting in MOTION.items())
    name = getattr(config, "perturbation", kind.task.name)
    if isinstance(PERTURBED.get(name), SpeedPerturbation):
        limits = replace(config.limits, pace=0, cut=100)
        for stride in range(1, len(video.frames) // SLOTS + 1):
            speeds = pace(video.frames, video.features.pictures, (stride, stride), SLOTS, limits)
            yield "hidden_speed", "limits.speed", float(speeds.starts(config.length, limits).max())
    elif name in ("shuffle", "jigsaw"):
        shown = {
            "no_course": mixed,
            "unseen_course": mixed,
            "unseen_link": mixed,
            "loop": looped,
            "still_picture": captioned,
        }
        for change in {*shown.values()}:
            for measure in kind.task.gates(change(video), config):
                if shown.get(measure.gate) is change:
                    yield measure.gate, measure.setting, measure.value


def cue_table(clips: Mapping[str, Mapping[int, Video]]) -> Iterator[str]:
    """Yield the largest cues of invisible changes, over all slots of all clips."""
    yield "| invisible change | picture | palette | texture | motion |\n|---|---|---|---|---|"
    for name, change in INVISIBLE.items():
        worst = np.zeros(4)
        for sizes in clips.values():
            a, b = sizes[SLOTS].features, clip_features(change(sizes[SLOTS].frames))
            palette = np.linalg.norm(a.palettes - b.palettes, axis=-1)
            texture = np.abs(a.textures - b.textures)
            jumps = (picture_jump(a.pictures, b.pictures), palette, texture, motion_jump(a.pictures, b.pictures))
            worst = np.maximum(worst, [float(jump.max()) for jump in jumps])
        yield f"| {name} | " + " | ".join(f"{value:.2f}" for value in worst) + " |"


def picture_table(measured: Mapping[str, Kind]) -> Iterator[str]:
    """Yield, for each perturbation of pictures, the range of each cue."""
    cues = ("picture", "palette", "texture")
    yield "| kind | " + " | ".join(cues) + " | contrast | cut | clips |\n" + "|---" * 7 + "|"
    for name in PIXELS:
        kind = measured[name]
        values = kind.values()
        cells = [span(values[f"hidden_{cue}", f"limits.{cue}"]) for cue in cues]
        best = [max(m.value for m in of if m.setting == "limits.contrast") for of in kind.measures.values()]
        cells.append(f"{min(best):.1f} to {max(best):.1f}")
        cells.append(split_at(values["hard_cut", "limits.cut"]) if PIXELS[name].hidden_by_cuts else "")
        yield f"| {name} | " + " | ".join(cells) + f" | {len(kind.admitted)} of {len(kind.videos)} |"


def other_table(measured: Mapping[str, Kind]) -> Iterator[str]:
    """Yield, for each other kind and gate, the value of invisible changes and the values of the clips."""
    yield "| kind | gate | setting | passes | invisible | fails | passes | clips |\n" + "|---" * 8 + "|"
    for name, kind in measured.items():
        if name in PIXELS:
            continue
        null: dict[tuple[str, str], list[float]] = defaultdict(list)
        for video in kind.videos.values():
            for gate, setting, value in unseen(kind, video):
                null[gate, setting].append(value)
        heading = [name, f"{len(kind.admitted)} of {len(kind.videos)}"]
        for (gate, setting), measures in kind.values().items():
            if gate in FACTS:
                continue
            worse, better = (min, max) if (least := measures[0].least) else (max, min)
            against = null.get((gate, setting))
            fails = [measure.value for measure in measures if not measure.passed]
            passes = [measure.value for measure in measures if measure.passed]
            cells = [
                heading[0],
                gate,
                f"`{setting}`" if setting else "",
                f"{'>=' if least else '<='} {measures[0].threshold:g}",
                f"{better(against):.3g}" if against else "",
                f"{better(fails):.3g}" if fails else "none",
                f"{worse(passes):.3g}" if passes else "none",
                heading[1],
            ]
            yield f"| {' | '.join(cells)} |"
            heading = ["", ""]


def span(measures: Sequence[Measure]) -> str:
    """Write the least and the largest value, and how many clips pass."""
    values = [measure.value for measure in measures]
    return f"{min(values):.1f} to {max(values):.1f}; {sum(measure.passed for measure in measures)}"


def split_at(measures: Sequence[Measure]) -> str:
    """Write the values nearest to the threshold on both sides."""
    passed, failed = ([measure.value for measure in measures if measure.passed == side] for side in (True, False))
    return f"up to {max(passed):.1f}, from {min(failed):.1f}"


def admitted_table(measured: Mapping[str, Kind], clips: Sequence[str]) -> Iterator[str]:
    """Yield for each clip the kinds that admit it, or the reason why not."""
    yield "| clip | " + " | ".join(measured) + " |\n" + "|---" * (len(measured) + 1) + "|"
    for clip in clips:
        cells = []
        for kind in measured.values():
            reject = rejected(kind.measures[clip]) if clip in kind.measures else None
            cells.append("yes" if reject is None else f"{reject.reason} {reject.value:.2g}")
            if clip not in kind.measures:
                cells[-1] = "too short"
        yield f"| {clip} | " + " | ".join(cells) + " |"


def reason_table(clips: Mapping[str, Mapping[int, Video]]) -> Iterator[str]:
    """Yield how many clips each category of the paper's benchmark rejects, by reason."""
    yield "| category | admitted | rejected |\n|---|---|---|"
    for category, spec in recipe.load_recipe("viubench").categories.items():
        kind = Kind(spec.task, spec.config, clips)
        reasons = Counter(reject.reason for of in kind.measures.values() if (reject := rejected(of)))
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        yield f"| {category} | {len(kind.admitted)} of {len(kind.videos)} | {counts} |"


def weakest_sample(kind: Kind) -> tuple[str, Measure, Sample] | None:
    """Return the admitted clip that came nearest to rejection, the measure, and its least visible sample."""
    seen = {clip: [measure for measure in kind.measures[clip] if measure.gate not in FACTS] for clip in kind.admitted}
    nearest = {clip: measure for clip, measures in seen.items() if (measure := weakest(measures))}
    if not nearest:
        return None
    clip = min(nearest, key=lambda name: (nearest[name].margin, name))
    size = kind.videos[clip].size
    donors = [replace(other, frames=fill(other.frames, *size)) for name, other in kind.videos.items() if name != clip]
    rng = np.random.default_rng(0)
    drawn = (kind.task.draw(kind.videos[clip], "weakest", kind.config, rng, donors) for _ in range(DRAWS))
    samples = [sample for sample in drawn if isinstance(sample, Sample)]
    return (clip, nearest[clip], min(samples, key=lambda sample: visible(kind, sample))) if samples else None


def shown_frames(kind: Kind, sample: Sample) -> list[Frames]:
    """Render a sample's clips."""
    sources = {video.key: video.frames for video in kind.videos.values()}
    shown = (sources[sample.sources[source]][number] for source, number in sample.slots)
    frames = np.concatenate([fill(frame[None], *sample.size) for frame in shown])
    return [clip.frames for clip in kind.task.render(frames, sample)]


def visible(kind: Kind, sample: Sample) -> float:
    """Measure how visible a sample is: the weaker border against the steps beside it, or the smallest shape."""
    if kind.task.name != "grounding":
        size = kind.task.difficulty(sample).get("size", 0.0)
        return float(size)
    first, last = kind.task.truth(sample).spans[0]
    if first < 2 or last > SLOTS - 4:
        return np.inf  # both borders are to be shown
    (frames,) = shown_frames(kind, sample)
    steps = [float(np.abs(b.astype(np.int16) - a).mean()) for a, b in pairwise(frames)]
    return min(steps[at] / max(steps[at - 1], steps[at + 1], 1e-6) for at in (first - 1, last))


def sheet(measured: Mapping[str, Kind], names: Sequence[str], path: Path) -> None:
    """Draw a row for each kind: frames around both borders, the altered ones framed."""
    rows = []
    for name in names:
        kind = measured[name]
        weak = weakest_sample(kind)
        if weak is None:
            rows.append(label(f"{name}: no clip admitted"))
            continue
        clip, measure, sample = weak
        rows.append(label(f"{name}: {clip}, {measure.gate} {measure.value:.3g} at {measure.threshold:g}"))
        rows.append(strip(kind, sample))
    cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


WIDTH = 112
"""Width of a thumbnail in pixels."""

GAP = 3
"""Pixels between two thumbnails."""

COUNT = 8
"""Thumbnails in a row."""


def strip(kind: Kind, sample: Sample) -> Frames:
    """Draw the frames around the borders of a span, at those of pieces in their true order, or with shapes."""
    clips = shown_frames(kind, sample)
    truth = kind.task.truth(sample)
    if truth.spans:
        first, last = truth.spans[0]
        frames = clips[0]
        slots = [first - 2, first - 1, first, first + 1, last - 1, last, last + 1, last + 2]
        chosen = [(frames[slot], first <= slot <= last) for slot in slots]
    elif truth.order:
        pieces = [clips[truth.order.index(piece)] for piece in range(len(truth.order))]
        ends = [(before[-1], after[0]) for before, after in pairwise(pieces)]
        chosen = [(frame, after) for end in ends[: COUNT // 2] for after, frame in zip((False, True), end, strict=True)]
    else:
        chosen = [(clips[0][slot], False) for slot in sorted({outline.slot for outline in truth.outlines})[:COUNT]]
    height = round(WIDTH * chosen[0][0].shape[0] / chosen[0][0].shape[1])
    row = np.full((height + GAP, COUNT * (WIDTH + GAP), 3), 255, np.uint8)
    for at, (frame, marked) in enumerate(chosen):
        small = cv2.resize(frame, (WIDTH, height), interpolation=cv2.INTER_AREA)
        if marked:
            small[:2] = small[-2:] = (230, 80, 30)
            small[:, :2] = small[:, -2:] = (230, 80, 30)
        left = at * (WIDTH + GAP)
        row[:height, left : left + WIDTH] = small
    return row


def label(text: str) -> Frames:
    """Write a line of text."""
    line = np.full((18, COUNT * (WIDTH + GAP), 3), 255, np.uint8)
    cv2.putText(line, text, (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
    return line


def main(folder: Path, page: Path) -> None:
    """Write the tables into the page and the pictures beside it."""
    clips = read(folder)
    measured = kinds(clips)
    tables = {
        "cues": cue_table(clips),
        "pictures": picture_table(measured),
        "others": other_table(measured),
        "admitted": admitted_table(measured, [*clips]),
        "reasons": reason_table(clips),
    }
    text = page.read_text("utf-8")
    for name, lines in tables.items():
        block = f"<!-- {name} -->\n" + "\n".join(lines) + "\n<!-- end -->"
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        if not mark:
            raise ValueError(f"{page}: there is no block <!-- {name} --> ... <!-- end -->")
        text = before + block + rest.partition("<!-- end -->")[2]
    page.write_text(text, "utf-8")
    for group, names in GROUPS.items():
        sheet(measured, names, page.with_name(f"gates-{group}.jpg"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
