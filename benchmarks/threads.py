"""Compare the command's choice of threads with one thread and with the libraries' own, alone and on a busy machine.

    python -m videossr.models.tiny demo/tiny
    python -m benchmarks.threads demo/viubench demo/dataset --model demo/tiny --out /tmp/threads

Each job runs once with each choice before any runs again, so that other work on the machine affects all alike.
Times are of whole processes. A ratio above 1 means that the command's choice is slower.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

CHOICES: dict[str, dict[str, str]] = {
    "videossr's choice": {},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "libraries' own": {"OMP_NUM_THREADS": str(os.cpu_count()), "OMP_WAIT_POLICY": "ACTIVE"},
    "all, passive": {"OMP_NUM_THREADS": str(os.cpu_count()), "OMP_WAIT_POLICY": "PASSIVE"},
}
SPIN = "while True: pass"


def run_job(job: list[str], out: Path, environment: dict[str, str]) -> float:
    """Return the seconds that a command of videossr takes with these variables set."""
    shutil.rmtree(out, ignore_errors=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "OPENCV_"))}
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "videossr.cli", *job, "--out", str(out)],
        env=clean | environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - begun


def main() -> None:
    """Time every job with every choice and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", help="a benchmark or dataset that is asked")
    parser.add_argument("dataset", help="a dataset that is trained on")
    parser.add_argument("--model", required=True, help="checkpoint")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=18, help="questions that are asked")
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 2], help="spinning processes beside the job")
    chosen = parser.parse_args()
    jobs = {
        "bench run": ["bench", "run", chosen.bench, "--model", f"hf:{chosen.model}", "--limit", str(chosen.limit)],
        "train, 3 steps": [
            *("train", "train-nano", f"--model.path={chosen.model}", f"--data.path={chosen.dataset}"),
            *("--run.batch=2", "--run.steps=3"),
        ],
    }
    for busy in chosen.busy:
        spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(busy)]
        try:
            for name, job in jobs.items():
                seconds: dict[str, list[float]] = defaultdict(list)
                for _ in range(chosen.rounds):
                    for choice, environment in CHOICES.items():
                        seconds[choice].append(run_job(job, chosen.out / "run", environment))
                ours = statistics.median(seconds["videossr's choice"])
                print(f"{name}, {busy} busy processes beside it")
                for choice, durations in seconds.items():
                    median = statistics.median(durations)
                    print(f"  {choice:18} {median:6.1f} s  ratio {ours / median:.2f}")
                sys.stdout.flush()
        finally:
            for process in spinning:
                process.kill()


if __name__ == "__main__":
    main()
