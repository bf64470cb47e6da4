"""Check the folder of a public benchmark before a long run: would its scores be comparable with published ones?

Exercised by `videossr bench check NAME --data DIR`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from videossr.answers.option import option_texts
from videossr.answers.windows import read_windows
from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BadRow, Footage, Row
from videossr.bench.public.frames import timeline
from videossr.bench.public.questions import PublicQuestions
from videossr.errors import NotFoundError
from videossr.rewards import scorer
from videossr.runners.threads import CORES
from videossr.storage.paths import AnyPath
from videossr.video.plan import RejectedError

Verdict: TypeAlias = Literal["ok", "note", "fault"]

EXAMPLES = 3
"""Examples of each finding."""

SLACK = 1.0
"""Seconds by which a gold answer or a stated length may differ from the video before it is told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        what: is checked.
        verdict: `fault`: scores would not be comparable. `note`: worth knowing, no more.
        text: what was found.
        examples: some of it, with ids or files.
    """

    what: str
    verdict: Verdict
    text: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A video that a row shows: its length in seconds, or why it cannot be used."""

    seconds: float = 0.0
    missing: bool = False
    error: str = ""


def check(questions: PublicQuestions, progress: Callable[[int, int], None] = lambda done, total: None) -> list[Finding]:
    """Check annotations and videos. Every video is opened, and none is decoded unless its container tells no times.

    Args:
        questions: of the benchmark.
        progress: called with the number of videos that were opened, and of all.
    """
    rows = [row for row in questions.rows if isinstance(row, Row)]
    bad = [row for row in questions.rows if isinstance(row, BadRow)]
    published = questions.benchmark.size(questions.settings)
    findings = [
        _listed("rows that cannot be used", "fault", [row.error for row in bad]),
        _counted("questions", len(questions.rows), published[0]),
        _counted("videos", len({part.paths for row in rows for part in row.footage}), published[1]),
        _listed("ids that several rows have", "fault", _repeated(row.id for row in rows)),
        _listed("rows that repeat another one", "note", _twins(rows)),
        _listed("rows with equal options", "note", [row.id for row in rows if _equal_options(row)]),
        _listed("questions that cannot be asked", "fault", list(_unaskable(questions, rows))),
        _listed("parts of the benchmark that are missing", "fault", _absent(questions, rows)),
        _unknown_fields(questions),
        _listed("rows that are known to be odd", "note", _odd(questions, rows)),
    ]
    return [*findings, *_videos(questions, rows, progress)]


def _listed(what: str, verdict: Verdict, found: Sequence[str]) -> Finding:
    """Return the finding that there are such things, or that there are none."""
    if not found:
        return Finding(what, "ok", "none")
    return Finding(what, verdict, f"{len(found):,}", tuple(found[:EXAMPLES]))


def _counted(what: str, found: int, published: int | None) -> Finding:
    """Compare a number with the published one."""
    name = f"number of {what}"
    if published is None:
        return Finding(name, "note", f"{found:,}; no public source tells how many there should be")
    if found != published:
        return Finding(name, "fault", f"{found:,}, and {published:,} are published")
    return Finding(name, "ok", f"{found:,}, as published")


def _repeated(values: Iterable[str]) -> list[str]:
    """Return the values that occur more than once."""
    return [value for value, number in Counter(values).items() if number > 1]


def _twins(rows: Iterable[Row]) -> list[str]:
    """Return the ids of rows that ask what an earlier row asks, with the same answer, of the same footage."""
    first: dict[tuple[object, ...], str] = {}
    found = []
    for row in rows:
        key = (row.question, row.answer, row.options, row.footage)
        if key in first:
            found.append(f"{row.id} repeats {first[key]}")
        else:
            first[key] = row.id
    return found


def _equal_options(row: Row) -> bool:
    """Tell whether two options of a question have the same text."""
    texts = option_texts(row.answer) if row.answer_type == "option" else ()
    return len(set(texts)) < len(texts)


def _unknown_fields(questions: PublicQuestions) -> Finding:
    """Look for fields that the schema does not have: the files may be of another version."""
    known = questions.benchmark.fields
    what = "fields that are not known"
    if not known:
        return Finding(what, "ok", "any are accepted")
    source = Data(questions.path, questions.benchmark.facts.source)
    found: Counter[str] = Counter()
    for record in questions.benchmark.records(source, questions.settings):
        found.update(str(name) for name in record.fields if name not in known)
    return _listed(what, "note", [f"{name} (in {number:,})" for name, number in found.most_common()])


def _odd(questions: PublicQuestions, rows: Iterable[Row]) -> list[str]:
    odd = questions.benchmark.odd
    return [f"{row.id}: {odd[row.id]}" for row in rows if row.id in odd]


def _unaskable(questions: PublicQuestions, rows: Iterable[Row]) -> Iterator[str]:
    """Write every question, and score its gold answer once: a text, an answer type or an answer may be none."""
    for row in rows:
        try:
            questions.texts.prompt(row.template, row.question, row.options, len(row.footage))
            scorer(f"videossr/{row.answer_type}")("", row.answer)
        except Exception as error:  # whatever the code of a plug-in raises is a finding of this row
            yield f"{row.id}: {type(error).__name__}: {error}"


def _absent(questions: PublicQuestions, rows: Iterable[Row]) -> list[str]:
    """Return the categories that the benchmark has and of which there is no row."""
    found = {row.category for row in rows}
    return [category for category in questions.benchmark.categories(questions.settings) if category not in found]


def _videos(questions: PublicQuestions, rows: Sequence[Row], progress: Callable[[int, int], None]) -> Iterator[Finding]:
    """Open every video once, and compare it with what the rows say of it."""
    shown: dict[tuple[tuple[str, ...], float | None], list[Row]] = defaultdict(list)
    for row in rows:
        for part in row.footage:
            shown[part.paths, part.fps].append(row)
    opened: dict[tuple[tuple[str, ...], float | None], _Opened] = {}
    with ThreadPoolExecutor(2 * CORES) as pool:
        pending = pool.map(lambda key: _open(questions, Footage(key[0], fps=key[1])), shown)
        for done, (key, video) in enumerate(zip(shown, pending, strict=True), 1):
            opened[key] = video
            progress(done, len(shown))
    missing = {paths: shown[paths, fps] for (paths, fps), video in opened.items() if video.missing}
    yield from _missing(questions, missing)
    broken = [f"{video.error} ({_questions(len(shown[key]))})" for key, video in opened.items() if video.error]
    yield _listed("videos that cannot be read", "fault", broken)
    lengths = {key: video.seconds for key, video in opened.items() if video.seconds}
    late, beyond, other = [], [], []
    for row in rows:
        for part in row.footage:
            seconds = lengths.get((part.paths, part.fps))
            if seconds is None:
                continue
            if part.start >= seconds:
                late.append(f"{row.id}: from {part.start:g} s, of {seconds:.1f} s")
            if row.seconds is not None and abs(row.seconds - seconds) > max(SLACK, 0.02 * seconds):
                other.append(f"{row.id}: {row.seconds:g} s are stated, {seconds:.1f} s are there")
            if row.answer_type in ("windows", "moments") and (end := _last_end(row.answer)) > seconds + SLACK:
                beyond.append(f"{row.id}: until {end:g} s, of {seconds:.1f} s")
    yield _listed("questions about a part behind the end of the video", "fault", late)
    yield _listed("gold answers that end behind the video", "note", beyond)
    yield _listed("videos of another length than stated", "note", other)


def _open(questions: PublicQuestions, part: Footage) -> _Opened:
    """Open a video, and return its length."""
    try:
        place = questions.place(part)
    except NotFoundError:
        return _Opened(missing=True)
    except (ValueError, OSError) as error:
        return _Opened(error=str(error))
    try:
        return _Opened(float(timeline(place, part).seconds))
    except (RejectedError, OSError) as error:
        return _Opened(error=f"{place}: {error}")


def _missing(questions: PublicQuestions, missing: Mapping[tuple[str, ...], Sequence[Row]]) -> Iterator[Finding]:
    """Tell which videos are missing, where files of the same name lie, and which cannot be had any more."""
    names = _names_below(questions.path) if missing else {}
    examples: list[str] = []
    for paths, rows in missing.items():
        path = PurePosixPath(paths[0])
        elsewhere = names.get(path.stem)
        hint = f"; a file of that name is {elsewhere}" if elsewhere else ""
        examples.append(f"{path} ({_questions(len(rows))}){hint}")
    yield _listed("videos that are missing", "fault", examples)
    packed = [place for place in names.values() if place.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))]
    if packed:
        yield _listed("archives that may have to be unpacked", "note", sorted(packed))
    for category, why in questions.benchmark.gone.items():
        lost = [row for rows in missing.values() for row in rows if row.category == category]
        if lost:
            yield Finding(f"videos of {category}", "fault", f"{_questions(len(lost))} cannot be asked: {why}")


def _names_below(folder: AnyPath) -> dict[str, str]:
    """Return where files lie below a local folder, by their names without ending."""
    if not isinstance(folder, Path):
        return {}
    return {path.stem: str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _questions(number: int) -> str:
    return f"{number:,} question{'s' * (number != 1)}"


def _last_end(answer: str) -> float:
    """Return when the last window of a gold answer ends."""
    return max(end for _, end in read_windows(answer))
