"""Rows of questions for verl, and the command that trains on them, with the settings of a configuration.

    train.parquet      one row a question; a row refers to its clips, and holds no frames
    agent_loop.yaml    where verl finds the agent loop
    requirements.txt   the versions that all this is made for
    train.sh           the command, with every setting; written last, so that a folder which has it is complete

`videossr export verl DATASET --out FOLDER` writes it, and `videossr train CONFIG --engine verl` what of it a run needs;
`videossr.verl` is what verl calls while it trains.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from videossr.dataset.dataset import VideoSSRDataset
from videossr.export.folder import write_table, write_unless_same
from videossr.export.trainer import (
    OVERRIDDEN,
    PROMPT_TOKENS,
    Cluster,
    check_shares,
    check_text,
    prompt_tokens,
    requirements,
    rounded_tokens,
    script_hash,
    write_script,
)
from videossr.question_set import QuestionSet
from videossr.references import make_references
from videossr.storage.output_dir import OutputDir
from videossr.training.batching import choose_questions
from videossr.training.config import TrainConfig
from videossr.untrusted import one_line
from videossr.verl.rules import Overrides
from videossr.verl.settings import Rows, quoted, settings_of, word
from videossr.verl.translation import translate
from videossr.verl.versions import MADE_FOR

VERB = "export verl"
AGENT = "videossr"
"""Name of the agent loop in rows."""

TABLE, LOOP, SCRIPT = "train.parquet", "agent_loop.yaml", "train.sh"

OTHER_MEDIA = ("<image>", "<audio>")
"""What verl takes for a placeholder in any text."""

HERE, PATH = "VIDEOSSR-HERE", "VIDEOSSR-MODEL"
"""Stand in settings for what the script alone knows: its folder, and the model that it is told."""

Size = tuple[int, int]

ROWS = pa.schema(
    [
        ("data_source", pa.string()),
        ("agent_name", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        (
            "videos",
            pa.list_(
                pa.struct(
                    [
                        ("dataset", pa.string()),
                        ("corpus", pa.string()),
                        ("index", pa.int64()),
                        ("id", pa.string()),
                        ("clip", pa.int64()),
                        ("anywhere", pa.bool_()),
                    ]
                )
            ),
        ),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        ("extra_info", pa.struct([("index", pa.int64()), ("id", pa.string()), ("category", pa.string())])),
    ]
)


Progress = Callable[[int, int], None]
"""Called with the number of questions that were looked at, and of all."""


def export_verl(
    questions: QuestionSet,
    out: Path,
    config: TrainConfig,
    cluster: Cluster,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Write the rows and the command. An export that was stopped is completed; of one that is there, what differs.

    Args:
        questions: a dataset, or rows that others have published.
        out: the folder to write.
        config: of the run; it says which of the questions are written.
        cluster: the machines to train on.
        progress: called while the questions are looked at.

    Returns:
        The script.

    Raises:
        ConfigError: verl or Qwen3-VL cannot take a question or do what a setting asks for, or the batch cannot be
            shared by the cards.
        DataError: a published row or its frames cannot be read.
        OutputError: `out` holds something else.
    """
    translation = translate(config)
    chosen = chosen_rows(questions, config)
    check_shares(config, cluster, len(chosen), "verl")
    longest = longest_prompt(questions, chosen, progress)
    script = out / SCRIPT
    output = OutputDir(out, VERB, "export for verl")
    with output.open({"hash": questions.hash}, reopen=script_hash(script) == one_line(questions.hash)):
        write_rows(questions, chosen, out, config)
        settings = settings_of(config, translation, cluster, Rows(len(chosen), longest), HERE)
        model = {"actor_rollout_ref.model.path": PATH}
        packages = {"verl[vllm,fsdp]" if name == "verl" else name: version for name, version in MADE_FOR.items()}
        write_unless_same(out / "requirements.txt", requirements(packages))
        _write_script(script, questions, settings | model, config.model.path, cluster)
    return script


def chosen_rows(questions: QuestionSet, config: TrainConfig) -> list[int]:
    """Return the indices of the questions that a run is trained on, the same as our trainer takes."""
    categories = [questions.category(index) for index in range(len(questions))]
    return choose_questions(categories, config.data.categories, config.data.share, config.run.seed)


def longest_prompt(questions: QuestionSet, chosen: list[int], progress: Progress = lambda done, total: None) -> int:
    """Return the tokens that the setting of verl must allow for a prompt: 8192, or more where one has more.

    The clips of published rows are decoded once for it, since nothing else tells the size of their frames.

    Raises:
        ConfigError: verl or Qwen3-VL cannot take a question.
        DataError: a published row or its frames cannot be read.
    """
    longest = PROMPT_TOKENS
    for done, (index, sizes) in enumerate(zip(chosen, _sizes(questions, chosen), strict=True), 1):
        question = questions.question(index)
        check_text(question, "verl", OTHER_MEDIA)
        longest = max(longest, prompt_tokens(question, sizes))
        progress(done, len(chosen))
    return rounded_tokens(longest)


def _sizes(questions: QuestionSet, chosen: list[int]) -> Iterator[list[Size]]:
    """Yield for each chosen question the (H, W) of the frames of each of its clips."""
    if isinstance(questions, VideoSSRDataset):
        heights, widths = questions["height"], questions["width"]
        for index in chosen:
            yield [(heights[index], widths[index])] * len(questions.question(index).clocks)
        return
    for index in chosen:
        yield [clip.frames.shape[1:3] for clip in questions.clips(index)]


def write_rows(questions: QuestionSet, chosen: list[int], out: Path, config: TrainConfig) -> None:
    """Write the rows of the chosen questions, and where verl finds the agent loop that they name."""
    place = "" if config.data.corpus is None else str(config.data.corpus)
    if isinstance(questions, VideoSSRDataset) and place:
        place = str(questions.corpus.path)
    elif place:
        place = str(Path(place).absolute()) if "://" not in place else place
    rows = [_row(questions, index, place, anywhere=config.data.anywhere) for index in chosen]
    write_table(out / TABLE, rows, ROWS)
    loop = f"- name: {AGENT}\n  _target_: videossr.verl.agent_loop.SampleAgentLoop\n"
    write_unless_same(out / LOOP, loop.encode())


def _row(questions: QuestionSet, index: int, corpus: str, *, anywhere: bool) -> dict[str, Any]:
    """Write the row of a question."""
    question = questions.question(index)
    return {
        "data_source": question.data_source,
        "agent_name": AGENT,
        "prompt": question.turns(),
        "videos": make_references(question, index, str(questions.path), corpus, anywhere=anywhere),
        "reward_model": {"style": "rule", "ground_truth": question.answer},
        "extra_info": {"index": index, "id": question.id, "category": questions.category(index)},
    }


def _write_script(path: Path, questions: QuestionSet, settings: Overrides, model: str, cluster: Cluster) -> None:
    """Write the command, with every setting on a line of its own."""
    made_for = ", ".join(f"{name} {version}" for name, version in MADE_FOR.items())
    ray = ['export RAY_ADDRESS="${RAY_ADDRESS:-auto}"  # of the cluster that `ray start` has made'] * (
        cluster.nodes > 1
    )
    lines = [
        "# Escape what Hydra would not take literally in a path between single quotes.",
        f"escaped() {{ printf %s \"$1\" | sed '{_SED}'; }}",
        'here=$(escaped "$(cd "$(dirname "$0")" && pwd)")',
        f"default={shlex.quote(model)}",
        'model=$(escaped "${MODEL:-${default:?name a checkpoint: MODEL=FOLDER sh train.sh}}")',
        *ray,
        "python -m videossr.verl.versions",
        "exec python -m verl.trainer.main_ppo \\",
        *(f"    {_shell_word(name, value)} \\" for name, value in settings.items()),
    ]
    title = f"GRPO of {one_line(str(questions.path))} on {cluster.nodes} x {cluster.gpus} GPUs, for {made_for}."
    write_script(path, title, questions, OVERRIDDEN, lines)


_SED = r"s/\(\\*\)'\''/\1\1\\'\''/g; s/\(\\*\)$/\1\1/"
"""Does in a shell what `videossr.verl.settings.quoted` does, between single quotes of the shell."""


def _shell_word(name: str, value: object) -> str:
    """Write a setting as a word of the shell."""
    if isinstance(value, str) and (HERE in value or value == PATH):
        known = quoted(value).replace(HERE, "$here").replace(PATH, "$model")
        return f'"{name}={known}"'
    return shlex.quote(word(name, value))
