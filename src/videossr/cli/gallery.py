"""`videossr gallery`: write a page on which a person checks labels, or answers the questions without seeing them."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from videossr.cli.console import Bar, console, counted, output_file
from videossr.dataset.dataset import VideoSSRDataset
from videossr.report.gallery.gallery import THUMB_HEIGHT, Card, write_gallery
from videossr.report.gallery.quiz import Asked, form_of, quiz_order, write_quiz
from videossr.tasks.base import open_task

app = App(
    name="gallery",
    help_epilogue="Example: videossr gallery demo/dataset --out demo/gallery.html\n\n"
    "videossr gallery demo/dataset --quiz --out demo/quiz.html",
)


@app.default
def command(
    dataset: str,
    /,
    *,
    out: Path,
    corpus: str | None = None,
    quiz: Annotated[bool, Parameter(negative="")] = False,
    per_category: Annotated[int, Parameter(validator=Number(gte=1))] = 4,
    only: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    thumb_height: Annotated[int | None, Parameter(validator=Number(gte=16))] = None,
) -> None:
    """Write one self-contained HTML page of samples: frames, spans, shapes, questions, answers.

    With `--quiz` the page shows the questions without their labels, takes a person's answers, and saves them to a file,
    which `videossr bench run DATASET --model human:FILE --out RUN` scores like those of a model.

    Args:
        dataset: Folder that `videossr build` wrote, or its address.
        out: The page.
        corpus: Folder or address of the frame packs, where it is no longer the one that the dataset names.
        quiz: Ask a person, and show no answers.
        per_category: Number of samples shown of each category.
        only: Ids of the samples to show instead, or the beginnings of ids. May be repeated.
        thumb_height: Height of the frames on the page, in pixels: 208 by default, in a quiz as large as a model sees
            them.
    """
    output_file(out, "quiz.html" if quiz else "gallery.html")
    opened = VideoSSRDataset(dataset, corpus=corpus)
    chosen = [opened.find(text) for text in only] if only else _some_of_each(opened, per_category)
    write = _quiz if quiz else _gallery
    write(opened, chosen, out, dataset, corpus, thumb_height)
    more = "; --per-category N shows more" if not only and len(chosen) < len(opened) else ""
    console.print(f"{len(chosen)} of {counted(len(opened), 'sample')} in {out}{more}")
    if quiz:
        console.print(
            f"Save the answers on that page, then make a run of them: {_run_command(dataset, corpus)}", soft_wrap=True
        )


def _gallery(
    opened: VideoSSRDataset, chosen: Sequence[int], out: Path, dataset: str, corpus: str | None, height: int | None
) -> None:
    """Write the page that shows samples with their labels."""

    def cards() -> Iterator[Card]:
        for index in chosen:
            item = opened[index]
            arguments = f"{shlex.quote(dataset)}{_corpus_option(corpus)}"
            repeat = f"videossr gallery {arguments} --out card.html --only {item.sample.id}"
            paths = [opened.corpus.entry(key).path for key in item.sample.sources]
            params = open_task(item.sample.task).shown_params(item.sample)
            before = opened.unaltered(item.sample)
            yield Card(item.sample, item.question, item.clips, item.truth, repeat, params, paths, before)

    recipe = opened.manifest["recipe"]
    facts = {
        "samples": f"{len(chosen)} of {len(opened)}",
        "videos": str(opened.manifest["videos"]),
        "seed": str(opened.manifest["seed"]),
        "dataset": opened.hash[:12],
        "corpus": opened.manifest["corpus"]["hash"][:12],
    }
    with Bar() as bar:
        write_gallery(
            cards(),
            out,
            recipe["name"],
            facts,
            height or THUMB_HEIGHT,
            progress=lambda done: bar.show("cards", done, len(chosen)),
        )


def _quiz(
    opened: VideoSSRDataset, chosen: Sequence[int], out: Path, dataset: str, corpus: str | None, height: int | None
) -> None:
    """Write the page that asks a person."""
    ids = quiz_order(opened.hash, {opened.question(index).id for index in chosen})

    def asked() -> Iterator[Asked]:
        for name in ids:
            item = opened[opened.find(name)]
            question = item.question
            yield Asked(question.id, question.system, question.prompt, form_of(question), item.clips)

    with Bar() as bar:
        write_quiz(
            asked(),
            len(ids),
            out,
            f"{opened.manifest['recipe']['name']}: quiz",
            opened.hash,
            _run_command(dataset, corpus),
            height,
            progress=lambda done: bar.show("questions", done, len(ids)),
        )


def _run_command(dataset: str, corpus: str | None) -> str:
    """Return the command that scores the answers of the quiz."""
    arguments = f"{shlex.quote(dataset)}{_corpus_option(corpus)}"
    return f"videossr bench run {arguments} --model human:answers.json --out RUN"


def _corpus_option(corpus: str | None) -> str:
    """Return the option of the command line that names the corpus, if one was given."""
    return f" --corpus {shlex.quote(corpus)}" if corpus else ""


def _some_of_each(dataset: VideoSSRDataset, per_category: int) -> list[int]:
    """Choose the first samples of each category, category by category in the order of the recipe."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, category in enumerate(dataset.rows["category"].to_pylist()):
        members[category].append(index)
    return [
        index for category in dataset.manifest["recipe"]["categories"] for index in members[category][:per_category]
    ]
