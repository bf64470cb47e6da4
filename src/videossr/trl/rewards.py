"""The rewards with TRL's signature: `reward_funcs` of a `trl.GRPOTrainer`, for the answers to all tasks at once.

They read the columns `data_source` and `answer`, which `videossr.trl.dataset.sample_rows` writes. The step's metrics
get the mean scores of each task, as `grounding/strict`.

>>> strict_reward(completions=["3,1,4", "3,1,5"], data_source=["videossr/counting"] * 2, answer=["3,1,4"] * 2)
[1.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from videossr.rewards import Scores, scorer

Completion: TypeAlias = str | Sequence[Mapping[str, Any]]
"""A text, or where the prompt is a conversation, the turns that the model added to it."""

LogMetric: TypeAlias = Callable[[str, float], None]
"""How TRL lets a reward add to the step's metrics: (name, value)."""


def smooth_reward(
    completions: Sequence[Completion],
    data_source: Sequence[str],
    answer: Sequence[str],
    log_metric: LogMetric | None = None,
    **_columns: object,
) -> list[float]:
    """Reward each answer by how close it is: the paper's reward, see `videossr.compute_score`.

    Args:
        completions: of the model, texts or turns.
        data_source: of each question.
        answer: the gold answer of each question.
        log_metric: TRL's; None: nothing is logged.

    Returns:
        The rewards, in [0, 1].

    Raises:
        ValueError: a data source is not known, or a gold answer is malformed.
    """
    return [scores.smooth for scores in _all_scores(completions, data_source, answer, log_metric)]


def strict_reward(
    completions: Sequence[Completion],
    data_source: Sequence[str],
    answer: Sequence[str],
    log_metric: LogMetric | None = None,
    **_columns: object,
) -> list[float]:
    """Reward the exact answer with 1 and any other with 0; otherwise as `smooth_reward`."""
    return [scores.strict for scores in _all_scores(completions, data_source, answer, log_metric)]


def _all_scores(
    completions: Sequence[Completion], sources: Sequence[str], golds: Sequence[str], log_metric: LogMetric | None
) -> list[Scores]:
    """Score all completions, and log what each task scores."""
    found = [
        scorer(source)(completion_text(completion), gold)
        for completion, source, gold in zip(completions, sources, golds, strict=True)
    ]
    if log_metric is not None:
        for source, scores in zip(sources, found, strict=True):
            task = source.removeprefix("videossr/")
            log_metric(f"{task}/smooth", scores.smooth)
            log_metric(f"{task}/strict", scores.strict)
            log_metric(f"{task}/parsed", float(scores.parsed))
    return found


def completion_text(completion: Completion) -> str:
    """Return the text of a completion; of several turns, that of the last one."""
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
