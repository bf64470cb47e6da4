"""Read what `videossr export swift` wrote with swift: its arguments, its dataset, its template, its rewards.

Question: {"method": "rlhf" or "sft", "words": arguments of the script, "environment": what it sets, "tiny": path of a
checkpoint, "texts": lists of an answer to each row}. Answer: "settings": some of those that the trainer gets; for each
row "text" of the prompt as the trainer reads it, "answer" that is trained on, "pads" of it, "features": tokens that its
pixels make, "sizes": frames, height and width of each clip, and "engine": seconds of each clip's frames that vLLM
would get; "rewards": of each list of texts, by the name of the reward.
"""

import json
import os
import sys
from pathlib import Path

QUESTION = json.load(sys.stdin)
os.environ.update(QUESTION["environment"], TINY=QUESTION["tiny"])

import swift_ids  # noqa: E402  (torchvision's operators, and the ids of the tiny tokenizer)
from swift.arguments import RLHFArguments, SftArguments  # noqa: E402
from swift.dataset import load_dataset  # noqa: E402
from swift.rewards import orms  # noqa: E402
from swift.utils import parse_args  # noqa: E402

NAMES = (
    *("learning_rate", "adam_beta1", "adam_beta2", "weight_decay", "max_grad_norm", "lr_scheduler_type", "seed"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "gradient_checkpointing", "num_train_epochs"),
    *("steps_per_generation", "num_generations", "max_completion_length", "temperature", "top_p", "top_k", "beta"),
    *("epsilon", "epsilon_high", "loss_type", "scale_rewards", "num_iterations", "vllm_limit_mm_per_prompt"),
)


def main():
    kind = RLHFArguments if QUESTION["method"] == "rlhf" else SftArguments
    args, rest = parse_args(kind, QUESTION["words"])
    assert not rest, rest
    rows, _ = load_dataset(args.dataset, **(args.get_dataset_kwargs() | {"shuffle": False}))
    _, processor = args.get_model_processor(load_model=False)
    template = args.get_template(processor)
    tokenizer = processor.tokenizer
    answer = {
        "settings": {name: getattr(args.training_args, name) for name in NAMES if hasattr(args.training_args, name)},
        **{name: [] for name in ("text", "answer", "pads", "features", "sizes", "engine")},
    }
    answer["settings"]["max_length"] = args.max_length
    for row in rows:
        template.set_mode("train" if kind is SftArguments else "transformers")
        encoded = template.encode(row)
        ids, labels = encoded["input_ids"], encoded.get("labels") or []
        learned = [label for label in labels if label != -100]
        answer["text"].append(tokenizer.decode(ids[: len(ids) - len(learned)]))
        answer["answer"].append(tokenizer.decode(learned))
        answer["pads"].append(ids.count(swift_ids.Qwen3VLTemplate.video_token_id))
        answer["features"].append(int(encoded["video_grid_thw"].prod(1).sum()) // 4)
        answer["sizes"].append(
            [[2 * time, 16 * high, 16 * wide] for time, high, wide in encoded["video_grid_thw"].tolist()]
        )
        template.set_mode("vllm")
        videos = template.encode(row)["videos"]
        for video, metadata in videos:
            assert len(video) == len(metadata["frames_indices"])
        answer["engine"].append(
            [[number / metadata["fps"] for number in metadata["frames_indices"]] for _, metadata in videos]
        )
    if kind is RLHFArguments:
        columns = {name: rows[name] for name in ("solution", "data_source")}
        answer["rewards"] = {
            name: [orms[name](args=args.training_args)(completions=texts, **columns) for texts in QUESTION["texts"]]
            for name in ("videossr", "videossr_strict")
        }
    Path(sys.argv[1]).write_text(json.dumps(answer, default=str), "utf-8")


main()
