"""Prompts about one video in a row: the frames are read once, and everything else is as if each were read alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from videossr.clock import uniform_clock
from videossr.engine.checkpoint import Checkpoint, prompt_inputs
from videossr.engine.prompt_reader import PromptReader, common_length
from videossr.engine.shared_prefix import read_prefix
from videossr.models.tiny import PATCH, Family
from videossr.prompt.base import Prompt
from videossr.question import Clip, Question

Tiny = Callable[[Family], Checkpoint]
CPU = torch.device("cpu")


def prompt(checkpoint: Checkpoint, family: Family, text: str, seed: int = 0, frames: int = 8, clips: int = 1) -> Prompt:
    """Make the prompt of a question about noisy clips."""
    side = 4 * PATCH[family]
    noise = np.random.default_rng(seed)
    clock = uniform_clock(frames, frames * 500)
    shown = [Clip(noise.integers(0, 256, (frames, side, side, 3), np.uint8), clock) for _ in range(clips)]
    question = Question("q", "videossr/option", "", "<video>\n" * clips + text, "A", (clock,) * clips)
    return checkpoint.build(question, shown)


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
@pytest.mark.parametrize("clips", [1, 2])
def test_prompts_about_one_video_are_read_as_if_each_were_alone(tiny: Tiny, family: Family, clips: int) -> None:
    checkpoint = tiny(family)
    model = checkpoint.load(CPU, "float32", "sdpa")
    texts = ["Who is it?", "Who is it? And where does all of this happen, and when?", "Who", "What?"]
    prompts = [prompt(checkpoint, family, text, clips=clips) for text in texts]
    reader = PromptReader(model, CPU)
    with torch.inference_mode():
        for made in [*prompts, prompts[-1]]:
            found = reader.read(made)
            alone = read_prefix(model, prompt_inputs(made, CPU, torch.float32))
            assert (found.length, found.delta) == (alone.length, alone.delta)
            torch.testing.assert_close(found.logits, alone.logits, rtol=1e-4, atol=1e-4)
            for mine, other in zip(found.layers, alone.layers, strict=True):
                torch.testing.assert_close(mine.first, other.first, rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(mine.second, other.second, rtol=1e-4, atol=1e-4)
    assert reader.continued == len(prompts)  # all but the first, and the last one twice


def test_another_video_is_read_anew(tiny: Tiny) -> None:
    checkpoint = tiny("qwen3_vl")
    first = prompt(checkpoint, "qwen3_vl", "Who?")
    others = [prompt(checkpoint, "qwen3_vl", "Who?", seed=1), prompt(checkpoint, "qwen3_vl", "Who?", frames=6)]
    reader = PromptReader(checkpoint.load(CPU, "float32", "sdpa"), CPU)
    with torch.inference_mode():
        for made in (first, *others, first):
            assert common_length(first, made) == (len(first.ids) - 1 if made is first else 0)
            reader.read(made)
    assert reader.continued == 0


def test_one_pixel_and_one_time_make_another_video(tiny: Tiny) -> None:
    checkpoint = tiny("qwen3_vl")
    first = prompt(checkpoint, "qwen3_vl", "Who?")
    patches = first.patches.copy()
    patches[-1, -1] ^= 1
    assert common_length(first, replace(first, patches=patches)) == 0
    ids = first.ids.copy()
    ids[int(np.flatnonzero(first.kinds)[0]) - 2] += 1  # within the mark of the first pair's time
    assert common_length(first, replace(first, ids=ids)) == 0


def test_a_failure_frees_the_last_prompt(tiny: Tiny) -> None:
    checkpoint = tiny("qwen3_vl")
    reader = PromptReader(checkpoint.load(CPU, "float32", "sdpa"), CPU)
    made = prompt(checkpoint, "qwen3_vl", "Who?")
    with torch.inference_mode():
        reader.read(made)
        reader.forget()
        reader.read(made)
    assert reader.continued == 0
