"""`videossr index`: decode a folder of videos once."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from videossr.cli.console import Bar, console
from videossr.config import parse
from videossr.store import place
from videossr.video.index import Outcome, index
from videossr.video.jpeg import CHROMA, QUALITY, Chroma
from videossr.video.making import REJECTED
from videossr.video.plan import HDRChoice, Plan
from videossr.workers import CORES

app = App(
    name="index",
    help_epilogue="Example: videossr index demo/videos --out demo/corpus\n\n"
    "A run that was stopped goes on where it was; files that are new in DIR are added to a complete corpus. "
    "Videos whose file is gone, or was replaced, stay in it.",
)


@app.default
def command(
    dir: str,
    /,
    *,
    out: str,
    frames: int = 48,
    max_pixels: int = 65536,
    plan: Literal["uniform", "fps", "snap"] = "uniform",
    fps: float = 2.0,
    margin: float = 0.05,
    min_step: float = 0.05,
    tolerance: float = 0.5,
    max_held: float = 0.75,
    hdr: HDRChoice = "map",
    quality: int = QUALITY,
    chroma: Chroma = CHROMA,
    source_id: str | None = None,
    workers: Annotated[int, Parameter(validator=Number(gte=1))] = CORES,
    ray: str | None = None,
) -> None:
    """Decode every video under a folder once and keep its frames as a corpus of JPEG packs.

    Args:
        dir: Folder of videos, or its address (s3://, hf://, https://), searched through all its folders. Nothing is
            written there.
        out: Folder of the corpus, or its address.
        frames: Slots a video; a multiple, such as 96, also serves slow and fast.
        max_pixels: Height times width of a kept frame, at most. Sides are multiples of 32.
        plan: Slots at equal times over the middle of the video (uniform), each moved to a frame near by that is cheap
            to decode (snap, for long videos and large corpora), or a number of slots a second over all of it (fps).
        fps: Slots a second of the plan fps; at most --frames in all.
        margin: Share of the video left out at each end by the plan uniform.
        min_step: Seconds between slots that the plan uniform needs; shorter videos are rejected.
        tolerance: How far the plan snap may move a slot, as a share of a step.
        max_held: Share of the slots that may repeat the slot before, where one picture stays on screen; beyond it the
            plans uniform and snap reject the video as still. 0 to below 1.
        hdr: What is done with videos whose transfer is PQ or HLG: map them to SDR as a player does, keep their values,
            which look flat, or reject them.
        quality: JPEG quality, 1 to 100.
        chroma: JPEG chroma sampling.
        source_id: Regular expression; its first group, in a file's path, names the footage that it was cut from.
        workers: Processes.
        ray: Address of a Ray cluster that does the work instead, or "local".
    """
    slots = {"kind": plan, "frames": frames, "fps": fps, "margin": margin, "min_step": min_step, "tolerance": tolerance}
    settings = parse(Plan, {**slots, "max_held": max_held, "max_pixels": max_pixels, "hdr": hdr}, "index")
    with Bar() as bar:
        rejected = 0

        def show(outcome: Outcome) -> None:
            nonlocal rejected
            if outcome.rejected:
                rejected += 1
                bar.say(f"{outcome.path}: {outcome.rejected.reason}: {outcome.rejected.detail}")
            bar.show(
                outcome.phase, outcome.done, outcome.total, f"{rejected} rejected" if outcome.phase == "videos" else ""
            )

        summary = index(
            place(dir),
            place(out),
            settings,
            quality=quality,
            chroma=chroma,
            workers=workers,
            ray=ray,
            source_id=source_id,
            progress=show,
        )
    gone = f", {summary.gone} of them of files that are no longer in {dir}" if summary.gone else ""
    console.print(f"{summary.videos} videos in {out}{gone}, hash {summary.hash[:12]}")
    for reason, count in sorted(summary.rejected.items()):
        console.print(f"  rejected, {reason}: {count} (see {out.rstrip('/')}/{REJECTED})")
