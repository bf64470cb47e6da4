"""The times that EasyVideoR1's processor prints of an export are those of the clock, also of an uneven one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.exports import UnevenDataset
from tests.helpers.small_tokenizers import TEMPLATE, raw_tokenizer
from tests.integration.conftest import Ask
from videossr.export.easyvideor1 import export_easyvideor1, shown_alone
from videossr.export.trainer import Cluster
from videossr.prompt.qwen3_vl import markers

pytestmark = pytest.mark.integration


def test_processor_prints_the_times_of_the_clock(ask: Ask, dataset: Path, tmp_path: Path) -> None:
    """transformers 4.57 is the release that EasyVideoR1 pins."""
    questions = UnevenDataset(dataset)
    export_easyvideor1(questions, tmp_path / "out", "run", cluster=Cluster(1, 1), batch=1)
    raw_tokenizer().save(str(tmp_path / "tokenizer.json"))
    question = {"tokenizer": str(tmp_path / "tokenizer.json"), "template": TEMPLATE, "folder": str(tmp_path / "out")}
    answers = ask("transformers_4_57", "easyvideor1.py", question)
    chosen = shown_alone(questions)
    assert len(answers) == len(chosen) > 0
    for answer, index in zip(answers, chosen, strict=True):
        (clip,) = questions.clips(index)
        assert re.findall(r"<[\d.]+ seconds>", answer["text"]) == markers(clip.clock)
        pairs = -(-len(clip.clock) // 2)
        assert answer["pixels"] == pairs * (clip.frames.shape[1] // 16) * (clip.frames.shape[2] // 16)
