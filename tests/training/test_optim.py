"""Steps too small for bfloat16 are not lost, sums are those of float32, and a resumed run steps on exactly."""

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


def copied(model: Any, dtype: torch.dtype) -> Any:
    """With weights that bfloat16 can hold, so that all begin with the same."""
    return copy.deepcopy(model).to(torch.bfloat16).to(dtype)


def loss(model: Any, number: int = 0) -> torch.Tensor:
    """Of a prompt with a video of two frames and what follows it, another one for each number."""
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


def flat(model: Any) -> torch.Tensor:
    return torch.cat([parameter.detach().float().flatten() for parameter in model.parameters()])


def trained(model: Any, optimizer: Optimizer, first: int, last: int) -> list[OptimizerFacts]:
    facts = []
    for number in range(first, last + 1):
        loss(model, number % 4).backward()  # type: ignore[no-untyped-call]
        facts.append(optimizer.step(number))
    return facts


def test_bfloat16_tracks_float32_where_steps_are_below_half_an_ulp(tiny: Any) -> None:
    steps, settings = 120, replace(PAPER, lr=5e-6)  # the paper's times 5, to see in 120 steps what takes 600
    start = copied(tiny, torch.float32)
    half = torch.exp2(torch.frexp(flat(start).abs())[1] - 9.0)
    assert (half > settings.lr).float().mean() > 0.95
    moved, gained, changed = {}, {}, {}
    for weights, dtype in (
        ("float32", torch.float32),
        ("master", torch.bfloat16),
        ("stochastic", torch.bfloat16),
        ("plain", torch.bfloat16),
    ):
        model = copied(tiny, dtype)
        chosen = settings if weights == "float32" else replace(settings, weights=weights)  # type: ignore[arg-type]
        optimizer = Optimizer(model.named_parameters(), chosen)
        facts = trained(model, optimizer, 1, steps)
        assert not any(each.refused for each in facts)
        changed[weights] = sum(each.changed for each in facts) / steps
        moved[weights] = flat(model) - flat(start)
        with torch.no_grad():
            gained[weights] = sum(float(loss(start, n) - loss(model.float(), n)) for n in range(4))
        if weights == "master":
            kept = optimizer.state_dict()["slots"]
            masters = torch.cat([piece["master"] for name, _ in model.named_parameters() for piece in kept[name]])
            moved["of the masters"] = masters - flat(start)
    true = moved["float32"]

    def along(name: str) -> float:
        """How far the weights went the way that they went in float32: 1 is as far."""
        return float(moved[name] @ true / (true @ true))

    assert along("of the masters") == pytest.approx(1, abs=0.03)
    assert along("stochastic") == pytest.approx(1, abs=0.03)
    assert along("master") == pytest.approx(1, abs=0.2)  # what is stored waits until its master is half an ulp away
    assert along("plain") < 0.1
    assert gained["stochastic"] == pytest.approx(gained["float32"], rel=0.05)
    assert gained["master"] == pytest.approx(gained["float32"], rel=0.2)
    assert gained["plain"] < gained["float32"] / 4
    assert changed["float32"] > 0.9
    assert changed["plain"] < 0.7 * changed["master"] < 0.05


def test_rounding_by_chance_keeps_the_mean() -> None:
    values = torch.tensor([1 + 2**-9, -3.0, 1e-3 * torch.pi, -(1 + 2**-10), 0.0]).repeat(40000, 1)
    rounded = round_by_chance(values, torch.Generator().manual_seed(0))
    assert rounded.dtype == torch.bfloat16
    ulp = torch.tensor([2**-7, 0, 2**-16, 2**-7, 0])
    assert torch.all((rounded.float() - values).abs() <= ulp)
    assert torch.all((rounded.float().mean(0) - values[0]).abs() <= 5 * ulp / 2 / 40000**0.5)
    assert not torch.equal(rounded, round_by_chance(values, torch.Generator().manual_seed(1)))


def test_sums_of_bfloat16_gradients_are_those_of_float32() -> None:
    gradients = torch.randn(200, 1000, generator=torch.Generator().manual_seed(0)).bfloat16()
    weight = Parameter(torch.zeros(1000, dtype=torch.bfloat16))
    optimizer = Optimizer([("weight", weight)], PAPER)
    for gradient in gradients:
        (weight * gradient).sum().backward()
        assert weight.grad is None
    ((_, total),) = optimizer.gradients()
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, gradients.float().sum(0), rtol=1e-5, atol=1e-4)
    usual = gradients.cumsum(0)[-1].float()  # what the parameter's own would be
    assert (usual - gradients.float().sum(0)).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_a_step_is_that_of_torch_with_the_scaled_and_clipped_gradient(
    tiny: Any, dtype: torch.dtype, scale: float
) -> None:
    settings = replace(PAPER, lr=1e-3, clip_norm=0.5)
    model, usual = copied(tiny, dtype), copied(tiny, torch.float32)
    optimizer = Optimizer(model.named_parameters(), settings)
    reference = torch.optim.AdamW(usual.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    for number in range(1, 4):
        for group in range(2):
            loss(model, group).backward()  # type: ignore[no-untyped-call]
        for (_, gradient), other in zip(optimizer.gradients(), usual.parameters(), strict=True):
            other.grad = gradient * scale
        norm = torch.nn.utils.clip_grad_norm_(usual.parameters(), 0.5)
        reference.step()
        facts = optimizer.step(number, scale)
        assert facts.grad_norm == pytest.approx(float(norm), rel=1e-5)
        assert facts.clipped == (norm > 0.5)
        assert facts.clipped
    ours, theirs = flat(model), flat(usual).to(dtype).float()
    # Where two float32 values lie on both sides of a bfloat16 rounding border, they end one step of it apart.
    if dtype == torch.bfloat16:
        torch.testing.assert_close(ours, theirs, rtol=torch.finfo(dtype).eps, atol=1e-6)
        same = torch.isclose(ours, theirs, rtol=1e-4, atol=1e-6)
        assert same.float().mean() > 1 - 1e-5
    else:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_small_gradient_is_not_clipped(tiny: Any) -> None:
    model = copied(tiny, torch.float32)
    optimizer = Optimizer(model.named_parameters(), replace(PAPER, clip_norm=1e6))
    assert not trained(model, optimizer, 1, 1)[0].clipped


def eight_bit(weights: str) -> Any:
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
        eight_bit("master"),
        eight_bit("stochastic"),
    ],
)
def test_a_resumed_run_steps_on_exactly(tiny: Any, weights: Any, moments: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videossr.training.optim, "PIECE", 20000)  # so that a parameter has several
    settings = replace(PAPER, lr=1e-4, weights=weights, moments=moments, schedule="cosine", warmup=2)
    model = copied(tiny, torch.bfloat16)
    optimizer = Optimizer(model.named_parameters(), settings, steps=6, seed=5)
    trained(model, optimizer, 1, 3)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    other = copy.deepcopy(tiny).bfloat16()
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    facts = trained(model, optimizer, 4, 6)

    resumed = Optimizer(other.named_parameters(), settings, steps=6, seed=5)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert trained(other, resumed, 4, 6) == facts
    assert torch.equal(flat(other), flat(model))
    fresh = copied(tiny, torch.bfloat16)
    assert trained(fresh, Optimizer(fresh.named_parameters(), settings, steps=6, seed=6), 4, 6) != facts


@pytest.mark.parametrize("moments", ["float32", "offload"])
def test_pieces_change_nothing(tiny: Any, moments: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    for size in (2**24, 7000):
        monkeypatch.setattr(videossr.training.optim, "PIECE", size)
        model = copied(tiny, torch.bfloat16)
        trained(model, Optimizer(model.named_parameters(), replace(PAPER, lr=1e-4, moments=moments)), 1, 3)
        ends.append(flat(model))
    assert torch.equal(*ends)


@pytest.mark.skipif(not videossr.training.optim.has_torchao(), reason="needs torchao")
def test_moments_of_8_bits_are_near(tiny: Any) -> None:
    start, ends = flat(copied(tiny, torch.bfloat16)), []
    for moments in ("float32", "8bit"):
        model = copied(tiny, torch.bfloat16)
        settings = replace(PAPER, lr=1e-3, moments=moments)
        optimizer = Optimizer(model.named_parameters(), settings)
        trained(model, optimizer, 1, 30)
        ends.append(flat(model) - start)
    assert torch.nn.functional.cosine_similarity(ends[0], ends[1], dim=0) > 0.9
    kinds = {
        type(moment).__name__
        for pieces in optimizer.state_dict()["slots"].values()
        for moment in pieces[0]["adam"][0].values()
    }
    assert "OptimState8bit" in kinds


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_refused(tiny: Any, bad: float) -> None:
    model, same = copied(tiny, torch.bfloat16), copied(tiny, torch.bfloat16)
    optimizer = Optimizer(model.named_parameters(), replace(PAPER, lr=1e-4))
    other = Optimizer(same.named_parameters(), replace(PAPER, lr=1e-4))
    trained(model, optimizer, 1, 1)
    trained(same, other, 1, 1)
    before = flat(model)
    (loss(model) * bad).backward()  # type: ignore[no-untyped-call]
    facts = optimizer.step(2)
    assert facts.refused
    assert facts.changed == 0
    assert torch.equal(flat(model), before)
    assert not list(optimizer.gradients())
    assert trained(model, optimizer, 3, 4) == trained(same, other, 3, 4)  # the moments are clean


def test_the_rate() -> None:
    def rates(steps: int, **how: Any) -> list[float]:
        settings = OptimConfig(lr=1.0, **how)
        return [learning_rate(number, settings, steps) for number in range(1, steps + 1)]

    assert rates(3) == [1, 1, 1]
    assert rates(4, warmup=3) == [0.25, 0.5, 0.75, 1]
    assert rates(5, warmup=1, schedule="linear") == [0.5, 1, 0.75, 0.5, 0.25]
    assert rates(3, schedule="cosine") == pytest.approx([1, 0.75, 0.25])


def test_what_cannot_be_is_told(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
