"""Score answers with verl's own reward managers, configured as in a training run.

Question: {"overrides": [hydra overrides], "rows": [{"data_source", "text", "gold"}], "worker": whether the rows are one
batch for the worker that a run starts, with the model's tokenizer}. Answer: for each row, the result.
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
from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
from verl.trainer.ppo.reward import load_reward_manager

CONFIG = Path(verl.__file__).parent / "trainer" / "config"
PAD = 3


class Letters:
    """A tokenizer of one token a letter."""

    pad_token_id = 0

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        return [*map(ord, text)]

    def decode(self, ids: torch.Tensor, *, skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids.tolist()))


def batch_of(rows: list[dict[str, str]], tokenizer: Letters) -> DataProto:
    """Rollouts: a prompt, the text of each row as response, padding behind it."""
    answers = [tokenizer.encode(row["text"], add_special_tokens=False) for row in rows]
    prompt = torch.tensor(tokenizer.encode("when?", add_special_tokens=False)).repeat(len(rows), 1)
    response = torch.full((len(rows), max(map(len, answers)) + PAD), tokenizer.pad_token_id)
    mask = torch.ones(len(rows), prompt.shape[1] + response.shape[1], dtype=torch.long)
    for number, answer in enumerate(answers):
        response[number, : len(answer)] = torch.tensor(answer)
        mask[number, prompt.shape[1] + len(answer) :] = 0
    facts = {
        "data_source": [row["data_source"] for row in rows],
        "reward_model": [{"style": "rule", "ground_truth": row["gold"]} for row in rows],
        "extra_info": [{} for _ in rows],
    }
    return DataProto.from_dict(
        tensors={"prompts": prompt, "responses": response, "attention_mask": mask},
        non_tensors={key: np.array(values, dtype=object) for key, values in facts.items()},
    )


async def main() -> None:
    question = json.load(sys.stdin)
    with initialize_config_dir(str(CONFIG), version_base=None):
        config = compose("ppo_trainer", question["overrides"])
    rows = question["rows"]
    if question.get("worker"):
        worker = RewardLoopWorker(config)
        answers = await worker.compute_score_batch(batch_of(rows, worker.input_tokenizer))
    else:
        manager = load_reward_manager(config, Letters())
        answers = [await manager.run_single(batch_of([row], Letters())) for row in rows]
    Path(sys.argv[1]).write_text(json.dumps(answers), "utf-8")


asyncio.run(main())
