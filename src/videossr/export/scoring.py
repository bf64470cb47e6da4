"""The figures of an exported benchmark: exports put a copy beside their own functions, with one of `rewards.py`.

It uses the standard library only. Metrics of plug-ins are in their packages, which must be installed where they score.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def metric_value(metric: str, data_source: str, scores: Any) -> float:
    """Compute the metric of one scored answer, in [0, 1].

    Args:
        metric: its name in the table of questions.
        data_source: that of the question.
        scores: what `rewards.scorer` says of the answer.
    """
    if metric == "miou":
        return float(scores.smooth)
    if metric == "per_shape" and scores.parts:
        return float(sum(scores.parts) / len(scores.parts))
    if metric in ("exact", "per_shape"):
        return float(scores.strict)
    from videossr.tasks.base import answer_type_of

    return answer_type_of(data_source).value(scores)


def category_means(items: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Compute the mean `score` of the items of each `category`."""
    categories: dict[str, list[float]] = {}
    for item in items:
        categories.setdefault(item["category"], []).append(item["score"])
    return {category: sum(scores) / len(scores) for category, scores in categories.items()}


def mean_of_categories(items: Sequence[Mapping[str, Any]]) -> float:
    """Compute the mean over the categories of the mean score of each."""
    means = category_means(items)
    return sum(means.values()) / len(means)
