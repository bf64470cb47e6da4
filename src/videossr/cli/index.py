"""`videossr index`: decode videos once."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from videossr.cli.console import Bar, console, counted
from videossr.cli.streams import write_error
from videossr.config import parse
from videossr.corpus.indexer import Outcome, index_videos
from videossr.corpus.jpeg import CHROMA, QUALITY, Chroma
from videossr.corpus.sources import read_list
from videossr.errors import ConfigError
from videossr.runners.threads import CORES
from videossr.storage.paths import AnyPath, to_path
from videossr.video.plan import HDRChoice, Plan

app = App(
    name="index",
    help_epilogue="Example: videossr index demo/videos --out demo/corpus\n\n"
    "One file or several: index a.mp4 more/*.mp4 --out CORPUS\n\n"
    "A list of files, one a line: index --list train.txt --out CORPUS\n\n"
    "Folders of numbered images, each one video: index frames --image-fps 25 --out CORPUS\n\n"
    "A run that was stopped goes on where it was; files that are new are added to a complete corpus. "
    "Videos whose file is gone, was replaced, or is not named this time stay in it. "
    "Exit status 1: the corpus was written, but has no video.",
)


@app.default
def command(
    *videos: str,
    out: str,
    listed: Annotated[str | None, Parameter("--list")] = None,
    image_fps: float | None = None,
    frames: int = 48,
    max_pixels: int = 65536,
    plan: Literal["uniform", "fps", "snap"] = "uniform",
    fps: float | None = None,
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
    """Decode every video once and keep its frames as a corpus of JPEG packs.

    Args:
        videos: Files and folders, or their addresses (s3://, hf://, https://). Folders are searched through all their
            folders. Nothing is written there.
        out: Folder of the corpus, or its address.
        listed: Text file with the path of a video, a folder or an address on each line; paths start at the current
            folder, as if they were typed. A file that is missing is recorded as rejected.
        image_fps: Frames a second of folders of images (jpg, png, webp, …). Each folder that has images and no video
            files is one video, in the order of the numbers in their names.
        frames: Slots a video; a multiple, such as 96, also serves slow and fast.
        max_pixels: Height times width of a frame as it is shown, at most. Sides are multiples of 32; they are stored
            up to an eighth larger.
        plan: Slots at equal times over the middle of the video (uniform), each moved to a frame near by that is cheap
            to decode (snap, for long videos and large corpora), or a number of slots a second over all of it (fps).
        fps: Slots a second of the plan fps, 2 where it is not given; at most --frames in all. With another plan, the
            same as --image-fps.
        margin: Share of the video that the plan uniform leaves out at each end.
        min_step: Seconds between slots that the plan uniform needs; shorter videos are rejected.
        tolerance: How far the plan snap may move a slot, as a share of a step.
        max_held: Share of the slots that may repeat the slot before, where one picture stays on screen; beyond it the
            plans uniform and snap reject the video as still. 0 to below 1.
        hdr: How to treat videos whose transfer is PQ or HLG: map them to SDR as a player does, keep their values, which
            look flat, or reject them.
        quality: JPEG quality, 1 to 100.
        chroma: JPEG chroma sampling.
        source_id: Regular expression; its first group, in a file's path, names the footage that it was cut from.
        workers: Number of worker processes.
        ray: Address of a Ray cluster to run on instead, or "local".
    """
    config: dict[str, Any] = {"kind": plan, "frames": frames, "margin": margin, "min_step": min_step}
    config |= {"tolerance": tolerance, "max_held": max_held, "max_pixels": max_pixels, "hdr": hdr}
    if plan != "fps":
        image_fps = fps if image_fps is None else image_fps
    elif fps is not None:
        config["fps"] = fps
    settings = parse(Plan, config, "index")
    sources = [to_path(path) for path in videos] + ([] if listed is None else _of_list(listed))
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

        summary = index_videos(
            sources,
            to_path(out),
            settings,
            image_fps=image_fps,
            quality=quality,
            chroma=chroma,
            workers=workers,
            ray=ray,
            source_id=source_id,
            progress=show,
        )
    gone = f", {summary.gone} of them from files that are not among these inputs" if summary.gone else ""
    console.print(f"{counted(summary.videos, 'video')} in {out}{gone}, hash {summary.hash[:12]}")
    for reason, count in sorted(summary.rejected.items()):
        console.print(f"  rejected, {reason}: {count}")
    if summary.rejected:
        console.print(f"  for each of them: videossr corpus info {shlex.quote(out)} --rejected")
    if not summary.videos:
        hint = f"; if {sources[0]} is a list of videos, give it as --list {sources[0]}" if _may_be_list(sources) else ""
        write_error(f"no video could be used, for the reasons above{hint}")
        sys.exit(1)


def _of_list(path: str) -> list[AnyPath]:
    """Read the paths on the lines of a list.

    Raises:
        ConfigError: a line is no path.
        OSError: the list cannot be read.
    """
    places = []
    for line in read_list(to_path(path)):
        try:
            places.append(to_path(line))
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from error
    return places


def _may_be_list(sources: list[AnyPath]) -> bool:
    """Tell whether the only source looks like a list of videos rather than a video."""
    return len(sources) == 1 and sources[0].suffix.lower() in (
        ".txt",
        ".lst",
        ".list",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
    )
