"""`videossr corpus`: describe, merge and split corpora."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table

from videossr.cli.console import Bar, console, counted, safe, tell_near
from videossr.corpus.corpus import Corpus
from videossr.corpus.entry import Entry
from videossr.corpus.groups import share_count
from videossr.corpus.merging import merge
from videossr.corpus.splitting import split
from videossr.errors import ConfigError
from videossr.storage.paths import to_path
from videossr.video.hdr import HDR

app = App(
    name="corpus",
    help="Describe a corpus, merge several, or split one.",
    help_epilogue="Example: videossr corpus info demo/corpus --videos",
)


@app.command(help_epilogue="Example: videossr corpus info demo/corpus --videos")
def info(
    corpus: str,
    /,
    *,
    videos: Annotated[bool, Parameter(negative="")] = False,
    rejected: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Describe a corpus: its videos, their length, sizes, codecs and transfers, and what was rejected.

    Args:
        corpus: Folder that `videossr index` wrote, or its address.
        videos: List the videos as well, one a line.
        rejected: List the rejected files as well, one a line, with the reason.
        as_json: Print everything as JSON.
    """
    opened = Corpus(corpus)
    facts = _facts(opened)
    rows = [_row(entry) for entry in opened.videos] if videos else []
    rejections = [asdict(rejection) for rejection in opened.rejections()] if rejected else []
    if as_json:
        lists = ({"entries": rows} if videos else {}) | ({"rejections": rejections} if rejected else {})
        console.out(json.dumps(facts | lists, indent=1))
        return
    table = Table(box=None, show_header=False)
    for name, value in facts.items():
        table.add_row(name, _words(name, value))
    console.print(table)
    reasons = [{name: row[name] for name in ("path", "reason", "detail")} for row in rejections]
    for listed in (rows, reasons):
        if listed:
            listing = Table(*listed[0], box=None)
            for row in listed:
                listing.add_row(*(safe(str(value), 200) for value in row.values()))
            console.print(listing)


def _words(name: str, value: Any) -> str:
    """Write a fact in words: settings as `kind=uniform`, counts as `h264: 8`."""
    if not isinstance(value, dict):
        return str(value)
    form = "{}={}" if name == "plan" else "{}: {}"
    return ", ".join(form.format(key, item) for key, item in value.items()) or "none"


def _facts(corpus: Corpus) -> dict[str, Any]:
    """Summarize the videos of a corpus, as JSON types."""
    sizes: Counter[str] = Counter()
    codecs: Counter[str] = Counter()
    transfers: Counter[str] = Counter()
    frames: Counter[int] = Counter()
    milliseconds = 0
    for entry in corpus.videos:
        sizes[f"{entry.width}x{entry.height}"] += 1
        codecs[entry.codec] += 1
        transfers[_transfer(entry)] += 1
        frames[len(entry.clock.times_ms)] += 1
        milliseconds += entry.duration_ms
    return {
        "videos": len(corpus),
        "minutes": round(milliseconds / 60_000, 1),
        "megabytes": round(sum(shard["bytes"] for shard in corpus.manifest["shards"].values()) / 1e6, 1),
        "plan": dict(corpus.plan),
        "frames": dict(frames.most_common()),
        "sizes": dict(sizes.most_common()),
        "codecs": dict(codecs.most_common()),
        "transfers": dict(transfers.most_common()),
        "rejected": corpus.manifest["rejected"],
        "hash": corpus.hash,
    }


def _transfer(entry: Entry) -> str:
    """Name a transfer as ffmpeg does, with its usual name in brackets where it is HDR."""
    return f"{entry.transfer} ({HDR[entry.transfer]})" if entry.transfer in HDR else entry.transfer


def _row(entry: Entry) -> dict[str, Any]:
    """Describe one video."""
    return {
        "content": entry.content[:12],
        "path": entry.path,
        "seconds": entry.duration_ms / 1000,
        "frames": len(entry.clock.times_ms),
        "size": f"{entry.width}x{entry.height}",
        "transfer": _transfer(entry),
        "uneven_ms": entry.clock.jitter_ms,
    }


@app.command(
    name="merge",
    help_epilogue="Example: videossr corpus merge demo/corpus demo/corpus --out demo/merged --drop-near",
)
def merge_command(
    *corpora: Annotated[str, Parameter(required=True)],
    out: str,
    drop_near: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Merge corpora that were indexed with the same settings. A file that several have is taken from the first.

    Args:
        corpora: Folders that `videossr index` wrote, or their addresses.
        out: Folder of the new corpus, or its address.
        drop_near: Leave out videos that look like one of an earlier corpus; without it they are only listed.
    """
    with Bar() as bar:
        merged = merge([Corpus(path) for path in corpora], to_path(out), drop_near=drop_near, progress=bar.show)
    if merged.complete:
        console.print(f"{out} was complete already, merged from the same corpora: nothing was written")
    tell_near(merged.near, dropped=drop_near)
    console.print(
        f"{counted(merged.videos, 'video')} in {out}, {merged.duplicates} that several had, hash {merged.hash[:12]}",
    )


@app.command(
    name="split",
    help_epilogue="Example: videossr corpus split demo/corpus --out demo/one demo/two --share 0.9",
)
def split_command(
    corpus: str,
    /,
    *,
    out: Annotated[tuple[str, str], Parameter(negative="")],
    share: Annotated[float | None, Parameter(validator=Number(gt=0, lt=1))] = None,
    count: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
) -> None:
    """Split a corpus into two that share no footage, to train on one and to measure on the other.

    No video, no source and no near-duplicates are on both sides. The same videos are always split alike.

    Args:
        corpus: Folder that `videossr index` wrote, or its address.
        out: Two new folders, or their addresses.
        share: Largest share of the videos for the first folder; footage is kept together.
        count: Largest number of videos for the first folder instead.
    """
    if (share is None) == (count is None):
        raise ConfigError("give either --share or --count")
    opened = Corpus(corpus)
    if count is None:
        assert share is not None
        count = share_count(share, len(opened))
    first, second = out
    with Bar() as bar:
        parts = split(opened, (to_path(first), to_path(second)), count, progress=bar.show)
    if parts.groups:
        console.print(
            f"  {sum(parts.groups)} videos share a source or look alike, in {len(parts.groups)} groups, "
            "each of which is on one side"
        )
    for path, side in zip(out, parts.sides, strict=True):
        console.print(f"{counted(side['videos'], 'video')} in {path}, hash {side['hash'][:12]}")
