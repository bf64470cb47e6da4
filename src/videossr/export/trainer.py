"""Shared parts of the exports for other trainers: the machines and their shares of a step, prompt lengths, scripts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from videossr.errors import ConfigError
from videossr.export.folder import write_unless_same
from videossr.prompt.qwen3_vl import markers
from videossr.question import VIDEO, Question
from videossr.question_set import QuestionSet
from videossr.storage.parsing import read_limited
from videossr.training.config import TrainConfig
from videossr.untrusted import one_line

MODEL = "Qwen/Qwen3-VL-8B-Instruct"
PROMPT_TOKENS = 8192
"""Of the paper's run. Longer prompts raise it."""

MICRO_BATCH = 4
"""Answers that a card has at once, at most."""

SIDE = 32
"""Pixels of a token's side in Qwen3-VL."""

HASH = "Dataset: "
"""Stands before the hash of the dataset in a script."""

OVERRIDDEN = "Settings given to this script replace those below: sh train.sh trainer.save_freq=10"
"""Note in the scripts of verl and its forks."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The machines of a run: nodes, and GPUs of each."""

    nodes: int = 1
    gpus: int = 8

    @property
    def cards(self) -> int:
        """GPUs of all nodes."""
        return self.nodes * self.gpus


def check_shares(config: TrainConfig, cluster: Cluster, samples: int, program: str) -> None:
    """Raise ConfigError where a step's answers cannot be shared evenly, or where there is not one whole step.

    Args:
        config: the configuration.
        cluster: the machines.
        samples: of the dataset.
        program: the trainer, as the message names it.
    """
    if cluster.nodes < 1 or cluster.gpus < 1:
        raise ConfigError(f"{cluster.nodes} nodes of {cluster.gpus} GPUs: there must be at least one of each")
    if _answers_an_update(config) % cluster.cards:
        part = f" in {config.grpo.updates} updates" if config.grpo.updates > 1 else ""
        raise ConfigError(
            f"a step has {config.run.batch} x {config.grpo.rollouts} answers{part}, which {program} cannot share "
            f"evenly between {cluster.nodes} x {cluster.gpus} GPUs: choose the batch and the number of GPUs so that it "
            "can"
        )
    if samples < config.run.batch:
        raise ConfigError(
            f"there are {samples} questions and a step takes {config.run.batch}: {program} drops a batch that is not "
            "whole, so there would be no step; choose a smaller batch"
        )


def micro_batch(config: TrainConfig, cluster: Cluster) -> int:
    """Return how many answers a card has at once, which must divide its share of an update."""
    share = _answers_an_update(config) // cluster.cards
    return next(size for size in range(MICRO_BATCH, 0, -1) if share % size == 0)


def _answers_an_update(config: TrainConfig) -> int:
    return config.run.batch // config.grpo.updates * config.grpo.rollouts


def check_text(question: Question, program: str, placeholders: Sequence[str]) -> None:
    """Raise ConfigError where a trainer would take a part of a question's text for another medium.

    Args:
        question: the question.
        program: the trainer, as the message names it.
        placeholders: what it takes for another medium in any text.
    """
    beside = f"{question.system}{question.answer}"
    found = [name for name in placeholders if name in f"{beside}{question.prompt}"] + [VIDEO] * (VIDEO in beside)
    if found:
        raise ConfigError(f"question {question.id}: its text has {found[0]}, which {program} takes for a placeholder")


def prompt_tokens(question: Question, sizes: Sequence[tuple[int, int]]) -> int:
    """Return how many tokens a prompt has at most, whatever the tokenizer: no token of text is less than a byte.

    Args:
        question: the question.
        sizes: (H, W) of the frames of each clip.

    Raises:
        ConfigError: Qwen3-VL cannot take a size.
    """
    tokens = len(f"{question.system}{question.prompt}".encode()) + 64
    for clock, (height, width) in zip(question.clocks, sizes, strict=True):
        if height % SIDE or width % SIDE:
            raise ConfigError(
                f"question {question.id}: its frames are {width} x {height}, and a side that is no multiple of {SIDE} "
                "is scaled by Qwen3-VL's processor: build the dataset with such sizes"
            )
        tokens += sum(len(marker) + height * width // SIDE**2 + 2 for marker in markers(clock))
    return tokens


def rounded_tokens(tokens: int) -> int:
    """Round a number of tokens up to a multiple of 1024."""
    return -(-tokens // 1024) * 1024


def requirements(packages: Mapping[str, str]) -> bytes:
    """Write a list of requirements. This package is a comment in it: it is installed from a clone, not from an index.

    Args:
        packages: their versions by their names, which may have extras.
    """
    own = f"# and videossr {version('videossr')}: pip install FOLDER_OF_ITS_CLONE"
    return "\n".join([*(f"{name}=={number}" for name, number in packages.items()), own, ""]).encode()


def write_script(path: Path, title: str, questions: QuestionSet, note: str, lines: Sequence[str]) -> None:
    """Write a command as a script of the shell, unless the file holds the same.

    Args:
        path: of the script.
        title: what it does.
        questions: that were exported; `script_hash` finds their hash in the script.
        note: on the arguments that can be given to it.
        lines: of the script, whose last one begins the command: the arguments are put behind them.
    """
    head = ["#!/bin/sh", f"# {title}", f"# {HASH}{one_line(questions.hash)}", f"# {note}", "set -eu"]
    write_unless_same(path, "\n".join([*head, *lines, '    "$@"', ""]).encode())
    path.chmod(0o755)


def shell_word(text: str) -> str:
    """Write a word of a shell script, in which ``$MODEL`` alone and ``$here/`` at the beginning are variables."""
    if text == "$MODEL":
        return '"$MODEL"'
    if text.startswith("$here/"):
        return f'"$here"/{shlex.quote(text.removeprefix("$here/"))}'
    return shlex.quote(text)


def script_hash(script: Path) -> str | None:
    """Return the hash of the dataset that a complete export's script names; None where there is none."""
    try:
        lines = read_limited(script, "TOML_BYTES").decode("utf-8", "replace").splitlines()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return next((line.removeprefix(f"# {HASH}") for line in lines if line.startswith(f"# {HASH}")), None)
