"""Questions about one clip for EasyVideoR1: rows about stored frames, the reward, and the command that trains on them.

    clips/       one PyTorch file a question: frames, and their times as `video_metadata`
    train.jsonl  one row a question
    prompt.jinja shows the text of a row as it is
    reward.py    the reward; it needs this package
    train.sh     the command with the paper's batch, group, rate and KL; written last, so that a folder which has it is
                 complete

EasyVideoR1 hands the processor and vLLM what is stored with the frames, word for word, so any clock is exact. It shows
one video a row. Read in its repository at commit 7ab338b; not run with its pins (transformers 4.57.3, vLLM 0.11.0).

`videossr export easyvideor1 DATASET --out FOLDER` writes it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from videossr.errors import ConfigError, MissingExtraError
from videossr.export.folder import Progress, write_unless_same
from videossr.export.trainer import (
    MODEL,
    OVERRIDDEN,
    PROMPT_TOKENS,
    Cluster,
    check_shares,
    check_text,
    prompt_tokens,
    rounded_tokens,
    script_hash,
    write_script,
)
from videossr.export.video_rows import write_lines
from videossr.question import Clip, Question
from videossr.question_set import QuestionSet
from videossr.rewards import compute_score
from videossr.storage.output_dir import OutputDir
from videossr.storage.paths import atomic_write
from videossr.training.config import TrainConfig, load_config
from videossr.untrusted import one_line

VERB = "export easyvideor1"
PROGRAM = "EasyVideoR1"
PLACEHOLDERS = ("<image>",)
"""What it takes for another medium in any text."""

PROMPT = "{{ problem }}"
"""Its template of a prompt. Without one it adds instructions of its own."""

REWARD = '''"""The reward of videossr, by which EasyVideoR1 scores answers."""

from videossr.export.easyvideor1 import batch_scores as compute_score

REWARD_NAME = "videossr"
REWARD_TYPE = "batch"
'''


class _Expanded(str):
    """A value of this module's own, in which the shell replaces a variable."""

    __slots__ = ()


class Row(TypedDict):
    """A row of `train.jsonl`; `problem_type` is the `data_source`, since rewards are told no other column of ours."""

    problem_id: str
    problem: str
    answer: str
    videos: list[str]
    data_type: str
    problem_type: str
    preprocessed_video: str


def batch_scores(reward_inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Score a batch of answers, as its trainer asks: `reward.py` of an exported folder gives this to it.

    Args:
        reward_inputs: `response`, `ground_truth` and `problem_type` of each answer.

    Returns:
        `overall`, the smooth reward that is trained on, and `accuracy`, which is 1 for exactly the gold answer.

    Raises:
        ValueError: a task is not known, or a gold answer is malformed.
    """
    scores = [compute_score(each["problem_type"], each["response"], each["ground_truth"]) for each in reward_inputs]
    return [{"overall": score["smooth"], "accuracy": score["strict"]} for score in scores]


def shown_alone(questions: QuestionSet) -> list[int]:
    """Return the indices of the questions about one clip, which are those that it can show.

    Raises:
        ConfigError: there is none.
    """
    chosen = [index for index in range(len(questions)) if len(questions.question(index).clocks) == 1]
    if not chosen:
        raise ConfigError(f"{PROGRAM} shows one video a row, and every question of {questions.path} has several clips")
    return chosen


def export_easyvideor1(
    questions: QuestionSet,
    out: Path,
    name: str,
    progress: Progress = lambda done: None,
    *,
    cluster: Cluster,
    batch: int | None = None,
) -> Path:
    """Write the folder. An export that was stopped is completed; of one that is there, what is missing or differs.

    Args:
        questions: the questions; those about several clips are left out, see `shown_alone`.
        out: the folder to write.
        name: of the run, as trackers show it.
        progress: called with the number of questions written after each.
        cluster: the machines to train on.
        batch: questions a step; by default the paper's 64.

    Returns:
        The script.

    Raises:
        ConfigError: EasyVideoR1 or Qwen3-VL cannot take a question, or the batch cannot be shared by the GPUs.
        MissingExtraError: torch is not installed.
        OutputError: `out` holds something else.
    """
    config = load_config("train-paper", {} if batch is None else {"run.batch": batch})
    chosen = shown_alone(questions)
    check_shares(config, cluster, len(chosen), PROGRAM)
    script = out / "train.sh"
    output = OutputDir(out, VERB, f"export for {PROGRAM}")
    with output.open({"name": name, "hash": questions.hash}, reopen=script_hash(script) == one_line(questions.hash)):
        rows: list[Row] = []
        longest = PROMPT_TOKENS
        for done, index in enumerate(chosen, 1):
            question = questions.question(index)
            check_text(question, PROGRAM, PLACEHOLDERS)
            rows.append(_row(question, f"{index // 1000:05d}/{index}.pt"))
            (clip,) = questions.clips(index)
            longest = max(longest, prompt_tokens(question, [clip.frames.shape[1:3]]))
            path = out / "clips" / rows[-1]["preprocessed_video"]
            if not path.is_file():
                write_clip(path, clip)
            progress(done)
        write_lines(out / "train.jsonl", rows)
        write_unless_same(out / "prompt.jinja", PROMPT.encode())
        write_unless_same(out / "reward.py", REWARD.encode())
        settings = overrides(config, cluster, rounded_tokens(longest), name)
        _write_script(script, questions, settings, cluster)
    return script


def write_clip(path: Path, clip: Clip) -> None:
    """Store a clip: `frames`, (T, 3, H, W) uint8, and the `metadata` by which a processor knows their times.

    Raises:
        MissingExtraError: torch is not installed.
    """
    try:
        import torch
    except ImportError as missing:
        raise MissingExtraError(
            f"its files are PyTorch's: pip install 'videossr[train]', which has torch ({missing})"
        ) from missing
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = dict(clip.video_metadata)
    stored = {
        "frames": torch.from_numpy(clip.frames).permute(0, 3, 1, 2).contiguous(),
        "metadata": metadata,
        "sample_fps": metadata["fps"],
    }
    with atomic_write(path) as partial:
        torch.save(stored, partial)


def overrides(config: TrainConfig, cluster: Cluster, longest: int, name: str) -> dict[str, object]:
    """Translate a configuration of GRPO to settings of EasyVideoR1, over those of its `examples/video_rl`.

    Args:
        config: the configuration.
        cluster: the machines.
        longest: tokens of a prompt, at most.
        name: of the run.

    Returns:
        The settings. Paths of exported files start with ``$here``, and the model is ``$MODEL``: the script knows both.
    """
    grpo, optim, run = config.grpo, config.optim, config.run
    return {
        "data.train_files": _Expanded("$here/train.jsonl"),
        "data.val_files": _Expanded("$here/train.jsonl"),
        "data.format_prompt": _Expanded("$here/prompt.jinja"),
        "data.video_source_mode": "preprocessed_only",
        "data.preprocessed_video_dir": _Expanded("$here/clips"),
        "data.max_prompt_length": longest,
        "data.max_response_length": grpo.max_tokens,
        "data.rollout_batch_size": run.batch,
        "data.shuffle": True,
        "data.seed": run.seed,
        "algorithm.disable_kl": not grpo.kl,
        "algorithm.use_kl_loss": bool(grpo.kl),
        "algorithm.kl_coef": grpo.kl,
        "worker.actor.global_batch_size": run.batch // grpo.updates,
        "worker.actor.max_token_len_per_gpu": longest + grpo.max_tokens,
        "worker.actor.model.model_path": _Expanded("$MODEL"),
        "worker.actor.model.freeze_vision_tower": not config.model.train_vision,
        "worker.actor.optim.lr": optim.lr,
        "worker.actor.optim.weight_decay": optim.weight_decay,
        "worker.actor.max_grad_norm": optim.clip_norm,
        "worker.rollout.n": grpo.rollouts,
        "worker.rollout.temperature": grpo.temperature,
        "worker.rollout.tensor_parallel_size": 1,
        "worker.rollout.max_num_batched_tokens": longest + grpo.max_tokens,
        "worker.reward.reward_function": _Expanded("$here/reward.py:compute_score"),
        "trainer.experiment_name": name,
        "trainer.logger": ["console", "file"],
        "trainer.total_epochs": max(1, round(run.epochs)),
        "trainer.val_before_train": False,
        "trainer.val_freq": -1,
        "trainer.save_freq": config.log.save_every or -1,
        "trainer.save_limit": config.log.keep,
        "trainer.save_checkpoint_path": _Expanded("$here/checkpoints"),
        "trainer.nnodes": cluster.nodes,
        "trainer.n_gpus_per_node": cluster.gpus,
    }


def _row(question: Question, clip: str) -> Row:
    """Write the row of a question. Rows have no system turn: its text comes first in the user's."""
    return Row(
        problem_id=question.id,
        problem="\n\n".join(filter(None, (question.system, question.prompt))),
        answer=question.answer,
        videos=[clip],
        data_type="video",
        problem_type=question.data_source,
        preprocessed_video=clip,
    )


def _write_script(path: Path, questions: QuestionSet, settings: Mapping[str, object], cluster: Cluster) -> None:
    """Write the command, with every setting on a line of its own."""
    lines = [
        'here=$(cd "$(dirname "$0")" && pwd)',
        f"MODEL=${{MODEL:-{MODEL}}}",
        'cd "${EASYVIDEOR1:?set it to the folder of its repository}"',
        "exec python3 -m verl.trainer.main config=examples/video_rl/video_rl.yaml \\",
        *(f"    {_word(name, value)} \\" for name, value in settings.items()),
    ]
    title = f"GRPO of {one_line(str(questions.path))} on {cluster.nodes} x {cluster.gpus} GPUs, with EasyVideoR1."
    write_script(path, title, questions, OVERRIDDEN, lines)


def _word(name: str, value: object) -> str:
    """Write a setting as a word of the shell, with its value in YAML, in which a text is quoted."""
    if isinstance(value, _Expanded):
        return f"\"{name}='{value}'\""
    if not isinstance(value, str):
        return shlex.quote(f"{name}={json.dumps(value)}")
    quoted = value.replace("'", "''")
    return shlex.quote(f"{name}='{quoted}'")
