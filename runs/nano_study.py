"""What came out of `runs/nano_study.sh`: its best settings, its tables and its curves.

python runs/nano_study.py best FOLDER smooth       the best rate and KL of a reward in the grid
python runs/nano_study.py plot FOLDER OUT.svg      prints the tables as Markdown, draws the curves
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from videossr.bench.runs import read_run
from videossr.rewards import scorer
from videossr.train.runs import Rollouts, read_train_run

LAST = 10
"""Steps at the end of a run over which its figures are averaged."""

ALONE = "grounding/zoom_out"
ARMS = ("start", "smooth", "crossed", "strict", "alone")
COLORS = {"smooth": "#1f6fb4", "strict": "#c8402f", "alone": "#3a8f4d", "start": "#777777", "crossed": "#7b5bb5"}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """Means of a run over held-out questions, by column: of the rewards, and of the answers that have the form."""

    smooth: dict[str, float]
    strict: dict[str, float]
    parsed: dict[str, float]


def main(verb: str, folder: Path, word: str) -> None:
    """Does what the command line says."""
    if verb == "best":
        sys.stdout.write(f"{best(folder, word)}\n")
    elif verb == "plot":
        sys.stdout.writelines(f"{line}\n" for line in (*grid_table(folder), "", *seeds_table(folder)))
        draw(folder, Path(word))
    else:
        raise SystemExit(f"{verb}: say best or plot")


def best(folder: Path, reward: str) -> str:
    """RATE-KL of the grid's run that scores best on held-out videos: by the smooth reward, for both rewards."""
    name = max(names(folder, f"grid-{reward}"), key=lambda run: average(held_out(folder, run).smooth))
    return name.removeprefix(f"grid-{reward}-")


def names(folder: Path, arm: str) -> list[str]:
    """The runs of an arm that were asked the held-out questions to the end."""
    return sorted(path.parent.name for path in (folder / "held-out").glob(f"{arm}-*/manifest.json"))


def arms(folder: Path) -> list[str]:
    """Those that have a run so far."""
    return [arm for arm in ARMS if names(folder, arm)]


def held_out(folder: Path, run: str) -> HeldOut:
    """Reads what a run answered."""
    scores = defaultdict(list)
    for each in read_run(folder / "held-out" / run).predictions:
        scores[each.column].append(scorer(each.data_source)(each.texts[0], each.answer))
    columns = sorted(scores.items())
    return HeldOut(
        {column: mean(each.smooth for each in all_) for column, all_ in columns},
        {column: mean(each.strict for each in all_) for column, all_ in columns},
        {column: mean(each.parsed for each in all_) for column, all_ in columns},
    )


def curve(folder: Path, run: str, value: str, column: str | None = None) -> Floats:
    """A figure of each step of a run, over all columns or of one; not a number where a batch had none of it."""

    def of(step: Rollouts | None) -> float:
        return float("nan") if step is None else float(getattr(step, value))

    steps = read_train_run(folder / "runs" / run).steps
    return np.array([of(step.columns.get(column) if column else step.all) for step in steps])


def grid_table(folder: Path) -> Iterator[str]:
    """The grid, on seed 0: what its runs reach, and in what state they end."""
    yield "| reward | rate | KL | held-out smooth | strict | parsed | sampled smooth | entropy | zero variance |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for run in ("start-0", *names(folder, "grid")):
        told = held_out(folder, run)
        values = [average(each) for each in (told.smooth, told.strict, told.parsed)]
        if run == "start-0":
            yield f"| (its start) | | | {' | '.join(f'{each:.3f}' for each in values)} | | | |"
            continue
        values += [mean(curve(folder, run, name)[-LAST:]) for name in ("smooth", "entropy", "zero_variance")]
        _, reward, setting = run.split("-", 2)
        rate, kl = setting.rsplit("-", 1)
        yield f"| {reward} | {rate} | {kl} | {' | '.join(f'{each:.3f}' for each in values)} |"


def seeds_table(folder: Path) -> Iterator[str]:
    """Held-out smooth scores by column: of what does not look, of the starts, and of each arm at its best."""
    constant, chance = (held_out(folder, name).smooth for name in ("constant", "chance"))
    columns = sorted(constant)
    yield f"| | seeds | {' | '.join(columns)} | mean | over its start | over the constant |"
    yield f"|{' --- |' * (len(columns) + 5)}"
    for name, table in (("chance", chance), ("best constant answer", constant)):
        yield f"| {name} | | {' | '.join(f'{table[column]:.3f}' for column in columns)} | {average(table):.3f} | | |"
    for arm in arms(folder):
        runs = names(folder, arm)
        ends = [held_out(folder, run).smooth for run in runs]
        starts = [held_out(folder, f"start-{run[-1]}").smooth for run in runs]
        cells = [spread([end[column] for end in ends]) for column in columns]
        cells.append(spread([average(end) for end in ends]))
        gains = [average(end) - average(start) for end, start in zip(ends, starts, strict=True)]
        cells.append("" if arm == "start" else spread(gains, "+"))
        cells.append(spread([average(end) - average(constant) for end in ends], "+"))
        yield f"| {arm} | {len(runs)} | {' | '.join(cells)} |"


def average(table: dict[str, float]) -> float:
    """Every column counts alike."""
    return mean(table.values())


def spread(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(values):{sign}.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def draw(folder: Path, out: Path) -> None:
    """Rewards and entropy while it learns, and what it scores before and after."""
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "videossr", "font.size": 9}
    figure, (reward, entropy, score) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for arm, label in (("smooth", "smooth"), ("crossed", "smooth, at the strict setting"), ("strict", "strict")):
        runs = names(folder, arm)
        if not runs:
            continue
        for axes, value in ((reward, "smooth"), (entropy, "entropy")):
            lines = np.array([_running(curve(folder, run, value)) for run in runs])
            steps = np.arange(1, lines.shape[1] + 1)
            axes.plot(steps, lines.mean(0), color=COLORS[arm], label=label)
            axes.fill_between(steps, lines.min(0), lines.max(0), color=COLORS[arm], alpha=0.2, linewidth=0)
    reward.set(xlabel="step", ylabel="smooth reward of sampled answers", title="While it learns")
    entropy.set(xlabel="step", ylabel="nats a token", title="Entropy", ylim=(0, None))
    reward.legend(frameon=False)

    shown = arms(folder)
    for place, arm in enumerate(shown):
        for column, mark in ((None, "o"), (ALONE, "^")):
            values = []
            for run in names(folder, arm):
                table = held_out(folder, run).smooth
                values.append(table[column] if column else average(table))
            offset = place + (0.12 if column else -0.12)
            score.plot([offset] * len(values), values, mark, color=COLORS[arm], alpha=0.5)
            score.plot([offset - 0.1, offset + 0.1], [mean(values)] * 2, color=COLORS[arm])
    constant = held_out(folder, "constant").smooth
    score.axhline(average(constant), color="black", linestyle=":", linewidth=1)
    score.axhline(constant[ALONE], color="black", linestyle="--", linewidth=1)
    score.set_xticks(range(len(shown)), shown)
    score.set(ylabel="smooth reward, held-out videos", title=f"● all columns (constant ···)   ▲ {ALONE} (- -)")
    score.title.set_fontsize(8)
    for axes in (reward, entropy, score):
        axes.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


def _running(values: Floats, width: int = 7) -> Floats:
    """The mean over the steps around each."""
    half = width // 2
    return np.array([np.nanmean(values[max(0, at - half) : at + half + 1]) for at in range(len(values))])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
