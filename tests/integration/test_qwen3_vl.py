"""The text that stands for our clips in a prompt is what the processor of transformers really writes there."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.integration.conftest import Ask
from videossr.clock import Clock, even
from videossr.prompt.chat import END, PAD, START
from videossr.prompt.qwen3_vl import Layout, markers, video_text

pytestmark = pytest.mark.integration

VERSIONS: list[tuple[str, Layout]] = [("transformers4", "bare"), ("transformers5", "wrapped"), ("verl", "wrapped")]
"""Side environment and the layout that its transformers writes; verl brings a version of its own."""

TOKENS = 2
"""Placeholders a pair that the processor makes of the frames it is given there: 32 x 64, one for each 32 x 32."""


def clocks() -> list[Clock]:
    """Even and uneven, an odd number of slots, an hour, steps of milliseconds, every rounding of the second decimal."""
    rng = np.random.default_rng(0)
    uneven = [
        Clock((0, *times[:-1]), times[-1])
        for slots in (2, 3, 17, 48, 47)
        for scale in (60, 900, 4000, 75_000)
        for times in [np.cumsum(rng.integers(1, scale, slots)).tolist()]
    ]
    # Means that end in a five at the second decimal, where one digit has to be chosen.
    ties = [Clock(tuple(range(0, 48 * step, step)), 48 * step) for step in (50, 100, 150, 300, 500, 700, 1100, 90_100)]
    times = sorted({0, *range(100, 60_000, 700), *range(200, 60_000, 900)})
    crowd = Clock(tuple(times), 61_000)
    spans = (2_400, 9_001, 24_000, 33_367, 600_000, 3_600_000, 36_000_000)
    return [even(slots, span) for span in spans for slots in (48, 47)] + uneven + [*ties, crowd]


def metadata(clock: Clock) -> dict[str, object]:
    """Milliseconds as a rate of 1000 a second: exact for any times."""
    return {"fps": 1000, "frames_indices": list(clock.times_ms), "total_num_frames": clock.end_ms}


def prompt(clips: list[Clock]) -> dict[str, Any]:
    video = f"{START}{PAD}{END}"
    pieces = video if len(clips) == 1 else "".join(f"{k}: {video}\n" for k in range(1, len(clips) + 1))
    return {"text": f"<|im_start|>user\n{pieces}When?<|im_end|>\n", "clips": [metadata(clip) for clip in clips]}


def expected(clips: list[Clock], layout: Layout) -> str:
    text: str = prompt(clips)["text"]
    before, *after = text.split(f"{START}{PAD}{END}")
    texts = [video_text(clip, TOKENS, layout) for clip in clips]
    return before + "".join(itertools.chain.from_iterable(zip(texts, after, strict=True)))


@pytest.mark.parametrize(("environment", "layout"), VERSIONS)
def test_the_processor_writes_our_text(ask: Ask, environment: str, layout: Layout) -> None:
    cases = clocks()
    answers = ask(environment, "qwen3_vl.py", [prompt([clock]) for clock in cases])
    for clock, answer in zip(cases, answers, strict=True):
        assert answer["text"] == expected([clock], layout), clock
        assert answer["grid"] == [[len(markers(clock)), 2, 4]]


@pytest.mark.parametrize(("environment", "layout"), VERSIONS)
def test_every_clip_of_a_prompt_has_its_own_times(ask: Ask, environment: str, layout: Layout) -> None:
    """There were versions of transformers that gave all clips the times of the first. The pieces of a jigsaw share one
    clock, so that those do them no harm; and these versions are right for clips that do not, too.
    """
    pieces = [even(8, 3_733)] * 6
    others = [even(8, 3_733), even(8, 9_000), Clock((0, 40, 1_000), 1_200)]
    answers = ask(environment, "qwen3_vl.py", [prompt(pieces), prompt(others)])
    assert answers[0]["text"] == expected(pieces, layout)
    assert answers[1]["text"] == expected(others, layout)
