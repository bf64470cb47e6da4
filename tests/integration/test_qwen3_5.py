"""A prompt is shared through Gated DeltaNet layers with other releases of transformers, the first one among them."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from tests.integration.conftest import RELEASES, Ask, Release
from videossr.models.tiny import Family, make_tiny

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("family", ["qwen3_5", "qwen3_5_moe"])
@pytest.mark.parametrize("release", RELEASES[2:-1], ids=str)
def test_scores_gradients_and_samples_are_those_of_full_passes(
    ask: Ask, tmp_path: Path, family: Family, release: Release
) -> None:
    make_tiny(tmp_path / "model", family=family, width=64)
    question = {"library": sysconfig.get_paths()["purelib"], "model": str(tmp_path / "model")}
    answer = ask(release.environment, "qwen3_5.py", question)
    assert answer["version"].startswith(f"{release}.")
    assert max(answer["logprobs"]) < 1e-5
    assert max(answer["gradients"]) < 3e-5
    assert answer["sampled"].keys() == {"packed", "rows"}
    assert max(answer["sampled"].values()) < 2e-5


def test_an_earlier_release_is_refused_with_the_one_to_take(ask: Ask, tmp_path: Path) -> None:
    question = {"library": sysconfig.get_paths()["purelib"], "model": str(make_tiny(tmp_path / "m", family="qwen3_5"))}
    answer = ask("verl", "qwen3_5.py", question)
    assert answer["version"].startswith("5.9.")
    assert "transformers 5.17" in answer["error"]
