"""The rewards: a model's text and the gold answer in, scores in [0, 1] out (paper, equations 4-8).

This file uses the standard library only and nothing of the package, so a trainer may also load it by its path. Model
text never raises and never prints, and every score takes time linear in its length. `videossr validate DATASET` scores
every gold answer with it.

>>> compute_score("videossr/grounding", "10-20", "15-20")
{'score': 0.5, 'smooth': 0.5, 'strict': 0.0, 'parsed': 1.0}
"""

# Annotations are real types here, not text: `dataclass` resolves text through `sys.modules`, where a file that was
# loaded by its path need not be.

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from itertools import islice
from typing import Final, Literal, TypeAlias

REWARDS: Final = "videossr.rewards"
"""Entry-point group of other packages' scorers; the entry point's name is the task's name."""

TASKS: Final = "videossr.tasks"
"""Entry-point group of tasks: one without a scorer of its own is scored by its `answer_type`."""

ANSWERS: Final = "videossr.answers"
"""Entry-point group of answer types, whose names are data sources too."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one answer.

    Attributes:
        smooth: the paper's reward, in [0, 1].
        strict: 1 for the exact answer, else 0.
        parsed: whether the text has the asked form.
        parts: exact match of each part of the answer, where it has parts: one for each shape that is counted, one for
            each piece of a jigsaw. As many for a text that does not parse, all 0.
    """

    smooth: float
    strict: float
    parsed: bool
    parts: tuple[float, ...] = ()


Scorer: TypeAlias = Callable[[str, str], Scores]
"""(model's text, gold answer) -> scores. Raises ValueError for a malformed gold answer, and never for the text."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,  # noqa: ARG001 (verl passes it by name; no score needs it)
    *,
    reward: Literal["smooth", "strict"] = "smooth",
) -> dict[str, float]:
    """Score a model's text: verl's signature, and the base of every other trainer's adapter.

    Args:
        data_source: `videossr/<task>`, for a built-in task or a plug-in's; `videossr/<answer type>`, such as
            `videossr/choice` for the letter of an option; or what the paper's released data calls its tasks:
            `grounding`, `counting`, `jigsaw` or `shuffled` (a jigsaw too).
        solution_str: the model's text, whatever it is.
        ground_truth: the gold answer.
        extra_info: not used.
        reward: which of the two is the `score`.

    Returns:
        `score`, `smooth`, `strict` and `parsed`, all in [0, 1]; the same keys for every task, as verl requires.

    Raises:
        ValueError: unknown `data_source` or `reward`, or a malformed gold answer.
    """
    if reward not in ("smooth", "strict"):
        raise ValueError(f"unknown reward {reward!r}. Known: smooth, strict")
    scores = scorer(data_source)(solution_str, ground_truth)
    return {
        "score": scores.smooth if reward == "smooth" else scores.strict,
        "smooth": scores.smooth,
        "strict": scores.strict,
        "parsed": float(scores.parsed),
    }


def parse_interval(text: str) -> tuple[float, float] | None:
    """Read `a-b` alone, a <= b, in decimal digits with at most one point each, with white space around the numbers.

    None for anything else: units, an en dash, signs, exponents, tags, several intervals, what overflows a float.
    """
    before, _, after = text.partition("-")
    start, end = _decimal(before.strip()), _decimal(after.strip())
    return None if start is None or end is None or start > end else (start, end)


def parse_span(text: str) -> tuple[float, float] | None:
    """Read one interval of time in any usual spelling, wherever it stands in a text.

    1. Thoughts do not count, nor what stands around the last `<answer>`, see `outside_thoughts`.
    2. A time is seconds, as `24.3`, or hours, minutes and seconds, as `0:24` or `1:02:03.5`; `s`, `sec`, `secs`,
       `second` or `seconds` may follow.
    3. An interval is two times with a hyphen, a dash, `~`, `to`, `and`, `until` or `till` between them, as in
       `from 24.3s to 30.4s`, or with a comma in brackets, as in `[24.3, 30.4]`, or named, as in
       `start: 24.3, end: 30.4`; the second is not the smaller one. `24,3 - 30,4` has decimal commas.
    4. Neither `10-20-30` nor `-5 - 10` is an interval. A text that names two different intervals says none.

    The answers to public benchmarks are read so. In training, `parse_interval` asks for the exact form.
    """
    said = set(find_spans(text))
    start, end = said.pop() if len(said) == 1 else (1.0, 0.0)
    return (start, end) if start <= end else None


def outside_thoughts(text: str) -> str:
    """Return what a text says: behind its last `</think>`, before a `<think>` that is never closed.

    Where there is an `<answer>`, it is what stands between the last one and its `</answer>`, or the end.
    """
    said = text.rpartition("</think>")[2].partition("<think>")[0]
    return said.rpartition("<answer>")[2].partition("</answer>")[0]


def boxed_or_whole(text: str) -> list[str]:
    r"""Return what stands in each `\boxed{...}` of what a text says, see `outside_thoughts`; without any, all of it."""
    said = outside_thoughts(text)
    return re.findall(r"\\boxed\{([^{}]*)\}", said) or [said]


def find_spans(text: str) -> Iterator[tuple[float, float]]:
    """Yield the intervals that a text names, see `parse_span`; the second time may be the smaller one."""
    text = outside_thoughts(text)
    plain = re.sub(r"(?<=\d)\s?(?:s|secs?|seconds?)\b", "", text.lower())
    plain = re.sub(r"\b(?:to|and|until|till)\b|[~\u2010-\u2015\u2212]|-{2,3}", "-", plain)
    plain = re.sub(r"(?<![\d-])(\d{1,9}),(\d\d?)(\s?-\s?)(\d{1,9}),(\d\d?)(?![\d-])", r"\1.\2\3\4.\5", plain)
    named = rf"start(?:\s?time)?\s?[:=]?\s?({_TIME})\s?[,;]?\s?end(?:\s?time)?\s?[:=]?\s?({_TIME})"
    plain = re.sub(named, r" \1-\2 ", plain)
    plain = re.sub(rf"[(\[]\s?({_TIME})\s?,\s?({_TIME})\s?[)\]]", r" \1-\2 ", plain)
    for run in re.findall(r"(?<!\w)(?:[\d. \t-]|:(?=\d))+(?!\w)", plain):
        times = [re.fullmatch(_TIME, time.strip()) for time in run.strip(" \t.").split("-", 2)]
        if len(times) == 2 and times[0] and times[1]:
            yield _seconds(times[0].group()), _seconds(times[1].group())


def parse_counts(text: str, k: int) -> tuple[int, ...] | None:
    """Read the `k` runs of digits in the text, wherever they stand; None if it has more or fewer.

    What is not a digit only separates: `-3` counts 3, and `2.5` has two runs. A count above 10**15 becomes 10**15.
    """
    # One class of characters, repeated: the pattern cannot backtrack. `float` is linear where `int` is quadratic, and
    # it knows no limit of digits.
    runs = [match.group() for match in islice(re.finditer(r"\d+", text), k + 1)]
    return tuple(int(min(float(run), _MOST)) for run in runs) if len(runs) == k else None


def parse_order(text: str, n: int) -> tuple[int, ...] | None:
    """Read a permutation of the digits 1..n alone, n <= 9, with white space around it; None for anything else."""
    digits = text.strip()
    return tuple(map(int, digits)) if len(digits) == n and sorted(digits) == list("123456789"[:n]) else None


def parse_choice(text: str) -> str | None:
    r"""Read the letter A..Z that a text chooses, in upper case; None where it does not say one and only one.

    1. Where there is an `<answer>`, only what stands between the last one and its `</answer>` (or the end) counts.
    2. A line says a letter when nothing else stands on it: asterisks are dropped and so are, at the start, the words of
       `the correct answer is option`, in any number and order, with or without a colon. What follows must be the
       letter, of either case, with or without brackets: alone, as `B` or `(B)`, or closed by a mark and followed by
       whatever the option says, as `B. a dog` or `(B) a dog`. So `A dog` says no letter, and neither does `A or B`.
    3. The text says what it says as a whole, its line ends taken as spaces, or else what its first line says, whatever
       explanation follows. If another line says another letter, as where the options are repeated, it says none.
    4. Where there are `\boxed{...}`, each must hold the same letter, and no line around them may say another.
    """
    inside = text.rpartition("<answer>")[2].partition("</answer>")[0]
    boxes = [piece.lstrip() for piece in inside.split("\\boxed")[1:]]
    # What stands before the first closing brace; of `{\text{B}}` that is behind the last opening one.
    boxed = [box[1:].partition("}")[0].rpartition("{")[2] for box in boxes if box.startswith("{")]
    said = {_letter(content) for content in boxed}
    if boxed:
        said |= ({_stated(inside)} | _of_lines(inside.splitlines())) - {None}
    else:
        said.add(_stated(inside))
    return said.pop() if len(said) == 1 else None


def _stated(text: str) -> str | None:
    """Read the letter that a text says as a whole or on its first line, see `parse_choice`."""
    lines = [line for line in text.splitlines() if line.strip()]
    first = _letter(text) or (_letter(lines[0]) if lines else None)
    return first if _of_lines(lines[1:]) <= {first, None} else None


def _of_lines(lines: Iterable[str]) -> set[str | None]:
    """Read the letter of each line, whether or not it begins with `or` or `and`."""
    return {_letter(re.sub(r"^\s*(or|and)\b", "", line, flags=re.IGNORECASE)) for line in set(lines)}


def _letter(text: str) -> str | None:
    """Read the letter of a line, see `parse_choice`."""
    words = text.replace("*", "").replace(":", ": ").split()
    skipped = next((k for k, word in enumerate(words) if word.rstrip(":").lower() not in _LEAD), len(words))
    rest = words[skipped:]
    if not rest:
        return None
    found = re.fullmatch(r"[(\[]?([A-Za-z])([)\].:]*)", rest[0])
    return found[1].upper() if found and (found[2] or len(rest) == 1) else None


def interval_overlap(answer: tuple[float, float], gold: tuple[float, float]) -> float:
    """Compute the intersection over union of two intervals; 0 if either has no length, even against itself."""
    both = min(answer[1], gold[1]) - max(answer[0], gold[0])
    if both <= 0:
        return 0.0
    if answer == gold:
        return 1.0
    return both / ((answer[1] - answer[0]) + (gold[1] - gold[0]) - both)


def count_closeness(answer: int, gold: int) -> float:
    """Compute 1 minus the error relative to the gold count, not below 0. Against 0, every wrong count scores 0."""
    return 1.0 if answer == gold else max(0.0, 1 - abs(answer - gold) / (gold + 1e-9))


def order_closeness(answer: tuple[int, ...], gold: tuple[int, ...]) -> float:
    """Compute 1 minus the summed distance of each digit's places in the two, over the most it can be, floor(n*n/2)."""
    places = {digit: place for place, digit in enumerate(answer)}
    distance = sum(abs(place - places[digit]) for place, digit in enumerate(gold))
    return 1 - distance / max(1, len(gold) ** 2 // 2)


def score_interval(answer: str, gold: str) -> Scores:
    """Score an interval of seconds by its overlap; strict: start and end are the same numbers, and it has a length."""
    truth = parse_interval(gold)
    if truth is None:
        raise ValueError(f"gold answer {gold!r} is not an interval of seconds such as '14.5-26.2'")
    span = parse_interval(answer)
    if span is None:
        return Scores(0.0, 0.0, parsed=False)
    smooth = interval_overlap(span, truth)
    return Scores(smooth, float(span == truth and smooth == 1), parsed=True)


def score_span(answer: str, gold: str) -> Scores:
    """Score an interval of time in any usual spelling as `score_interval` does; the gold answer has the exact form."""
    span = parse_span(answer)
    return score_interval("" if span is None else f"{span[0]:.9f}-{span[1]:.9f}", gold)


def score_counts(answer: str, gold: str) -> Scores:
    """Score counts of any number of things by their mean closeness; strict: every count is right."""
    fields = [field.strip() for field in gold.split(",")]
    if not all(field.isdecimal() and float(field) < _MOST for field in fields):
        raise ValueError(f"gold answer {gold!r} is not counts below 10**15 such as '3,1,4'")
    truth = [int(float(field)) for field in fields]
    counts = parse_counts(answer, len(truth))
    if counts is None:
        return Scores(0.0, 0.0, parsed=False, parts=(0.0,) * len(truth))
    smooth = sum(map(count_closeness, counts, truth)) / len(truth)
    parts = tuple(float(mine == true) for mine, true in zip(counts, truth, strict=True))
    return Scores(smooth, min(parts), parsed=True, parts=parts)


def score_order(answer: str, gold: str) -> Scores:
    """Score an order of as many pieces as the gold answer has; strict: every piece is in its place."""
    truth = parse_order(gold, len(gold.strip()))
    if not truth:
        raise ValueError(f"gold answer {gold!r} is not a permutation of 1..n, n <= 9, such as '341562'")
    order = parse_order(answer, len(truth))
    if order is None:
        return Scores(0.0, 0.0, parsed=False, parts=(0.0,) * len(truth))
    parts = tuple(float(mine == true) for mine, true in zip(order, truth, strict=True))
    return Scores(order_closeness(order, truth), min(parts), parsed=True, parts=parts)


def score_choice(answer: str, gold: str) -> Scores:
    """Score the letter of an option: smooth and strict alike, 1 for the right one."""
    truth = parse_choice(gold)
    if truth is None:
        raise ValueError(f"gold answer {gold!r} is not the letter of an option such as 'B'")
    choice = parse_choice(answer)
    right = float(choice == truth)
    return Scores(right, right, parsed=choice is not None)


@cache
def scorer(data_source: str) -> Scorer:
    """Find how answers of a data source are scored.

    A plug-in's package is imported when its source is first asked for: its scorer (`videossr.rewards`) alone where it
    has one, else its task, which has an answer type, or its answer type.

    Raises:
        ValueError: the source is not known; the message lists those that are. Or two packages score it.
    """
    if data_source in _SOURCES:
        return _SOURCES[data_source]
    prefix, _, name = data_source.partition("/")
    for group in (REWARDS, TASKS, ANSWERS) if prefix == "videossr" else ():
        points = list(entry_points(group=group, name=name))
        if len(points) > 1:
            owners = " and ".join(point.value for point in points)
            raise ValueError(f"data_source {data_source!r} is scored by {owners}; uninstall one of them")
        for point in points:
            declared = point.load()
            score: Scorer = declared
            if group == TASKS:
                score = declared().answer_type.score  # of an instance, as a task may compute it
            elif group == ANSWERS:
                score = declared.score
            return score
    plugged = (point.name for group in (REWARDS, TASKS, ANSWERS) for point in entry_points(group=group))
    known = sorted({*_SOURCES, *(f"videossr/{name}" for name in plugged)})
    raise ValueError(f"unknown data_source {data_source!r}. Known: {', '.join(known)}")


def is_scored(data_source: str) -> bool:
    """Tell whether answers of a data source can be scored with what is installed, see `scorer`."""
    try:
        scorer(data_source)
    except ValueError:
        return False
    return True


_MOST: Final = 1e15
"""Counts are whole numbers that a float holds exactly; nothing is counted this far."""

_LEAD: Final = frozenset(["the", "my", "final", "correct", "best", "right", "answer", "option", "choice", "is"])
"""Words that may stand before the letter of an option."""

_SOURCES: Final[Mapping[str, Scorer]] = {
    "videossr/grounding": score_interval,
    "videossr/counting": score_counts,
    "videossr/jigsaw": score_order,
    "videossr/interval": score_interval,
    "videossr/span": score_span,
    "videossr/counts": score_counts,
    "videossr/order": score_order,
    "videossr/choice": score_choice,
    "grounding": score_interval,
    "counting": score_counts,
    "jigsaw": score_order,
    "shuffled": score_order,
}


_TIME: Final = r"\d{1,9}(?::\d\d){0,2}(?:\.\d{1,9})?"
"""Seconds, or hours, minutes and seconds, in `parse_span`."""


def _seconds(time: str) -> float:
    """Return the seconds of a time such as `1:02:03.5`."""
    value = 0.0
    for part in time.split(":"):
        value = 60 * value + float(part)
    return value


def _decimal(text: str) -> float | None:
    if not text.replace(".", "", 1).isdecimal():
        return None
    value = float(text)
    return value if math.isfinite(value) else None
