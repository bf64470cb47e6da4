"""Feed damaged inputs to a reader, in a process with a limit on its memory that may crash or hang.

An input is determined by the seed and its number, so that a finding can be tried again alone.
"""

from __future__ import annotations

import argparse
import faulthandler
import mmap
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np

from tests.fuzz.readers import READERS
from videossr.errors import VideoSSRError
from videossr.video.plan import RejectedError

MEMORY = 1 << 30
"""Bytes that the process may map beyond what it has after reading the sound input."""

SECONDS = 10
"""Seconds that one input may take."""

PATIENCE = 30
"""Seconds without progress after which the process is killed: code in C does not notice a signal."""

ALLOWED = (VideoSSRError, RejectedError, OSError)


@dataclass
class Outcome:
    """What was tried.

    Attributes:
        inputs: number of inputs that were read to their end or refused.
        refused: how many were refused, by the class of the error.
        findings: for each input that ended otherwise, its number and what happened.
    """

    inputs: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


def fuzz(
    name: str, sound: Path, seconds: float, seed: int = 0, *, inputs: int = 2**62, most_findings: int = 20
) -> Outcome:
    """Try damaged inputs of a reader for some time.

    Args:
        name: of the reader in `READERS`.
        sound: folder that `make_inputs` wrote.
        seconds: how long; the input that is read then is finished.
        seed: of the damage.
        inputs: how many are tried at most.
        most_findings: findings after which to stop.
    """
    outcome = Outcome()
    deadline = time.monotonic() + seconds
    first = 0
    while len(outcome.findings) < most_findings:
        crash, first = _run_worker(name, sound, seed, range(first, inputs), deadline, outcome)
        if crash is None:
            break
        outcome.findings.append(crash)
        if time.monotonic() >= deadline:
            break
    return outcome


def _run_worker(
    name: str, sound: Path, seed: int, numbers: range, deadline: float, outcome: Outcome
) -> tuple[str | None, int]:
    """Run a process until the deadline. Return how it crashed, None where it did not, and the number to go on with."""
    first = numbers.start
    counter = sound.parent / f"{name}.counter"
    counter.write_bytes(struct.pack("q", first))
    left = max(0.1, deadline - time.monotonic())
    words = [
        sys.executable,
        "-m",
        "tests.fuzz.harness",
        name,
        str(sound),
        str(seed),
        str(first),
        str(numbers.stop),
        str(left),
    ]
    with (
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(words, stdout=output, stderr=errors) as process,
    ):
        killed = False
        last, since = first, time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            (number,) = struct.unpack("q", counter.read_bytes())
            if number != last:
                last, since = number, time.monotonic()
            elif time.monotonic() - since > PATIENCE + (60 if number == first else 0):
                process.kill()
                killed = True
        output.seek(0)
        for line in output.read().splitlines():
            kind, _, text = line.partition(" ")
            if kind == "refused":
                outcome.refused[text] += 1
            elif kind == "finding":
                outcome.findings.append(text)
        errors.seek(0)
        traceback_text = errors.read()[-1500:]
    (number,) = struct.unpack("q", counter.read_bytes())
    outcome.inputs += number - first
    if process.returncode == 0:
        return None, number
    what = f"hung for {PATIENCE} s" if killed else f"ended with status {process.returncode}: {traceback_text}"
    return f"{number} {what}", number + 1


def _worker(name: str, sound: Path, seed: int, numbers: range, seconds: float) -> None:
    """Read damaged inputs, and print a line for each that is refused or ends otherwise."""
    faulthandler.enable()
    reader = READERS[name]
    folder = sound.parent / f"{name}-work" / name
    shutil.rmtree(folder.parent, ignore_errors=True)
    shutil.copytree(sound / name, folder)
    reader.read(folder)
    with Path("/proc/self/statm").open() as statm:
        mapped = int(statm.read().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
    signal.signal(signal.SIGALRM, _too_slow)
    targets = sorted({path for pattern in reader.files for path in (sound / name).glob(pattern) if path.is_file()})
    deadline = time.monotonic() + seconds
    with (sound.parent / f"{name}.counter").open("r+b") as counter:
        for number in numbers:
            if time.monotonic() >= deadline:
                break
            rng = np.random.default_rng([seed, number])
            target = targets[int(rng.integers(len(targets)))]
            data = target.read_bytes()
            damaged = folder / target.relative_to(sound / name)
            damaged.write_bytes(reader.damage(data, rng))
            signal.alarm(SECONDS)
            try:
                reader.read(folder)
            except ALLOWED as error:
                sys.stdout.write(f"refused {type(error).__name__}\n")
            except BaseException as error:
                (step,) = traceback.extract_tb(error.__traceback__)[-1:]
                where = f"{Path(step.filename).name}:{step.lineno}"
                text = f"{number} {target.name} {where} {type(error).__name__} {error}"[:400].encode("unicode_escape")
                sys.stdout.write(f"finding {text.decode()}\n")
            signal.alarm(0)
            damaged.write_bytes(data)
            counter.seek(0)
            counter.write(struct.pack("q", number + 1))
            counter.flush()


def _too_slow(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutExceeded


class TimeoutExceeded(BaseException):
    """An input took longer than `SECONDS`."""


def main(words: Sequence[str] | None = None) -> None:
    """Run a worker; `fuzz` starts it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name", choices=READERS)
    parser.add_argument("sound", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("first", type=int)
    parser.add_argument("stop", type=int)
    parser.add_argument("seconds", type=float)
    arguments = parser.parse_args(words)
    numbers = range(arguments.first, arguments.stop)
    _worker(arguments.name, arguments.sound, arguments.seed, numbers, arguments.seconds)


if __name__ == "__main__":
    main()
