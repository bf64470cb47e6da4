"""Turn what verl logs of a step into a `Step` of a run, as far as it is the same thing.

verl writes one JSON line a step: `{"step": 1, "data": {"actor/loss": 0.1, ...}}`. What it does not report is absent in
the `Step`, and what it calls by a name of ours but measures otherwise is left out: see `step_of`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from videossr.config import flatten, plain
from videossr.errors import DataError
from videossr.storage.parsing import parse_json
from videossr.training.config import TrainConfig
from videossr.training.metrics import MetricSummary
from videossr.training.runs.records import Rollouts, SkipReason, Step

PREFIX = "videossr/"
"""Begins the names of the figures that our sampler adds to verl's log."""

FAILED = f"{PREFIX}failed"
_UNKNOWN = ("kl", "entropy")
"""Figures of `Rollouts` that verl has for a whole step alone."""

_TIMES = "timing_s/"
_WHOLE = "step"


def metrics_of(summary: MetricSummary, asked: int) -> dict[str, float]:
    """Return the figures of the groups of a step by their names in verl's log.

    Args:
        summary: of the groups that the step learns from.
        asked: how many groups it asked for.
    """
    figures = {
        PREFIX + name: float(value)
        for name, value in flatten(plain(summary), separator="/").items()
        if name.rpartition("/")[2] not in _UNKNOWN
    }
    return figures | {FAILED: float(asked - summary.all.groups)}


def step_of(number: int, logged: Mapping[str, Any], config: TrainConfig, rows: int) -> Step:
    """Return the step that verl has logged.

    - `lr` is the rate of the next step, which is what verl logs.
    - KL and entropy are means over all tokens, where the loss is one too (`grpo.aggregate`).
    - Seconds have verl's names of its phases. `memory_gib` is of the trainer, without vLLM.
    - `changed`, `gap` and `mfu` are absent: verl measures none of them. (It logs the largest difference of a
      probability, not of its logarithm, and the MFU of the update, not of the step.)

    Args:
        number: of the step, from 1.
        logged: its figures by verl's names; None for one that is not finite.
        config: of the run.
        rows: of which verl makes passes.

    Raises:
        DataError: a figure is missing that verl always logs, or is no number.
    """

    def figure(name: str) -> float | None:
        if name not in logged:
            return None
        value = math.nan if logged[name] is None else logged[name]
        if not isinstance(value, int | float):
            raise DataError(f"verl logs {name} as {value!r}, which is no number")
        return float(value)

    def known(name: str) -> float:
        if (value := figure(name)) is None:
            raise DataError(f"verl logs no {name}: is it verl 0.9.1, with its own trainer?")
        return value

    means = _rollouts(logged)
    by_token = config.grpo.aggregate == "token"
    wall = known(_TIMES + _WHOLE)
    norm = known("actor/grad_norm")
    asked = config.run.batch
    return Step(
        step=number,
        batches=number if config.grpo.dynamic_sampling == 1 else None,
        epoch=number / (rows // config.run.batch),
        loss=known("actor/loss"),
        lr=known("actor/lr"),
        grad_norm=norm,
        changed=None,
        skipped="" if math.isfinite(norm) else SkipReason.NOT_FINITE,
        failed=round(known(FAILED)),
        gap=None,
        seconds={name.removeprefix(_TIMES): known(name) for name in logged if _is_phase(name)},
        wall=wall,
        prompts_per_second=asked / wall,
        memory_gib=figure("actor/perf/max_memory_allocated_gb") or None,  # it logs 0 where there is no GPU
        all=_with(
            means["all"],
            kl=figure("actor/kl_loss") if by_token else None,
            entropy=figure("actor/entropy") if by_token else None,
        ),
        tasks=_below("tasks/", means),
        categories=_below("categories/", means),
    )


def _is_phase(name: str) -> bool:
    return name.startswith(_TIMES) and name != _TIMES + _WHOLE


def _rollouts(logged: Mapping[str, Any]) -> dict[str, Rollouts]:
    """Read the means that our sampler has added, by name: `all`, `tasks/jigsaw`, `categories/jigsaw/6`."""
    tables: dict[str, dict[str, Any]] = {}
    for name, value in logged.items():
        if name.startswith(PREFIX) and name != FAILED:
            group, _, figure = name.removeprefix(PREFIX).rpartition("/")
            tables.setdefault(group, {})[figure] = value
    wanted = {field.name for field in fields(Rollouts)} - set(_UNKNOWN)
    if "all" not in tables or any(set(table) != wanted for table in tables.values()):
        raise DataError("verl's log has no figures of groups: its sampler was another than videossr.verl.sampler")
    return {name: Rollouts(**{**table, "groups": round(table["groups"])}) for name, table in tables.items()}


def _below(prefix: str, means: Mapping[str, Rollouts]) -> dict[str, Rollouts]:
    return {name.removeprefix(prefix): value for name, value in means.items() if name.startswith(prefix)}


def _with(means: Rollouts, **figures: float | None) -> Rollouts:
    return Rollouts(**{field.name: getattr(means, field.name) for field in fields(means)} | figures)


class LogReader:
    """Reads the steps that verl has logged since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def __call__(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield the number and the figures of each new step. A line without an end is read by a later call.

        Raises:
            DataError: a line is damaged.
        """
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                try:
                    table = parse_json(line)
                    step, data = int(table["step"]), dict(table["data"])
                except (json.JSONDecodeError, ValueError, KeyError, TypeError) as error:
                    raise DataError(f"{self._path}: a line is damaged: {error}") from error
                yield step, data
