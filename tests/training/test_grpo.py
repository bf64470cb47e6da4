"""The formulas of GRPO against what they are defined to be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videossr.engine.shared_prefix import TokenScores
from videossr.training.config import GrpoConfig
from videossr.training.grpo import KL, group_advantages, group_loss
from videossr.training.metrics import is_uninformative

MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
GAINS = torch.tensor([1.0, -2.0, 0.5])


def scores(seed: int = 0, *, grad: bool = False) -> TokenScores:
    torch.manual_seed(seed)
    return TokenScores((-torch.rand(3, 4) * MASK).requires_grad_(grad), torch.zeros(3, 4), MASK)


def test_advantages_are_over_the_unbiased_deviation() -> None:
    rewards = [0.1, 0.4, 0.4, 0.9]
    values = np.array(rewards)
    assert group_advantages(rewards, "group") == pytest.approx((values - values.mean()) / (values.std(ddof=1) + 1e-6))
    assert group_advantages(rewards, "none") == pytest.approx(values - values.mean())


@given(st.floats(-1, 1), st.integers(2, 32), st.sampled_from(["group", "none"]))
def test_equal_rewards_have_no_advantage_at_all(reward: float, size: int, scale: str) -> None:
    assert group_advantages([reward] * size, scale) == [0.0] * size


@given(st.lists(st.floats(0, 1), min_size=2, max_size=16))
def test_advantages_sum_to_nothing(rewards: list[float]) -> None:
    assert sum(group_advantages(rewards, "group")) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rewards", [[math.nan, 0.5, 0.5], [0.5, 0.5, math.nan], [0.1, math.inf]])
def test_a_reward_that_is_no_number_is_refused_wherever_it_stands(rewards: list[float]) -> None:
    with pytest.raises(ValueError, match="rewards of a group must be finite numbers"):
        group_advantages(rewards, "group")


def test_noise() -> None:
    assert is_uninformative([0.1, 0.2], [0, 0])
    assert not is_uninformative([0.1, 0.1], [0, 0])
    assert not is_uninformative([0.1, 1.0], [0, 1])


def test_on_policy_the_gradient_is_that_of_reinforce() -> None:
    made = scores(grad=True)
    share = group_loss(made, GAINS, GrpoConfig(kl=0))
    torch.autograd.backward(share.total)
    assert share.weight == 8
    assert float(share.total.detach()) == pytest.approx(-float((GAINS[:, None] * MASK).sum()))
    assert made.logprobs.grad is not None
    assert torch.allclose(made.logprobs.grad, -GAINS[:, None] * MASK)


def test_aggregates() -> None:
    totals = {
        name: group_loss(scores(), GAINS, GrpoConfig(kl=0, max_tokens=10, aggregate=name))
        for name in ("token", "answer", "constant")
    }
    assert (float(totals["token"].total), totals["token"].weight) == pytest.approx((-3 + 2 - 2, 8))
    assert (float(totals["answer"].total), totals["answer"].weight) == pytest.approx((-1 + 2 - 0.5, 3))
    assert (float(totals["constant"].total), totals["constant"].weight) == pytest.approx((-3 + 2 - 2, 30))


def test_what_is_not_kept_counts_for_nothing() -> None:
    kept = torch.tensor([True, False, True])
    share = group_loss(scores(), GAINS, GrpoConfig(kl=0), kept=kept)
    assert (float(share.total), share.weight) == pytest.approx((-5, 7))
    share = group_loss(scores(), GAINS, GrpoConfig(kl=0, aggregate="answer"), kept=kept)
    assert (float(share.total), share.weight) == pytest.approx((-1.5, 2))


@pytest.mark.parametrize(
    ("gain", "gap", "worth", "slope"),
    [
        (1.0, 0.5, 1.28, 0.0),  # better and more probable already: no more of it
        (1.0, -0.5, math.exp(-0.5), math.exp(-0.5)),
        (-1.0, -0.5, -0.8, 0.0),  # worse and less probable already
        (-1.0, 0.5, -math.exp(0.5), -math.exp(0.5)),
        (1.0, 0.1, math.exp(0.1), math.exp(0.1)),
    ],
)
def test_off_policy_the_ratio_is_clipped(gain: float, gap: float, worth: float, slope: float) -> None:
    now = torch.tensor([[-1.0]], requires_grad=True)
    made = TokenScores(now, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    config = GrpoConfig(kl=0, clip_low=0.2, clip_high=0.28)
    share = group_loss(made, torch.tensor([gain]), config, old=now.detach() - gap)
    torch.autograd.backward(share.total)
    assert float(share.total.detach()) == pytest.approx(-worth)
    assert now.grad is not None
    assert float(now.grad) == pytest.approx(-slope)


def test_the_kl_has_the_expectation_and_gradient_of_a_kl() -> None:
    """Over all tokens of two distributions, weighted by the policy's: k1 and k3 are unbiased."""
    torch.manual_seed(0)
    policy = torch.randn(50).log_softmax(-1)
    reference = (policy + torch.randn(50) / 2).log_softmax(-1)
    true = float((policy.exp() * (policy - reference)).sum())
    for name in ("plain", "low_variance"):
        assert float((policy.exp() * KL[name](reference - policy)).sum()) == pytest.approx(true, rel=1e-4)
    assert (KL["low_variance"](reference - policy) >= 0).all()
    assert torch.allclose(KL["squared"](torch.tensor([3.0])), torch.tensor([4.5]))


def test_the_kl_is_part_of_the_loss() -> None:
    reference = scores(1).logprobs.detach()
    plain = group_loss(scores(), GAINS, GrpoConfig(kl=0))
    held = group_loss(scores(), GAINS, GrpoConfig(kl=0.5), reference=reference)
    kl = float((KL["low_variance"](reference - scores().logprobs) * MASK).sum())
    assert held.kl == pytest.approx(kl)
    assert kl > 0
    assert float(held.total) == pytest.approx(float(plain.total) + 0.5 * kl)
    assert plain.kl == 0


def test_what_the_reference_thinks_impossible_decides_nothing() -> None:
    now = torch.tensor([[-1.0]], requires_grad=True)
    made = TokenScores(now, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    for far in (-torch.inf, -1e9, 1e9):
        share = group_loss(made, torch.zeros(1), GrpoConfig(kl=1.0), reference=torch.tensor([[far]]))
        torch.autograd.backward(share.total)
        assert math.isfinite(float(share.total.detach()))
        assert now.grad is not None
        assert torch.isfinite(now.grad).all()
