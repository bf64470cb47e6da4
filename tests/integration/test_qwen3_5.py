"""A prompt is shared through Gated DeltaNet layers with the release of transformers before the one that is locked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import Ask
from videossr.models.tiny import Family, make_tiny

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("family", ["qwen3_5", "qwen3_5_moe"])
def test_scores_gradients_and_samples_are_those_of_full_passes(ask: Ask, tmp_path: Path, family: Family) -> None:
    make_tiny(tmp_path / "model", family=family, width=64)
    answer = ask("trl", "qwen3_5.py", {"model": str(tmp_path / "model")})
    assert answer["transformers"].startswith("5.23.")
    assert max(answer["logprobs"]) < 1e-5
    assert max(answer["gradients"]) < 3e-5
    assert answer["sampled"].keys() == {"packed", "rows"}
    assert max(answer["sampled"].values()) < 2e-5
