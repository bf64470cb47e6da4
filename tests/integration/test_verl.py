"""verl's reward managers find `compute_score` by the package's name, and give its scores."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.integration.conftest import Ask
from videossr.rewards import compute_score

pytestmark = pytest.mark.integration

KEY = "reward.custom_reward_function"
ROWS = [
    (source, text, gold)
    for source, gold, wrong in (
        ("videossr/grounding", "4.5-9.0", ("4.5-8.0", "at 4.5 s", "9.0-12.0")),
        ("videossr/counting", "3,1,4", ("3,1,5", "4, 1, 3 and 0", "many")),
        ("videossr/jigsaw", "341562", ("341526", "34156", "\u00bd \u041f\u0440\u0438\u0432\u0435\u0442")),
    )
    for text in (gold, *wrong)
]


@pytest.mark.parametrize("manager", ["naive", "dapo"])
@pytest.mark.parametrize("reward", ["smooth", "strict"])
def test_verl_reward_managers_give_the_scores_of_compute_score(
    ask: Ask, manager: str, reward: Literal["smooth", "strict"]
) -> None:
    overrides = [
        f"{KEY}.path=pkg://videossr.rewards",
        f"{KEY}.name=compute_score",
        f"reward.reward_manager.name={manager}",
    ]
    if reward == "strict":
        overrides.append(f"+{KEY}.reward_kwargs.reward=strict")
    rows = [{"data_source": source, "text": text, "gold": gold} for source, text, gold in ROWS]
    results = ask("verl", "verl_reward.py", {"overrides": overrides, "rows": rows})
    for (source, text, gold), result in zip(ROWS, results, strict=True):
        assert result["reward_score"] == result["reward_extra_info"]["score"]
        assert result["reward_extra_info"] == compute_score(source, text, gold, reward=reward)
        assert (result["reward_score"] == 1) == (text == gold)
