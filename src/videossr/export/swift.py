"""Questions for ms-swift: rows about video files, the reward, and the commands that train on them.

    videos/            one MP4 a clip
    train.jsonl        one row a question, for GRPO
    sft.jsonl          the same with the gold answer as the assistant's turn
    plugin.py          registers the reward, see `videossr.export.swift_plugin`
    requirements.txt   the versions that all this is made for
    sft.sh             the command for SFT
    train.sh           the command for GRPO with the paper's settings; written last, so that a folder which has it is
                       complete

`videossr export swift DATASET --out FOLDER` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from videossr.errors import ConfigError
from videossr.export.folder import Progress, check_clocks, write_unless_same
from videossr.export.swift_plugin import MADE_FOR, NAMES
from videossr.export.trainer import (
    MODEL,
    PROMPT_TOKENS,
    Cluster,
    check_shares,
    check_text,
    micro_batch,
    requirements,
    rounded_tokens,
    script_hash,
    shell_word,
    write_script,
)
from videossr.export.video_rows import (
    Shown,
    most_frames,
    reading_rate,
    video_names,
    write_lines,
    write_videos,
)
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.storage.output_dir import OutputDir
from videossr.training.config import TrainConfig, load_config
from videossr.untrusted import one_line

VERB = "export swift"
PROGRAM = "ms-swift"
PLACEHOLDERS = ("<image>", "<audio>", "<bbox>", "<ref-object>", "<cot-process>", "<start-image>")
"""What swift takes for another medium or a box in any text."""

READER_PIXELS = 768 * 32 * 32
"""Pixels of a frame to which qwen_vl_utils shrinks larger ones, unless the least number that is asked for is near."""

SFT_RATE = 1e-5
"""Learning rate of `sft.sh`; the paper has no such run."""

LOSSES = {"token": "dapo", "answer": "grpo", "constant": "dr_grpo"}
"""Names that swift has for `GrpoConfig.aggregate`, as TRL has."""

Arguments: TypeAlias = dict[str, object]
"""Arguments of swift by their names, without the dashes."""


def export_swift(
    questions: QuestionSet,
    out: Path,
    name: str,
    progress: Progress = lambda done: None,
    *,
    gpus: int = 8,
    batch: int | None = None,
) -> Path:
    """Write the folder. An export that was stopped is completed; of one that is there, what is missing or differs.

    Args:
        questions: the questions; all of them must have even numbers of frames at equal steps.
        out: the folder to write.
        name: of the run, as trackers show it.
        progress: called with the number of questions written after each.
        gpus: of the machine to train on.
        batch: questions a step; by default the paper's 64.

    Returns:
        The script for GRPO.

    Raises:
        ConfigError: swift or Qwen3-VL cannot take a question, or the batch cannot be shared by the GPUs.
        DataError: a clip cannot be encoded.
        OutputError: `out` holds something else.
    """
    config = load_config("train-paper", {} if batch is None else {"run.batch": batch})
    cluster = Cluster(1, gpus)
    check_shares(config, cluster, len(questions), PROGRAM)
    asked = [questions.question(index) for index in range(len(questions))]
    check_clocks(asked, PROGRAM)
    for question in asked:
        check_even(question)
        check_text(question, PROGRAM, PLACEHOLDERS)
    script = out / "train.sh"
    output = OutputDir(out, VERB, "export for ms-swift")
    with output.open({"name": name, "hash": questions.hash}, reopen=script_hash(script) == one_line(questions.hash)):
        names = video_names(asked)
        shown = write_videos(out, questions, asked, names, progress)
        fps = reading_rate(asked)
        kwargs = [clip_kwargs(question, each, fps) for question, each in zip(asked, shown, strict=True)]
        for file, answered in (("train.jsonl", False), ("sft.jsonl", True)):
            rows = [_row(*each, answered=answered) for each in zip(asked, names, kwargs, strict=True)]
            write_lines(out / file, rows)
        plugin = "from videossr.export.swift_plugin import register\n\nregister()\n"
        write_unless_same(out / "plugin.py", plugin.encode())
        write_unless_same(out / "requirements.txt", requirements(MADE_FOR))
        longest = max(PROMPT_TOKENS, rounded_tokens(max(each.tokens for each in shown)))
        clips = max(len(question.clocks) for question in asked)
        sft = sft_arguments(config, cluster, longest, name)
        grpo = grpo_arguments(config, cluster, longest, clips, name)
        for path, verb, arguments in ((out / "sft.sh", "sft", sft), (script, "rlhf", grpo)):
            _write_script(path, questions, verb, arguments, cluster)
    return script


def check_even(question: Question) -> None:
    """Raise ConfigError where a clip has an odd number of frames, of which qwen_vl_utils would leave one out."""
    for clock in question.clocks:
        if len(clock) % 2:
            raise ConfigError(
                f"question {question.id}: a clip has {len(clock)} frames. {PROGRAM} takes frames in pairs and would "
                "leave one out: choose an even number, in the recipe or as `nframes` of the row"
            )


def clip_kwargs(question: Question, shown: Shown, fps: int) -> dict[str, int]:
    """Return what a row hands qwen_vl_utils, so that it takes every frame of each clip, and keeps its size.

    Raises:
        ConfigError: the clips have unlike sizes, and one is larger than it would keep then.
    """
    if shown.max_pixels > READER_PIXELS and shown.min_pixels < shown.max_pixels:
        raise ConfigError(
            f"question {question.id}: its clips have frames of {shown.min_pixels} to {shown.max_pixels} pixels, and "
            f"{PROGRAM} keeps unlike sizes up to {READER_PIXELS} only: take the question out of the rows, or index its "
            "videos with fewer pixels"
        )
    return {
        "fps": fps,
        "max_frames": most_frames(question),
        "min_pixels": shown.min_pixels,
        "max_pixels": shown.max_pixels,
    }


def grpo_arguments(config: TrainConfig, cluster: Cluster, longest: int, clips: int, name: str) -> Arguments:
    """Translate a configuration of GRPO to swift's arguments.

    Args:
        config: the configuration.
        cluster: the machine.
        longest: tokens of a prompt, at most.
        clips: of a question, at most.
        name: of the run.

    Returns:
        The arguments. Paths of exported files start with ``$here``, and the model is ``$MODEL``: the script knows both.
    """
    grpo, optim, run = config.grpo, config.optim, config.run
    micro = micro_batch(config, cluster)
    passes = run.batch * grpo.rollouts // cluster.cards // micro
    return {
        "rlhf_type": "grpo",
        "external_plugins": "$here/plugin.py",
        "reward_funcs": NAMES[grpo.reward == "strict"],
        "num_generations": grpo.rollouts,
        "max_completion_length": grpo.max_tokens,
        "temperature": grpo.temperature,
        "top_p": 1.0,
        "top_k": -1,
        "advantage_estimator": "grpo",
        "scale_rewards": grpo.scale,
        "loss_type": LOSSES[grpo.aggregate],
        "beta": grpo.kl,
        "kl_in_reward": False,
        "epsilon": grpo.clip_low,
        "epsilon_high": grpo.clip_high,
        "num_iterations": 1,
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_tensor_parallel_size": 1,
        "vllm_gpu_memory_utilization": 0.5,
        "vllm_max_model_len": longest + grpo.max_tokens,
        "vllm_limit_mm_per_prompt": json.dumps({"image": 0, "video": clips}),
        "vllm_mm_processor_cache_gb": 0,
        "sleep_level": 1,
        **_shared_arguments(config, longest, "grpo", name),
        "dataset": "$here/train.jsonl",
        "learning_rate": optim.lr,
        "lr_scheduler_type": optim.schedule,
        "warmup_steps": optim.warmup,
        "per_device_train_batch_size": micro,
        "steps_per_generation": passes,
        "gradient_accumulation_steps": max(1, passes // grpo.updates),
    }


def sft_arguments(config: TrainConfig, cluster: Cluster, longest: int, name: str) -> Arguments:
    """Return swift's arguments for SFT: model, optimizer and length of the run are those of GRPO."""
    return {
        **_shared_arguments(config, longest, "sft", name),
        "dataset": "$here/sft.jsonl",
        "learning_rate": SFT_RATE,
        "lr_scheduler_type": "cosine",
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": max(1, config.run.batch // cluster.cards),
    }


def _shared_arguments(config: TrainConfig, longest: int, method: str, name: str) -> Arguments:
    optim, run = config.optim, config.run
    return {
        "model": "$MODEL",
        "model_type": "qwen3_vl",
        "template": "qwen3_vl",
        "use_hf": True,
        "tuner_type": "full",
        "freeze_vit": not config.model.train_vision,
        "freeze_aligner": not config.model.train_vision,
        "torch_dtype": run.dtype,
        "deepspeed": "zero3",
        "gradient_checkpointing": run.recompute,
        "max_length": longest,
        "strict": True,
        "adam_beta1": optim.betas[0],
        "adam_beta2": optim.betas[1],
        "adam_epsilon": optim.eps,
        "weight_decay": optim.weight_decay,
        "max_grad_norm": optim.clip_norm,
        "num_train_epochs": run.epochs,
        "seed": run.seed,
        "data_seed": run.seed,
        "logging_steps": 1,
        "save_steps": config.log.save_every,
        "save_total_limit": config.log.keep,
        "output_dir": f"$here/checkpoints/{method}",
        "run_name": name,
    }


def _row(question: Question, videos: Sequence[str], kwargs: Mapping[str, int], *, answered: bool) -> dict[str, Any]:
    """Write the row of a question."""
    return {
        "id": question.id,
        "messages": question.turns(answered=answered),
        "videos": videos,
        "solution": question.answer,
        "data_source": question.data_source,
        "chat_template_kwargs": kwargs,
    }


def _write_script(path: Path, questions: QuestionSet, verb: str, arguments: Arguments, cluster: Cluster) -> None:
    """Write a command, with every argument on a line of its own."""
    made_for = ", ".join(f"{name} {version}" for name, version in MADE_FOR.items())
    lines = [
        'here=$(cd "$(dirname "$0")" && pwd)',
        f"MODEL=${{MODEL:-{MODEL}}}",
        'export ROOT_IMAGE_DIR="$here"  # paths in rows are relative to it',
        "export FORCE_QWENVL_VIDEO_READER=decord",
        f'export NPROC_PER_NODE="${{NPROC_PER_NODE:-{cluster.gpus}}}"',
        f"exec swift {verb} \\",
        *(f"    --{name} {shell_word(_text(value))} \\" for name, value in arguments.items()),
    ]
    title = f"swift {verb} of {one_line(str(questions.path))} on {cluster.gpus} GPUs, for {made_for}."
    note = "Arguments given to this script replace those below, such as --save_steps 10"
    write_script(path, title, questions, note, lines)


def _text(value: object) -> str:
    """Write a value as swift reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
