"""Train one step with our `VideoGRPOTrainer`, and tell what the models are given: the policy and the reference.

Question: {"checkpoint", "samples": [[dataset, index], ...] of two samples, "out": a folder}. Answer: {"prompts": for
each pass over prompts, in order, the "ids" of each row, without padding, and the "positions" of these tokens (4,
tokens); "videos": for each pass of a vision tower, "pixels", their shape and sum, and "grids"; "refused": {what is
wrong: the message}, "saved": the files of the saved model; "suppressed": tokens that are not sampled, beside token 5}.
"""

import json
import sys
from pathlib import Path

import datasets
import trl

from videossr.dataset.dataset import VideoSSRDataset
from videossr.trl.dataset import sample_rows
from videossr.trl.rewards import smooth_reward
from videossr.trl.trainer import VideoGRPOTrainer

QUESTION = json.load(sys.stdin)


def settings(**more) -> trl.GRPOConfig:
    return trl.GRPOConfig(
        QUESTION["out"],
        max_steps=1,
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=5,
        pad_to_multiple_of=8,
        beta=0.01,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **more,
    )


def trainer(rows, args: trl.GRPOConfig, **more) -> VideoGRPOTrainer:
    return VideoGRPOTrainer(QUESTION["checkpoint"], reward_funcs=smooth_reward, args=args, train_dataset=rows, **more)


def watch(model, prompts: list[dict], videos: list[dict]) -> None:
    """Note what a model and its vision tower are given."""

    def note_prompt(_module, _args, inputs: dict) -> None:
        if inputs["input_ids"].shape[1] > 1:  # in between, generation adds one token
            masks = inputs["attention_mask"].bool()
            ids = [row[mask].tolist() for row, mask in zip(inputs["input_ids"], masks, strict=True)]
            positions = [inputs["position_ids"][:, row, mask].tolist() for row, mask in enumerate(masks)]
            prompts.append({"ids": ids, "positions": positions})

    def note_video(_module, args: tuple, inputs: dict) -> None:
        pixels = args[0]
        videos.append(
            {"pixels": [list(pixels.shape), pixels.double().sum().item()], "grids": inputs["grid_thw"].tolist()}
        )

    model.register_forward_pre_hook(note_prompt, with_kwargs=True)
    model.model.visual.register_forward_pre_hook(note_video, with_kwargs=True)


def refusals(rows) -> dict[str, str]:
    """Return the messages for what the trainer cannot do."""
    plain = rows.map(lambda row: {"prompt": row["prompt"][-1]["content"]}, remove_columns=["prompt"])
    fewer = rows.map(lambda row: {"videos": [*row["videos"], row["videos"][0]]})
    cases = {
        "use_vllm": (rows, {"use_vllm": True}, {}),
        "tools": (rows, {}, {"tools": [len]}),
        "no videos": (rows.remove_columns("videos"), {}, {}),
        "a text": (plain, {}, {}),
        "another clip": (fewer, {}, {}),
    }
    found = {}
    for name, (shown, more, named) in cases.items():
        try:
            trainer(shown, settings(**more), **named).train()
        except ValueError as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def main() -> None:
    rows = datasets.concatenate_datasets(
        [sample_rows(VideoSSRDataset(path)).select([index]) for path, index in QUESTION["samples"]]
    )
    ours = trainer(rows, settings(generation_kwargs={"suppress_tokens": [5]}))
    prompts, videos = [], []
    for model in (ours.model, ours.ref_model):
        watch(model, prompts, videos)
    ours.train()
    ours.save_model()
    saved = sorted(path.name for path in Path(QUESTION["out"]).iterdir())
    suppressed = ours.generation_config.suppress_tokens
    answer = {
        "prompts": prompts,
        "videos": videos,
        "refused": refusals(rows),
        "saved": saved,
        "suppressed": suppressed,
    }
    Path(sys.argv[1]).write_text(json.dumps(answer), "utf-8")


main()
