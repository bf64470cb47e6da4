"""Score answers with verl's own reward managers, configured as in a training run.

Question: {"overrides": [hydra overrides], "rows": [{"data_source", "text", "gold"}]}. Answer: for each row, the result
of the reward manager.
"""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision_ops  # noqa: F401  (before verl)
import verl
from hydra import compose, initialize_config_dir
from verl import DataProto
from verl.trainer.ppo.reward import load_reward_manager

CONFIG = Path(verl.__file__).parent / "trainer" / "config"
PAD = 3


class Letters:
    """A tokenizer of one token a letter."""

    pad_token_id = 0

    def decode(self, ids: torch.Tensor, *, skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids.tolist()))


def row(data_source: str, text: str, gold: str) -> DataProto:
    """One rollout: a prompt, the text as response, padding behind it."""
    response = torch.tensor([[*map(ord, text), *[Letters.pad_token_id] * PAD]])
    prompt = torch.tensor([list(map(ord, "when?"))])
    mask = torch.ones(1, prompt.shape[1] + response.shape[1], dtype=torch.long)
    mask[:, -PAD:] = 0
    facts = {"data_source": data_source, "reward_model": {"style": "rule", "ground_truth": gold}, "extra_info": {}}
    return DataProto.from_dict(
        tensors={"prompts": prompt, "responses": response, "attention_mask": mask},
        non_tensors={key: np.array([value], dtype=object) for key, value in facts.items()},
    )


async def main() -> None:
    question = json.load(sys.stdin)
    with initialize_config_dir(str(CONFIG), version_base=None):
        config = compose("ppo_trainer", question["overrides"])
    manager = load_reward_manager(config, Letters())
    answers = [await manager.run_single(row(**each)) for each in question["rows"]]
    Path(sys.argv[1]).write_text(json.dumps(answers), "utf-8")


asyncio.run(main())
