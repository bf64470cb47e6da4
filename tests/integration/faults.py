"""Kill `videossr index` or `videossr build` at random moments, go on, and compare with a run that nobody disturbed.

    python -m tests.integration.faults index --kills 30 --seed 1 VIDEOS
    python -m tests.integration.faults build --kills 30 --seed 1 VIDEOS

Every other kill is by the clock, at a moment of the whole run; the others come right before the command opens, renames
or removes its n-th file, so that the short last steps are hit as well. Every fifth time a worker is killed instead.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
VIDEOSSR = (sys.executable, "-c", "from videossr.cli import main; main()")
RECIPE = """name = "kills"
[categories."grounding/mirror"]
task = "grounding"
count = 60
config = { perturbation = "mirror" }
[categories."jigsaw/6"]
task = "jigsaw"
count = 60
[categories."counting/easy"]
task = "counting"
count = 30
"""


class FaultError(AssertionError):
    """Something that was done is lost, or done twice, or other than it should be."""


def command(verb: str, out: str) -> list[str]:
    """`videossr index` or `videossr build` in a folder with `videos`, or with `corpus` and `recipe.toml`."""
    if verb == "index":
        return [*VIDEOSSR, "index", "videos", "--out", out, "--frames", "12", "--max-pixels", "4096", "--workers", "2"]
    return [*VIDEOSSR, "build", "recipe.toml", "--corpus", "corpus", "--out", out, "--workers", "2"]


def begin(words: Sequence[str], where: Path, **faults: object) -> subprocess.Popen[str]:
    """The command in a session of its own, so that its processes can be told from all others."""
    path = [str(ROOT / "tests/integration/hooks"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    added = {f"FAULTS_{name.upper()}": str(value) for name, value in faults.items()}
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "COLUMNS": "500", **added}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=where, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait; what it said. Raises FaultError when a process of its session outlives it, or there is a traceback."""
    try:
        said = "".join(process.communicate(timeout=600))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise FaultError("it hangs") from None
    left = psutil.wait_procs(session(process.pid), timeout=10)[1]
    if left:
        raise FaultError(f"it leaves processes: {left}")
    if "Traceback" in said:
        raise FaultError(said)
    return said


def session(leader: int) -> list[psutil.Process]:
    """The processes of a session, itself included."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Its worker processes."""
    return [one for one in session(process.pid) if "--multiprocessing-fork" in one.cmdline()]


def tree(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file, hidden ones included."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names that only one tree has, or that have other bytes."""
    return sorted({name for name, _ in one.items() ^ other.items()})


@dataclass
class Harness:
    """The undisturbed run, and what the kills came to."""

    verb: str
    where: Path
    length: float = 0.0
    events: int = 0
    expected: dict[str, str] = field(default_factory=dict)
    kills: int = 0
    completed: int = 0
    phases: Counter[str] = field(default_factory=Counter)

    def measure(self) -> None:
        """Run undisturbed, twice: to warm up, then for length and number of file events."""
        for out in ("first", "undisturbed"):
            begun = time.monotonic()
            faults = {"out": out, "count": self.where / "count"}
            said = finish(process := begin(command(self.verb, out), self.where, **faults))
            if process.returncode != 0:
                raise FaultError(said)
            self.length = time.monotonic() - begun
        self.events = int((self.where / "count").read_text())
        self.expected = tree(self.where / "undisturbed")
        self._compare("first")

    def torment(self, kills: int, seed: int) -> None:
        """Kill that many times, and in the end let it complete."""
        moments = spread(random.Random(seed), kills)
        while self.kills < kills:
            out = f"out{self.completed}"
            while not self._run(out, next(moments) if self.kills < kills else None):
                pass
            self._compare(out)
            self.completed += 1
            shutil.rmtree(self.where / out)

    def _run(self, out: str, moment: float | None) -> bool:
        """Run until it is killed or completes, and say whether it completed."""
        folder = self.where / out
        kept, rows = finished(folder), journal_rows(folder)
        log = self.where / "log"
        log.unlink(missing_ok=True)
        whose = "command" if moment is None or self.kills % 5 else "worker"
        by_event = whose == "command" and self.kills % 2 == 0
        faults: dict[str, object] = {"log": log}
        if moment is not None and by_event:
            faults |= {"out": out, "event": 1 + int(moment * self.events)}
        process = begin(command(self.verb, out), self.where, **faults)
        if moment is not None and not by_event:
            try:
                process.wait(moment * self.length)
            except subprocess.TimeoutExpired:
                self._kill(process, whose)
        said = finish(process)
        self._redone(kept, folder, log)
        if process.returncode == 0:
            return True
        # Behind the manifest the journal has served its time.
        if not (folder / "manifest.json").exists() and (lost := rows - journal_rows(folder)):
            raise FaultError(f"{len(lost)} rows of the journal are lost")
        if process.returncode == -signal.SIGKILL:
            self.kills += 1
            self.phases[phase(folder)] += 1
        elif whose != "worker" or "worker processes die as soon as they start" not in said:
            raise FaultError(f"exit status {process.returncode}: {said}")
        return False

    def _kill(self, process: subprocess.Popen[str], whose: str) -> None:
        if whose == "command":
            process.kill()
        elif workers := workers_of(process):
            workers[0].kill()
            self.kills += 1
            self.phases["in a worker"] += 1

    def _redone(self, kept: Mapping[str, tuple[int, ...]], folder: Path, log: Path) -> None:
        """Raises FaultError when what was finished before is written again, or decoded again."""
        now = {path.name: state(path) for path in files_of(folder)}
        if again := sorted(name for name, before in kept.items() if now.get(name, before) != before):
            raise FaultError(f"written again: {again}")
        decoded = log.read_text().splitlines() if log.exists() else []
        contents = {hashlib.sha256(Path(path).read_bytes()).hexdigest(): path for path in decoded}
        if again := sorted(contents[content] for content in contents.keys() & kept.keys()):
            raise FaultError(f"decoded again: {again}")

    def _compare(self, out: str) -> None:
        if found := differences(self.expected, tree(self.where / out)):
            raise FaultError(f"{out} differs from an undisturbed run in {', '.join(found)}")


def spread(rng: random.Random, count: int) -> Iterator[float]:
    """Random numbers from 0 to 1, without end, of which each `count` are spread evenly."""
    while True:
        strata = list(range(count))
        rng.shuffle(strata)
        yield from ((stratum + rng.random()) / count for stratum in strata)


def files_of(folder: Path) -> list[Path]:
    """Finished packs and shards, and what was decoded for unfinished ones, under their content hashes."""
    return [*folder.glob("packs/*.pack"), *folder.glob("samples-*.parquet"), *decoded_in(folder)]


def decoded_in(folder: Path) -> list[Path]:
    """What is known of the videos that an unfinished index has decoded; their JPEGs lie beside it from before."""
    return [path for path in folder.glob(".unfinished/parts/*") if path.suffix != ".jpegs"]


def state(path: Path) -> tuple[int, ...]:
    """Changes when the file is written anew."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def finished(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name -> state of the files of a run. The last ones may have been cut short by a kill, so they do not count.

    Nor does a shard that the kill has kept from being entered in the journal.
    """
    found = {path.name: state(path) for path in files_of(folder)}
    parts = sorted(decoded_in(folder), key=lambda path: path.stat().st_mtime_ns)
    for path in parts[-1:]:
        del found[path.name]
    if (folder / ".unfinished/journal.sqlite").exists():
        entered = {name for (name,) in from_journal(folder, "SELECT name FROM files")}
        found = {name: each for name, each in found.items() if not name.startswith("samples-") or name in entered}
    return found


def journal_rows(folder: Path) -> set[tuple[object, ...]]:
    """The gates and draws that an unfinished build has kept. Were one made twice, the journal would refuse it."""
    return from_journal(folder, "SELECT video FROM gates", "SELECT video, category, attempt FROM draws")


def from_journal(folder: Path, *questions: str) -> set[tuple[object, ...]]:
    """All rows that the journal of an unfinished build answers."""
    rows: set[tuple[object, ...]] = set()
    with tempfile.TemporaryDirectory() as copies:  # to look at it leaves traces
        for file in folder.glob(".unfinished/journal.sqlite*"):
            shutil.copy(file, copies)
        if (copy := Path(copies) / "journal.sqlite").exists():
            with contextlib.closing(sqlite3.connect(copy)) as data, contextlib.suppress(sqlite3.OperationalError):
                for question in questions:
                    rows |= set(data.execute(question))
    return rows


def phase(folder: Path) -> str:
    """How far a run was."""
    signs = {
        "after the manifest": "manifest.json",
        "the last files": "*.parquet*",
        "packs": "packs/*.pack",
        "decoding": ".unfinished/parts/*",
        "draws": ".unfinished/journal.sqlite",
    }
    return next((name for name, sign in signs.items() if any(folder.glob(sign))), "the first steps")


def prepare(verb: str, videos: Path, where: Path) -> Harness:
    """Lay out the folder that the commands run in."""
    if videos != where / "videos":
        (where / "videos").symlink_to(videos.resolve())
    if verb == "build":
        (where / "recipe.toml").write_text(RECIPE)
        words = [*VIDEOSSR, "index", "videos", "--out", "corpus", "--workers", "2"]
        said = finish(process := begin(words, where))
        if process.returncode != 0:
            raise FaultError(said)
    return Harness(verb, where)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("index", "build"))
    parser.add_argument("videos", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        harness = prepare(args.verb, args.videos, Path(folder))
        harness.measure()
        harness.torment(args.kills, args.seed)
    sys.stdout.write(
        f"{args.verb}: undisturbed {harness.length:.1f} s, {harness.events} file events, "
        f"{len(harness.expected)} files\n"
        f"{harness.kills} kills ({', '.join(f'{count} {name}' for name, count in harness.phases.items())}); "
        f"{harness.completed} folders completed, all identical; nothing finished was done again; "
        f"{time.monotonic() - begun:.0f} s in all\n"
    )


if __name__ == "__main__":
    main()
