"""`videossr gallery`: a page on which a person sees that the labels are right."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from videossr.cli.console import Bar, console, counted, output_file
from videossr.dataset import VideoSSRDataset
from videossr.report.gallery import THUMB_HEIGHT, Card, write_gallery
from videossr.tasks.base import open_task

app = App(name="gallery", help_epilogue="Example: videossr gallery demo/dataset --out demo/gallery.html")


@app.default
def command(
    dataset: str,
    /,
    *,
    out: Path,
    corpus: str | None = None,
    per_column: Annotated[int, Parameter(validator=Number(gte=1))] = 4,
    only: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    thumb_height: Annotated[int, Parameter(validator=Number(gte=16))] = THUMB_HEIGHT,
) -> None:
    """Write one self-contained HTML page of samples: frames, spans, shapes, questions, answers.

    Args:
        dataset: Folder that `videossr build` wrote, or its address.
        out: The page.
        corpus: Folder or address of the frame packs, where it is no longer the one that the dataset names.
        per_column: Samples shown of each column.
        only: Show these samples instead; the start of an id will do.
        thumb_height: Height of the frames on the page, in pixels.
    """
    output_file(out, "gallery.html")
    opened = VideoSSRDataset(dataset, corpus=corpus)
    chosen = [opened.find(text) for text in only] if only else _some_of_each(opened, per_column)
    where = f" --corpus {shlex.quote(corpus)}" if corpus else ""

    def cards() -> Iterator[Card]:
        for index in chosen:
            item = opened[index]
            again = f"videossr gallery {shlex.quote(dataset)}{where} --out card.html --only {item.sample.id}"
            paths = [opened.corpus.entry(key).path for key in item.sample.sources]
            params = open_task(item.sample.task).shown_params(item.sample)
            before = opened.unaltered(item.sample)
            yield Card(item.sample, item.question, item.clips, item.truth, again, params, paths, before)

    recipe = opened.manifest["recipe"]
    facts = {
        "samples": f"{len(chosen)} of {len(opened)}",
        "videos": str(opened.manifest["videos"]),
        "seed": str(opened.manifest["seed"]),
        "dataset": opened.manifest["hash"][:12],
        "corpus": opened.manifest["corpus"]["hash"][:12],
    }
    with Bar() as bar:
        write_gallery(
            cards(),
            out,
            recipe["name"],
            facts,
            thumb_height,
            progress=lambda done: bar.show("cards", done, len(chosen)),
        )
    more = "; --per-column N shows more" if not only and len(chosen) < len(opened) else ""
    console.print(f"{len(chosen)} of {counted(len(opened), 'sample')} in {out}{more}")


def _some_of_each(dataset: VideoSSRDataset, per_column: int) -> list[int]:
    """The first samples of each column, column by column in the order of the recipe."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, column in enumerate(dataset.rows["column"].to_pylist()):
        members[column].append(index)
    return [index for column in dataset.manifest["recipe"]["columns"] for index in members[column][:per_column]]
