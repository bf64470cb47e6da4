"""Record the outcome of every video and draw of a build in SQLite, so that a stopped build can go on.

`journal.sqlite` lies in the staging directory of the dataset (`videossr.storage.output_dir`) until the dataset
is complete. Only the parent process writes it, and commits about once a second: a killed run loses that second. After a
power cut the last seconds may be missing too; SQLite waits for the disk at each commit, so the journal stays whole
where the disk keeps its word.
"""

from __future__ import annotations

import contextlib
import errno
import json
import sqlite3
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from pydantic import TypeAdapter

from videossr.builder.allocation import Job, Share
from videossr.builder.generation import Gates, GeneratedRow, RejectedDraw, unpack_row
from videossr.builder.rejections import RejectionRecord
from videossr.dataset import gate_table
from videossr.dataset.manifest import BuildSpec, differences
from videossr.dataset.schema import Row
from videossr.errors import DataError
from videossr.measure import rejected
from videossr.sample import Rejection
from videossr.storage.output_dir import OutputDir
from videossr.storage.parsing import parse_json

NAME = "journal.sqlite"

_REJECTION = TypeAdapter(tuple[str, float, float])
_COUNTS = TypeAdapter(dict[str, int])

COMMIT = 1.0
"""Seconds between two commits."""

_TABLES = """
CREATE TABLE spec (json TEXT NOT NULL);
CREATE TABLE gates (video INTEGER PRIMARY KEY, rejects TEXT NOT NULL, measures BLOB NOT NULL);
CREATE TABLE draws (
    video INTEGER NOT NULL, category INTEGER NOT NULL, attempt INTEGER NOT NULL, round INTEGER NOT NULL,
    reason TEXT, value REAL, threshold REAL, id BLOB, others TEXT, row BLOB,
    PRIMARY KEY (video, category, attempt)
);
CREATE INDEX samples ON draws (id, round, video, category, attempt) WHERE id IS NOT NULL;
CREATE TABLE rounds (round INTEGER PRIMARY KEY, filled TEXT NOT NULL);
CREATE TABLE files (name TEXT PRIMARY KEY, hash TEXT NOT NULL, last TEXT NOT NULL);
"""

_COLUMNS = (
    "video, rejects, measures FROM gates",
    "video, category, attempt, round, reason, value, threshold, id, others, row FROM draws",
    "round, filled FROM rounds",
    "name, hash, last FROM files",
)
"""What is read of each table."""

_INSERT_SAMPLE = """
INSERT INTO draws (video, category, attempt, round, id, others, row)
VALUES (:video, :category, :attempt, :round, :id, :others, :row)
"""

_INSERT_REJECTED_DRAW = """
INSERT INTO draws (video, category, attempt, round, reason, value, threshold)
VALUES (:video, :category, :attempt, :round, :reason, :value, :threshold)
"""

_DROP_DUPLICATES = """
UPDATE draws SET id = NULL, others = NULL, row = NULL, reason = 'drawn_before', value = 1, threshold = 0
WHERE rowid IN (
    SELECT rowid FROM (
        SELECT rowid, row_number() OVER (PARTITION BY id ORDER BY round, video, category, attempt) AS place
        FROM draws WHERE id IS NOT NULL
    ) WHERE place > 1
)
"""


@dataclass(frozen=True, slots=True)
class Uses:
    """For each video in hash order: how many samples are about it, and how many show a frame of it."""

    serves: array[int]
    shown: array[int]


class BuildJournal:
    """The journal of a build, in its staging directory. As a context manager it commits pending rows at the end.

    Attributes:
        samples: number of samples so far.
        rejects: number of rejections so far, by gates and of draws.
    """

    def __init__(
        self, staging: Path, output: OutputDir, spec: BuildSpec, categories: Iterable[str], *, restart: bool = False
    ) -> None:
        """Open the journal, or begin it.

        Args:
            staging: staging directory of the dataset.
            output: folder of the dataset.
            spec: what decides the dataset.
            categories: of its recipe.
            restart: drop what the file holds of another build, or a file that is damaged.

        Raises:
            OutputError: the journal is of a build that was begun otherwise, and `restart` is not set.
            DataError: the file is damaged, and `restart` is not set.
            OSError: the disk is full.
        """
        self._path = staging / NAME
        self._output = output
        self._categories = sorted(categories)
        self._numbers = {category: number for number, category in enumerate(self._categories)}
        self._committed = time.monotonic()
        self.samples = self.rejects = 0
        try:
            differs = self._open(spec)
            if not differs:
                self._count(thorough=restart)
        except DataError:
            self._data.close()
            if not restart:
                raise
            differs = ["it cannot be read"]
        if differs:
            self._data.close()
            if not restart:
                output.refuse_differences(differs, way_out="start anew with --rebuild", unfinished=True)
            self._path.unlink()
            Path(f"{self._path}-journal").unlink(missing_ok=True)  # SQLite would apply it to the new file
            self._open(spec)
            self._count()

    def _count(self, *, thorough: bool = False) -> None:
        """Count samples and rejections.

        Raises DataError where a table lacks a column and, if it is `thorough`, where any page is damaged.
        """
        if thorough:
            for (fault,) in self._rows("PRAGMA quick_check(1)"):
                if fault != "ok":
                    raise self._damaged(fault)
        for columns in _COLUMNS:
            list(self._rows(f"SELECT {columns} LIMIT 0"))
        self.samples = self._number("SELECT count(*) FROM draws WHERE id IS NOT NULL")
        self.rejects = self._number("SELECT count(*) FROM draws WHERE id IS NULL")
        self.rejects += sum(1 for _ in self._gated_out())

    def _open(self, spec: BuildSpec) -> list[str]:
        """Open the file, and begin it where it is empty. Return in what it differs from `spec`."""
        with self._translated_errors():
            self._data = sqlite3.connect(f"file:{quote(str(self._path))}?vfs=unix-none", uri=True)
            self._data.execute("PRAGMA journal_mode = TRUNCATE")
            self._data.execute("PRAGMA synchronous = NORMAL")
            if self._data.execute("SELECT 1 FROM sqlite_master WHERE type IN ('view', 'trigger')").fetchone():
                raise self._damaged("it has views or triggers")  # which could run without end
            if not self._data.execute("SELECT 1 FROM sqlite_master").fetchone():
                self._data.executescript(f"BEGIN; {_TABLES} COMMIT;")
            recorded = self._data.execute("SELECT json FROM spec").fetchone()
            if recorded is not None:
                return differences(self._loaded(recorded[0]), spec)
            self._data.execute("INSERT INTO spec VALUES (?)", (json.dumps(spec),))
            return []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._translated_errors():
                self._data.commit()
        except OSError:
            if error is None:
                raise
        finally:
            self._data.close()

    def discard(self) -> None:
        """Delete the journal of a build that cannot succeed, so that another recipe can be tried in its place."""
        self._data.close()
        self._path.unlink()
        self._data = sqlite3.connect(":memory:")

    def add_gates(self, video: int, gates: Gates) -> None:
        """Record what the gates of every category measured of a video."""
        rejects = [rejected(gates[category]) for category in self._categories]
        self.rejects += sum(reject is not None for reject in rejects)
        row = (
            video,
            json.dumps([reject and astuple(reject) for reject in rejects]),
            gate_table.pack(gates[category] for category in self._categories),
        )
        with self._translated_errors():
            self._data.execute("INSERT INTO gates VALUES (?, ?, ?)", row)
        self._commit_now_and_then()

    def gates(self) -> Iterator[tuple[int, dict[str, Rejection | None]]]:
        """Yield the videos whose gates are known, in their order, each with what rejects it from every category."""
        for video, rejects in self._rows("SELECT video, rejects FROM gates ORDER BY video"):
            with self._sound_records():
                rejections = [
                    reject and Rejection(*_REJECTION.validate_python(reject)) for reject in parse_json(rejects)
                ]
                gates = dict(zip(self._categories, rejections, strict=True))
            yield video, gates

    def measures(self) -> Iterator[tuple[int, Gates]]:
        """Yield the same videos, each with what the gates of every category measured."""
        for video, packed in self._rows("SELECT video, measures FROM gates ORDER BY video"):
            with self._sound_records():
                measures = dict(zip(self._categories, gate_table.unpack(packed), strict=True))
            yield video, measures

    def add_draws(self, round_number: int, results: Iterable[GeneratedRow | RejectedDraw]) -> None:
        """Record draws of a round, see `videossr.builder.allocation.Selection`."""
        for result in results:
            job = result.job
            draw: dict[str, Any] = {
                "video": job.video,
                "category": self._numbers[job.category],
                "attempt": job.attempt,
                "round": round_number,
            }
            if isinstance(result, GeneratedRow):
                others = json.dumps(result.others) if result.others else None
                draw |= {"id": bytes.fromhex(result.id), "others": others, "row": result.row}
                statement = _INSERT_SAMPLE
                self.samples += 1
            else:
                draw |= asdict(result.reject)
                statement = _INSERT_REJECTED_DRAW
                self.rejects += 1
            with self._translated_errors():
                self._data.execute(statement, draw)
        self._commit_now_and_then()

    def missing(self, shares: Iterable[Share], size: int) -> Iterator[list[Job]]:
        """Yield the draws of `shares` that are not recorded, at most `size` together, all of one video."""
        batch: list[Job] = []
        for share in shares:
            for start in range(share.start, share.stop, size):
                stop = min(start + size, share.stop)
                known = self._known(share.video, share.category, start, stop)
                for attempt in range(start, stop):
                    if attempt in known:
                        continue
                    if batch and (len(batch) == size or batch[0].video != share.video):
                        yield batch
                        batch = []
                    batch.append(Job(share.video, share.category, attempt))
        if batch:
            yield batch

    def _known(self, video: int, category: str, start: int, stop: int) -> set[int]:
        query = "SELECT attempt FROM draws WHERE video = ? AND category = ? AND attempt >= ? AND attempt < ?"
        return {attempt for (attempt,) in self._rows(query, (video, self._numbers[category], start, stop))}

    def counts_after(self, round_number: int) -> Mapping[str, int] | None:
        """Return how many samples each category had at the end of a round; None when it has not ended."""
        for (filled,) in self._rows("SELECT filled FROM rounds WHERE round = ?", (round_number,)):
            with self._sound_records():
                return _COUNTS.validate_python(parse_json(filled))
        return None

    def end_round(self, round_number: int) -> Mapping[str, int]:
        """Reject every sample that was drawn before, and return how many each category has now."""
        with self._translated_errors():
            duplicates = self._data.execute(_DROP_DUPLICATES).rowcount
            self.samples -= duplicates
            self.rejects += duplicates
            filled = self.counts()
            self._data.execute("INSERT INTO rounds VALUES (?, ?)", (round_number, json.dumps(filled)))
            self._data.commit()
        return filled

    def counts(self) -> dict[str, int]:
        """Return how many samples each category has now."""
        query = "SELECT category, count(*) FROM draws WHERE id IS NOT NULL GROUP BY category"
        with self._sound_records():
            return {self._categories[category]: count for category, count in self._rows(query)}

    def rejection_records(self) -> Iterator[RejectionRecord]:
        """Yield the rejections by gates, then those of draws, each in the order of the videos."""
        yield from self._gated_out()
        query = (
            "SELECT video, category, attempt, reason, value, threshold FROM draws WHERE id IS NULL "
            "ORDER BY video, category, attempt"
        )
        for video, category, attempt, *reject in self._rows(query):
            with self._sound_records():
                record = RejectionRecord(
                    video, self._categories[category], attempt, Rejection(*_REJECTION.validate_python(reject))
                )
            yield record

    def _gated_out(self) -> Iterator[RejectionRecord]:
        for video, gates in self.gates():
            for category, reject in gates.items():
                if reject is not None:
                    yield RejectionRecord(video, category, None, reject)

    def rows(self, after: str = "") -> Iterator[Row]:
        """Return the rows of the samples whose ids follow `after`, by id."""
        query = "SELECT row FROM draws WHERE id > ? ORDER BY id"
        for (packed,) in self._rows(query, (bytes.fromhex(after),)):
            with self._sound_records():
                row = unpack_row(packed)
            yield row

    def uses(self, videos: int) -> Uses:
        """Count how often each of the first `videos` videos is used."""
        uses = Uses(array("I", bytes(4 * videos)), array("I", bytes(4 * videos)))
        for video, others in self._rows("SELECT video, others FROM draws NOT INDEXED WHERE id IS NOT NULL"):
            with self._sound_records():
                uses.serves[video] += 1
                uses.shown[video] += 1
                for other in parse_json(others) if others else ():
                    uses.shown[other] += 1
        return uses

    def add_file(self, name: str, digest: str, last: str) -> None:
        """Record that a file of samples is written, with its SHA-256 and the id of its last sample."""
        with self._translated_errors():
            self._data.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (name, digest, last))
            self._data.commit()

    def files(self) -> list[tuple[str, str, str]]:
        """Return what `add_file` recorded, by name."""
        return list(self._rows("SELECT name, hash, last FROM files ORDER BY name"))

    def check_videos(self, videos: int) -> None:
        """Raise DataError where the journal is about a video beyond the first `videos`."""
        for table in ("gates", "draws"):
            first, last = next(self._rows(f"SELECT min(video), max(video) FROM {table}"))
            if first is not None and not all(isinstance(at, int) and 0 <= at < videos for at in (first, last)):
                raise self._damaged("it is about videos that the corpus does not have")

    @contextlib.contextmanager
    def _sound_records(self) -> Iterator[None]:
        """Raise DataError that says what to do where a record has another form than this class wrote."""
        try:
            yield
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            raise self._damaged(f"a record has another form ({type(error).__name__})") from error

    def _loaded(self, spec: str) -> dict[str, Any]:
        """Return the spec that the journal was begun with. Raises DataError when it is damaged."""
        with contextlib.suppress(ValueError, TypeError):
            if isinstance(table := parse_json(spec), dict):
                return table
        self._data.close()
        raise self._damaged("it does not say what it is of")

    def _damaged(self, what: object) -> ValueError:
        return DataError(
            f"{self._path}: {what}; delete it, or give --rebuild, and {self._output.path} is built from the start"
        )

    def _number(self, query: str) -> int:
        (number,) = next(self._rows(query))
        return int(number)

    def _rows(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        with self._translated_errors():
            yield from self._data.execute(query, values)

    def _commit_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._committed >= COMMIT:
            self._committed = now
            with self._translated_errors():
                self._data.commit()

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Raise errors of SQLite as OSError or DataError that says what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, "no space left", str(self._path)) from error
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # as for a table or column that is not there
                raise self._damaged(error) from error
            raise OSError(f"{self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error
