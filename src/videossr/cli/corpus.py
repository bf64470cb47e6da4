"""`videossr corpus`: look at corpora, put several together, and divide one."""

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
from videossr.corpus.groups import share_count
from videossr.corpus.merging import merge
from videossr.corpus.pack import Entry
from videossr.corpus.splitting import split
from videossr.errors import ConfigError
from videossr.storage.paths import to_path
from videossr.video.hdr import HDR

app = App(
    name="corpus",
    help="What a corpus holds, one corpus out of several, and two out of one.",
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
    """Say what a corpus holds: videos, their length, sizes, codecs and transfers, and what was rejected.

    Args:
        corpus: Folder that `videossr index` wrote, or its address.
        videos: One line a video as well.
        rejected: One line a file that was rejected as well, with the reason.
        as_json: All of it as JSON.
    """
    found = Corpus(corpus)
    facts = _facts(found)
    rows = [_row(entry) for entry in found.videos] if videos else []
    refused = [asdict(rejection) for rejection in found.rejections()] if rejected else []
    if as_json:
        lists = ({"entries": rows} if videos else {}) | ({"rejections": refused} if rejected else {})
        console.out(json.dumps(facts | lists, indent=1))
        return
    table = Table(box=None, show_header=False)
    for name, value in facts.items():
        table.add_row(name, _words(name, value))
    console.print(table)
    told = [{name: row[name] for name in ("path", "reason", "detail")} for row in refused]
    for listed in (rows, told):
        if listed:
            listing = Table(*listed[0], box=None)
            for row in listed:
                listing.add_row(*(safe(str(value), 200) for value in row.values()))
            console.print(listing)


def _words(name: str, value: Any) -> str:
    """A fact in words: settings as `kind=uniform`, counts as `h264: 8`."""
    if not isinstance(value, dict):
        return str(value)
    form = "{}={}" if name == "plan" else "{}: {}"
    return ", ".join(form.format(key, inner) for key, inner in value.items()) or "none"


def _facts(corpus: Corpus) -> dict[str, Any]:
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
    """Name a transfer as ffmpeg does, and as people do where it is HDR."""
    return f"{entry.transfer} ({HDR[entry.transfer]})" if entry.transfer in HDR else entry.transfer


def _row(entry: Entry) -> dict[str, Any]:
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
    """Put corpora that were indexed alike together. A file that several have is taken from the first.

    Args:
        corpora: Folders that `videossr index` wrote, or their addresses.
        out: Folder of the new corpus, or its address.
        drop_near: Leave out videos that look like one of an earlier corpus; without it they are only told.
    """
    with Bar() as bar:
        merged = merge([Corpus(path) for path in corpora], to_path(out), drop_near=drop_near, progress=bar.show)
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
    """Divide a corpus in two that share no footage, to train on one and to measure on the other.

    No video, no source and no near-duplicates are on both sides. The same videos are always divided alike.

    Args:
        corpus: Folder that `videossr index` wrote, or its address.
        out: Two new folders, or their addresses.
        share: Part of the videos for the first, at most: footage is kept together.
        count: Number of videos for the first instead, at most.
    """
    if (share is None) == (count is None):
        raise ConfigError("give either --share or --count")
    opened = Corpus(corpus)
    if count is None:
        assert share is not None
        count = share_count(share, len(opened))
    first, second = out
    with Bar() as bar:
        made = split(opened, (to_path(first), to_path(second)), count, progress=bar.show)
    if made.groups:
        console.print(
            f"  {sum(made.groups)} videos share a source or look alike, in {len(made.groups)} groups, each on one side"
        )
    for path, side in zip(out, made.sides, strict=True):
        console.print(f"{counted(side['videos'], 'video')} in {path}, hash {side['hash'][:12]}")
