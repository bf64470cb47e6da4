"""Run public benchmarks, and print their scores. The verbs of `videossr bench` share it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from videossr.bench.evaluation import Progress, evaluate
from videossr.bench.public.base import BENCHMARKS
from videossr.bench.public.frames import FrameCache
from videossr.bench.public.published import published
from videossr.bench.public.questions import PublicQuestions
from videossr.bench.public.scoring import PublicScores, score_public
from videossr.bench.records import Run
from videossr.bench.scoring import FEW_VIDEOS, interval_basis, percent
from videossr.cli.bench.tables import line, note, print_failures
from videossr.cli.console import Bar, console, counted, safe
from videossr.errors import ConfigError, NothingAnsweredError
from videossr.models.base import Decoding, ModelSpec, SharedModel
from videossr.registry import suggest
from videossr.storage.paths import AnyPath, to_path

PAPER = "paper"
"""Names the 16 benchmarks of the paper, in the order of its tables."""

SHOWN = 12
"""Figures of a benchmark that `bench run` prints; `bench score` prints all."""


def benchmark_names(text: str) -> list[str] | None:
    """Read names of benchmarks, separated by commas; None where `text` names none but may be a path.

    Case, blanks and dashes do not matter: `Video-MME` is `videomme`.

    Raises:
        ConfigError: some of the names are not known.
    """
    known = BENCHMARKS.names()
    spelled = {_plain(name): name for name in known}
    names: list[str] = []
    for part in text.split(","):
        name = spelled.get(_plain(part), part.strip())
        names += paper_names() if name == PAPER else [name]
    if not set(names) & set(known):
        return None
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no benchmark {name!r}{suggest(name, [*known, PAPER])}")
    return list(dict.fromkeys(names))


def _plain(name: str) -> str:
    """Return the letters and digits of a name, in lower case."""
    return "".join(filter(str.isalnum, name.casefold()))


def paper_names() -> list[str]:
    """Return the names of the paper's benchmarks, in the order of its tables."""
    return [column.benchmark for column in published().columns]


def folder_of(data: str | AnyPath, name: str, names: Sequence[str]) -> AnyPath:
    """Return the folder of a benchmark: the one of its name below `data` if it is there, else `data` itself.

    Where several are asked, each has a folder of its own.
    """
    folder = to_path(data)
    own = folder / name
    return own if len(names) > 1 or own.is_dir() else folder


def frame_counts(text: str) -> tuple[int, ...]:
    """Read numbers of frames, such as `32,48,64`. Raises ConfigError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,4}", part) and 2 <= int(part) <= 4096 for part in parts):
        raise ConfigError(f"--frames {text}: name numbers from 2 to 4096, separated by commas, such as 32,48,64")
    return tuple(dict.fromkeys(map(int, parts)))


@dataclass(frozen=True)
class PublicRun:
    """What `bench run` asks of public benchmarks.

    Attributes:
        names: of the benchmarks.
        data: their folder.
        out: folder of the runs: `<name>/<frames>` below it.
        frames: numbers of frames, each of which is a run.
        settings: by benchmark.
        templates: a TOML file of texts.
        cache: folder of the decoded frames.
        limit: questions of each, at most.
        max_tokens: of an answer; None: what the benchmark needs.
        seed, stop_after: see `evaluate`.
    """

    names: Sequence[str]
    data: str
    out: str
    frames: tuple[int, ...]
    settings: Mapping[str, Mapping[str, str]]
    templates: Path | None
    cache: Path
    limit: int | None
    max_tokens: int | None
    seed: int
    stop_after: int

    def open(self, name: str) -> PublicQuestions:
        """Open the questions of a benchmark, at the first number of frames."""
        return PublicQuestions(
            name,
            folder_of(self.data, name, self.names),
            frames=self.frames[0],
            cache=FrameCache(self.cache, self.frames),
            settings=self.settings.get(name),
            templates=self.templates,
        )


def run_public(wanted: PublicRun, spec: ModelSpec) -> int:
    """Ask a model all questions of some benchmarks, one run for each number of frames.

    All annotations are read before the model is loaded, so that what is missing is told at once. A run in which
    nothing was answered does not stop the others.

    Returns:
        How many questions failed.

    Raises:
        NothingAnsweredError: in no run was any question answered, or in some; their names are in the message.
    """
    opened = [wanted.open(name) for name in wanted.names]
    model = SharedModel.of(spec)
    failed = 0
    unanswered: list[str] = []
    for name, questions in zip(wanted.names, opened, strict=True):
        for frames in wanted.frames:
            tokens = wanted.max_tokens or questions.benchmark.facts.tokens
            folder = to_path(wanted.out) / name / str(frames)
            label = f"{name}, {frames} frames"
            try:
                done = _run(
                    questions.at(frames), model, folder, Decoding(max_tokens=tokens, seed=wanted.seed), wanted, label
                )
            except NothingAnsweredError as error:
                console.print(f"{label}: {error}", soft_wrap=True)
                unanswered.append(label)
                continue
            scores = score_public(done)
            print_public(scores, label, most=SHOWN)
            print_failures(done, "each counts as wrong, but rows that cannot be read at all are in no figure")
            failed += scores.outcomes.failed
            if scores.headline is None:
                unanswered.append(label)
    console.print(f"runs in {wanted.out}; the paper's tables: videossr report {wanted.out} --layout paper")
    if unanswered:
        raise NothingAnsweredError(f"no question was answered of {'; '.join(unanswered)}: there is no score of these")
    return failed


def _run(
    questions: PublicQuestions, model: ModelSpec, folder: AnyPath, decoding: Decoding, wanted: PublicRun, label: str
) -> Run:
    """Ask the open questions of one run, with a progress bar."""
    with Bar() as bar:

        def show(state: Progress) -> None:
            bar.show(label, state.done, state.total, note(state))

        return evaluate(
            questions,
            model,
            folder,
            decoding=decoding,
            limit=wanted.limit,
            benchmark=questions.config,
            stop_after=wanted.stop_after,
            progress=show,
        )


def print_public(scores: PublicScores, label: str, most: int | None = None) -> None:
    """Print the figures of a run, over all questions and over those whose answers could be read."""
    facts = BENCHMARKS.get(scores.benchmark).facts
    console.print(
        f"{facts.title} ({label}), {facts.metric}" + (f", rule {scores.rule}" if scores.rule != "ours" else "")
    )
    table = Table("", "of", "units", "all asked", "answers read", box=None, pad_edge=False)
    for figure in scores.figures[:most]:
        table.add_row(
            safe(figure.name), safe(figure.scope), f"{figure.units:,}", line(figure.asked), line(figure.answered)
        )
    if scores.figures:
        console.print(table)
    if most is not None and len(scores.figures) > most:
        console.print(f"and {len(scores.figures) - most} more figures: videossr bench score prints all")
    if scores.guess is not None:
        console.print(f"a uniform guess is right in {percent(scores.guess)}% of the questions")
    failed = counted(scores.outcomes.questions, "question")
    console.print(
        f"{scores.outcomes.failed} of {failed} failed; {scores.unread} of {counted(scores.outcomes.answers, 'answer')} "
        f"cannot be read{'' if scores.rule == 'ours' else ' by this rule'}"
        + (f". {scores.outcomes.advice}" if scores.outcomes.advice else ""),
        soft_wrap=True,
    )
    if scores.figures and scores.videos < FEW_VIDEOS:
        console.print(interval_basis(scores.videos))


def split_settings(settings: Mapping[str, str], names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Sort settings such as `mvbench.copy` and `model.batch` by their first part.

    Raises:
        ConfigError: it is neither `model` nor one of the benchmarks that are run.
    """
    known = ["model", *names]
    found: dict[str, dict[str, str]] = {name: {} for name in known}
    for setting, value in settings.items():
        first, _, rest = setting.partition(".")
        if first not in found or not rest:
            raise ConfigError(f"--{setting}: a setting begins with --{', --'.join(f'{name}.' for name in known[:4])}")
        found[first][rest] = value
    return found
