"""The page of training runs: one self-contained HTML file.

videossr report RUN... --out report.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from markupsafe import Markup

from videossr.report import plots
from videossr.report.benchmark.examples import FOLDED, Failure
from videossr.report.benchmark.table import short
from videossr.report.page import flatten, plain_text, write_page
from videossr.report.training.examples import training_samples
from videossr.report.training.figures import (
    FIGURES,
    NamedRun,
    Value,
    ends,
    last_tenth,
    logprob_mismatch,
    named,
    of_all,
    peak,
)
from videossr.report.training.verdict import constant_of, verdict
from videossr.training import config
from videossr.training.config import TrainConfig
from videossr.training.runs.records import PHASES, Rollouts, Step, TrainRun

PARTS = (*PHASES, "rest")
"""What the time of a step is made of; `rest` is what no phase has counted."""

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class _Chart:
    """A chart of the page: what it shows, and how."""

    name: str
    value: Value
    percent: bool = False
    log: bool = False


LOSS = _Chart("loss", lambda step: step.loss)

MAIN = (
    _Chart("smooth reward, %", of_all("smooth"), percent=True),
    _Chart("strict reward, %", of_all("strict"), percent=True),
    _Chart("groups of equal rewards, %", of_all("zero_variance"), percent=True),
    _Chart("answers not of the asked form, %", lambda step: 1 - step.all.parsed if step.all else None, percent=True),
)
"""What a run of GRPO is judged by."""

MORE: Mapping[str, tuple[_Chart, ...]] = {
    "Groups and answers": (
        _Chart("groups of noise, %", of_all("noise"), percent=True),
        _Chart("different answers a group", of_all("distinct")),
        _Chart("tokens an answer", of_all("tokens")),
        _Chart("answers cut off, %", of_all("truncated"), percent=True),
        _Chart("entropy, nats a token", of_all("entropy")),
        _Chart("groups a step", of_all("groups")),
    ),
    "Updates": (
        _Chart("KL to the reference, nats a token", of_all("kl")),
        _Chart("norm of the gradient", lambda step: step.grad_norm),
        _Chart("learning rate", lambda step: step.lr),
        _Chart("weights changed, %", lambda step: step.changed, percent=True),
        _Chart("gap between sampling and loss, nats", lambda step: step.gap, log=True),
    ),
    "Speed": (
        _Chart("prompts a second", lambda step: step.prompts_per_second),
        _Chart("MFU, %", lambda step: step.mfu, percent=True),
        _Chart("seconds a step", lambda step: step.wall),
    ),
}


def charts_of(steps: Sequence[Sequence[Step]]) -> tuple[tuple[_Chart, ...], Mapping[str, tuple[_Chart, ...]]]:
    """The charts that the page shows large, and those that it folds. The loss of GRPO tells nothing of its success."""
    if any(step.all is None for own in steps for step in own):
        return (*MAIN, LOSS), MORE
    return MAIN, {**MORE, "Updates": (LOSS, *MORE["Updates"])}


@dataclass(frozen=True, slots=True)
class _Setting:
    """A value of the configuration: its name, the default, and that of each run."""

    name: str
    default: str
    values: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return any(value != self.default for value in self.values)

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


@dataclass(frozen=True, slots=True)
class _Time:
    """Where a run's time went: the mean seconds of each part of a step, the share of it, and a chart."""

    seconds: tuple[float, ...]
    shares: tuple[float, ...]
    chart: Markup


def write_training(runs: Sequence[TrainRun], out: Path, most: int = 2) -> None:
    """Write the page of training runs, finished or not.

    Args:
        runs: what `read_train_run` found.
        out: the HTML file.
        most: sample questions of each step that is shown, of each run.
    """
    found = named(runs)
    steps = [each.run.steps for each in found]
    tasks = _names(step.tasks for own in steps for step in own)
    categories = _names(step.categories for own in steps for step in own)
    main, more = charts_of(steps)
    constants = [constant_of(each.run) for each in found]
    levels = [constant.over(own) for constant, own in zip(constants, steps, strict=True)]
    write_page(
        "training.html.jinja",
        out,
        ["benchmark.css", "training.css"],
        ["benchmark.js"],
        title="Training report",
        facts={"runs": str(len(runs)), "steps": ", ".join(f"{len(own):,}" for own in steps)},
        runs=found,
        marks=[plots.RunMark(each.name, number) for number, each in enumerate(found)],
        figures=FIGURES,
        ends=[[ends(own, figure.value) for figure in FIGURES] for own in steps],
        gaps=[logprob_mismatch(own) for own in steps],
        memory=[peak(own) for own in steps],
        run_facts=[_facts(each) for each in found],
        verdicts=[verdict(each, constant) for each, constant in zip(found, constants, strict=True)],
        main=_charts(main, steps, {"smooth reward, %": levels}, large=True),
        rewarded=any(step.all is not None for own in steps for step in own),
        levels=any(level is not None for level in levels),
        more={name: drawn for name, charts in more.items() if (drawn := _charts(charts, steps))},
        task_charts={task: _task_charts(task, steps) for task in tasks},
        category_charts=[
            (
                short(name),
                name.partition("/")[0],
                _chart(_Chart(f"{name}: smooth reward, %", _of("categories", name, "smooth"), percent=True), steps),
            )
            for name in categories
        ],
        means=[
            (kind, plain_text(name, 60), [last_tenth(own, _group(kind, name)) for own in steps])
            for kind, names in (("tasks", tasks), ("categories", categories))
            for name in names
        ],
        parts=PARTS,
        times=[_time(each) if each.run.steps else None for each in found],
        config=_config([each.run.config for each in found]),
        failures=[_failures(each.run) for each in found],
        samples=training_samples(found, most) if most else (),
        folded=FOLDED,
    )


def _names(groups: object) -> list[str]:
    return sorted({name for names in groups for name in names})  # type: ignore[attr-defined]


def _group(kind: str, name: str) -> Callable[[Step], Rollouts | None]:
    return lambda step: getattr(step, kind).get(name)


def _of(kind: str, name: str, figure: str) -> Value:
    """A figure of a task or category."""
    group = _group(kind, name)
    return lambda step: None if (found := group(step)) is None else float(getattr(found, figure))


def _charts(
    charts: Sequence[_Chart],
    steps: Sequence[Sequence[Step]],
    levels: Mapping[str, Sequence[float | None]] = MappingProxyType({}),
    large: bool = False,
) -> list[tuple[str, Markup]]:
    """Those for which any run has a value, with the levels that they are held against, by name."""
    return [
        (chart.name, _chart(chart, steps, levels.get(chart.name, ()), large))
        for chart in charts
        if any(chart.value(step) is not None for own in steps for step in own)
    ]


def _chart(
    chart: _Chart, steps: Sequence[Sequence[Step]], levels: Sequence[float | None] = (), large: bool = False
) -> Markup:
    curves = [[(step.step, value) for step in own if (value := chart.value(step)) is not None] for own in steps]
    label = plain_text(chart.name, 80)
    return plots.curve_chart(curves, label, percent=chart.percent, log=chart.log, large=large, levels=levels)


def _task_charts(task: str, steps: Sequence[Sequence[Step]]) -> list[tuple[str, Markup]]:
    names = {"smooth": "smooth reward, %", "strict": "strict reward, %", "zero_variance": "groups of equal rewards, %"}
    return [
        (name, _chart(_Chart(f"{task}: {name}", _of("tasks", task, figure), percent=True), steps))
        for figure, name in names.items()
    ]


def _time(each: NamedRun) -> _Time:
    steps = each.run.steps
    parts = [[step.seconds.get(phase, 0.0) for step in steps] for phase in PHASES]
    parts.append([max(0.0, step.wall - sum(step.seconds.values())) for step in steps])
    seconds = tuple(sum(part) / len(steps) for part in parts)
    label = f"Seconds of a step of {each.name} by what they went to"
    chart = plots.stack_chart([step.step for step in steps], parts, label, "seconds")
    return _Time(seconds, tuple(second / (sum(seconds) or 1.0) for second in seconds), chart)


_OTHER_MEMORY = ("GiB used", "GiB planned")
"""Facts that the page leaves out: it shows the peak of the steps, of which these are the largest and the plan."""


def _facts(each: NamedRun) -> dict[str, str]:
    """What a run is, and what it took."""
    run, steps = each.run, each.run.steps
    wall = sum(step.wall for step in steps)
    facts = {
        "model": run.config.model.path,
        "data": run.config.data.path,
        "method": run.config.run.method + (f", LoRA of rank {lora.rank}" if (lora := run.config.model.lora) else ""),
        "epochs": f"{steps[-1].epoch:.2f}" if steps else "",
        "steps took": f"{wall:,.0f} s",
        "not made": f"{sum(bool(step.skipped) for step in steps):,} of {len(steps):,} steps",
        "questions that failed": f"{sum(step.failed for step in steps):,}",
    }
    if manifest := run.manifest:
        facts |= {"took": f"{manifest.seconds:,.0f} s", "questions": manifest.hash[:12]}
        facts |= flatten({name: value for name, value in manifest.describe.items() if name not in _OTHER_MEMORY})
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    return {plain_text(name, 60): plain_text(text, 400) for name, text in facts.items() if text}


def _config(configs: Sequence[TrainConfig]) -> list[_Setting]:
    """All values of the configurations; those that are not the default first."""
    default, *tables = (flatten(config.as_table(each)) for each in (TrainConfig(), *configs))
    names = dict.fromkeys(name for table in (*tables, default) for name in table)
    settings = [
        _Setting(
            plain_text(name, 60),
            plain_text(default.get(name, "–"), 200),  # noqa: RUF001
            tuple(plain_text(table.get(name, "–"), 200) for table in tables),  # noqa: RUF001
        )
        for name in names
    ]
    return sorted(settings, key=lambda setting: not setting.changed)


def _failures(run: TrainRun) -> list[Failure]:
    """Questions that could not be shown, and steps that were not made, by reason; the most frequent first."""
    reasons: dict[str, list[str]] = {}
    for failure in run.failures:
        reasons.setdefault(plain_text(failure.error, 300), []).append(f"step {failure.step}, question {failure.index}")
    for step in run.steps:
        if step.skipped:
            reasons.setdefault(plain_text(f"no step was made: {step.skipped}", 300), []).append(f"step {step.step}")
    found = [
        Failure(reason, len(where), tuple((each, 1) for each in where[:_EXAMPLES])) for reason, where in reasons.items()
    ]
    return sorted(found, key=lambda failure: -failure.count)
