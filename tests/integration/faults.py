"""Kill `videossr index` or `videossr build` at random moments, resume, and compare with an undisturbed run.

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
    """Work is lost, done twice, or has another result."""


def command(verb: str, out: str) -> list[str]:
    """Return the words of `videossr index` or `videossr build`; `prepare` makes the folder to run them in."""
    if verb == "index":
        return [*VIDEOSSR, "index", "videos", "--out", out, "--frames", "12", "--max-pixels", "4096", "--workers", "2"]
    return [*VIDEOSSR, "build", "recipe.toml", "--corpus", "corpus", "--out", out, "--workers", "2"]


def begin(words: Sequence[str], root: Path, **faults: object) -> subprocess.Popen[str]:
    """Start a command in a session of its own, so that its processes can be found."""
    path = [str(ROOT / "tests/integration/hooks"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    added = {f"FAULTS_{name.upper()}": str(value) for name, value in faults.items()}
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "COLUMNS": "500", **added}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=root, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a command and return its output.

    Raises:
        FaultError: a process of its session outlives it, or it prints a traceback.
    """
    try:
        output = "".join(process.communicate(timeout=600))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise FaultError("it hangs") from None
    remaining = psutil.wait_procs(session_processes(process.pid), timeout=10)[1]
    if remaining:
        raise FaultError(f"it leaves processes: {remaining}")
    if "Traceback" in output:
        raise FaultError(output)
    return output


def session_processes(leader: int) -> list[psutil.Process]:
    """Return the processes of a session, with its leader."""
    processes = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return processes


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the worker processes of a command."""
    return [one for one in session_processes(process.pid) if "--multiprocessing-fork" in one.cmdline()]


def hash_tree(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file by its relative path, with hidden files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the names that only one tree has, or that have other bytes."""
    return sorted({name for name, _ in one.items() ^ other.items()})


@dataclass
class Harness:
    """An undisturbed run, and the runs that are killed and compared with it."""

    verb: str
    root: Path
    length: float = 0.0
    events: int = 0
    expected: dict[str, str] = field(default_factory=dict)
    kills: int = 0
    completed: int = 0
    phases: Counter[str] = field(default_factory=Counter)

    def measure(self) -> None:
        """Run undisturbed twice: to warm up, and to measure the time and the number of file events."""
        for out in ("first", "undisturbed"):
            started = time.monotonic()
            faults = {"out": out, "count": self.root / "count"}
            output = finish(process := begin(command(self.verb, out), self.root, **faults))
            if process.returncode != 0:
                raise FaultError(output)
            self.length = time.monotonic() - started
        self.events = int((self.root / "count").read_text())
        self.expected = hash_tree(self.root / "undisturbed")
        self._compare("first")

    def kill_repeatedly(self, kills: int, seed: int) -> None:
        """Kill runs so many times, and let the last one complete."""
        moments = stratified(random.Random(seed), kills)
        while self.kills < kills:
            out = f"out{self.completed}"
            while not self._run(out, next(moments) if self.kills < kills else None):
                pass
            self._compare(out)
            self.completed += 1
            shutil.rmtree(self.root / out)

    def _run(self, out: str, moment: float | None) -> bool:
        """Run until the command is killed or completes, and return whether it completed."""
        folder = self.root / out
        kept_files, rows = finished_files(folder), journal_rows(folder)
        log = self.root / "log"
        log.unlink(missing_ok=True)
        target = "command" if moment is None or self.kills % 5 else "worker"
        by_event = target == "command" and self.kills % 2 == 0
        faults: dict[str, object] = {"log": log}
        if moment is not None and by_event:
            faults |= {"out": out, "event": 1 + int(moment * self.events)}
        process = begin(command(self.verb, out), self.root, **faults)
        if moment is not None and not by_event:
            try:
                process.wait(moment * self.length)
            except subprocess.TimeoutExpired:
                self._kill(process, target)
        output = finish(process)
        self._check_nothing_redone(kept_files, folder, log)
        if process.returncode == 0:
            return True
        # After the manifest is written, the journal is removed.
        if not (folder / "manifest.json").exists() and (lost := rows - journal_rows(folder)):
            raise FaultError(f"{len(lost)} rows of the journal are lost")
        if process.returncode == -signal.SIGKILL:
            self.kills += 1
            self.phases[current_phase(folder)] += 1
        elif target != "worker" or "worker processes die as soon as they start" not in output:
            raise FaultError(f"exit status {process.returncode}: {output}")
        return False

    def _kill(self, process: subprocess.Popen[str], target: str) -> None:
        if target == "command":
            process.kill()
        elif workers := workers_of(process):
            workers[0].kill()
            self.kills += 1
            self.phases["in a worker"] += 1

    def _check_nothing_redone(self, kept_files: Mapping[str, tuple[int, ...]], folder: Path, log: Path) -> None:
        """Check that no finished file was written again, and no finished video decoded again."""
        current = {path.name: file_state(path) for path in files_of(folder)}
        if redone := sorted(name for name, before in kept_files.items() if current.get(name, before) != before):
            raise FaultError(f"written again: {redone}")
        decoded = log.read_text().splitlines() if log.exists() else []
        contents = {hashlib.sha256(Path(path).read_bytes()).hexdigest(): path for path in decoded}
        if redone := sorted(contents[content] for content in contents.keys() & kept_files.keys()):
            raise FaultError(f"decoded again: {redone}")

    def _compare(self, out: str) -> None:
        if names := differences(self.expected, hash_tree(self.root / out)):
            raise FaultError(f"{out} differs from an undisturbed run in {', '.join(names)}")


def stratified(rng: random.Random, count: int) -> Iterator[float]:
    """Yield random numbers from 0 to 1 without end; each `count` of them are spread evenly."""
    while True:
        strata = list(range(count))
        rng.shuffle(strata)
        yield from ((stratum + rng.random()) / count for stratum in strata)


def files_of(folder: Path) -> list[Path]:
    """Return finished packs and shards, and decoded videos of unfinished ones, which are named by content hashes."""
    return [*folder.glob("packs/*.pack"), *folder.glob("samples-*.parquet"), *decoded_in(folder)]


def decoded_in(folder: Path) -> list[Path]:
    """Return the files on decoded videos of an unfinished index, without their JPEGs, which are written before."""
    return [path for path in folder.glob(".unfinished/parts/*") if path.suffix != ".jpegs"]


def file_state(path: Path) -> tuple[int, ...]:
    """Return values that change when the file is written again."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def finished_files(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the states of the finished files of a run, by their names.

    The newest file may have been cut off by a kill, and is left out; so is a shard that is not in the journal.
    """
    states = {path.name: file_state(path) for path in files_of(folder)}
    parts = sorted(decoded_in(folder), key=lambda path: path.stat().st_mtime_ns)
    for path in parts[-1:]:
        del states[path.name]
    if (folder / ".unfinished/journal.sqlite").exists():
        entered = {name for (name,) in from_journal(folder, "SELECT name FROM files")}
        states = {name: state for name, state in states.items() if not name.startswith("samples-") or name in entered}
    return states


def journal_rows(folder: Path) -> set[tuple[object, ...]]:
    """Return the gates and draws in the journal of an unfinished build, which refuses to store one twice."""
    return from_journal(folder, "SELECT video FROM gates", "SELECT video, category, attempt FROM draws")


def from_journal(folder: Path, *questions: str) -> set[tuple[object, ...]]:
    """Return all rows of queries to the journal of an unfinished build."""
    rows: set[tuple[object, ...]] = set()
    with tempfile.TemporaryDirectory() as copies:  # opening the journal changes its files
        for file in folder.glob(".unfinished/journal.sqlite*"):
            shutil.copy(file, copies)
        if (copy := Path(copies) / "journal.sqlite").exists():
            with contextlib.closing(sqlite3.connect(copy)) as data, contextlib.suppress(sqlite3.OperationalError):
                for question in questions:
                    rows |= set(data.execute(question))
    return rows


def current_phase(folder: Path) -> str:
    """Return how far a run has come."""
    signs = {
        "after the manifest": "manifest.json",
        "the last files": "*.parquet*",
        "packs": "packs/*.pack",
        "decoding": ".unfinished/parts/*",
        "draws": ".unfinished/journal.sqlite",
    }
    return next((name for name, sign in signs.items() if any(folder.glob(sign))), "the first steps")


def prepare(verb: str, videos: Path, root: Path) -> Harness:
    """Prepare the folder in which the commands run."""
    if videos != root / "videos":
        (root / "videos").symlink_to(videos.resolve())
    if verb == "build":
        (root / "recipe.toml").write_text(RECIPE)
        words = [*VIDEOSSR, "index", "videos", "--out", "corpus", "--workers", "2"]
        output = finish(process := begin(words, root))
        if process.returncode != 0:
            raise FaultError(output)
    return Harness(verb, root)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("index", "build"))
    parser.add_argument("videos", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        harness = prepare(args.verb, args.videos, Path(folder))
        harness.measure()
        harness.kill_repeatedly(args.kills, args.seed)
    sys.stdout.write(
        f"{args.verb}: undisturbed {harness.length:.1f} s, {harness.events} file events, "
        f"{len(harness.expected)} files\n"
        f"{harness.kills} kills ({', '.join(f'{count} {name}' for name, count in harness.phases.items())}); "
        f"{harness.completed} folders completed, all identical; nothing finished was done again; "
        f"{time.monotonic() - started:.0f} s in all\n"
    )


if __name__ == "__main__":
    main()
