"""The optimizer: small steps in bfloat16 are not lost, gradients are summed in float32, and states resume exactly."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from torch.nn import Parameter
from torch.nn.functional import cross_entropy

import videossr.training.optim
from videossr.errors import MissingExtraError
from videossr.models.tiny import make_tiny
from videossr.training.config import OptimConfig
from videossr.training.optim import Optimizer, OptimizerFacts, learning_rate, round_by_chance

PAPER = OptimConfig()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make_tiny(tmp_path_factory.mktemp("tiny") / "model", width=64, layers=1)
    return transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)


def copy_model(model: Any, dtype: torch.dtype) -> Any:
    """Copy a model with weights that bfloat16 can hold, so that all copies begin with the same ones."""
    return copy.deepcopy(model).to(torch.bfloat16).to(dtype)


def loss(model: Any, number: int = 0) -> torch.Tensor:
    """Return the loss of a random prompt with a video of two frames; `number` is the seed."""
    chance = torch.Generator().manual_seed(number)
    config = model.config
    ids = torch.randint(config.text_config.vocab_size, (1, 24), generator=chance)
    ids[ids == config.video_token_id] = 0
    ids[0, 3:9] = torch.tensor([config.vision_start_token_id, *[config.video_token_id] * 4, config.vision_end_token_id])
    logits = model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        position_ids=torch.arange(24).expand(4, 1, 24),
        pixel_values_videos=torch.randn(16, 1536, generator=chance),
        video_grid_thw=torch.tensor([[1, 4, 4]]),
        use_cache=False,
    ).logits
    return cross_entropy(logits[0, 9:-1].float(), ids[0, 10:])


def flatten_weights(model: Any) -> torch.Tensor:
    return torch.cat([parameter.detach().float().flatten() for parameter in model.parameters()])


def train_steps(model: Any, optimizer: Optimizer, first: int, last: int) -> list[OptimizerFacts]:
    facts = []
    for number in range(first, last + 1):
        loss(model, number % 4).backward()  # type: ignore[no-untyped-call]
        facts.append(optimizer.step(number))
    return facts


def test_optimizer_in_bfloat16_tracks_float32_where_steps_are_below_half_an_ulp(tiny: Any) -> None:
    steps, settings = 120, replace(PAPER, lr=5e-6)  # the paper's times 5, to see in 120 steps what takes 600
    start = copy_model(tiny, torch.float32)
    half_ulps = torch.exp2(torch.frexp(flatten_weights(start).abs())[1] - 9.0)
    assert (half_ulps > settings.lr).float().mean() > 0.95
    moved, gained, changed = {}, {}, {}
    for weights, dtype in (
        ("float32", torch.float32),
        ("master", torch.bfloat16),
        ("stochastic", torch.bfloat16),
        ("plain", torch.bfloat16),
    ):
        model = copy_model(tiny, dtype)
        chosen = settings if weights == "float32" else replace(settings, weights=weights)  # type: ignore[arg-type]
        optimizer = Optimizer(model.named_parameters(), chosen)
        facts = train_steps(model, optimizer, 1, steps)
        assert not any(step_facts.refused for step_facts in facts)
        changed[weights] = sum(step_facts.changed for step_facts in facts) / steps
        moved[weights] = flatten_weights(model) - flatten_weights(start)
        with torch.no_grad():
            gained[weights] = sum(float(loss(start, n) - loss(model.float(), n)) for n in range(4))
        if weights == "master":
            slots = optimizer.state_dict()["slots"]
            masters = torch.cat([piece["master"] for name, _ in model.named_parameters() for piece in slots[name]])
            moved["of the masters"] = masters - flatten_weights(start)
    float32_move = moved["float32"]

    def along(name: str) -> float:
        """Project the move of the weights on that of float32: 1 is as far as float32."""
        return float(moved[name] @ float32_move / (float32_move @ float32_move))

    assert along("of the masters") == pytest.approx(1, abs=0.03)
    assert along("stochastic") == pytest.approx(1, abs=0.03)
    assert along("master") == pytest.approx(1, abs=0.2)  # a weight changes when its master is half an ulp away
    assert along("plain") < 0.1
    assert gained["stochastic"] == pytest.approx(gained["float32"], rel=0.05)
    assert gained["master"] == pytest.approx(gained["float32"], rel=0.2)
    assert gained["plain"] < gained["float32"] / 4
    assert changed["float32"] > 0.9
    assert changed["plain"] < 0.7 * changed["master"] < 0.05


def test_round_by_chance_keeps_the_mean() -> None:
    values = torch.tensor([1 + 2**-9, -3.0, 1e-3 * torch.pi, -(1 + 2**-10), 0.0]).repeat(40000, 1)
    rounded = round_by_chance(values, torch.Generator().manual_seed(0))
    assert rounded.dtype == torch.bfloat16
    ulp = torch.tensor([2**-7, 0, 2**-16, 2**-7, 0])
    assert torch.all((rounded.float() - values).abs() <= ulp)
    assert torch.all((rounded.float().mean(0) - values[0]).abs() <= 5 * ulp / 2 / 40000**0.5)
    assert not torch.equal(rounded, round_by_chance(values, torch.Generator().manual_seed(1)))


def test_optimizer_sums_bfloat16_gradients_in_float32() -> None:
    gradients = torch.randn(200, 1000, generator=torch.Generator().manual_seed(0)).bfloat16()
    weight = Parameter(torch.zeros(1000, dtype=torch.bfloat16))
    optimizer = Optimizer([("weight", weight)], PAPER)
    for gradient in gradients:
        (weight * gradient).sum().backward()
        assert weight.grad is None
    ((_, total),) = optimizer.gradients()
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, gradients.float().sum(0), rtol=1e-5, atol=1e-4)
    bfloat16_sum = gradients.cumsum(0)[-1].float()  # a sum in bfloat16, as in `weight.grad`
    assert (bfloat16_sum - gradients.float().sum(0)).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_optimizer_step_equals_adamw_of_torch_with_scaled_and_clipped_gradients(
    tiny: Any, dtype: torch.dtype, scale: float
) -> None:
    settings = replace(PAPER, lr=1e-3, clip_norm=0.5)
    model, reference_model = copy_model(tiny, dtype), copy_model(tiny, torch.float32)
    optimizer = Optimizer(model.named_parameters(), settings)
    reference = torch.optim.AdamW(
        reference_model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01
    )
    for number in range(1, 4):
        for group in range(2):
            loss(model, group).backward()  # type: ignore[no-untyped-call]
        for (_, gradient), parameter in zip(optimizer.gradients(), reference_model.parameters(), strict=True):
            parameter.grad = gradient * scale
        norm = torch.nn.utils.clip_grad_norm_(reference_model.parameters(), 0.5)
        reference.step()
        facts = optimizer.step(number, scale)
        assert facts.grad_norm == pytest.approx(float(norm), rel=1e-5)
        assert facts.clipped == (norm > 0.5)
        assert facts.clipped
    actual, expected = flatten_weights(model), flatten_weights(reference_model).to(dtype).float()
    # Where two float32 values lie on both sides of a bfloat16 rounding border, they end one step of it apart.
    if dtype == torch.bfloat16:
        torch.testing.assert_close(actual, expected, rtol=torch.finfo(dtype).eps, atol=1e-6)
        close = torch.isclose(actual, expected, rtol=1e-4, atol=1e-6)
        assert close.float().mean() > 1 - 1e-5
    else:
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


def test_optimizer_does_not_clip_a_small_gradient(tiny: Any) -> None:
    model = copy_model(tiny, torch.float32)
    optimizer = Optimizer(model.named_parameters(), replace(PAPER, clip_norm=1e6))
    assert not train_steps(model, optimizer, 1, 1)[0].clipped


def eight_bit_case(weights: str) -> Any:
    return pytest.param(
        weights, "8bit", marks=pytest.mark.skipif(not videossr.training.optim.has_torchao(), reason="needs torchao")
    )


@pytest.mark.parametrize(
    ("weights", "moments"),
    [
        ("master", "float32"),
        ("stochastic", "float32"),
        ("stochastic", "offload"),
        ("plain", "offload"),
        eight_bit_case("master"),
        eight_bit_case("stochastic"),
    ],
)
def test_optimizer_state_resumes_exactly(
    tiny: Any, weights: Any, moments: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videossr.training.optim, "PIECE", 20000)  # so that a parameter has several pieces
    settings = replace(PAPER, lr=1e-4, weights=weights, moments=moments, schedule="cosine", warmup=2)
    model = copy_model(tiny, torch.bfloat16)
    optimizer = Optimizer(model.named_parameters(), settings, steps=6, seed=5)
    train_steps(model, optimizer, 1, 3)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    resumed_model = copy.deepcopy(tiny).bfloat16()
    resumed_model.load_state_dict(copy.deepcopy(model.state_dict()))
    facts = train_steps(model, optimizer, 4, 6)

    resumed = Optimizer(resumed_model.named_parameters(), settings, steps=6, seed=5)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert train_steps(resumed_model, resumed, 4, 6) == facts
    assert torch.equal(flatten_weights(resumed_model), flatten_weights(model))
    fresh = copy_model(tiny, torch.bfloat16)
    assert train_steps(fresh, Optimizer(fresh.named_parameters(), settings, steps=6, seed=6), 4, 6) != facts


@pytest.mark.parametrize("moments", ["float32", "offload"])
def test_optimizer_result_does_not_depend_on_the_piece_size(
    tiny: Any, moments: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for size in (2**24, 7000):
        monkeypatch.setattr(videossr.training.optim, "PIECE", size)
        model = copy_model(tiny, torch.bfloat16)
        train_steps(model, Optimizer(model.named_parameters(), replace(PAPER, lr=1e-4, moments=moments)), 1, 3)
        results.append(flatten_weights(model))
    assert torch.equal(*results)


@pytest.mark.skipif(not videossr.training.optim.has_torchao(), reason="needs torchao")
def test_optimizer_with_8bit_moments_is_close_to_float32(tiny: Any) -> None:
    start, changes = flatten_weights(copy_model(tiny, torch.bfloat16)), []
    for moments in ("float32", "8bit"):
        model = copy_model(tiny, torch.bfloat16)
        settings = replace(PAPER, lr=1e-3, moments=moments)
        optimizer = Optimizer(model.named_parameters(), settings)
        train_steps(model, optimizer, 1, 30)
        changes.append(flatten_weights(model) - start)
    assert torch.nn.functional.cosine_similarity(changes[0], changes[1], dim=0) > 0.9
    kinds = {
        type(moment).__name__
        for pieces in optimizer.state_dict()["slots"].values()
        for moment in pieces[0]["adam"][0].values()
    }
    assert "OptimState8bit" in kinds


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_optimizer_refuses_a_gradient_that_is_not_finite(tiny: Any, bad: float) -> None:
    model, undisturbed_model = copy_model(tiny, torch.bfloat16), copy_model(tiny, torch.bfloat16)
    optimizer = Optimizer(model.named_parameters(), replace(PAPER, lr=1e-4))
    undisturbed_optimizer = Optimizer(undisturbed_model.named_parameters(), replace(PAPER, lr=1e-4))
    train_steps(model, optimizer, 1, 1)
    train_steps(undisturbed_model, undisturbed_optimizer, 1, 1)
    before = flatten_weights(model)
    (loss(model) * bad).backward()  # type: ignore[no-untyped-call]
    facts = optimizer.step(2)
    assert facts.refused
    assert facts.changed == 0
    assert torch.equal(flatten_weights(model), before)
    assert not list(optimizer.gradients())
    # The refused gradient has not entered the moments.
    assert train_steps(model, optimizer, 3, 4) == train_steps(undisturbed_model, undisturbed_optimizer, 3, 4)


def test_learning_rate_follows_warmup_and_schedule() -> None:
    def rates(steps: int, **how: Any) -> list[float]:
        settings = OptimConfig(lr=1.0, **how)
        return [learning_rate(number, settings, steps) for number in range(1, steps + 1)]

    assert rates(3) == [1, 1, 1]
    assert rates(4, warmup=3) == [0.25, 0.5, 0.75, 1]
    assert rates(5, warmup=1, schedule="linear") == [0.5, 1, 0.75, 0.5, 0.25]
    assert rates(3, schedule="cosine") == pytest.approx([1, 0.75, 0.25])


def test_optimizer_refuses_invalid_weights_settings_and_states(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="no weight of the model requires a gradient"):
        Optimizer([("weight", Parameter(torch.zeros(3), requires_grad=False))], PAPER)
    with pytest.raises(ValueError, match=r"weight is torch\.float16"):
        Optimizer([("weight", Parameter(torch.zeros(3, dtype=torch.float16)))], PAPER)
    with pytest.raises(ValueError, match="schedule=cosine needs to know the number of steps"):
        Optimizer([("weight", weight)], replace(PAPER, schedule="cosine"))
    state = Optimizer([("weight", weight)], PAPER).state_dict()
    with pytest.raises(ValueError, match=r"made with --optim\.moments=float32, this run has offload"):
        Optimizer([("weight", weight)], replace(PAPER, moments="offload")).load_state_dict(state)
    with pytest.raises(ValueError, match=r"trains other weights, 2 in all, such as bias"):
        Optimizer([("bias", weight)], PAPER).load_state_dict(state)
    monkeypatch.setitem(__import__("sys").modules, "torchao.optim", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'videossr\[8bit\]'"):
        Optimizer([("weight", weight)], replace(PAPER, moments="8bit"))
