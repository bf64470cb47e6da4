"""Time the vision tower with attention by picture, as transformers computes it, against all pictures of a size at once.

    python benchmarks/vision_tower.py --pairs 24 --side 256

Processor seconds of a forward and a backward pass, the two ways by turns, of a random tower with Qwen3-VL-8B's width.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
import transformers

from videossr.engine.vision_tower import optimize_vision_tower

WIDTH = {"hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 256}


def make_model(depth: int, optimized: bool) -> Any:
    """Return a model with a random tower; the language model has hardly any weights."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        "qwen3_vl",
        text_config={"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1},
        vision_config={**WIDTH, "depth": depth, "deepstack_visual_indexes": []},
    )
    model: Any = transformers.AutoModelForImageTextToText.from_config(config, attn_implementation="sdpa")
    if optimized:
        optimize_vision_tower(model)
    return model


def seconds(model: Any, patches: torch.Tensor, grid: torch.Tensor) -> float:
    """Return processor seconds of one pass."""
    started = time.process_time()
    out = model.model.visual(patches, grid_thw=grid)
    out.pooler_output.sum().backward()
    return time.process_time() - started


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="The vision tower, attention by picture or by size.")
    parser.add_argument("--pairs", type=int, default=24, help="pairs of frames")
    parser.add_argument("--side", type=int, default=256, help="of a frame, in pixels")
    parser.add_argument("--depth", type=int, default=2, help="blocks")
    parser.add_argument("--turns", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    side = chosen.side // 16
    patches = torch.randn(chosen.pairs * side * side, 1536)
    grid = torch.tensor([[chosen.pairs, side, side]])
    models = {name: make_model(chosen.depth, name == "by size") for name in ("by picture", "by size")}
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(chosen.turns + 1):
        for name, model in models.items():
            spent = seconds(model, patches, grid)
            if turn:  # the first warms up
                times[name].append(spent)
    for name, all_spent in times.items():
        print(f"{name}: {statistics.median(all_spent):.3f} s, from {min(all_spent):.3f} to {max(all_spent):.3f}")
    print(f"ratio {statistics.median(times['by picture']) / statistics.median(times['by size']):.2f}")


if __name__ == "__main__":
    main()
