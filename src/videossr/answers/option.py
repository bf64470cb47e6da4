"""Option: one of the options that a question shows, by its label or its text, as public benchmarks ask for it.

A gold answer has several lines: the right option as it is shown, and below it all options in their order, such as
``B. a dog``, ``A. a cat``, ``B. a dog``. So a text can be read, and a guess scored, without the question.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from videossr.answers.base import AnswerDistribution, AnswerType, EntryForm, ExpectedScore, Guess, normalize
from videossr.answers.checks import Check, GoldAnswer
from videossr.clock import Clock
from videossr.question import Question
from videossr.rewards import Scorer, Scores, outside_thoughts, parse_choice

MARK = r"[(\[]?([A-Z])[)\].:]"
"""Pattern of the label of an option, such as `A.`, `(A)` or `A:`; its group is the letter."""

_LETTER = re.compile(rf"\s*{MARK}(?!\w[.)])\s*(.*)", re.DOTALL)
_WORDS = re.compile(r"\s*((?:Option|Sentence|Caption)\s+(\w))\s*:\s*(.*)", re.DOTALL | re.IGNORECASE)
_LEAD = re.compile(r"(?:the\s+)?(?:(?:final|correct|right|best)\s+)?answer\s*(?:is\b)?\s*:?\s*", re.IGNORECASE)

_QUOTES = "\"'`\u2018\u2019\u201c\u201d "

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def labelled(options: Sequence[str]) -> tuple[str, ...]:
    """Put the letters A, B, C, … before options that have no labels; line breaks in them become spaces.

    >>> labelled(["a cat", "a dog"])
    ('A. a cat', 'B. a dog')

    Raises:
        ValueError: there are more options than letters.
    """
    if len(options) > len(LETTERS):
        raise ValueError(f"there are {len(options)} options, and {len(LETTERS)} letters")
    return tuple(f"{letter}. {single_line(option)}" for letter, option in zip(LETTERS, options, strict=False))


def single_line(option: str) -> str:
    """Return an option with each run of white space as one space, as a line of a gold answer needs it."""
    return " ".join(option.split())


def options_in(question: str) -> tuple[str, ...]:
    """Find the options that a question shows at its end: the last run of lines that are labelled A, B, C and so on.

    Fewer than two are none.
    """
    found: list[str] = []
    for line in question.splitlines():
        match = _LETTER.fullmatch(line)
        if match and match[1] == LETTERS[len(found) : len(found) + 1]:
            found.append(single_line(line))
        elif match and match[1] == "A":
            found = [single_line(line)]
    return tuple(found) if len(found) > 1 else ()


def option_answer(options: Sequence[str], right: int) -> str:
    """Write the gold answer of a question whose option number `right`, from 0, is the right one."""
    shown = [single_line(option) for option in options]
    return "\n".join([shown[right], *shown])


def option_texts(gold: str) -> tuple[str, ...]:
    """Return the texts of the options of a gold answer, without labels, in lower case."""
    return tuple(_Option.of(line).text for line in gold.splitlines()[1:])


@dataclass(frozen=True, slots=True)
class _Option:
    """An option: its label, which may be empty, the label's last word, and its text in lower case."""

    label: str
    short: str
    text: str

    @classmethod
    def of(cls, line: str) -> _Option:
        """Split an option as it is shown into label and text."""
        if match := _LETTER.fullmatch(line):
            return cls(match[1].lower(), match[1].lower(), _plain(match[2]))
        if match := _WORDS.fullmatch(line):
            return cls(_plain(match[1]), match[2].lower(), _plain(match[3]))
        return cls("", "", _plain(line))


def parse_option(text: str, gold: str) -> str | None:
    """Read which of the options of a gold answer a text chooses; None where it does not say one and only one.

    1. Thoughts do not count, nor what stands around the last `<answer>`, see `videossr.rewards.outside_thoughts`.
    2. A letter is read by `videossr.rewards.parse_choice`; it must be the label of an option.
    3. Else the text, or its first line, is an option with or without its label, or a label such as `Caption A`, `1`.
       Case, quotes, asterisks and a mark at the end do not matter. So `A red car` is never option A by its first
       letter, but it is the option with this text.
    4. Where the options are yes and no, the first word tells, unless the other one follows it.

    Returns:
        The label of the option in lower case, or its text where it has no label.
    """
    right, *lines = gold.splitlines()
    options = [_Option.of(line) for line in lines] or [_Option.of(f"{right}.")]
    said = outside_thoughts(text).replace("\uff1a", ": ").strip()
    if len(said) < 6:
        said = said.strip(_QUOTES)
    letter = (parse_choice(said) or "").lower()
    named = {option.label for option in options if letter and option.short == letter}
    if len(named) == 1:
        return named.pop()
    said = _LEAD.sub("", said)
    first, *others = said.split("\n")
    for piece, rest in ((said, []), (first, others)):
        chosen = _named_in(options, piece)
        if len(chosen) == 1:
            return None if any(_named_in(options, line) - chosen for line in rest) else chosen.pop()
    texts = {option.text for option in options}
    if texts and texts <= {"yes", "no"}:
        word = re.match(r"\W*(yes|no)\b(?!\W*(?:\b(?:and|or)\b)?\W*\b(?:yes|no)\b)", said, re.IGNORECASE)
        chosen = {option.label or option.text for option in options if word and option.text == word[1].lower()}
        return chosen.pop() if len(chosen) == 1 else None
    return None


def _named_in(options: Sequence[_Option], text: str) -> set[str]:
    """Return the options that a text names as a whole, by their labels or else their texts."""
    return {option.label or option.text for option in options if _names(option, text)}


def _names(option: _Option, text: str) -> bool:
    """Tell whether a text is an option: its text, its label, or both."""
    plain = _plain(text)
    if not plain:
        return False
    if plain == option.text or (len(option.label) > 1 and plain in (option.label, option.short)):
        return True
    parts = _Option.of(text.replace("*", "").strip())
    return parts.label in (option.label, option.short) and parts.label != "" and parts.text == option.text


def _plain(text: str) -> str:
    """Return a text in lower case, without marks around it, and with single spaces."""
    return " ".join(text.casefold().replace("*", "").split()).strip("\"'`\u2018\u2019\u201c\u201d.,;:!()[] ")


def score_option(answer: str, gold: str) -> Scores:
    """Score the choice of an option: smooth and strict alike, 1 for the right one.

    Raises:
        ValueError: `gold` is empty, or its first line is none of the options below it.
    """
    right, *lines = gold.splitlines() or [""]
    if not right or (lines and right not in lines) or not (lines or re.fullmatch("[A-Z]", right)):
        raise ValueError(f"gold answer {gold!r:.200} is not an option and, below it, all options")
    chosen = parse_option(answer, gold)
    truth = _Option.of(right if lines else f"{right}.")
    value = float(chosen == (truth.label or truth.text))
    return Scores(value, value, parsed=chosen is not None)


@dataclass(frozen=True)
class OptionDistribution:
    """The place of the right option, and the number of options, of some questions.

    A guess is one of the options that the question has, whose number may differ within a category.
    """

    golds: tuple[tuple[int, int], ...]

    @cached_property
    def _places(self) -> Counter[int]:
        """How often each place is the right one."""
        return Counter(place for place, _ in self.golds)

    def chances(self, guess: Guess, number: int) -> list[float]:
        """Return how probable a guess makes each of so many options."""
        counts = [self._places[place] for place in range(number)]
        if guess == "uniform" or not any(counts):
            return [1 / number] * number
        if guess == "prior":
            return [count / sum(counts) for count in counts]
        best = counts.index(max(counts))
        return [float(place == best) for place in range(number)]

    def text(self, guess: Guess, rng: np.random.Generator, clock: Clock) -> str:
        """Guess a letter of as many options as some question has, see `AnswerDistribution.text`."""
        _, number = self.golds[rng.integers(len(self.golds))]
        return LETTERS[self.place(guess, rng, number) % len(LETTERS)]

    def place(self, guess: Guess, rng: np.random.Generator, number: int) -> int:
        """Guess the place of one of so many options."""
        return int(rng.choice(number, p=normalize(self.chances(guess, number))))

    def expected_score(self, guess: Guess) -> ExpectedScore:
        """Compute what a guess scores, see `AnswerDistribution.expected_score`."""
        value = sum(self.chances(guess, number)[place] for place, number in self.golds) / len(self.golds)
        return ExpectedScore(value, value)

    def checks(self, golds: Sequence[GoldAnswer]) -> Iterator[Check]:
        """Check nothing: the distribution was read off the same answers."""
        return iter(())


@dataclass(frozen=True)
class OptionType(AnswerType):
    """One of several options; the metric is the share of right ones."""

    name: str = "option"
    score: Scorer = score_option
    metric: str = "accuracy"

    def parse(self, text: str, gold: str) -> str | None:
        """Read the label, or else the text, of the option that a text chooses."""
        return parse_option(text, gold)

    def distribution(self, questions: Sequence[Question]) -> OptionDistribution:
        """Count which option is right, and how many there are."""
        golds = []
        for question in questions:
            right, *lines = question.answer.splitlines()
            golds.append((lines.index(right), len(lines)) if lines else (LETTERS.index(right), len(LETTERS)))
        return OptionDistribution(tuple(golds))

    def guess(
        self, distribution: AnswerDistribution, guess: Guess, rng: np.random.Generator, question: Question
    ) -> str:
        """Guess one of the options of a question: its label, or its text where it has none."""
        options = [_Option.of(line) for line in question.answer.splitlines()[1:]]
        if not options or not isinstance(distribution, OptionDistribution):
            return super().guess(distribution, guess, rng, question)
        option = options[distribution.place(guess, rng, len(options))]
        return option.short.upper() if option.short else option.text

    def form(self, gold: str) -> EntryForm:
        """Ask a person for a text."""
        return EntryForm("text")


OPTION = OptionType()
