"""The formulas of GRPO against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videossr.engine.shared_prefix import TokenScores
from videossr.training.config import GrpoConfig
from videossr.training.grpo import KL, LARGEST, group_advantages, group_loss
from videossr.training.metrics import is_uninformative

MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
GAINS = torch.tensor([1.0, -2.0, 0.5])


def scores(seed: int = 0, *, grad: bool = False) -> TokenScores:
    torch.manual_seed(seed)
    return TokenScores((-torch.rand(3, 4) * MASK).requires_grad_(grad), torch.zeros(3, 4), MASK)


def test_group_advantages_divide_by_the_unbiased_deviation() -> None:
    rewards = [0.1, 0.4, 0.4, 0.9]
    values = np.array(rewards)
    assert group_advantages(rewards, "group") == pytest.approx((values - values.mean()) / (values.std(ddof=1) + 1e-6))
    assert group_advantages(rewards, "none") == pytest.approx(values - values.mean())


@given(st.floats(-1, 1), st.integers(2, 32), st.sampled_from(["group", "none"]))
def test_group_advantages_of_equal_rewards_are_zero(reward: float, size: int, scale: str) -> None:
    assert group_advantages([reward] * size, scale) == [0.0] * size


@given(st.lists(st.floats(0, 1), min_size=2, max_size=16))
def test_group_advantages_sum_to_zero(rewards: list[float]) -> None:
    assert sum(group_advantages(rewards, "group")) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rewards", [[math.nan, 0.5, 0.5], [0.5, 0.5, math.nan], [0.1, math.inf]])
def test_group_advantages_refuses_rewards_that_are_not_finite(rewards: list[float]) -> None:
    with pytest.raises(ValueError, match="rewards of a group must be finite numbers"):
        group_advantages(rewards, "group")


def test_is_uninformative_where_rewards_differ_but_strict_scores_do_not() -> None:
    assert is_uninformative([0.1, 0.2], [0, 0])
    assert not is_uninformative([0.1, 0.1], [0, 0])
    assert not is_uninformative([0.1, 1.0], [0, 1])


def test_group_loss_on_policy_has_the_gradient_of_reinforce() -> None:
    token_scores = scores(grad=True)
    loss = group_loss(token_scores, GAINS, GrpoConfig(kl=0))
    torch.autograd.backward(loss.total)
    assert int(loss.weight) == 8
    assert float(loss.total.detach()) == pytest.approx(-float((GAINS[:, None] * MASK).sum()))
    assert token_scores.logprobs.grad is not None
    assert torch.allclose(token_scores.logprobs.grad, -GAINS[:, None] * MASK)


def test_group_loss_aggregates_by_token_answer_or_constant() -> None:
    totals = {
        name: group_loss(scores(), GAINS, GrpoConfig(kl=0, max_tokens=10, aggregate=name))
        for name in ("token", "answer", "constant")
    }
    assert (float(totals["token"].total), float(totals["token"].weight)) == pytest.approx((-3 + 2 - 2, 8))
    assert (float(totals["answer"].total), float(totals["answer"].weight)) == pytest.approx((-1 + 2 - 0.5, 3))
    assert (float(totals["constant"].total), float(totals["constant"].weight)) == pytest.approx((-3 + 2 - 2, 30))


def test_group_loss_leaves_out_answers_that_are_not_kept() -> None:
    is_kept = torch.tensor([True, False, True])
    loss = group_loss(scores(), GAINS, GrpoConfig(kl=0), kept=is_kept)
    assert (float(loss.total), float(loss.weight)) == pytest.approx((-5, 7))
    loss = group_loss(scores(), GAINS, GrpoConfig(kl=0, aggregate="answer"), kept=is_kept)
    assert (float(loss.total), float(loss.weight)) == pytest.approx((-1.5, 2))


@pytest.mark.parametrize(
    ("gain", "gap", "objective", "slope"),
    [
        (1.0, 0.5, 1.28, 0.0),  # better and already more probable: clipped
        (1.0, -0.5, math.exp(-0.5), math.exp(-0.5)),
        (-1.0, -0.5, -0.8, 0.0),  # worse and already less probable: clipped
        (-1.0, 0.5, -math.exp(0.5), -math.exp(0.5)),
        (1.0, 0.1, math.exp(0.1), math.exp(0.1)),
    ],
)
def test_group_loss_off_policy_clips_the_ratio(gain: float, gap: float, objective: float, slope: float) -> None:
    logprobs = torch.tensor([[-1.0]], requires_grad=True)
    token_scores = TokenScores(logprobs, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    config = GrpoConfig(kl=0, clip_low=0.2, clip_high=0.28)
    loss = group_loss(token_scores, torch.tensor([gain]), config, old=logprobs.detach() - gap)
    torch.autograd.backward(loss.total)
    assert float(loss.total.detach()) == pytest.approx(-objective)
    assert logprobs.grad is not None
    assert float(logprobs.grad) == pytest.approx(-slope)


def test_kl_estimators_have_the_expectation_of_the_kl() -> None:
    """The mean over all tokens, weighted by the policy's probabilities, shows that k1 and k3 are unbiased."""
    torch.manual_seed(0)
    policy = torch.randn(50).log_softmax(-1)
    reference = (policy + torch.randn(50) / 2).log_softmax(-1)
    true = float((policy.exp() * (policy - reference)).sum())
    for name in ("plain", "low_variance"):
        assert float((policy.exp() * KL[name](reference - policy)).sum()) == pytest.approx(true, rel=1e-4)
    assert (KL["low_variance"](reference - policy) >= 0).all()
    assert torch.allclose(KL["squared"](torch.tensor([3.0])), torch.tensor([4.5]))


def test_group_loss_adds_the_weighted_kl() -> None:
    reference = scores(1).logprobs.detach()
    plain = group_loss(scores(), GAINS, GrpoConfig(kl=0))
    with_kl = group_loss(scores(), GAINS, GrpoConfig(kl=0.5), reference=reference)
    kl = float((KL["low_variance"](reference - scores().logprobs) * MASK).sum())
    assert with_kl.kl == pytest.approx(kl)
    assert kl > 0
    assert float(with_kl.total) == pytest.approx(float(plain.total) + 0.5 * kl)
    assert plain.kl == 0


def test_group_loss_stays_finite_for_extreme_reference_logprobs() -> None:
    logprobs = torch.tensor([[-1.0]], requires_grad=True)
    token_scores = TokenScores(logprobs, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    for extreme in (-torch.inf, -1e9, 1e9):
        loss = group_loss(token_scores, torch.zeros(1), GrpoConfig(kl=1.0), reference=torch.tensor([[extreme]]))
        torch.autograd.backward(loss.total)
        assert math.isfinite(float(loss.total.detach()))
        assert logprobs.grad is not None
        assert torch.isfinite(logprobs.grad).all()


def test_low_variance_kl_is_bounded_and_has_no_gradient_beyond() -> None:
    differences = torch.tensor([0.5, 2.6, 2.7, 30.0], requires_grad=True)
    kl = KL["low_variance"](differences)
    torch.autograd.backward(kl.sum())
    assert kl.tolist() == pytest.approx([math.exp(0.5) - 1.5, math.exp(2.6) - 3.6, LARGEST, LARGEST])
    assert differences.grad is not None
    assert differences.grad.tolist() == pytest.approx([math.exp(0.5) - 1, math.exp(2.6) - 1, 0, 0])
