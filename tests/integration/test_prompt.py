"""Our prompts equal those of transformers' own processors: ids, patches, grids and positions, in all its releases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from tests.helpers.small_tokenizers import THINKING, config, raw_tokenizer, tokenizer
from tests.integration.conftest import RELEASES, Ask, Release
from videossr.clock import Clock, uniform_clock
from videossr.prompt import builder
from videossr.prompt.base import Prompt
from videossr.prompt.chat import set_thinking
from videossr.prompt.qwen3_vl import Layout, markers
from videossr.question import VIDEO, Clip, Question

pytestmark = pytest.mark.integration

TOLERANCE = 1e-6
"""The tolerance of a normalized pixel value."""


@dataclass(frozen=True)
class Case:
    """A question and its clips: texts and clocks in reading order, and each clip's height and width."""

    name: str
    parts: tuple[str | Clock, ...]
    sizes: tuple[tuple[int, int], ...] = ()
    system: str = ""
    family: str = "qwen3_vl"
    random: bool = field(default=True)

    @property
    def clocks(self) -> tuple[Clock, ...]:
        return tuple(part for part in self.parts if isinstance(part, Clock))

    @property
    def question(self) -> Question:
        text = "".join(part if isinstance(part, str) else VIDEO for part in self.parts)
        return Question(self.name, "videossr/grounding", self.system, text, "", self.clocks)

    def clips(self) -> list[Clip]:
        """Make clips of noise, or of black frames of two tokens each where only the text is compared."""
        rng = np.random.default_rng(len(self.name))
        side = 28 if self.family == "qwen2_5_vl" else 32
        sizes = self.sizes or ((side, 2 * side),) * len(self.clocks)
        return [
            Clip(rng.integers(0, 256 if self.random else 1, (len(clock), *size, 3), np.uint8), clock)
            for clock, size in zip(self.clocks, sizes, strict=True)
        ]


Library: TypeAlias = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def library(ask: Ask, tmp_path: Path) -> Library:
    """Run the processors and models of a library on cases; `more` holds further prompts to compute positions of."""

    def run_library(
        environment: str, cases: Sequence[Case], more: Sequence[Sequence[Prompt]] = ()
    ) -> list[dict[str, Any]]:
        raw_tokenizer().save(str(tmp_path / "tokenizer.json"))
        questions = []
        for number, case in enumerate(cases):
            paths = [tmp_path / f"{number}.{k}.npy" for k in range(len(case.clocks))] if case.random else []
            for path, clip in zip(paths, case.clips(), strict=False):
                np.save(path, clip.frames)
            questions.append(
                {
                    "family": case.family,
                    "messages": case.question.messages(),
                    "frames": [str(path) for path in paths],
                    "clips": [clip.video_metadata for clip in case.clips()],
                    "ids": [prompt.ids.tolist() for prompt in more[number]] if more else [],
                }
            )
        question = {"tokenizer": str(tmp_path / "tokenizer.json"), "template": THINKING, "cases": questions}
        answers: list[dict[str, Any]] = ask(environment, "prompt.py", question)
        return answers

    return run_library


def build_prompts(cases: Sequence[Case], layout: Layout | None = None) -> list[Prompt]:
    builders = {}
    for family in {case.family for case in cases}:
        chat = tokenizer(THINKING)
        set_thinking(chat, None, family)
        builders[family] = builder(config(family), chat, layout)
    return [builders[case.family](case.question, case.clips()) for case in cases]


def clocks() -> Iterator[Clock]:
    """Yield even and uneven clocks: odd numbers of slots, hours, steps of milliseconds, and all roundings."""
    rng = np.random.default_rng(0)
    for slots in (2, 3, 17, 48, 47):
        for scale in (60, 900, 4000, 75_000):
            times = np.cumsum(rng.integers(1, scale, slots)).tolist()
            yield Clock((0, *times[:-1]), times[-1])
    # Means that end in a five at the second decimal, where one digit has to be chosen.
    for step in (50, 100, 150, 300, 500, 700, 1100, 90_100):
        yield Clock(tuple(range(0, 48 * step, step)), 48 * step)
    yield Clock(tuple(sorted({0, *range(100, 60_000, 700), *range(200, 60_000, 900)})), 61_000)
    for span in (2_400, 9_001, 24_000, 33_367, 600_000, 3_600_000, 36_000_000):
        yield uniform_clock(48, span)
        yield uniform_clock(47, span)


UNEVEN = Clock((0, 40, 1_000, 1_001, 9_900), 12_000)
OTHERS = (uniform_clock(8, 3_733), UNEVEN, uniform_clock(7, 9_000))
SIZES = ((32, 64), (96, 32), (64, 64))

CASES = [
    Case("one clip", (uniform_clock(8, 4_000), "\nWhen was it altered?"), ((64, 96),), "Answer with two times."),
    Case("no system turn", ("Look:\n", uniform_clock(8, 4_000), "\nWhen?"), ((96, 64),)),
    Case("one slot", (Clock((0,), 500), "What?"), ((32, 32),)),
    Case("odd", (uniform_clock(7, 3_333), "When?"), ((64, 64),)),
    Case("uneven", (UNEVEN, "When?"), ((64, 32),), "Short."),
    Case("ten hours", (uniform_clock(48, 36_000_000), "When?"), ((32, 64),)),
    Case(
        "pieces",
        tuple(x for k in range(1, 7) for x in (f"{k}: ", uniform_clock(8, 3_733), "\n")),
        ((64, 64),) * 6,
        "Order.",
    ),
    Case("others", ("1: ", OTHERS[0], " 2: ", OTHERS[1], OTHERS[2], "\nWhich, <0.3 seconds>, 你好?"), SIZES),
    *(Case(f"clock {k}", (clock, "When?"), random=False) for k, clock in enumerate(clocks())),
]


def check_all_but_positions(case: Case, prompt: Prompt, answer: dict[str, Any]) -> None:
    """Compare everything but the positions."""
    assert prompt.text == answer["text"], case.name
    assert prompt.ids.tolist() == answer["ids"], case.name
    assert answer["kinds"] in (None, prompt.kinds.tolist()), case.name
    assert prompt.grids.tolist() == answer["grids"], case.name
    assert answer["at_once"] is (True if case.random else None), case.name
    if case.random:
        library_pixels = np.load(answer["pixels"])
        assert library_pixels.shape == prompt.patches.shape, case.name
        np.testing.assert_allclose(prompt.pixels(), library_pixels, rtol=0, atol=TOLERANCE, err_msg=case.name)


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_qwen3_vl_prompts_equal_those_of_transformers(library: Library, release: Release) -> None:
    prompts = build_prompts(CASES, release.layout)
    prompts_of_other_layout = build_prompts(CASES, "wrapped" if release.layout == "bare" else "bare")
    answers = library(release.environment, CASES, [[prompt] for prompt in prompts_of_other_layout])
    for case, first, second, answer in zip(CASES, prompts, prompts_of_other_layout, answers, strict=True):
        check_all_but_positions(case, first, answer)
        assert len(markers(case.clocks[0])) == answer["grids"][0][0]
        assert first.text != second.text
        for prompt, placed in zip((first, second), answer["placed"], strict=True):
            assert prompt.positions.tolist() == placed["positions"], case.name
            assert prompt.delta == placed["delta"], case.name


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_qwen3_vl_prompts_give_every_clip_its_own_times(library: Library, release: Release) -> None:
    """Releases of the processor used the times of the first clip for every clip, so each clip is compared with the
    prompt that the library makes of that clip alone.
    """
    case = Case("several", ("A", *OTHERS, "B"), SIZES)
    prompt = build_prompts([case], release.layout)[0]
    single_clip_cases = [Case("several", (clock,), (size,)) for clock, size in zip(OTHERS, SIZES, strict=True)]
    head, tail = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
    texts = [
        answer["text"].removeprefix(head).removesuffix(tail)
        for answer in library(release.environment, single_clip_cases)
    ]
    assert prompt.text == f"{head}A{''.join(texts)}B{tail}"
    assert len(set(texts)) == 3


@pytest.mark.parametrize("release", RELEASES[1:], ids=str)
def test_qwen3_5_prompts_equal_those_of_transformers(library: Library, release: Release) -> None:
    """They are those of Qwen3-VL behind which thoughts are closed."""
    cases = [replace(case, family="qwen3_5") for case in CASES if case.random]
    for case, prompt, answer in zip(
        cases, build_prompts(cases, release.layout), library(release.environment, cases), strict=True
    ):
        check_all_but_positions(case, prompt, answer)
        assert prompt.text.endswith("assistant\n<think>\n\n</think>")
        assert prompt.positions.tolist() == answer["placed"][0]["positions"], case.name
        assert prompt.delta == answer["placed"][0]["delta"], case.name


SECONDS = [
    Case("whole", (uniform_clock(8, 4_000), "When?"), ((56, 84),), "Answer with two times.", "qwen2_5_vl"),
    Case("odd", ("Look:", uniform_clock(7, 7_000), "When?"), ((84, 56),), "", "qwen2_5_vl"),
    Case("long", (uniform_clock(48, 36_000_000), "When?"), ((28, 56),), "", "qwen2_5_vl"),
    Case(
        "several",
        ("1: ", uniform_clock(8, 8_000), uniform_clock(6, 18_000), "Order?"),
        ((28, 56), (56, 56)),
        "",
        "qwen2_5_vl",
    ),
]
PARTS = [
    Case("fraction", (uniform_clock(48, 33_367), "When?"), ((28, 56),), "", "qwen2_5_vl"),
    Case("fast", (uniform_clock(48, 2_400), "When?"), ((28, 56),), "", "qwen2_5_vl"),
    Case(
        "pieces",
        tuple(x for k in range(6) for x in (f"{k}", uniform_clock(8, 3_733))),
        ((28, 28),) * 6,
        "",
        "qwen2_5_vl",
    ),
]
CALM = [Case("calm", (uniform_clock(4, 2_000), "When?"), ((84, 84),), "", "qwen2_5_vl")]
"""SECONDS have whole seconds per pair of frames, PARTS have others, and the clip of CALM has small time positions."""


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_qwen2_5_vl_prompts_equal_those_of_transformers(library: Library, release: Release) -> None:
    cases = [*SECONDS, *PARTS, *CALM]
    for case, prompt, answer in zip(cases, build_prompts(cases), library(release.environment, cases), strict=True):
        check_all_but_positions(case, prompt, answer)


def test_qwen2_5_vl_positions_equal_those_of_transformers_4_57(library: Library) -> None:
    """That release truncates the seconds per pair of frames before it multiplies them, so it is given the product."""
    for case, prompt, answer in zip(
        SECONDS, build_prompts(SECONDS), library("transformers_4_57", SECONDS), strict=True
    ):
        assert prompt.positions.tolist() == answer["placed"][0]["positions"], case.name
        assert prompt.delta == answer["placed"][0]["delta"], case.name
    for case, prompt, answer in zip(PARTS, build_prompts(PARTS), library("transformers_4_57", PARTS), strict=True):
        assert prompt.positions.tolist() == answer["even"]["positions"], case.name
        assert prompt.delta == answer["even"]["delta"], case.name
        assert prompt.positions.tolist() != answer["placed"][0]["positions"], "no longer cut: docs/concepts/prompt.md"


def test_qwen2_5_vl_positions_equal_those_of_transformers_5_24_up_to_the_end_of_clips(library: Library) -> None:
    """That release truncates no seconds, but starts the text after a clip in the middle of its times."""
    for prompt, answer in zip(build_prompts(CALM), library("transformers_5_24", CALM), strict=True):
        assert prompt.positions.tolist() == answer["placed"][0]["positions"]
    cases = [SECONDS[2], *PARTS[:2]]
    for case, prompt, answer in zip(cases, build_prompts(cases), library("transformers_5_24", cases), strict=True):
        library_positions = np.array(answer["placed"][0]["positions"])
        behind = int(np.flatnonzero(prompt.kinds)[-1]) + 1
        assert (prompt.positions[:, :behind] == library_positions[:, :behind]).all(), case.name
        assert library_positions[0, behind] < library_positions[0, behind - 1], (
            "no longer in the middle: docs/concepts/prompt.md"
        )
        assert prompt.positions[0, behind] == prompt.positions[0, behind - 1] + 1, case.name
