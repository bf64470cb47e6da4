"""The questions of a public benchmark as a question set, which `videossr.bench.evaluation` puts to a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BENCHMARKS, BadRow, Benchmark, Footage, Row
from videossr.bench.public.frames import FrameCache
from videossr.bench.public.texts import Texts
from videossr.bench.records import UNREAD, BenchmarkConfig
from videossr.config import override, parse, plain
from videossr.errors import DataError, NotFoundError
from videossr.question import Clip, Gold, Question, Truth
from videossr.storage.paths import AnyPath, check_regular, to_path

_LONGEST = 1000
"""Characters of a path below the folder, at most."""

_PROTOCOL = 1
"""Of what is asked and shown; another number gives the questions another hash."""


def read_settings(kind: type[Benchmark[Any]], name: str, settings: Mapping[str, object]) -> Any:
    """Read the settings of a benchmark, whose values may be text: `a,b` is a list where one is expected.

    Raises:
        ConfigError: a setting is not known, or has a value that it cannot have.
    """
    defaults = kind.Settings()
    table: Mapping[str, Any] = {}
    for setting, value in settings.items():
        names = isinstance(value, str) and "[" not in value and isinstance(getattr(defaults, setting, None), tuple)
        table = override(table, setting, str(value).split(",") if names else value)
    return parse(kind.Settings, table, f"--{name}")


class PublicQuestions:
    """The questions of a benchmark, see `videossr.question_set.QuestionSet`.

    Args:
        name: registered name of the benchmark.
        data: its folder, as its authors publish it.
        frames: frames of a video, at most; for a question of several videos, of each.
        cache: keeps the decoded frames; `frames` is one of its budgets.
        settings: of the benchmark, as text, where they are not the defaults.
        templates: a TOML file whose texts replace those of the package.

    Raises:
        NotFoundError: annotations are missing.
        DataError: they are damaged, or no row of them can be used.
        ConfigError: a setting or a text is not known.
    """

    def __init__(
        self,
        name: str,
        data: str | AnyPath,
        *,
        frames: int,
        cache: FrameCache,
        settings: Mapping[str, object] | None = None,
        templates: Path | None = None,
    ) -> None:
        kind = BENCHMARKS.get(name)
        self.name = name
        self.path = to_path(data).absolute()
        self.frames = frames
        self.benchmark: Benchmark[Any] = kind()
        self.settings = read_settings(kind, name, settings or {})
        self.texts = Texts(name, templates, known=tuple(BENCHMARKS.names()))
        self._cache = cache
        source = Data(self.path, self.benchmark.facts.source)
        self.rows = tuple(self.benchmark.load(source, self.settings))
        if not any(isinstance(row, Row) for row in self.rows):
            first = f"; the first: {self.rows[0].error}" if self.rows and isinstance(self.rows[0], BadRow) else ""
            raise DataError(f"{self.path}: none of {len(self.rows)} rows of {name} can be used{first}")
        self._data_hash = source.hash

    @property
    def hash(self) -> str:
        """SHA-256 in hex over the annotations, the rows read from them, the texts and the number of frames.

        The bytes of the videos are not in it: public benchmarks are hundreds of gigabytes.
        """
        decisive = [_PROTOCOL, self.name, self._data_hash, self.texts.hash, self.frames, *map(asdict, self.rows)]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    @property
    def config(self) -> BenchmarkConfig:
        """Return what a run records of the benchmark."""
        return BenchmarkConfig(
            name=self.name, frames=self.frames, settings=plain(self.settings), templates=self.texts.hash
        )

    def at(self, frames: int) -> PublicQuestions:
        """Return the same questions with another number of frames, one of the cache's budgets. Nothing is read anew."""
        other = copy(self)
        other.frames = frames
        return other

    def __len__(self) -> int:
        return len(self.rows)

    def question(self, index: int) -> Question:
        """Return a question. Of a video without a pack, the container is opened.

        Raises:
            DataError: the row or its video cannot be used.
            NotFoundError: the video is missing.
        """
        row = self._row(index)
        clocks = tuple(self._cache.clock(self.place(part), part, self.frames) for part in row.footage)
        prompt = self.texts.prompt(row.template, row.question, row.options, len(row.footage))
        return Question(row.id, f"videossr/{row.answer_type}", self.texts.system, prompt, row.answer, clocks)

    def gold(self, index: int) -> Gold:
        """Return the id, the answer type and the gold answer of a question."""
        row = self._row(index)
        return Gold(row.id, f"videossr/{row.answer_type}", row.answer)

    def clips(self, index: int) -> list[Clip]:
        """Decode the clips of a question, or read them from their packs. Raises as `question` does."""
        return [self._cache.clip(self.place(part), part, self.frames) for part in self._row(index).footage]

    def category(self, index: int) -> str:
        """Return the kind of question."""
        row = self.rows[index]
        return row.category if isinstance(row, Row) else UNREAD

    def source(self, index: int) -> str:
        """Return the path of the first video, which is the same for all questions about it."""
        return self._row(index).footage[0].paths[0]

    def difficulty(self, index: int) -> Mapping[str, float | str]:
        """Return the facts by which scores are broken down."""
        return self._row(index).groups

    def truth(self, index: int) -> Truth:
        """Return nothing: the benchmarks tell no more than the answer."""
        return Truth()

    def place(self, footage: Footage) -> AnyPath:
        """Find the video of some footage below the folder.

        Raises:
            DataError: its path leads out of the folder.
            NotFoundError: there is no such file.
        """
        for name in footage.paths:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "://" in name:
                raise DataError(f"{name!r:.200} is no path below {self.path}")
            place = self.path.joinpath(*path.parts)
            if len(name) <= _LONGEST and "\0" not in name and place.exists():
                check_regular(place)
                return place
        raise NotFoundError(f"{self.path} has no {' and no '.join(name[:200] for name in footage.paths)}")

    def _row(self, index: int) -> Row:
        row = self.rows[index]
        if isinstance(row, BadRow):
            raise DataError(row.error)
        return row
