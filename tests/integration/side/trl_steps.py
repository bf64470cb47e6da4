"""Train with TRL for some steps, as fast as possible, and write a line to a file after each step.

Question: {"library", "checkpoint", "dataset", "prompts", "rollouts", "tokens", "rows", "steps", "lines"}: `prompts` a
step, `rollouts` a prompt, `tokens` an answer at most, `rows` answers in one pass, `lines` the file. Answer:
{"version", "tokens": of an answer, the fewest and the most}. Only `benchmarks/train_step.py` asks.
"""

import json
import sys
import tempfile
from pathlib import Path

QUESTION = json.load(sys.stdin)
sys.path.append(QUESTION["library"])

import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
from datasets import Dataset  # noqa: E402
from trl_video import Shown, VideoGRPOTrainer, shown  # noqa: E402

from videossr.dataset.dataset import VideoSSRDataset  # noqa: E402
from videossr.engine.checkpoint import open_checkpoint  # noqa: E402


class Lines(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **_more) -> None:
        with Path(QUESTION["lines"]).open("a") as file:
            file.write(json.dumps({"step": state.global_step}) + "\n")


def main() -> None:
    checkpoint = open_checkpoint(QUESTION["checkpoint"])
    model = checkpoint.load(torch.device("cpu"), "float32", "sdpa")
    questions = VideoSSRDataset(QUESTION["dataset"])

    def look_up(name: str) -> Shown:
        return shown(checkpoint.build(questions.question(int(name)), questions.clips(int(name))))

    def smooth(prompts: list[str], completions: list[str], **_more) -> list[float]:
        return [questions.score(int(name), text).smooth for name, text in zip(prompts, completions, strict=True)]

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
            generation_kwargs={"suppress_tokens": checkpoint.placeholders},
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
        rows = Dataset.from_dict({"prompt": [str(k) for k in range(len(questions))]})
        trainer = VideoGRPOTrainer(
            look_up,
            model=model,
            reward_funcs=smooth,
            args=config,
            train_dataset=rows,
            processing_class=checkpoint.tokenizer,
            callbacks=[Lines()],
        )
        trainer.train()
    tokens = [trainer.state.log_history[-1][f"completions/{end}_length"] for end in ("min", "max")]
    Path(sys.argv[1]).write_text(json.dumps({"version": trl.__version__, "tokens": tokens}), "utf-8")


main()
