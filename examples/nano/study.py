"""Evaluate `examples/nano/study.sh`: its best settings, its tables and its curves.

python examples/nano/study.py best FOLDER smooth       the best of a reward in the grid, as smooth-RATE-KL
python examples/nano/study.py plot FOLDER OUT.svg      prints the tables as Markdown, draws the curves
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

from videossr.bench.records import read_run
from videossr.rewards import scorer
from videossr.training.runs.records import Rollouts, read_train_run

LAST = 10
"""Steps at the end of a run over which its figures are averaged."""

ALONE = "grounding/zoom_out"
COLORS = {"smooth": "#1f6fb4", "strict": "#c8402f", "alone": "#3a8f4d", "start": "#777777"}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """Means of a run over held-out questions, by category: both rewards, and the share of parsed answers."""

    smooth: dict[str, float]
    strict: dict[str, float]
    parsed: dict[str, float]


def main(verb: str, folder: Path, word: str) -> None:
    """Run the verb of the command line."""
    if verb == "best":
        sys.stdout.write(f"{best(folder, word)}\n")
    elif verb == "plot":
        sys.stdout.writelines(f"{line}\n" for line in (*grid_table(folder), "", *seeds_table(folder)))
        draw(folder, Path(word))
    else:
        raise SystemExit(f"{verb}: say best or plot")


def best(folder: Path, reward: str) -> str:
    """Return the cell of the grid with the best smooth score on held-out videos, for either reward."""
    return max(cells(folder, reward), key=lambda cell: mean(scores(folder, cell)))


def cells(folder: Path, reward: str) -> list[str]:
    """List the cells REWARD-RATE-KL of the grid."""
    return sorted({run.rpartition("-")[0] for run in names(folder, reward)})


def names(folder: Path, arm: str) -> list[str]:
    """List the runs of an arm that answered all held-out questions."""
    return sorted(path.parent.name for path in (folder / "held-out").glob(f"{arm}-*/manifest.json"))


def scores(folder: Path, arm: str) -> list[float]:
    """Return the held-out scores of an arm's runs, one for each seed."""
    return [average(held_out(folder, run).smooth) for run in names(folder, arm)]


def arms(folder: Path) -> dict[str, str]:
    """Name the arms of the seeds table: the start, each reward at its best, one category alone."""
    return {"start": "start", **{reward: best(folder, reward) for reward in ("smooth", "strict")}, "alone": "alone"}


def held_out(folder: Path, run: str) -> HeldOut:
    """Score the held-out answers of a run."""
    scores = defaultdict(list)
    for prediction in read_run(folder / "held-out" / run).predictions:
        scores[prediction.category].append(scorer(prediction.data_source)(prediction.texts[0], prediction.answer))
    categories = sorted(scores.items())
    return HeldOut(
        {category: mean(prediction.smooth for prediction in members) for category, members in categories},
        {category: mean(prediction.strict for prediction in members) for category, members in categories},
        {category: mean(prediction.parsed for prediction in members) for category, members in categories},
    )


def curve(folder: Path, run: str, value: str, category: str | None = None) -> Floats:
    """Return a figure of each step of a run, over all categories or of one; NaN where a batch had none of it."""

    def of(step: Rollouts | None) -> float:
        return float("nan") if step is None else float(getattr(step, value))

    steps = read_train_run(folder / "runs" / run).steps
    return np.array([of(step.categories.get(category) if category else step.all) for step in steps])


def grid_table(folder: Path) -> Iterator[str]:
    """Yield the table of the grid: held-out scores, and the state of training at the end."""
    yield "| reward | rate | KL | held-out smooth | strict | parsed | sampled smooth | entropy | zero variance |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for cell in ("start", *cells(folder, "smooth"), *cells(folder, "strict")):
        runs = names(folder, cell)
        results = [held_out(folder, run) for run in runs]
        values = [
            spread([average(getattr(result, name)) for result in results]) for name in ("smooth", "strict", "parsed")
        ]
        if cell == "start":
            yield f"| (the starts) | | | {' | '.join(values)} | | | |"
            continue
        ended = ("smooth", "entropy", "zero_variance")
        values += [spread([mean(curve(folder, run, name)[-LAST:]) for run in runs]) for name in ended]
        reward, setting = cell.split("-", 1)
        rate, kl = setting.rsplit("-", 1)
        yield f"| {reward} | {rate} | {kl} | {' | '.join(values)} |"


def seeds_table(folder: Path) -> Iterator[str]:
    """Yield held-out smooth scores by category: of blind baselines, of the starts, and of each arm."""
    constant, chance = (held_out(folder, name).smooth for name in ("constant", "chance"))
    categories = sorted(constant)
    yield f"| | {' | '.join(categories)} | mean | over its start | over the constant |"
    yield f"|{' --- |' * (len(categories) + 4)}"
    for name, table in (("chance", chance), ("best constant answer", constant)):
        cells = " | ".join(f"{table[category]:.3f}" for category in categories)
        yield f"| {name} | {cells} | {average(table):.3f} | | |"
    starts = scores(folder, "start")
    for name, arm in arms(folder).items():
        ends = [held_out(folder, run).smooth for run in names(folder, arm)]
        means = scores(folder, arm)
        values = [spread([end[category] for end in ends]) for category in categories] + [spread(means)]
        gains = [end - start for end, start in zip(means, starts, strict=True)]
        values.append("" if arm == "start" else spread(gains, "+"))
        values.append(spread([end - average(constant) for end in means], "+"))
        yield f"| {name} | {' | '.join(values)} |"
    at_best = (scores(folder, arms(folder)[reward]) for reward in ("smooth", "strict"))
    ahead = [smooth - strict for smooth, strict in zip(*at_best, strict=True)]
    yield ""
    yield f"Smooth over strict, each at its best, by seed: {', '.join(f'{lead:+.3f}' for lead in ahead)}."


def average(table: dict[str, float]) -> float:
    """Average the categories with equal weights."""
    return mean(table.values())


def spread(values: Sequence[float], sign: str = "", digits: int = 3) -> str:
    """Write mean and standard deviation over seeds."""
    return f"{mean(values):{sign}.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def draw(folder: Path, out: Path) -> None:
    """Draw rewards and entropy during training, and scores before and after."""
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "videossr", "font.size": 9}
    figure, (reward, entropy, score) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    named_arms = arms(folder)
    for arm in ("smooth", "strict"):
        runs = names(folder, named_arms[arm])
        for axes, value in ((reward, "smooth"), (entropy, "entropy")):
            lines = np.array([running(curve(folder, run, value)) for run in runs])
            steps = np.arange(1, lines.shape[1] + 1)
            axes.plot(steps, lines.mean(0), color=COLORS[arm], label=named_arms[arm])
            axes.fill_between(steps, lines.min(0), lines.max(0), color=COLORS[arm], alpha=0.2, linewidth=0)
    reward.set(xlabel="step", ylabel="smooth reward of sampled answers", title="While it learns")
    entropy.set(xlabel="step", ylabel="nats a token", title="Entropy", ylim=(0, None))
    reward.legend(frameon=False)

    for place, arm in enumerate(named_arms):
        for category, mark in ((None, "o"), (ALONE, "^")):
            values = []
            for run in names(folder, named_arms[arm]):
                table = held_out(folder, run).smooth
                values.append(table[category] if category else average(table))
            offset = place + (0.12 if category else -0.12)
            score.plot([offset] * len(values), values, mark, color=COLORS[arm], alpha=0.5)
            score.plot([offset - 0.1, offset + 0.1], [mean(values)] * 2, color=COLORS[arm])
    constant = held_out(folder, "constant").smooth
    score.axhline(average(constant), color="black", linestyle=":", linewidth=1)
    score.axhline(constant[ALONE], color="black", linestyle="--", linewidth=1)
    score.set_xticks(range(len(named_arms)), named_arms)
    score.set(ylabel="smooth reward, held-out videos", title=f"● all categories (constant ···)   ▲ {ALONE} (- -)")
    score.title.set_fontsize(8)
    for axes in (reward, entropy, score):
        axes.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


def running(values: Floats, width: int = 7) -> Floats:
    """Average each step with its neighbours."""
    half = width // 2
    return np.array([np.nanmean(values[max(0, at - half) : at + half + 1]) for at in range(len(values))])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
