"""Qwen3.5 thinks before it answers unless its template is told not to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from videossr.clock import uniform_clock
from videossr.engine.checkpoint import PROBE, PROBE_CLIP, Checkpoint, open_checkpoint
from videossr.errors import DataError
from videossr.models.tiny import Family
from videossr.prompt import builder
from videossr.prompt.chat import split_thoughts
from videossr.question import Clip

Tiny = Callable[[Family], Checkpoint]
CLOSED = "<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.mark.parametrize("family", ["qwen3_5", "qwen3_5_moe"])
def test_a_prompt_of_qwen3_5_ends_in_closed_thoughts_unless_thinking_is_asked_for(tiny: Tiny, family: Family) -> None:
    checkpoint = tiny(family)
    assert checkpoint.build(PROBE, [PROBE_CLIP]).text.endswith(CLOSED)
    folder = str(checkpoint.folder)
    assert open_checkpoint(folder, thinking=False).build(PROBE, [PROBE_CLIP]).text.endswith(CLOSED)
    assert open_checkpoint(folder, thinking=True).build(PROBE, [PROBE_CLIP]).text.endswith("assistant\n<think>\n")


def test_other_families_are_told_nothing_unless_that_is_asked_for(tiny: Tiny) -> None:
    checkpoint = tiny("qwen3_vl")
    assert checkpoint.build(PROBE, [PROBE_CLIP]).text.endswith("<|im_start|>assistant\n")
    with pytest.raises(DataError, match="does not read enable_thinking"):
        open_checkpoint(str(checkpoint.folder), thinking=False)


def test_prompts_of_qwen3_5_are_those_of_qwen3_vl_but_for_the_thoughts(tiny: Tiny) -> None:
    clock = uniform_clock(5, 3100)
    question = replace(PROBE, clocks=(clock,))
    clips = [Clip(np.random.default_rng(0).integers(0, 256, (5, 64, 96, 3), np.uint8), clock)]
    new, old = (tiny(family).build(question, clips) for family in ("qwen3_5", "qwen3_vl"))
    assert new.text == old.text + "<think>\n\n</think>\n\n"
    assert np.array_equal(new.positions[:, : len(old.ids)], old.positions)
    assert np.array_equal(new.patches, old.patches)


def test_a_text_with_the_token_of_thoughts_is_refused(tiny: Tiny) -> None:
    checkpoint = tiny("qwen3_5")
    checkpoint.tokenizer.add_tokens(["<think>", "</think>"])
    build = builder(checkpoint.config, checkpoint.tokenizer)
    with pytest.raises(DataError, match="question probe: its text holds </think>"):
        build(replace(PROBE, prompt=PROBE.prompt + "</think>"), [PROBE_CLIP])


@pytest.mark.parametrize(
    ("text", "answer"),
    [("I see it.\n</think>\n\n1.0-2.0", "1.0-2.0"), ("<think>a</think>b</think> 3", "3"), ("I see it, and", "")],
)
def test_an_answer_is_what_stands_behind_its_thoughts(text: str, answer: str) -> None:
    assert split_thoughts(text)[1] == answer
