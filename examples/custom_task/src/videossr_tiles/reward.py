"""The reward of the tiles task, found by `videossr.rewards.compute_score` through the entry point `tiles`.

It is in a module of its own, so that a trainer that only scores answers imports neither NumPy nor pydantic.
"""

from videossr.rewards import Scores, parse_order


def score(answer: str, gold: str) -> Scores:
    """Score one answer. Smooth: the share of tiles in their place; strict: all of them.

    Raises ValueError for a malformed gold answer. The model's text never raises: what is not a permutation of the
    tiles scores 0.
    """
    truth = parse_order(gold, len(gold.strip()))
    if not truth:
        raise ValueError(f"gold answer {gold!r} is not a permutation of 1..n, n <= 9, such as '34127856'")
    order = parse_order(answer, len(truth))
    if order is None:
        return Scores(0.0, 0.0, parsed=False, parts=(0.0,) * len(truth))
    parts = tuple(float(mine == true) for mine, true in zip(order, truth, strict=True))
    return Scores(sum(parts) / len(parts), min(parts), parsed=True, parts=parts)
