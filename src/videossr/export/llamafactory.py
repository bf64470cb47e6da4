"""Questions for SFT with LLaMA-Factory: rows about video files, and the configuration that trains on them.

    videos/              one MP4 a clip
    NAME.json            one row a question, with the gold answer as the assistant's turn
    dataset_info.json    how LLaMA-Factory finds and reads the rows
    requirements.txt     the versions that all this is made for
    train.yaml           the configuration; written last, so that a folder which has it is complete

`videossr export llamafactory DATASET --out FOLDER` writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from videossr.errors import ConfigError
from videossr.export.folder import Progress, check_clocks, write_unless_same
from videossr.export.trainer import HASH, MODEL, check_text, rounded_tokens, script_hash
from videossr.export.video_rows import (
    Shown,
    most_frames,
    reading_rate,
    video_names,
    write_videos,
)
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.storage.output_dir import OutputDir
from videossr.untrusted import one_line

VERB = "export llamafactory"
PROGRAM = "LLaMA-Factory"
PLACEHOLDERS = ("<image>", "<audio>")
"""What LLaMA-Factory takes for another medium in any text."""

MADE_FOR: Mapping[str, str] = {"llamafactory": "0.9.5", "transformers": "5.6.0"}
"""The versions that the rows and the settings are made for."""

TORCH: Mapping[str, str] = {"torch": "2.11.0", "torchvision": "0.26.0", "torchaudio": "2.11.0"}
"""The last releases of a torchaudio that fits a torch: LLaMA-Factory imports it, and takes newer ones of either."""

TEMPLATE = "qwen3_vl_nothink"


def export_llamafactory(questions: QuestionSet, out: Path, name: str, progress: Progress = lambda done: None) -> Path:
    """Write the folder. An export that was stopped is completed; of one that is there, what is missing or differs.

    Args:
        questions: the questions; all of them must have frames at equal steps, and clips of one clock each.
        out: the folder to write.
        name: of the dataset, in letters, digits, dashes and underscores.
        progress: called with the number of questions written after each.

    Returns:
        The configuration.

    Raises:
        ConfigError: LLaMA-Factory or Qwen3-VL cannot take the name or a question.
        DataError: a clip cannot be encoded.
        OutputError: `out` holds something else.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or name == "dataset_info":
        raise ConfigError(
            f"{name!r} cannot be the name of a dataset of {PROGRAM}: use letters, digits, '-' and '_', and --name to "
            "choose"
        )
    asked = [questions.question(index) for index in range(len(questions))]
    check_clocks(asked, PROGRAM)
    check_alike(asked)
    for question in asked:
        check_text(question, PROGRAM, PLACEHOLDERS)
    path = out / "train.yaml"
    output = OutputDir(out, VERB, "export for LLaMA-Factory")
    with output.open({"name": name, "hash": questions.hash}, reopen=script_hash(path) == one_line(questions.hash)):
        names = video_names(asked)
        shown = write_videos(out, questions, asked, names, progress)
        rows = [
            {"id": question.id, "messages": question.turns(answered=True), "videos": videos}
            for question, videos in zip(asked, names, strict=True)
        ]
        write_unless_same(out / f"{name}.json", _json(rows))
        write_unless_same(out / "dataset_info.json", _json({name: dataset_info(f"{name}.json")}))
        pins = "".join(f"{package}=={version}\n" for package, version in {**MADE_FOR, **TORCH}.items())
        write_unless_same(out / "requirements.txt", pins.encode())
        write_unless_same(path, _yaml(questions, settings(asked, shown, name)).encode())
    return path


def check_alike(questions: Sequence[Question]) -> None:
    """Raise ConfigError where clips of one question have unlike clocks: all would be shown at the first one's times."""
    for question in questions:
        first, *others = question.clocks
        for number, clock in enumerate(others, 2):
            if clock.times_ms != first.times_ms:
                raise ConfigError(
                    f"question {question.id}: clip {number} has {len(clock)} frames over {clock.end_ms / 1000:g} s, "
                    f"and the first one {len(first)} over {first.end_ms / 1000:g} s. {PROGRAM} "
                    f"{MADE_FOR['llamafactory']} shows all clips of a question at the times of the first: take the "
                    "question out of the rows, or train with ms-swift"
                )


def dataset_info(file: str) -> dict[str, object]:
    """Describe a file of rows, as LLaMA-Factory finds it in `dataset_info.json`."""
    return {
        "file_name": file,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "videos": "videos"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }


def settings(asked: Sequence[Question], shown: Sequence[Shown], name: str) -> dict[str, object]:
    """Write the settings of a run with low-rank adapters, which one card holds.

    Args:
        asked: the questions.
        shown: what a model is shown of each.
        name: of the dataset.

    Returns:
        The settings by LLaMA-Factory's names. Those of videos take every frame of each clip, at its own size.
    """
    return {
        "model_name_or_path": MODEL,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": 64,
        "lora_alpha": 128,
        "lora_target": "all",
        "dataset_dir": ".",
        "dataset": name,
        "template": TEMPLATE,
        "cutoff_len": rounded_tokens(max(each.tokens for each in shown)),
        "video_fps": float(reading_rate(asked)),
        "video_maxlen": max(map(most_frames, asked)),
        "video_min_pixels": min(each.min_pixels for each in shown),
        "video_max_pixels": max(each.max_pixels for each in shown),
        "preprocessing_num_workers": 4,
        "dataloader_num_workers": 4,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 8,
        "learning_rate": 1e-4,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.05,
        "num_train_epochs": 1.0,
        "bf16": True,
        "logging_steps": 10,
        "save_steps": 500,
        "report_to": "none",
        "output_dir": "checkpoints",
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _yaml(questions: QuestionSet, table: Mapping[str, object]) -> str:
    made_for = ", ".join(f"{package} {version}" for package, version in MADE_FOR.items())
    lines = [
        f"# SFT of {one_line(str(questions.path))}, for {made_for}.",
        f"# {HASH}{one_line(questions.hash)}",
        "# Run it in this folder: llamafactory-cli train train.yaml",
    ]
    return "\n".join([*lines, yaml.safe_dump(dict(table), sort_keys=False)])
