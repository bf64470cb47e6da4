"""Read what `videossr export llamafactory` wrote with LLaMA-Factory: its configuration, its dataset, its plug-in.

Question: {"folder": of the export, "tiny": path of a checkpoint, "steps": to train, or 0}. Answer: for each row "text"
of the prompt as the trainer reads it, "answer" that is trained on, "pads" of it, "features": tokens that its pixels
make, and "sizes": frames, height and width of each clip; and "losses" of the steps.
"""

import importlib.machinery
import json
import os
import sys
import types
from pathlib import Path

import torchvision_ops  # noqa: F401  (before LLaMA-Factory)
import yaml

# LLaMA-Factory imports it for sounds; no release of it loads beside the CPU build of torch.
sys.modules["torchaudio"] = types.ModuleType("torchaudio")
sys.modules["torchaudio"].__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # noqa: E402
from llamafactory.hparams import get_train_args  # noqa: E402
from llamafactory.model import load_tokenizer  # noqa: E402
from llamafactory.train.tuner import run_exp  # noqa: E402

ON_CPU = {"use_cpu": True, "bf16": False, "preprocessing_num_workers": 1, "dataloader_num_workers": 0}


def main():
    question = json.load(sys.stdin)
    out = Path(sys.argv[1]).resolve()
    os.chdir(question["folder"])
    settings = yaml.safe_load(Path("train.yaml").read_text("utf-8"))
    assert settings["model_name_or_path"].startswith("Qwen/Qwen3-VL")
    settings |= {**ON_CPU, "model_name_or_path": question["tiny"], "output_dir": str(out.parent / "checkpoints")}
    model_args, data_args, training_args, finetuning_args, _ = get_train_args(dict(settings))
    module = load_tokenizer(model_args)
    tokenizer, processor = module["tokenizer"], module["processor"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    rows = get_dataset(template, model_args, data_args, training_args, finetuning_args.stage, **module)["train_dataset"]
    answer = {name: [] for name in ("text", "answer", "pads", "features", "sizes")}
    for row in rows:
        ids, labels = row["input_ids"], row["labels"]
        learned = [label for label in labels if label != -100]
        answer["text"].append(tokenizer.decode(ids[: len(ids) - len(learned)]))
        answer["answer"].append(tokenizer.decode(learned))
        answer["pads"].append(ids.count(tokenizer.convert_tokens_to_ids("<|video_pad|>")))
        inputs = template.mm_plugin.get_mm_inputs(
            [], row["videos"], [], [0], [len(row["videos"])], [0], [ids], processor
        )
        grids = inputs["video_grid_thw"]
        answer["features"].append(int(grids.prod(1).sum()) // 4)
        answer["sizes"].append([[2 * time, 16 * high, 16 * wide] for time, high, wide in grids.tolist()])
    if question["steps"]:
        run_exp(settings | {"max_steps": question["steps"], "gradient_accumulation_steps": 2, "logging_steps": 1})
        log = (Path(settings["output_dir"]) / "trainer_log.jsonl").read_text("utf-8")
        answer["losses"] = [entry["loss"] for entry in map(json.loads, log.splitlines()) if "loss" in entry]
    out.write_text(json.dumps(answer), "utf-8")


main()
