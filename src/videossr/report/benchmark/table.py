"""The table of a report in the paper's layout: a row for each run, for guesses, and for what the paper publishes.

Made for `videossr report RUN`. Runs of different benchmarks never stand in one table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from videossr.answers.base import AnswerType
from videossr.bench.records import UNREAD, Run
from videossr.bench.scoring import CategoryScore, Denominator, Estimate, Scoreboard, interval_basis, score
from videossr.bench.viubench import CATEGORIES, published, rank
from videossr.errors import DataError
from videossr.question_set import QuestionSet
from videossr.report.benchmark.answers import Answers, by_category
from videossr.rewards import is_scored
from videossr.tasks.base import answer_type_of
from videossr.training.runs.records import TrainRun
from videossr.untrusted import one_line, plain_text

PUBLISHED = "published, other videos: not comparable unless the released set is run"

GUESSES = {"uniform": "any answer alike", "prior": "drawn as the labels are", "constant": "the best constant answer"}
"""Names of the guesses whose expected scores are in a run's manifest."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of the table, in [0, 1]: over all that was asked, and over what has an answer of the asked form.

    None where there is none. What was not measured has an interval without width.
    """

    asked: Estimate | None
    answered: Estimate | None


EMPTY = Cell(None, None)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A row of the table: whose it is, what is to be said of it, and its figures by name."""

    name: str
    kind: Literal["run", "guess", "published"]
    note: str
    categories: Mapping[str, Cell]
    tasks: Mapping[str, Cell]
    abilities: Mapping[str, Cell]
    overall: Cell

    def cell(self, level: str, name: str) -> Cell:
        """Return the figure of a category, task or ability, or `overall`."""
        if level == "overall":
            return self.overall
        levels = {"category": self.categories, "task": self.tasks, "ability": self.abilities}
        return levels[level].get(name, EMPTY)


@dataclass(frozen=True)
class Scored:
    """A run with its name on the page, its scores by both denominators, and its answers by category."""

    name: str
    run: Run
    asked: Scoreboard
    answered: Scoreboard
    answers: Mapping[str, Answers]

    @property
    def model(self) -> Mapping[str, object]:
        """Return the model's description; empty where the run is not complete."""
        return self.run.manifest["model"] if self.run.manifest else {}

    def videos(self, level: str, name: str, denominator: Denominator) -> int:
        """Return how many videos a figure rests on: for a mean of categories, those of the category with the fewest."""
        known = [category_score for category_score in self.asked.categories if category_score.category != UNREAD]
        categories = [
            category_score.category
            for category_score in known
            if level == "overall" or getattr(category_score, level) == name
        ]
        return max(1, min(self.answers[category].videos(denominator) for category in categories))

    @property
    def note(self) -> str:
        """Return the remark that stands wherever its figures do: how it was asked, and what is missing."""
        size, wanted = self.run.config.size, self.run.config.wanted
        label = self.model.get("label")
        parts = [plain_text(str(label), 120)] if label else []
        if self.run.manifest is None:
            parts.append(f"unfinished: {len(self.run.predictions):,} of {wanted:,} asked")
        elif wanted < size:
            parts.append(f"asked {len(self.run.predictions):,} of {size:,}")
        if self.asked.overall is None:
            parts.append("no question was answered: no score")
        if self.run.config.decoding.n > 1:
            parts.append(f"mean of {self.run.config.decoding.n} answers")
        return "; ".join(parts)


@dataclass(frozen=True)
class Benchmark:
    """The runs of one benchmark, and their table.

    Attributes:
        hash, size: of the questions.
        runs: in the order in which they were named.
        categories, tasks, abilities: names of what the table has, in its order, the categories of a task side by side;
            `task_of` is the task of each category.
        metrics: how each category is scored.
        answer_types: of each category whose data source something installed scores.
        rows: those of runs first, then those of guesses, then those that are published.
    """

    hash: str
    size: int
    runs: tuple[Scored, ...]
    categories: tuple[str, ...]
    task_of: Mapping[str, str]
    metrics: Mapping[str, str]
    answer_types: Mapping[str, AnswerType]
    tasks: tuple[str, ...]
    abilities: tuple[str, ...]
    rows: tuple[ScoreRow, ...]

    @property
    def basis(self) -> str:
        """On how many videos the intervals rest, those of the run with the fewest; empty where no run has a score."""
        scored = [run.asked.videos for run in self.runs if run.asked.overall is not None]
        return interval_basis(min(scored)) if scored else ""

    @property
    def figures(self) -> list[tuple[str, str]]:
        """All (level, name) of the table: its categories, `overall`, tasks, abilities."""
        return [
            *(("category", name) for name in self.categories),
            ("overall", ""),
            *(("task", name) for name in self.tasks),
            *(("ability", name) for name in self.abilities),
        ]


def gather(runs: Sequence[Run], *, paper: bool = False) -> list[Benchmark]:
    """Score runs and sort them by benchmark, in the order in which they come.

    Args:
        runs: complete or not.
        paper: add the rows that the paper publishes, where a benchmark has its categories.

    Raises ValueError where a run has no predictions yet, or where runs that state one hash have other questions.
    """
    groups: dict[str, list[tuple[str, Run]]] = {}
    for name, run in zip(unique_names(runs), runs, strict=True):
        groups.setdefault(run.config.hash, []).append((name, run))
    return [_benchmark(members, paper) for members in groups.values()]


def unique_names(runs: Iterable[Run | TrainRun]) -> list[str]:
    """Name each run by its folder, with the folder above where two are alike, numbered if need be."""
    parts = [tuple(plain_text(part, 60) for part in run.path.absolute().parts[-2:]) for run in runs]
    last = Counter(part[-1] for part in parts)
    names = [part[-1] if last[part[-1]] == 1 else "/".join(part) for part in parts]
    count: Counter[str] = Counter(names)
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if count[name] == 1 else f"{name} ({seen[name]})")
    return unique


def short(category: str) -> str:
    """Return what a category is called under the name of its task: `zoom out` for `.../zoom_out`."""
    return plain_text((category.partition("/")[2] or category).replace("_", " "), 40)


def _check_same_questions(runs: Sequence[Run]) -> None:
    """Raise DataError where runs that state one hash differ in a question: its id, gold answer, category or source."""
    stated: dict[int, tuple[tuple[str, ...], Run]] = {}
    for run in runs:
        for prediction in run.predictions:
            if prediction.category == UNREAD:
                continue
            question = prediction.id, prediction.answer, prediction.category, prediction.data_source
            known, first = stated.setdefault(prediction.index, (question, run))
            if known != question:
                raise DataError(
                    f"{run.path} and {first.path} state the same questions, but one of the two was altered: question "
                    f"{prediction.index} is {one_line(str(question), 200)} in {run.path}, and "
                    f"{one_line(str(known), 200)} in {first.path}; leave the altered one out"
                )


def check_questions(benchmark: Benchmark, questions: QuestionSet) -> None:
    """Raise DataError where a run has another gold answer than the question that it is about."""
    for scored in benchmark.runs:
        for prediction in scored.run.predictions:
            if prediction.category == UNREAD:
                continue
            question = questions.question(prediction.index)
            if (question.id, question.answer) != (prediction.id, prediction.answer):
                raise DataError(
                    f"{scored.run.path} was altered: question {prediction.index} of {questions.path} is {question.id} "
                    f"with the answer {one_line(question.answer, 80)}, not {one_line(prediction.id, 80)} with the "
                    f"answer {one_line(prediction.answer, 80)}; leave this run out"
                )


def _benchmark(members: Sequence[tuple[str, Run]], paper: bool) -> Benchmark:
    runs = [run for _, run in members]
    _check_same_questions(runs)
    boards = [(score(run, "asked"), score(run, "answered")) for run in runs]
    found = {category_score.category: category_score for board, _ in boards for category_score in board.categories}
    ranked = sorted(found, key=rank)
    tasks = tuple(dict.fromkeys(found[category].task for category in ranked))
    categories = tuple(sorted(ranked, key=lambda category: tasks.index(found[category].task)))
    scored = tuple(
        Scored(name, run, *board, by_category(run, categories))
        for (name, run), board in zip(members, boards, strict=True)
    )
    abilities = tuple(sorted({name for board, _ in boards for name in board.abilities}))
    task_of = {category: found[category].task for category in categories}
    rows = [_run_row(run) for run in scored]
    known = {category: found[category] for category in categories if category != UNREAD}
    rows += _guess_rows(runs, known)
    if paper and set(CATEGORIES) & set(categories):
        rows += _published_rows(known)
    return Benchmark(
        hash=runs[0].config.hash,
        size=runs[0].config.size,
        runs=scored,
        categories=categories,
        task_of=task_of,
        metrics={category: found[category].metric for category in categories},
        answer_types=_answer_types(runs),
        tasks=tasks,
        abilities=abilities,
        rows=tuple(rows),
    )


def _answer_types(runs: Sequence[Run]) -> dict[str, AnswerType]:
    """Find the answer type of each category; what nothing installed scores has no answers to be shown."""
    sources = {
        prediction.category: prediction.data_source
        for run in runs
        for prediction in run.predictions
        if prediction.data_source
    }
    return {category: answer_type_of(source) for category, source in sources.items() if is_scored(source)}


def _run_row(scored: Scored) -> ScoreRow:
    asked, answered = scored.asked, scored.answered
    return ScoreRow(
        name=scored.name,
        kind="run",
        note=scored.note,
        categories={
            category_score.category: Cell(category_score.score, category_score.answered_score)
            for category_score in asked.categories
        },
        tasks={name: Cell(value, answered.tasks[name]) for name, value in asked.tasks.items()},
        abilities={name: Cell(value, answered.abilities[name]) for name, value in asked.abilities.items()},
        overall=Cell(asked.overall, answered.overall),
    )


def _guess_rows(runs: Sequence[Run], scores: Mapping[str, CategoryScore]) -> list[ScoreRow]:
    """Make the rows of guesses, from the first run whose manifest has their expected scores."""
    chance = next((recorded for run in runs if run.manifest and (recorded := run.manifest.get("chance"))), {})
    rows = []
    for guess, note in GUESSES.items():
        values = {
            category: chance[category][guess]["score"] for category in scores if guess in chance.get(category, {})
        }
        if values:
            rows.append(_known_row(guess, "guess", note, values, scores))
    return rows


def _published_rows(scores: Mapping[str, CategoryScore]) -> list[ScoreRow]:
    rows = []
    for model_row in published():
        values = {category: value / 100 for category, value in model_row.categories.items() if category in scores}
        overall = _known(model_row.overall / 100) if len(values) == len(model_row.categories) == len(scores) else EMPTY
        rows.append(_known_row(model_row.model, "published", PUBLISHED, values, scores, overall))
    return rows


def _known_row(
    name: str,
    kind: Literal["guess", "published"],
    note: str,
    values: Mapping[str, float],
    scores: Mapping[str, CategoryScore],
    overall: Cell | None = None,
) -> ScoreRow:
    """Make a row of figures that were not measured here; means are only of groups that it has in full."""

    def mean(members: Sequence[str]) -> Cell:
        return _known(fmean(values[category] for category in members)) if set(members) <= set(values) else EMPTY

    groups: dict[str, dict[str, list[str]]] = {"task": {}, "ability": {}}
    for category, category_score in scores.items():
        groups["task"].setdefault(category_score.task, []).append(category)
        if category_score.ability:
            groups["ability"].setdefault(category_score.ability, []).append(category)
    return ScoreRow(
        name=name,
        kind=kind,
        note=note,
        categories={category: _known(value) for category, value in values.items()},
        tasks={task: mean(members) for task, members in groups["task"].items()},
        abilities={kind_of: mean(members) for kind_of, members in groups["ability"].items()},
        overall=overall or mean(list(scores)),
    )


def _known(value: float) -> Cell:
    figure = Estimate(value, value, value)
    return Cell(figure, figure)
