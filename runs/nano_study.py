"""What came out of `runs/nano_study.sh`: its figures as JSON and Markdown, and its curves.

    python runs/nano_study.py best FOLDER smooth       the best rate and KL of a reward, on seed 0
    python runs/nano_study.py plot FOLDER OUT.svg      also prints the tables and writes OUT.json
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean

from videossr.bench.runs import read_run
from videossr.rewards import scorer


def main(verb: str, folder: Path, word: str) -> None:
    """Does what the command line says."""
    if verb == "best":
        print(best(folder, word))
    else:
        raise SystemExit(f"{verb}: say best or plot")


def best(folder: Path, reward: str) -> str:
    """RATE-KL of the run of seed 0 that scores best on held-out videos, by the smooth reward for both rewards."""
    runs = {path.name: held_out(path)["smooth"] for path in (folder / "held-out").glob(f"{reward}-*-0")}
    name = max(sorted(runs), key=lambda run: mean(runs[run].values()))
    return name.removeprefix(f"{reward}-").removesuffix("-0")


def held_out(path: Path) -> dict[str, dict[str, float]]:
    """Mean smooth, strict and parsed of each column of a run."""
    scores = defaultdict(list)
    for each in read_run(path).predictions:
        scores[each.column].append(scorer(each.data_source)(each.texts[0], each.answer))
    return {
        kind: {column: mean(getattr(one, kind) for one in all_) for column, all_ in sorted(scores.items())}
        for kind in ("smooth", "strict", "parsed")
    }


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
