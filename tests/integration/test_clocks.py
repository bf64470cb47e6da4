"""The markers of time that we describe are those that the processors of transformers write, family by family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib
import numpy as np
import pytest

from tests.helpers.small_tokenizers import raw_tokenizer
from tests.integration.conftest import Ask
from videossr.clock import Clock, uniform_clock
from videossr.prompt.clocks import CLOCKS, NoClock, StepClock, TextClock, marker_slots
from videossr.question import Clip

pytestmark = pytest.mark.integration

UNEVEN = Clock((0, 40, 1_000, 1_001, 9_900), 12_000)
LONG = Clock((0, 50, 150, 350, 75_001, 75_500, 3_599_960, 3_661_009, 90_061_999), 100_000_000)
EVEN = uniform_clock(8, 3_733)
CASES = [(UNEVEN,), (uniform_clock(5, 60_000),), (LONG,), (EVEN,), (EVEN, EVEN)]
"""The clocks of the clips of each prompt."""

BEFORE, AFTER = "Look: ", " When?"

ABSENT: dict[str, set[str]] = {
    "transformers_4_57": {
        *("cohere_compass", "cosmos3_edge", "ernie4_5_vl_moe", "gemma4", "gemma4_unified", "glm46v", "glm5_next"),
        *("kimi_k25", "lfm3_vl", "minicpmv4_6", "minicpmv4_7", "minimax_m3_vl", "molmo2", "muse_glimmer"),
        *("muse_spark", "nemotron_h_omni", "qwen3_5", "qwen3_5_moe", "qwen4_exp", "video_llama_3"),
    },
    "transformers_5_24": set(),
}
"""Releases, and the families that each does not have."""

TAKES_NO_METADATA = ("transformers_4_57", "video_llava")
"""A processor to which the times of a clip cannot even be given."""

Written: TypeAlias = dict[str, Any]
"""What a processor wrote for one prompt, see `side/clocks.py`."""


@pytest.fixture(scope="module")
def ask_processors(ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Show the clips of `CASES` to the processors of all families in a release."""
    tokenizer = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    raw_tokenizer().save(str(tokenizer))

    def shown(clock: Clock) -> Any:
        return Clip(np.zeros((len(clock), 2, 2, 3), np.uint8), clock).video_metadata

    def ask_release(environment: str) -> dict[str, list[Written] | None]:
        question = {
            "tokenizer": str(tokenizer),
            "font": str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"),
            "families": list(CLOCKS),
            "before": BEFORE,
            "after": AFTER,
            "cases": [[shown(clock) for clock in clocks] for clocks in CASES],
        }
        answer: dict[str, list[Written] | None] = ask(environment, "clocks.py", question)
        return answer

    return ask_release


def pieces(texts: list[str]) -> list[str]:
    """Drop what separates frames, and Kimi's word before the tokens of frames."""
    return [text for piece in texts if (text := piece.strip(" ,\n")) and text != "video"]


def check_text_clock(family: str, clock: TextClock, times: Clock, written: Written) -> None:
    markers = clock.markers(times)
    assert len(markers) == len(marker_slots(clock, times))
    if clock.place == "drawn":
        assert written["drawn"] == markers, family
        assert pieces(written["texts"]) == [BEFORE.strip(), AFTER.strip()], family
    elif clock.place == "after":
        *others, last = pieces(written["texts"])
        assert others == [BEFORE.strip(), *markers[:-1]], family
        assert last == markers[-1] + AFTER, family
    else:
        *found, last = pieces(written["texts"])
        found = found[1:] if found[0] == BEFORE.strip() else found
        assert found[0].startswith(BEFORE.strip()) or found[0] == markers[0], family
        assert found[0].endswith(markers[0]), family
        assert found[1:] == markers[1:], family
        assert last == AFTER.strip(), family


@pytest.mark.parametrize("environment", ABSENT)
def test_families_write_the_markers_that_we_describe(ask_processors: Any, environment: str) -> None:
    answers = ask_processors(environment)
    assert {family for family, written in answers.items() if written is None} == ABSENT[environment]
    for family, written in answers.items():
        if written is None:
            continue
        *single, several = written
        if (environment, family) == TAKES_NO_METADATA:
            assert all("unexpected keyword argument 'video_metadata'" in prompt["error"] for prompt in written)
            continue
        assert all("error" not in prompt for prompt in single), json.dumps({family: single})
        clock = CLOCKS[family]
        if isinstance(clock, TextClock):
            for (times,), prompt in zip(CASES, single, strict=False):
                check_text_clock(family, clock, times, prompt)
            assert ("error" in several) == (clock.clips == 1), (family, several)
        else:
            assert isinstance(clock, NoClock | StepClock)
            first, second, *_ = single  # clips of as many slots at other times
            assert first["texts"] == second["texts"], family
            assert not first["drawn"], family
