"""Plans: which frames of a video are kept, at which times and at which size.

Presentation times are whole ticks of a rational time base, so that no comparison ever rounds. The functions are pure
and open no file. `videossr.video.decoding` calls `choose_frames` with the options of `videossr index`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Annotated, Literal, Protocol, TypeAlias

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from videossr.clock import Clock, uniform_clock
from videossr.storage import limits

Reason: TypeAlias = Literal[
    "hidden",
    "unreadable",
    "no_video",
    "unsupported",
    "no_frames",
    "no_times",
    "too_short",
    "still",
    "hdr",
    "damaged",
    "duplicate",
    "changed",
    "near_duplicate",
    "held_out",
]

HDRChoice: TypeAlias = Literal["map", "keep", "reject"]
"""Treatment of a video whose transfer is PQ or HLG, see `Plan.hdr`."""

REASONS: Mapping[Reason, str] = {
    "hidden": "The name of the file, or of a folder on the way to it, starts with a dot.",
    "unreadable": "The file is empty, cannot be read, or is not a video container that ffmpeg knows.",
    "no_video": "There is no video stream, or only a cover picture.",
    "unsupported": "There is no decoder for the codec, the picture is turned by another angle than a multiple of 90 "
    "degrees, its size changes within the video, or it has more pixels or frames than the limits allow.",
    "no_frames": "Not one frame could be decoded.",
    "no_times": "Frames have no presentation times, or their times run backwards; of a folder of images: they are not "
    "numbered evenly, or how many there are a second was not said.",
    "too_short": "The slots would lie closer than `min_step`, or far closer than the frames of the video.",
    "still": "One picture stays for so long that more than `max_held` of the slots would repeat the slot before.",
    "hdr": "Its transfer is PQ or HLG, and the plan leaves such videos out.",
    "damaged": "A decoder error or a corrupt flag lies between a wanted frame and the key frame that it depends on. "
    "Or an image cannot be decoded, or the file declares more frames than its bytes can hold.",
    "duplicate": "Another file has the same bytes; the first path in sorted order is kept.",
    "near_duplicate": "`corpus merge --drop-near` found that its frames are near to those of a video it had already.",
    "held_out": "`corpus split` put it into the other corpus, from which this one is kept apart.",
    "changed": "The file changed or vanished while it was indexed; the next run looks at it again.",
}
"""Reason why a video is not in the corpus -> its meaning. There are no other reasons."""

MOST_FRAMES = 4096
"""Slots of a video, at most."""

STILL = Fraction(1)
"""Seconds that one frame must be on screen for the video to count as still; below that, its frame rate is low."""


class RejectedError(Exception):
    """A video cannot be used.

    Attributes:
        reason: one of `REASONS`.
        detail: one sentence for people.
        value: the measured value, if anything was measured.
        threshold: the number that `value` was compared with.
    """

    def __init__(self, reason: Reason, detail: str, value: float | None = None, threshold: float | None = None) -> None:
        super().__init__(reason, detail, value, threshold)
        self.reason: Reason = reason
        self.detail = detail
        self.value = value
        self.threshold = threshold

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Plan:
    """Rules by which frames are chosen; every field is an option of `videossr index`.

    Attributes:
        kind: ``uniform``: `frames` slots at equal times over the middle of the video. ``fps``: `fps` slots a second
            from the first frame on; where that gives more than `frames`, that many slots over the whole video.
            ``snap``: as ``uniform``, but each slot moves to a frame near by that is cheap to decode.
        frames: slots a video, at most that many for ``fps``.
        fps: slots a second of the plan ``fps``.
        margin: share of the video left out at each end by the plans ``uniform`` and ``snap``; the first slot of
            ``snap`` may move into it.
        min_step: seconds between neighbouring slots that the plans ``uniform`` and ``snap`` ask for.
        tolerance: how far the plan ``snap`` may move a slot, as a share of a step.
        max_held: share of the slots that may show the same frame as the slot before, where the video stands still; of
            the plans ``uniform`` and ``snap``. At 0 every slot shows another frame. ``fps`` has no such bound.
        max_pixels: height times width of a frame as it is shown, at most; it is stored a little larger, see
            `stored_size`.
        hdr: treatment of videos whose transfer is PQ or HLG: ``map`` them to SDR, ``keep`` their values as they are,
            or ``reject`` them.
    """

    kind: Literal["uniform", "fps", "snap"] = "uniform"
    frames: Annotated[int, Field(ge=2, le=MOST_FRAMES)] = 48
    fps: Annotated[float, Field(gt=0, le=240)] = 2.0
    margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    min_step: Annotated[float, Field(ge=0.001, le=3600)] = 0.05
    tolerance: Annotated[float, Field(ge=0, le=0.5)] = 0.5
    max_held: Annotated[float, Field(ge=0, lt=1)] = 0.75
    max_pixels: Annotated[int, Field(ge=1024, le=limits.PICTURE_PIXELS)] = 65536
    hdr: HDRChoice = "map"

    def choose(self, timeline: Timeline, costs: Sequence[int] | None = None) -> FrameChoice:
        """Choose the slots of a video, see `choose_frames`."""
        return choose_frames(timeline, self, costs)


class Chooser(Protocol):
    """Chooses frames of a video whose timeline is known: a `Plan`, or a `videossr.video.window.Window`."""

    @property
    def kind(self) -> str:
        """Name of the rule."""

    def choose(self, timeline: Timeline, costs: Sequence[int] | None = None) -> FrameChoice:
        """Choose the slots of a video, see `choose_frames`."""


@plain_dataclass(frozen=True, slots=True)
class Timeline:
    """The times of all frames of a video.

    Attributes:
        times: start of each frame in presentation order, in ticks, strictly increasing.
        end: when the last frame stops being shown, in ticks.
        base: seconds a tick.
    """

    times: tuple[int, ...]
    end: int
    base: Fraction

    def __post_init__(self) -> None:
        if not self.times or any(after <= now for now, after in pairwise((*self.times, self.end))):
            raise ValueError("a timeline is one or more frames whose times increase strictly up to its end")

    @property
    def seconds(self) -> Fraction:
        """Seconds from the start of the first frame to the end of the last."""
        return (self.end - self.times[0]) * self.base

    def start(self, frame: int) -> Fraction:
        """Return the seconds from the start of the video until a frame comes on screen.

        For the number after that of the last frame, that is the end of the video.
        """
        return ((self.times[frame] if frame < len(self.times) else self.end) - self.times[0]) * self.base

    def at(self, offset: Fraction) -> int:
        """Return the number of the frame on screen `offset` seconds after the start of the video."""
        tick = self.times[0] + math.floor(offset / self.base)
        return max(0, bisect.bisect_right(self.times, tick) - 1)

    def stills(self) -> list[tuple[Fraction, Fraction]]:
        """Return start and end, in seconds from the start, of each frame that is on screen for `STILL` or longer."""
        spans = ((self.start(frame), self.start(frame + 1)) for frame in range(len(self.times)))
        return [(start, end) for start, end in spans if end - start >= STILL]


@plain_dataclass(frozen=True, slots=True)
class FrameChoice:
    """The slots that a plan takes from one timeline: their clock, and the frame and exact time of each.

    Attributes:
        clock: of the slots, in milliseconds from the first slot.
        frames: index into `Timeline.times` for each slot, never decreasing.
        offset: seconds from the start of the video to the first slot.
    """

    clock: Clock
    frames: tuple[int, ...]
    offset: Fraction

    def offsets(self) -> Iterator[Fraction]:
        """Return the exact seconds from the start of the video to each slot."""
        return (self.offset + Fraction(time, 1000) for time in self.clock.times_ms)


def choose_frames(timeline: Timeline, plan: Plan, costs: Sequence[int] | None = None) -> FrameChoice:
    """Choose the slots that `plan` takes from a video.

    A slot's time is a whole number of milliseconds after the first slot, and the slot shows the frame that is on
    screen at exactly that time: the clock is true by definition, also for a variable frame rate.

    A frame that stays on screen for longer than a step is shown in several slots. The plan ``uniform`` rejects a video
    where more than `max_held` of the slots would repeat the slot before; the plan ``fps`` takes it as it is. Where
    ``fps`` would give too many slots, they are spread so that the last one shows the last frame.

    The plan ``snap`` takes the slots of ``uniform`` and moves each, by at most `tolerance` of a step, to the frame of
    least cost that comes on screen there, of equally cheap ones to the nearest. No two slots cross or come closer than
    `min_step`, and none moves to a frame that another shows. A slot that moves starts when its frame comes on screen,
    the others stay where they are. Without `costs`, ``snap`` is ``uniform``: where a file is decoded from its start, no
    frame is cheaper.

    Args:
        timeline: of the video.
        plan: the rules.
        costs: for each frame of the timeline, the cost of decoding it, a `DecodeCost`; only ``snap`` reads it.

    Raises:
        RejectedError: ``too_short`` or ``still``.
    """
    if plan.kind == "fps":
        return _fps(timeline, plan)
    choice = _uniform(timeline, plan)
    return choice if plan.kind == "uniform" or costs is None else _snap(timeline, plan, choice, costs)


def _uniform(timeline: Timeline, plan: Plan) -> FrameChoice:
    """Choose slots at equal times over the middle of the video."""
    margin = Fraction(str(plan.margin))
    span = (1 - 2 * margin) * timeline.seconds
    step = span / plan.frames
    if step < Fraction(str(plan.min_step)):
        raise RejectedError(
            "too_short",
            f"{plan.frames} slots in {float(span):.3f} s are {float(step):.4f} s apart; --min-step is {plan.min_step}",
            float(step),
            plan.min_step,
        )
    choice = _show(timeline, uniform_clock(plan.frames, span * 1000), margin * timeline.seconds)
    distinct = len(set(choice.frames))
    held = Fraction(plan.frames - distinct, plan.frames)
    if held > Fraction(str(plan.max_held)):
        few = f"{plan.frames} slots would show only {distinct} different frames of {len(timeline.times)}"
        raise _too_few(timeline, few, f"raise --max-held, now {plan.max_held:g}", float(held), plan.max_held)
    return choice


def _too_few(timeline: Timeline, few: str, remedy: str, value: float, threshold: float) -> RejectedError:
    """Make the rejection of a video with too few different frames: it stands still, or has no more frames."""
    stills = timeline.stills()
    if not stills:
        return RejectedError("too_short", f"{few}: take fewer slots with --frames", value, threshold)
    start, end = max(stills, key=lambda still: still[1] - still[0])
    total = sum((end - start for start, end in stills), Fraction(0))
    return RejectedError(
        "still",
        f"{few}: it stands still for {float(total):.1f} of {float(timeline.seconds):.1f} s, longest from "
        f"{float(start):.1f} s to {float(end):.1f} s; cut that out, or {remedy}",
        value,
        threshold,
    )


def _snap(timeline: Timeline, plan: Plan, plain: FrameChoice, costs: Sequence[int]) -> FrameChoice:
    """Move the slots of the uniform choice `plain`.

    Each slot chooses among the frame that it shows already and those that come on screen less than half a step away.
    Frames that other slots show already are left to them, so no two slots can meet. Where a frame is so short that no
    whole millisecond falls on it, nothing moves.
    """
    span = (1 - 2 * Fraction(str(plan.margin))) * timeline.seconds
    step = span / plan.frames
    reach = min(Fraction(str(plan.tolerance)) * step, (step - Fraction(str(plan.min_step))) / 2)
    ticks = timeline.times
    taken = set(plain.frames)
    frames: list[int] = []
    times: list[Fraction] = []
    for slot, shown in enumerate(plain.frames):
        time = plain.offset + Fraction(plain.clock.times_ms[slot], 1000)
        now = ticks[0] + time / timeline.base
        away = reach / timeline.base
        near = range(bisect.bisect_left(ticks, math.ceil(now - away)), bisect.bisect_left(ticks, math.ceil(now + away)))
        free = [frame for frame in near if frame not in taken]
        least = min((costs[frame] for frame in free), default=costs[shown])
        frame = shown
        if least < costs[shown]:
            high, low = now.as_integer_ratio()
            frame = min((abs(low * ticks[frame] - high), frame) for frame in free if costs[frame] == least)[1]
        frames.append(frame)
        times.append(time if frame == shown else timeline.start(frame))
    clock_times = [
        _whole_ms(time - times[0], timeline.start(frame) - times[0], timeline.start(frame + 1) - times[0])
        for frame, time in zip(frames, times, strict=True)
    ]
    end = max(clock_times[-1] + 1, round(1000 * (plain.offset + span - times[0])))
    if any(after <= now for now, after in pairwise(clock_times)):
        return plain
    choice = _show(timeline, Clock(tuple(clock_times), end), times[0])
    return choice if choice.frames == tuple(frames) else plain


def _whole_ms(time: Fraction, start: Fraction, end: Fraction) -> int:
    """Return the millisecond nearest to `time` at which a frame is on screen, from `start` to before `end`."""
    return min(max(round(1000 * time), math.ceil(1000 * start)), math.ceil(1000 * end) - 1)


def _fps(timeline: Timeline, plan: Plan) -> FrameChoice:
    """Choose so many slots a second, or spread the most that are allowed over the whole video."""
    rate = Fraction(str(plan.fps))
    slots = math.ceil(timeline.seconds * rate)
    if slots <= plan.frames:
        times = [round(k * 1000 / rate) for k in range(slots)]
    else:
        # Rounded up, because the last slot must not fall a fraction of a millisecond before the last frame.
        last = (timeline.times[-1] - timeline.times[0]) * timeline.base * 1000
        times = [math.ceil(k * last / (plan.frames - 1)) for k in range(plan.frames)]
        if any(after <= now for now, after in pairwise(times)):
            few = f"{plan.frames} slots do not fit into the {float(last):.1f} ms until its last frame comes on screen"
            raise _too_few(timeline, few, "take --plan uniform", float(last), plan.frames)
    end = max(times[-1] + 1, round(timeline.seconds * 1000))
    return _show(timeline, Clock(tuple(times), end), Fraction(0))


def _show(timeline: Timeline, clock: Clock, offset: Fraction) -> FrameChoice:
    """Show in each slot of a clock the frame on screen at exactly its time."""
    frames = tuple(timeline.at(offset + Fraction(time, 1000)) for time in clock.times_ms)
    return FrameChoice(clock, frames, offset)


@cache
def fit(width: int, height: int, max_pixels: int) -> tuple[int, int]:
    """Choose the (H, W) at which a picture of `width` x `height` square pixels is kept.

    Both sides are multiples of 32, their product is at most `max_pixels`, and neither is above the picture's own side
    rounded up to 32. Of the sizes that fill at least half of the area so allowed, the one of least aspect error
    |log((W / H) / (width / height))| is taken, of equally good ones the largest. Without the half, the least error
    alone would shrink pictures for nothing: 160 x 128 for 5:4, where 288 x 224 is within 3 %.

    A picture so long that no legal size has its aspect is squeezed into the nearest.

    Args:
        width: of the picture, in square pixels.
        height: of the picture.
        max_pixels: height times width of the result, at most.

    Returns:
        (H, W).

    Raises:
        ValueError: `max_pixels` has no room for 32 x 32, or a side is not positive.
    """
    if max_pixels < 1024 or width < 1 or height < 1:
        raise ValueError(f"{width} x {height} cannot be fitted into {max_pixels} pixels")
    rows = -(-height // 32)
    columns = -(-width // 32)
    budget = max_pixels // 1024
    room = min(Fraction(max_pixels, 1024), Fraction(rows * columns))
    best: tuple[Fraction, int, int] | None = None
    for high in range(1, min(rows, budget) + 1):
        for wide in range(1, min(columns, budget // high) + 1):
            if 2 * high * wide < room:
                continue
            ratio = Fraction(wide * height, high * width)
            rank = (max(ratio, 1 / ratio), -high * wide, high)
            if best is None or rank < best:
                best = rank
    assert best is not None, "some size always fills half of the room"
    _, area, high = best
    return 32 * high, 32 * (-area // high)


SPARE = Fraction(17, 16)
"""Least factor from the sides of a shown frame to those that are stored or decoded, see docs/results/traces.md."""

BLOCK = 16
"""Side in pixels of a block of a JPEG with halved chroma."""


def stored_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (H, W) at which frames that are shown at `size`, (H, W), are stored.

    Every frame that is shown has then been scaled down, which removes the grid and the rounded coefficients of its
    JPEG. The sides are whole blocks, so that the grid is the same from either side and a mirrored or turned frame has
    it where the others do.
    """
    height, width = (BLOCK * math.ceil(side * SPARE / BLOCK) for side in size)
    return height, width
