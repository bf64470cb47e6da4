"""The questions of a run: one set, or a mixture of several, each with its share. Torch-free.

Sets are written by name in the configuration, a line each:

    [data.sets]
    ours = {path = "demo/dataset", weight = 2}
    mine = {path = "mine.jsonl"}
"""

from __future__ import annotations

import bisect
import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from videossr.errors import ConfigError, DataError
from videossr.question import Clip, Gold, Question, Truth
from videossr.question_set import QuestionSet, open_questions
from videossr.storage.paths import AnyPath
from videossr.training.batching import SetShares
from videossr.training.config import DataConfig, QuestionsConfig, SetConfig

TRIES = 20
"""Questions of a set that are opened, at most, before it is refused as one that cannot be shown."""


class Mixture:
    """Several sets as one, see `videossr.question_set.QuestionSet`; first all questions of the first, by its name.

    Categories that several sets have are told apart by the name of the set before them: `mine/choice`.

    Attributes:
        sets: by name.
        path: of the first set; see `paths_of` for all.
    """

    def __init__(self, sets: Mapping[str, QuestionSet]) -> None:
        self.sets = dict(sorted(sets.items()))
        self.path = next(iter(self.sets.values())).path
        self._names = list(self.sets)
        self._ends = list(accumulate(len(questions) for questions in self.sets.values()))
        self._owners: dict[str, set[str]] = defaultdict(set)
        for name, questions in self.sets.items():
            for index in range(len(questions)):
                self._owners[questions.category(index)].add(name)

    @property
    def hash(self) -> str:
        """SHA-256 in hex over the names and hashes of the sets."""
        parts = "".join(f"{name} {questions.hash}\n" for name, questions in self.sets.items())
        return hashlib.sha256(parts.encode()).hexdigest()

    def __len__(self) -> int:
        return self._ends[-1]

    def name(self, index: int) -> str:
        """Return the name of the set that a question is of."""
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} questions, no {index}")
        return self._names[bisect.bisect_right(self._ends, index)]

    def question(self, index: int) -> Question:
        """Return a question, see `QuestionSet.question`."""
        questions, own = self._find(index)
        return questions.question(own)

    def gold(self, index: int) -> Gold:
        """Return what a question is scored by, see `QuestionSet.gold`."""
        questions, own = self._find(index)
        return questions.gold(own)

    def clips(self, index: int) -> list[Clip]:
        """Decode the clips of a question, see `QuestionSet.clips`."""
        questions, own = self._find(index)
        return questions.clips(own)

    def category(self, index: int) -> str:
        """Return the category of a question, behind the name of its set where other sets have it too."""
        questions, own = self._find(index)
        category = questions.category(own)
        return f"{self.name(index)}/{category}" if len(self._owners[category]) > 1 else category

    def source(self, index: int) -> str:
        """Return what names the video of a question, see `QuestionSet.source`."""
        questions, own = self._find(index)
        return questions.source(own)

    def difficulty(self, index: int) -> Mapping[str, float | str]:
        """Return what makes a question hard, see `QuestionSet.difficulty`."""
        questions, own = self._find(index)
        return questions.difficulty(own)

    def truth(self, index: int) -> Truth:
        """Return what an answer rests on, see `QuestionSet.truth`."""
        questions, own = self._find(index)
        return questions.truth(own)

    def _find(self, index: int) -> tuple[QuestionSet, int]:
        """Return the set of a question, and its index there."""
        name = self.name(index)
        questions = self.sets[name]
        return questions, index - self._ends[self._names.index(name)] + len(questions)


def open_data(data: DataConfig, place: Callable[[str], str | AnyPath] = str, *, trusted: bool = True) -> QuestionSet:
    """Open the questions of a run.

    Args:
        data: names them.
        place: returns the place of a path or corpus that is named.
        trusted: whether `anywhere` counts. A report about somebody else's run does not do as that run says.

    Raises:
        ConfigError: none are named, or something is set for a dataset that is for rows.
        NotFoundError, DataError: a set is not there, or damaged, see `open_questions`.
    """
    if not data.path and not data.sets:
        raise ConfigError("data.path is not set: give --data.path=FOLDER, or several as --data.sets.NAME.path=FOLDER")
    sets: Mapping[str, QuestionsConfig] = data.sets or {"": data}
    opened = {
        name: open_questions(
            place(one.path),
            corpus=place(one.corpus) if one.corpus else None,
            source=one.source,
            anywhere=one.anywhere and trusted,
            video=one.video,
        )
        for name, one in sets.items()
    }
    return Mixture(opened) if data.sets else opened[""]


def sets_of(questions: QuestionSet) -> list[QuestionSet]:
    """Return the sets of a mixture, or the one that it is."""
    return list(questions.sets.values()) if isinstance(questions, Mixture) else [questions]


def paths_of(questions: QuestionSet) -> str:
    """Return where the questions are, of all sets of a mixture, for people and manifests."""
    return ", ".join(str(one.path) for one in sets_of(questions))


def shares_of(questions: QuestionSet, sets: Mapping[str, SetConfig]) -> SetShares | None:
    """Return the set of each question and the weights; None where there is only one set."""
    if not isinstance(questions, Mixture):
        return None
    names = [questions.name(index) for index in range(len(questions))]
    return SetShares(names, {name: one.weight for name, one in sets.items()})


def find_unreadable(questions: QuestionSet, chosen: Sequence[int]) -> dict[int, str]:
    """Find the questions that can never be asked, and say why; no video is looked at.

    Args:
        questions: of the run.
        chosen: indices of those that it is trained on.

    Raises:
        DataError: not one question of a set can be asked, or not one of its first ones can be shown.
    """
    unreadable: dict[int, str] = {}
    rest: dict[str, list[int]] = defaultdict(list)
    first: dict[str, str] = {}
    for index in chosen:
        name = questions.name(index) if isinstance(questions, Mixture) else ""
        rest[name]
        try:
            questions.gold(index)
        except (ValueError, OSError) as error:
            unreadable[index] = str(error)
            first.setdefault(name, str(error))
        else:
            rest[name].append(index)
    for name, readable in rest.items():
        where = f"data.sets.{name}" if name else paths_of(questions)
        if not readable:
            raise DataError(f"{where}: not one of its questions can be asked: {first[name]}")
        problem = ""
        for index in readable[:TRIES]:
            try:
                questions.question(index)
            except (ValueError, OSError) as error:
                problem = problem or str(error)
            else:
                break
        else:
            raise DataError(f"{where}: not one of its first questions can be shown: {problem}")
    return unreadable
