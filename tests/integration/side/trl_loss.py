"""Compute loss and gradients with TRL's trainer, extended to videos, for given answers and rewards.

Question: {"library", "policy", "reference", "dataset", "questions", "answers", "rewards", "tokens", "rows", "cases":
[{"loss", "beta", "scale"}, ...], "out"}: of the dataset's `questions`, token ids of `answers` (questions, G) and their
`rewards`; `rows` answers in one pass. Answer: for each case its "loss", with every weight's gradient in the file
OUT/CASE.safetensors.
"""

import json
import sys
import tempfile
from pathlib import Path

QUESTION = json.load(sys.stdin)
sys.path.append(QUESTION["library"])

import safetensors.torch  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
from datasets import Dataset  # noqa: E402
from trl_video import Shown, VideoGRPOTrainer, shown  # noqa: E402

from videossr.dataset.dataset import VideoSSRDataset  # noqa: E402
from videossr.engine.checkpoint import open_checkpoint  # noqa: E402


class Given(VideoGRPOTrainer):
    """A trainer that samples nothing: the answers are those of the question."""

    def _generate_single_turn(self, *_prompts, **_more):
        return [answer for group in QUESTION["answers"] for answer in group], None


class Gradients(transformers.TrainerCallback):
    """Keeps the gradients that the optimizer is about to use."""

    def on_pre_optimizer_step(self, args, state, control, model, **_more) -> None:
        self.found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def rewards(prompts: list[str], **_more) -> list[float]:
    assert prompts == [
        str(k) for k, group in zip(QUESTION["questions"], QUESTION["answers"], strict=True) for _ in group
    ]
    return [reward for group in QUESTION["rewards"] for reward in group]


def run(case: dict, out: str) -> tuple[float, dict[str, torch.Tensor]]:
    checkpoint = open_checkpoint(QUESTION["policy"])
    model = checkpoint.load(torch.device("cpu"), "float32", "sdpa")
    model.config._name_or_path = QUESTION["reference"]  # from where TRL loads it
    questions = VideoSSRDataset(QUESTION["dataset"])

    def look_up(name: str) -> Shown:
        return shown(checkpoint.build(questions.question(int(name)), questions.clips(int(name))))

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
        look_up,
        model=model,
        reward_funcs=rewards,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": [str(k) for k in QUESTION["questions"]]}),
        processing_class=checkpoint.tokenizer,
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
