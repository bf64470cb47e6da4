"""Measure training on one GPU, all parts in one command, the most important first, each with a time limit.

    python -m benchmarks.gpu OUT                # some 12 minutes on an H200; OUT/*.json, OUT/*.txt, OUT/table.md
    python -m benchmarks.gpu OUT --seconds 400  # parts for which no time is left are named and left out
    python -m benchmarks.gpu OUT --parts lora full
    python -m benchmarks.gpu OUT --cpu          # a test of the command with tiny models, on any machine

A part that fails or takes too long does not stop the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LORA = ("model.lora.rank=64", "run.decode_groups=8")
FULL = ("run.decode_groups=8",)


@dataclass(frozen=True)
class Part:
    """One measurement: what it asks of `benchmarks.gpu_step`, and the seconds that it may take."""

    limit: int
    settings: Sequence[str]
    shape: str = "qwen3-vl-8b"
    steps: int = 3
    questions: int = 16


PARTS: Mapping[str, Part] = {
    "lora": Part(100, LORA),
    "full": Part(120, FULL),
    "unshared": Part(90, ("run.share_prefix=false", "run.rows=8"), steps=2, questions=2),
    "lora16": Part(80, (*LORA, "grpo.rollouts=16"), steps=2),
    "full16": Part(100, (*FULL, "grpo.rollouts=16"), steps=2),
    "qwen3.5-4b": Part(100, FULL, shape="qwen3.5-4b", steps=2, questions=8),
    "qwen3.5-9b-lora": Part(110, LORA, shape="qwen3.5-9b", steps=2, questions=8),
}
"""Named parts, in the order in which they are run."""

CPU = ("run.dtype=float32", "run.device=cpu", "optim.moments=float32")
CPU_PARTS: Mapping[str, Part] = {
    "tiny": Part(300, CPU, shape="tiny", steps=1, questions=2),
    "tiny-qwen3.5": Part(300, CPU, shape="tiny-qwen3.5", steps=1, questions=1),
}
"""With --cpu."""


def run_part(name: str, part: Part, folder: Path, limit: float) -> str:
    """Run one part in a process of its own; return a sentence about how it ended."""
    command = [sys.executable, "-m", "benchmarks.gpu_step", "--shape", part.shape, "--steps", str(part.steps)]
    command += ["--questions", str(part.questions), "--json", str(folder / f"{name}.json")]
    for setting in part.settings:
        command += ["--set", setting]
    log = folder / f"{name}.txt"
    with log.open("w", encoding="utf-8") as out:
        try:
            code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, timeout=limit, check=False).returncode
        except subprocess.TimeoutExpired:
            return f"stopped after {limit:.0f} s; the steps that it made are in {log}"
    if code:
        last = (log.read_text("utf-8", "replace").strip().splitlines() or ["no output"])[-1]
        return f"failed, see {log}: {last}"
    return "done"


def table(folder: Path, names: Sequence[str]) -> str:
    """Return the figures of all parts that were measured: of their last step, which is warm."""
    lines = ["| part | s a question | MFU | GiB | plan | gap, nats | split |", "|---|---|---|---|---|---|---|"]
    for name in names:
        path = folder / f"{name}.json"
        if path.is_file():
            facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
            step = facts["steps"][-1]
            split = ", ".join(f"{phase} {seconds:.3f}" for phase, seconds in step["phases"].items())
            lines.append(
                f"| {name} | {step['seconds a question']:.3f} | {step['MFU']:.1%} | {step['GiB']:.1f} | "
                f"{facts['plan GiB']:.1f} | {step['gap']:.2g} | {split} |"
            )
    note = (
        "Figures of each part's last step. GiB is the most that torch allocated; on a CPU, the memory of the process."
    )
    return "\n".join([*lines, "", note])


def main() -> int:
    """Read the command line; return 1 where a part was not measured."""
    parts = {**PARTS, **CPU_PARTS}
    parser = argparse.ArgumentParser(description="Measure training on one GPU.")
    parser.add_argument("out", type=Path, help="folder for the figures; those of parts that are run are replaced")
    parser.add_argument("--parts", nargs="+", choices=list(parts), metavar="PART", help=", ".join(parts))
    parser.add_argument("--seconds", type=float, default=780, help="for all parts together; default: %(default)s")
    parser.add_argument("--cpu", action="store_true", help="tiny models, on any machine")
    chosen = parser.parse_args()
    names = chosen.parts or list(CPU_PARTS if chosen.cpu else PARTS)
    chosen.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + chosen.seconds
    missing = 0
    for name in names:
        part = parts[name]
        (chosen.out / f"{name}.json").unlink(missing_ok=True)
        started = time.monotonic()
        left = until - started
        if left < part.limit / 2:
            ended = f"left out: {max(0.0, left):.0f} s are left, and it may take {part.limit}"
        else:
            ended = run_part(name, part, chosen.out, min(left, part.limit))
        missing += ended != "done"
        print(f"{name}: {ended} ({time.monotonic() - started:.0f} s)", flush=True)
    figures = table(chosen.out, names)
    (chosen.out / "table.md").write_text(figures + "\n", "utf-8")
    print(f"\n{figures}")
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
