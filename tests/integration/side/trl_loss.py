"""Compute loss and gradients with our `VideoGRPOTrainer` of TRL, for given answers and rewards.

Question: {"policy", "reference", "dataset", "questions", "answers", "rewards", "tokens", "rows", "cases": [{"loss",
"beta", "scale", "entropy": coefficient of its bonus}, ...], "out"}: of the `questions` of the dataset, ids of `answers`
(questions, G) and their `rewards`; `rows` answers in one pass. Answer: for each case its "loss", with every weight's
gradient in the file OUT/CASE.safetensors.
"""

import json
import sys
import tempfile
from pathlib import Path

import safetensors.torch
import torch
import transformers
import trl

from videossr.dataset.dataset import VideoSSRDataset
from videossr.engine.checkpoint import open_checkpoint
from videossr.trl.dataset import sample_rows
from videossr.trl.trainer import VideoGRPOTrainer

QUESTION = json.load(sys.stdin)


class Given(VideoGRPOTrainer):
    """A trainer that samples nothing: the answers are those of the question."""

    def _generate_single_turn(self, *_prompts, **_more):
        return [answer for group in QUESTION["answers"] for answer in group], None


class Gradients(transformers.TrainerCallback):
    """Keeps the gradients that the optimizer is about to use."""

    def on_pre_optimizer_step(self, args, state, control, model, **_more) -> None:
        self.found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def rewards(videos: list[list[dict]], **_more) -> list[float]:
    assert [references[0]["index"] for references in videos] == [
        k for k, group in zip(QUESTION["questions"], QUESTION["answers"], strict=True) for _ in group
    ]
    return [reward for group in QUESTION["rewards"] for reward in group]


def run(case: dict, out: str) -> tuple[float, dict[str, torch.Tensor]]:
    checkpoint = open_checkpoint(QUESTION["policy"])
    model = checkpoint.load(torch.device("cpu"), "float32", "sdpa")
    model.config._name_or_path = QUESTION["reference"]  # from where TRL loads it
    answers = sum(map(len, QUESTION["answers"]))
    config = trl.GRPOConfig(
        out,
        max_steps=1,
        per_device_train_batch_size=QUESTION["rows"],
        gradient_accumulation_steps=answers // QUESTION["rows"],
        num_generations=len(QUESTION["answers"][0]),
        max_completion_length=QUESTION["tokens"],
        temperature=1.0,
        beta=case["beta"],
        use_bias_correction_kl=False,  # by default the KL's gradient is another one than verl's
        loss_type=case["loss"],
        scale_rewards=case["scale"],
        entropy_coef=case["entropy"],
        max_grad_norm=0.0,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        shuffle_dataset=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    gradients = Gradients()
    trainer = Given(
        model,
        reward_funcs=rewards,
        args=config,
        train_dataset=sample_rows(VideoSSRDataset(QUESTION["dataset"])).select(QUESTION["questions"]),
        callbacks=[gradients],
    )
    return trainer.train().training_loss, gradients.found


def main() -> None:
    losses = []
    for number, case in enumerate(QUESTION["cases"]):
        with tempfile.TemporaryDirectory() as out:
            loss, found = run(case, out)
        safetensors.torch.save_file(found, Path(QUESTION["out"], f"{number}.safetensors"))
        losses.append(loss)
    Path(sys.argv[1]).write_text(json.dumps(losses), "utf-8")


main()
