"""The rewards of this package for ms-swift: `plugin.py` of `videossr export swift` registers them.

    swift rlhf --rlhf_type grpo --external_plugins plugin.py --reward_funcs videossr …

It can be imported without swift, and needs the standard library alone; `register` is called where swift is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from videossr.errors import ConfigError
from videossr.rewards import compute_score

MADE_FOR: Mapping[str, str] = {
    "ms-swift": "4.6.0",
    "transformers": "5.9.0",
    "vllm": "0.24.0",
    "qwen-vl-utils": "0.0.14",
    "decord": "0.6.0",
    "deepspeed": "0.19.8",
}
"""The versions that the rows and the settings are made for."""

NAMES = ("videossr", "videossr_strict")
"""Rewards by their names in swift: the paper's smooth reward, and 1 for exactly the gold answer."""


def scores(
    completions: Sequence[str],
    solution: Sequence[str],
    data_source: Sequence[str],
    *,
    reward: Literal["smooth", "strict"] = "smooth",
) -> list[float]:
    """Score the answers of a batch of any tasks.

    Args:
        completions: the model's texts.
        solution: the gold answer for each.
        data_source: for each, by which task it is scored.
        reward: which of the two scores.

    Raises:
        ValueError: a task is not known, or a gold answer is malformed.
    """
    return [
        compute_score(source, text, gold, reward=reward)["score"]
        for text, gold, source in zip(completions, solution, data_source, strict=True)
    ]


def check_layout(vllm: str | None, transformers: str | None) -> None:
    """Raise ConfigError where vLLM would put other tokens around a clip than the processor that training uses.

    Args:
        vllm: its version, or None where it is not installed, so that transformers writes the answers too.
        transformers: its version.
    """
    found = ((vllm or "").partition("+")[0], transformers)
    if vllm is not None and found != (MADE_FOR["vllm"], MADE_FOR["transformers"]):
        raise ConfigError(
            f"vllm {vllm} and transformers {transformers}: with vllm {MADE_FOR['vllm']} and transformers "
            f"{MADE_FOR['transformers']} a model answers the prompt that it is trained on; from transformers 5.10 on, "
            "two more tokens are around a clip, which vLLM may not read. Install the versions in requirements.txt"
        )


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def register() -> None:
    """Make the rewards known to swift. It hands them the columns of the rows, each as a list.

    Raises:
        ConfigError: the versions of vLLM and transformers do not fit, see `check_layout`.
    """
    check_layout(_installed("vllm"), _installed("transformers"))
    from swift.rewards import ORM, orms

    class VideoSSR(ORM):  # type: ignore[misc]  # swift is not there when types are checked
        """The smooth reward, in [0, 1]."""

        def __call__(self, completions: Any, solution: Any, data_source: Any, **_columns: Any) -> list[float]:
            return scores(completions, solution, data_source)

    class VideoSSRStrict(ORM):  # type: ignore[misc]  # swift is not there when types are checked
        """1 for exactly the gold answer, else 0."""

        def __call__(self, completions: Any, solution: Any, data_source: Any, **_columns: Any) -> list[float]:
            return scores(completions, solution, data_source, reward="strict")

    orms.update(zip(NAMES, (VideoSSR, VideoSSRStrict), strict=True))
