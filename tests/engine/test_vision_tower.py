"""The optimized vision tower has the outputs and gradients of the library's, in fewer calls of attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videossr.engine import vision_tower
from videossr.engine.checkpoint import Checkpoint
from videossr.engine.vision_tower import LinearPatches
from videossr.models.tiny import Family

GRIDS = {
    "one size": [[4, 4, 6]],
    "two sizes": [[3, 4, 6], [2, 8, 4], [1, 4, 6]],
}


@pytest.fixture
def sizes_seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record pictures and patches of each call of attention."""
    seen: list[tuple[int, int]] = []

    def record(query: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        seen.append((query.shape[0], query.shape[2]))
        return scaled_dot_product_attention(query, *more, **named)

    monkeypatch.setattr(vision_tower, "scaled_dot_product_attention", record)
    return seen


def run(tower: Any, patches: torch.Tensor, grid: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    tower.zero_grad()
    out = tower(patches, grid_thw=grid).pooler_output
    out = torch.cat(list(out)) if isinstance(out, (tuple, list)) else out
    torch.autograd.backward((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum())
    return out.detach(), {
        name: weight.grad.clone() for name, weight in tower.named_parameters() if weight.grad is not None
    }


@pytest.mark.parametrize("family", get_args(Family))
@pytest.mark.parametrize("grids", list(GRIDS))
def test_optimized_tower_equals_the_library(
    tiny: Callable[[Family], Checkpoint], family: Family, grids: str, sizes_seen: list[tuple[int, int]]
) -> None:
    model: Any = tiny(family).load(torch.device("cpu"), "float32", "sdpa")
    tower = model.model.visual
    assert isinstance(tower.patch_embed.proj, LinearPatches)
    torch.manual_seed(0)
    grid = torch.tensor(GRIDS[grids])
    patches = torch.randn(int(grid.prod(1).sum()), tower.patch_embed.proj.weight[0].numel())
    out, gradients = run(tower, patches, grid)
    assert len(sizes_seen) < len(tower.blocks) * int(grid[:, 0].sum())
    calls = len(sizes_seen)
    for block in tower.blocks:
        del block.attn.forward
    expected, library = run(tower, patches, grid)
    assert len(sizes_seen) == calls
    assert torch.allclose(out, expected, rtol=1e-4, atol=1e-5)
    assert gradients.keys() == library.keys()
    for name, gradient in library.items():
        assert (gradients[name] - gradient).norm() <= 1e-5 * gradient.norm().clamp(min=1e-3), name
    if family != "qwen2_5_vl":  # which has windows in some blocks
        assert sizes_seen[: calls // len(tower.blocks)] == sorted(
            {(sum(t for t, a, b in GRIDS[grids] if a * b == h * w), h * w) for _, h, w in GRIDS[grids]},
            key=lambda pair: pair[1],
        )


def test_another_implementation_of_attention_is_the_librarys(
    tiny: Callable[[Family], Checkpoint], sizes_seen: list[tuple[int, int]]
) -> None:
    model: Any = tiny("qwen3_vl").load(torch.device("cpu"), "float32", "eager")
    tower = model.model.visual
    grid = torch.tensor([[2, 4, 4]])
    run(tower, torch.randn(32, tower.patch_embed.proj.weight[0].numel()), grid)
    assert not sizes_seen
