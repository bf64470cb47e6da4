"""Train with TRL for some steps, as fast as possible, and write a line to a file after each step.

Question: {"checkpoint", "dataset", "prompts", "rollouts", "tokens", "rows", "steps", "lines"}: `prompts` a
step, `rollouts` a prompt, `tokens` an answer at most, `rows` answers in one pass, `lines` the file. Answer:
{"version", "tokens": of an answer, the fewest and the most}. Only `benchmarks/train_step.py` asks.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers
import trl

from videossr.dataset.dataset import VideoSSRDataset
from videossr.engine.checkpoint import open_checkpoint
from videossr.trl.dataset import sample_rows
from videossr.trl.rewards import smooth_reward
from videossr.trl.trainer import VideoGRPOTrainer

QUESTION = json.load(sys.stdin)


class Lines(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **_more) -> None:
        with Path(QUESTION["lines"]).open("a") as file:
            file.write(json.dumps({"step": state.global_step}) + "\n")


def main() -> None:
    model = open_checkpoint(QUESTION["checkpoint"]).load(torch.device("cpu"), "float32", "sdpa")
    passes = QUESTION["rollouts"] // QUESTION["rows"]
    with tempfile.TemporaryDirectory() as out:
        config = trl.GRPOConfig(
            out,
            max_steps=QUESTION["steps"],
            per_device_train_batch_size=QUESTION["rows"],
            steps_per_generation=passes,
            gradient_accumulation_steps=passes * QUESTION["prompts"],
            num_generations=QUESTION["rollouts"],
            max_completion_length=QUESTION["tokens"],
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            beta=0.0,
            loss_type="dapo",
            learning_rate=1e-6,
            lr_scheduler_type="constant",
            weight_decay=0.01,
            max_grad_norm=1.0,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            shuffle_dataset=False,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = VideoGRPOTrainer(
            model,
            reward_funcs=smooth_reward,
            args=config,
            train_dataset=sample_rows(VideoSSRDataset(QUESTION["dataset"])),
            callbacks=[Lines()],
        )
        trainer.train()
    tokens = [trainer.state.log_history[-1][f"completions/{end}_length"] for end in ("min", "max")]
    Path(sys.argv[1]).write_text(json.dumps({"version": trl.__version__, "tokens": tokens}), "utf-8")


main()
