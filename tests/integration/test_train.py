"""Checkpoints of a training run can be read and resumed with other releases of transformers, in both directions."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
import torch

from tests.integration.conftest import RELEASES, Ask, Release
from videossr.engine.checkpoint import PROBE, PROBE_CLIP, Checkpoint, open_checkpoint, prompt_inputs
from videossr.engine.model import VisionLanguageModel
from videossr.models.tiny import Family, make_tiny
from videossr.training.checkpoints.checkpoint import latest, save
from videossr.training.config import Lora, ModelConfig
from videossr.training.policy import load_policy

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # peft asks for it
]

CPU = torch.device("cpu")
CLOSE = 1e-4
"""The tolerance of scores, whose standard deviation is about one."""


@torch.no_grad()
def scores(source: Checkpoint, model: VisionLanguageModel) -> torch.Tensor:
    inputs = prompt_inputs(source.build(PROBE, [PROBE_CLIP]), CPU, torch.float32)
    result: torch.Tensor = model(**inputs).logits[0, -1]
    return result


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_checkpoints_are_exchanged_with_other_releases_of_transformers(
    ask: Ask, tmp_path: Path, release: Release, family: Family, lora: bool
) -> None:
    source = open_checkpoint(str(make_tiny(tmp_path / "source", family=family)))
    config = ModelConfig(lora=Lora(rank=4, alpha=8) if lora else None)
    model = load_policy(source, config, device=CPU).model
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))
    question = {
        "library": sysconfig.get_paths()["purelib"],
        "checkpoint": str(save(tmp_path / "here", 1, model, source, {}, "card")),
        "source": str(source.folder),
        "run": str(tmp_path / "there"),
        "lora": lora,
    }
    side_answer = ask(release.environment, "checkpoint.py", question)

    assert side_answer["version"].startswith(f"{release}.")
    torch.testing.assert_close(torch.tensor(side_answer["read"]), scores(source, model), rtol=0, atol=CLOSE)
    assert side_answer["restored"] == side_answer["written"]
    torch.testing.assert_close(
        torch.tensor(side_answer["shared"]), torch.tensor(side_answer["full"]), rtol=0, atol=1e-5
    )
    folder = latest(tmp_path / "there")
    written = open_checkpoint(str(folder)).load(CPU, "auto", "sdpa")
    torch.testing.assert_close(scores(source, written), torch.tensor(side_answer["written"]), rtol=0, atol=CLOSE)
    largest_change = (torch.tensor(side_answer["written"]) - torch.tensor(side_answer["read"])).abs().max()
    assert largest_change > 100 * CLOSE
