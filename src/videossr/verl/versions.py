"""The versions of verl, vLLM and transformers that the rows and the settings of `videossr export verl` are made for.

    python -m videossr.verl.versions

ends with the reason where this environment has others. The exported script calls it, and so does every worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec

from videossr.errors import ConfigError, MissingExtraError
from videossr.storage.provenance import installed_versions

MADE_FOR: Mapping[str, str] = {"verl": "0.9.1", "vllm": "0.24.0", "transformers": "5.9.0"}

REASONS: Mapping[str, str] = {
    "verl": "its agent loop, its dataset class and its settings are not a stable interface",
    "vllm": "what a model reads in place of a clip differs from release to release, and must be what is trained on",
    "transformers": "from 5.10 on, its processor puts two more tokens around a clip, which vLLM 0.24 does not",
}

ENGINES: Mapping[str, str] = {
    "sglang": "it takes prompts in which clips are expanded already, and one payload for all clips of a row",
    "trtllm": "it decodes the token ids to text and expands every clip again",
}
"""Rollout engines that are refused, and why."""


def check_versions(installed: Mapping[str, str], *, vllm: bool = True) -> None:
    """Raise ConfigError where a version is another than the one that the exported rows are made for.

    Args:
        installed: versions by the names of packages.
        vllm: whether vLLM is the engine of the rollouts.
    """
    wrong = [
        f"{name} {installed.get(name, 'is missing')}, made for {version}: {REASONS[name]}"
        for name, version in MADE_FOR.items()
        if (name != "vllm" or vllm) and installed.get(name, "").partition("+")[0] != version
    ]
    if wrong:
        packages = " ".join(f"{name}=={version}" for name, version in MADE_FOR.items())
        raise ConfigError(f"verl cannot train on these rows here. {'. '.join(wrong)}. Install {packages}")


def check_installed() -> None:
    """Raise MissingExtraError where this environment has no verl."""
    if find_spec("verl") is None:
        others = " ".join(f"{name}=={version}" for name, version in MADE_FOR.items() if name != "verl")
        raise MissingExtraError(
            "verl is not installed here. Make an environment for it and videossr, and train there: "
            f"pip install 'verl[vllm,fsdp]=={MADE_FOR['verl']}' {others} videossr"
        )


@cache
def check_environment(engine: str = "vllm") -> None:
    """Check this process's environment once.

    Args:
        engine: of the rollouts, `actor_rollout_ref.rollout.name` of verl.

    Raises:
        ConfigError: a version or the engine does not fit.
    """
    if engine in ENGINES:
        raise ConfigError(f"actor_rollout_ref.rollout.name={engine}: {ENGINES[engine]}. Take vllm")
    check_versions(installed_versions((), optional=MADE_FOR), vllm=engine == "vllm")


if __name__ == "__main__":
    try:
        check_environment()
    except ConfigError as error:
        raise SystemExit(str(error)) from None
