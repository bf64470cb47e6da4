"""Measure how long one process takes to choose the draws of a million samples, before the others can work.

python -m benchmarks.selection
"""

from __future__ import annotations

import resource
import time

import numpy as np

from videossr.builder.allocation import Selection

SAMPLES = 1_000_000
CATEGORIES = 19
ADMITTED = 0.8
"""Share of the videos that pass the gate of a category."""


def measure(videos: int) -> str:
    """Choose draws, read the chosen ones, and print a row of the table."""
    rng = np.random.default_rng(0)
    admitted = {
        f"{number:02}": bytearray((rng.random(videos) < ADMITTED).astype(np.uint8).tobytes())
        for number in range(CATEGORIES)
    }
    start = time.process_time()
    selection = Selection(admitted, dict.fromkeys(admitted, SAMPLES // CATEGORIES), SAMPLES)
    chosen = selection.choose({})
    shares = sum(1 for _ in selection.shares())
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {videos:,} | {chosen:,} | {shares:,} | {seconds:.1f} | {peak:.0f} |"


if __name__ == "__main__":
    print("| videos | draws | shares | CPU-seconds | MiB at the peak, so far |\n|---|---|---|---|---|")
    for count in (16, 3000, 300_000):
        print(measure(count), flush=True)
