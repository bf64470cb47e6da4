"""Make runs of `bench probe`, with several answers to a question, from texts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from videossr.bench.records import Prediction, Run, RunConfig
from videossr.models.base import Decoding


def prediction(
    index: int,
    answer: str,
    texts: Sequence[str],
    task: str = "jigsaw",
    category: str = "",
    difficulty: Mapping[str, float | str] | None = None,
) -> Prediction:
    return Prediction(
        id=f"{index:064x}",
        index=index,
        category=category or f"{task}/{len(answer)}",
        data_source=f"videossr/{task}",
        answer=answer,
        difficulty=difficulty or {},
        times_ms=(0, 500),
        end_ms=1000,
        texts=tuple(texts),
        finish=("stop",) * len(texts),
        error="" if texts else "no frames",
    )


def probe_run(predictions: Sequence[Prediction], n: int = 8) -> Run:
    config = RunConfig(
        verb="probe",
        questions="/questions",
        hash="ab" * 32,
        size=len(predictions),
        model="made",
        settings={},
        decoding=Decoding(n=n, temperature=1.0),
    )
    return Run(Path("/runs/made"), config, tuple(predictions), None)
