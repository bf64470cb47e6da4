"""Write the page of training runs, one self-contained HTML file: `videossr report RUN... --out report.html`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from markupsafe import Markup

from videossr.report import plots
from videossr.report.benchmark.examples import FOLDED, Failure
from videossr.report.benchmark.table import short
from videossr.report.page import table_facts, write_page
from videossr.report.training.examples import training_samples
from videossr.report.training.figures import (
    FIGURES,
    NamedRun,
    Value,
    ends,
    figure_of,
    last_tenth,
    logprob_mismatch,
    named,
    of_all,
    peak,
)
from videossr.report.training.verdict import constant_of, verdict
from videossr.training import config
from videossr.training.config import TrainConfig
from videossr.training.runs.records import PHASES, VERL_PHASES, Rollouts, Step, TrainRun
from videossr.untrusted import plain_text

PARTS: Mapping[str, tuple[str, ...]] = {"videossr": (*PHASES, "rest"), "verl": (*VERL_PHASES, "rest")}
"""Parts of the time of a step, for each engine; `rest` is the time outside of all phases."""

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class _Chart:
    """A chart of the page: its name, the figure that it shows, and its scale."""

    name: str
    value: Value
    percent: bool = False
    log: bool = False


LOSS = _Chart("loss", lambda step: step.loss)

MAIN = (
    _Chart("smooth reward, %", of_all("smooth"), percent=True),
    _Chart("strict reward, %", of_all("strict"), percent=True),
    _Chart("groups with equal rewards, %", of_all("zero_variance"), percent=True),
    _Chart("answers that cannot be parsed, %", lambda step: 1 - step.all.parsed if step.all else None, percent=True),
)
"""The large charts of a run of GRPO."""

MORE: Mapping[str, tuple[_Chart, ...]] = {
    "Groups and answers": (
        _Chart("uninformative groups, %", of_all("noise"), percent=True),
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
        _Chart("log-probability mismatch, nats", lambda step: step.gap, log=True),
    ),
    "Speed": (
        _Chart("prompts a second", lambda step: step.prompts_per_second),
        _Chart("MFU, %", lambda step: step.mfu, percent=True),
        _Chart("seconds a step", lambda step: step.wall),
    ),
}


def charts_of(steps: Sequence[Sequence[Step]]) -> tuple[tuple[_Chart, ...], Mapping[str, tuple[_Chart, ...]]]:
    """Return the large charts and the folded ones, by heading. GRPO's loss is folded: it does not show success."""
    if any(step.all is None for run_steps in steps for step in run_steps):
        return (*MAIN, LOSS), MORE
    return MAIN, {**MORE, "Updates": (LOSS, *MORE["Updates"])}


@dataclass(frozen=True, slots=True)
class _Setting:
    """A value of the configuration: its name, its default, and its value in each run."""

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
    """Mean seconds of each phase of a step, their shares, and a chart of them."""

    seconds: tuple[float, ...]
    shares: tuple[float, ...]
    chart: Markup


@dataclass(frozen=True, slots=True)
class _Times:
    """The times of the runs of one engine, which have the same phases, with the number of each run on the page."""

    engine: str
    parts: tuple[str, ...]
    runs: tuple[tuple[int, _Time], ...]


def write_training(runs: Sequence[TrainRun], out: Path, most: int = 2, questions: str | None = None) -> None:
    """Write the page of training runs, finished or not.

    Args:
        runs: what `read_train_run` returned.
        out: the HTML file.
        most: largest number of sample questions of a step, for each run; 0 leaves them out.
        questions: where their dataset is, if not where they found it.
    """
    named_runs = named(runs)
    steps = [named_run.run.steps for named_run in named_runs]
    tasks = _names(step.tasks for run_steps in steps for step in run_steps)
    sets = _names(step.sets for run_steps in steps for step in run_steps)
    categories = _names(step.categories for run_steps in steps for step in run_steps)
    main, more = charts_of(steps)
    constants = [constant_of(named_run.run, questions) for named_run in named_runs]
    levels = [constant.over(run_steps) for constant, run_steps in zip(constants, steps, strict=True)]
    write_page(
        "training.html.jinja",
        out,
        ["benchmark.css", "training.css"],
        ["benchmark.js"],
        title="Training report",
        facts={"runs": str(len(runs)), "steps": ", ".join(f"{len(run_steps):,}" for run_steps in steps)},
        runs=named_runs,
        marks=[plots.RunMark(named_run.name, number) for number, named_run in enumerate(named_runs)],
        figures=FIGURES,
        ends=[[ends(run_steps, figure.value) for figure in FIGURES] for run_steps in steps],
        mismatches=[logprob_mismatch(run_steps) for run_steps in steps],
        memory=[peak(run_steps) for run_steps in steps],
        run_facts=[_facts(named_run) for named_run in named_runs],
        verdicts=[verdict(named_run, constant) for named_run, constant in zip(named_runs, constants, strict=True)],
        main=_charts(main, steps, {"smooth reward, %": levels}, large=True),
        rewarded=any(step.all is not None for run_steps in steps for step in run_steps),
        levels=any(level is not None for level in levels),
        more={name: drawn for name, charts in more.items() if (drawn := _charts(charts, steps))},
        several_sets=bool(sets),
        part_charts=[
            (plain_text(name, 60), _part_charts(kind, name, steps))
            for kind, names in (("sets", sets), ("tasks", tasks))
            for name in names
        ],
        category_charts=[
            (
                short(name),
                name.partition("/")[0],
                _chart(_Chart(f"{name}: smooth reward, %", _of("categories", name, "smooth"), percent=True), steps),
            )
            for name in categories
        ],
        means=[
            (kind, plain_text(name, 60), [last_tenth(run_steps, _group(kind, name)) for run_steps in steps])
            for kind, names in (("sets", sets), ("tasks", tasks), ("categories", categories))
            for name in names
        ],
        times=_times(named_runs),
        config=_config([named_run.run.config for named_run in named_runs]),
        failures=[_failures(named_run.run) for named_run in named_runs],
        samples=training_samples(named_runs, most) if most else (),
        folded=FOLDED,
    )


def _names(groups: object) -> list[str]:
    """Return the sorted names in some mappings."""
    return sorted({name for names in groups for name in names})  # type: ignore[attr-defined]


def _group(kind: str, name: str) -> Callable[[Step], Rollouts | None]:
    """Return a function that reads the means of a set, task or category from a step."""
    return lambda step: getattr(step, kind).get(name)


def _of(kind: str, name: str, figure: str) -> Value:
    """Return a function that reads a figure of a set, task or category from a step."""
    group = _group(kind, name)
    return lambda step: figure_of(group(step), figure)


def _charts(
    charts: Sequence[_Chart],
    steps: Sequence[Sequence[Step]],
    levels: Mapping[str, Sequence[float | None]] = MappingProxyType({}),
    large: bool = False,
) -> list[tuple[str, Markup]]:
    """Draw the charts for which any run has a value, with the levels to compare with, by the name of the chart."""
    return [
        (chart.name, _chart(chart, steps, levels.get(chart.name, ()), large))
        for chart in charts
        if any(chart.value(step) is not None for run_steps in steps for step in run_steps)
    ]


def _chart(
    chart: _Chart, steps: Sequence[Sequence[Step]], levels: Sequence[float | None] = (), large: bool = False
) -> Markup:
    """Draw a chart."""
    curves = [
        [(step.step, value) for step in run_steps if (value := chart.value(step)) is not None] for run_steps in steps
    ]
    label = plain_text(chart.name, 80)
    return plots.curve_chart(curves, label, percent=chart.percent, log=chart.log, large=large, levels=levels)


def _part_charts(kind: str, part: str, steps: Sequence[Sequence[Step]]) -> list[tuple[str, Markup]]:
    """Draw the charts of a set or a task."""
    names = {
        "smooth": "smooth reward, %",
        "strict": "strict reward, %",
        "zero_variance": "groups with equal rewards, %",
    }
    return [
        (name, _chart(_Chart(f"{part}: {name}", _of(kind, part, figure), percent=True), steps))
        for figure, name in names.items()
    ]


def _times(named_runs: Sequence[NamedRun]) -> list[_Times]:
    """Sum up where the time of all runs went, those of each engine together."""
    begun = [(number, named_run) for number, named_run in enumerate(named_runs) if named_run.run.steps]
    engines = {named_run.run.config.run.engine: None for _, named_run in begun}
    return [
        _Times(
            engine,
            PARTS[engine],
            tuple((number, _time(run, PARTS[engine])) for number, run in begun if run.run.config.run.engine == engine),
        )
        for engine in engines
    ]


def _time(named_run: NamedRun, names: Sequence[str]) -> _Time:
    """Sum up where the time of a run went; the last of the parts is the rest."""
    steps = named_run.run.steps
    parts = [[step.seconds.get(phase, 0.0) for step in steps] for phase in names[:-1]]
    parts.append([max(0.0, step.wall - sum(step.seconds.values())) for step in steps])
    seconds = tuple(sum(part) / len(steps) for part in parts)
    label = f"Seconds of a step of {named_run.name}, by phase"
    chart = plots.stack_chart([step.step for step in steps], parts, label, "seconds")
    return _Time(seconds, tuple(second / (sum(seconds) or 1.0) for second in seconds), chart)


_OTHER_MEMORY = ("GiB used", "GiB planned")
"""Facts that are left out here, since the table of runs shows the peak memory of the steps."""


def _facts(named_run: NamedRun) -> dict[str, str]:
    """Describe the run: model, data, duration, versions."""
    run = named_run.run
    steps = run.steps
    wall = sum(step.wall for step in steps)
    facts = {
        "model": run.config.model.path,
        "data": run.config.data.paths,
        "method": run.config.run.method + (f", LoRA of rank {lora.rank}" if (lora := run.config.model.lora) else ""),
        "trained by": "verl" if run.config.run.engine == "verl" else "",
        "epochs": f"{steps[-1].epoch:.2f}" if steps else "",
        "steps took": f"{wall:,.0f} s",
        "skipped": f"{sum(bool(step.skipped) for step in steps):,} of {len(steps):,} steps",
        "questions that failed": f"{sum(step.failed for step in steps):,}",
    }
    if manifest := run.manifest:
        facts |= {"took": f"{manifest.seconds:,.0f} s", "questions": manifest.hash[:12]}
        facts |= table_facts({name: value for name, value in manifest.describe.items() if name not in _OTHER_MEMORY})
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    return {plain_text(name, 60): plain_text(text, 400) for name, text in facts.items() if text}


def _config(configs: Sequence[TrainConfig]) -> list[_Setting]:
    """All values of the configurations; those that are not the default first."""
    default, *tables = (table_facts(config.as_table(run_config)) for run_config in (TrainConfig(), *configs))
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
    """List questions that could not be shown and steps that were skipped, by reason, the most frequent first."""
    reasons: dict[str, list[str]] = {}
    for failure in run.failures:
        reasons.setdefault(plain_text(failure.error, 300), []).append(f"step {failure.step}, question {failure.index}")
    for step in run.steps:
        if step.skipped:
            reasons.setdefault(plain_text(f"step skipped: {step.skipped}", 300), []).append(f"step {step.step}")
    failures = [
        Failure(reason, len(places), tuple((example, 1) for example in places[:_EXAMPLES]))
        for reason, places in reasons.items()
    ]
    return sorted(failures, key=lambda failure: -failure.count)
