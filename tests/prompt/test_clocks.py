"""The markers of time of each model family. tests/integration/test_clocks.py compares them with the processors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.small_tokenizers import config, tokenizer
from videossr.clock import Clock
from videossr.prompt import FAMILIES, builder
from videossr.prompt.clocks import CLOCKS, NoClock, StepClock, TextClock, family_clock, marker_slots
from videossr.prompt.qwen3_vl import markers

DOCS = Path(__file__).parents[2] / "docs/concepts/clock.md"
CLOCK = Clock((0, 250, 1_001, 61_900, 3_661_040), 3_700_000)


def text_clock(family: str) -> TextClock:
    clock = family_clock(family)
    assert isinstance(clock, TextClock)
    return clock


@pytest.mark.parametrize(
    ("family", "place", "written"),
    [
        ("qwen3_vl", "before", ["<0.1 seconds>", "<31.5 seconds>", "<3661.0 seconds>"]),
        ("cosmos3_edge", "before", [f"<{time} seconds>" for time in ("0.0", "0.2", "1.0", "61.9", "3661.0")]),
        ("glm4v", "after", ["0", "1", "3661"]),
        ("glm46v", "after", ["0.0 seconds", "1.0 seconds", "3661.0 seconds"]),
        ("molmo2", "before", ["0.0", "0.2", "1.0", "61.9", "3661.0"]),
        ("gemma4", "before", ["00:00", "00:00", "00:01", "01:01", "61:01"]),
        ("kimi_k25", "before", ["00:00:00.000", "01:01:01.039"]),
        (
            "nemotron_h_omni",
            "before",
            [
                "Frame 1 sampled at 0.00 seconds and frame 2 sampled at 0.25 seconds:",
                "Frame 3 sampled at 1.00 seconds and frame 4 sampled at 61.90 seconds:",
                "Frame 5 sampled at 3661.04 seconds:",
            ],
        ),
        ("minimax_m3_vl", "before", ["]<]0.0 seconds[>[", "]<]1.0 seconds[>[", "]<]3661.0 seconds[>["]),
        ("muse_spark", "before", ["Time: 0.0s", "Time: 1.0s", "Time: 3661.0s"]),
        ("video_llama_3", "before", [f"Time {time}s:" for time in ("0.0", "0.2", "1.0", "61.9", "3661.0")]),
        ("smolvlm", "before", [f"Frame from {time}:" for time in ("00:00", "00:00", "00:01", "01:01", "61:01")]),
        (
            "ernie4_5_vl_moe",
            "drawn",
            [f"time: {time}" for time in ("00:00:00.00", "00:00:00.25", "00:00:01.00", "00:01:01.90", "01:01:01.04")],
        ),
    ],
)
def test_markers_are_written_as_the_family_writes_them(family: str, place: str, written: list[str]) -> None:
    clock = text_clock(family)
    assert (clock.place, clock.markers(CLOCK)) == (place, written)
    shared = marker_slots(clock, CLOCK)
    assert [slot for group in shared for slot in group] == [0, 1, 2, 3, 4]
    assert len(shared) == len(written)


@given(st.integers(0, 86_399_999))
def test_read_gives_back_what_was_written_up_to_the_precision_of_each_family(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    errors = {name: seconds - clock.read(seconds) for name, clock in CLOCKS.items() if isinstance(clock, TextClock)}
    whole = {"glm4v", "glm4v_moe", "gemma4", "gemma4_unified", "smolvlm"}
    assert all(0 <= errors.pop(name) < 1 for name in whole)
    assert all(abs(error) < 0.05 + 1e-6 for error in errors.values()), errors


def test_read_shows_that_kimi_starts_again_after_a_day() -> None:
    assert text_clock("kimi_k25").form(86_400 + 61.5) == "00:01:01.500"
    assert text_clock("kimi_k25").read(86_400 + 61.5) == 61.5


def test_clocks_are_known_of_every_family_that_is_trained_and_of_no_other_a_builder() -> None:
    assert set(FAMILIES) < set(CLOCKS)
    for family in FAMILIES:
        if isinstance(clock := CLOCKS[family], TextClock):
            assert clock.markers(CLOCK) == markers(CLOCK)
    for family in set(CLOCKS) - set(FAMILIES):
        with pytest.raises(ValueError, match=f"no prompts for the model_type '{family}'"):
            builder({**config("qwen3_vl"), "model_type": family}, tokenizer())


def test_clocks_of_families_without_markers() -> None:
    assert isinstance(family_clock("qwen2_5_vl"), StepClock)
    assert [len(group) for group in marker_slots(family_clock("qwen2_5_vl"), CLOCK)] == [2, 2, 1]
    for family in ("internvl", "minicpmv4_6", "minicpmv4_7", "llava_onevision", "qwen2_vl"):
        assert isinstance(family_clock(family), NoClock)
        assert [list(group) for group in marker_slots(family_clock(family), CLOCK)] == [[0], [1], [2], [3], [4]]


def test_documentation_lists_every_family() -> None:
    table = re.findall(r"^\| (`.*?) \| .* \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    assert sorted(name for row in table for name in re.findall(r"`(\w+)`", row)) == sorted(CLOCKS)


def test_family_clock_refuses_an_unknown_family_and_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"model type 'glm4'; did you mean 'glm4v'\? Known: .*internvl.*qwen3_vl"):
        family_clock("glm4")
