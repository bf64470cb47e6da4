"""`validate --model-type` refuses the questions whose times a family cannot read, and no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.synthetic_samples import counting_sample, grounding_sample, jigsaw_sample
from videossr.clock import Clock, uniform_clock
from videossr.corpus.corpus import Corpus
from videossr.dataset.dataset import VideoSSRDataset
from videossr.prompt.clocks import CLOCKS, NoClock
from videossr.sample import Sample
from videossr.tasks.base import open_task
from videossr.templates import load_templates
from videossr.validation.family_clocks import Refusal, family_checks, find_refusal

WHOLE_SECONDS = {"glm4v", "glm4v_moe", "gemma4", "gemma4_unified", "smolvlm"}
WITHOUT_CLOCK = {name for name, clock in CLOCKS.items() if isinstance(clock, NoClock)}


def refusal_of(sample: Sample, model_type: str) -> Refusal | None:
    return find_refusal(sample, open_task(sample.task).question(sample, load_templates()), model_type)


def refusing(sample: Sample) -> set[str]:
    return {model_type for model_type in CLOCKS if refusal_of(sample, model_type) is not None}


def spanning(first: int, last: int, clock: Clock) -> Sample:
    start, end = clock.span(first, last)
    return replace(grounding_sample(first, last), clock=clock, answer=f"{start:.1f}-{end:.1f}")


def test_find_refusal_refuses_tenths_of_a_second_to_whole_seconds_and_to_no_clock() -> None:
    sample = spanning(2, 5, uniform_clock(8, 6_000))
    assert sample.answer == "1.5-4.5"
    assert refusing(sample) == WHOLE_SECONDS | WITHOUT_CLOCK
    refusal = refusal_of(sample, "gemma4")
    assert refusal is not None
    assert refusal.reason == "its answer is 1.5-4.5, and gemma4 writes these times as 00:01 and 00:04"
    assert refusal.score == pytest.approx(2.5 / 3.5)
    assert "qwen3_vl" in refusal.remedy
    refusal = refusal_of(sample, "internvl")
    assert refusal == Refusal(
        "its answer is 1.5-4.5 seconds, and internvl reads no times, but numbers of frames, such as Frame1",
        "take a model type that reads tenths (such as qwen3_vl, glm46v) or questions without times",
    )


@pytest.mark.parametrize(
    ("times_ms", "can_be_read"),
    [
        ((0, 1_000, 2_000, 3_000), True),
        ((0, 1_050, 2_050, 3_050), True),  # within the tolerance of a label
        ((0, 1_000, 2_000, 3_051), False),
        ((0, 1_060, 2_000, 3_000), False),
        ((0, 999, 2_000, 3_000), False),  # it is cut, not rounded
    ],
)
def test_find_refusal_lets_whole_seconds_read_whole_seconds(times_ms: tuple[int, ...], can_be_read: bool) -> None:
    sample = spanning(1, 2, Clock(times_ms, 4_000))
    assert (refusal_of(sample, "gemma4") is None) == can_be_read
    assert refusal_of(sample, "glm46v") is None


def test_find_refusal_judges_the_times_of_the_frames_and_not_the_label_alone() -> None:
    """The label 3.0 is that of 2.96 s, which a clock that cuts to whole seconds writes as 2."""
    sample = spanning(1, 2, Clock((0, 1_000, 2_000, 2_960), 4_000))
    assert sample.answer == "1.0-3.0"
    refusal = refusal_of(sample, "gemma4")
    assert refusal is not None
    assert refusal.score == pytest.approx(0.5)


def test_find_refusal_asks_for_no_clock_where_an_answer_is_no_time() -> None:
    counting = counting_sample(np.random.default_rng(0), [1, 2, 3])
    assert refusing(counting) == set()
    assert refusing(jigsaw_sample([1, 0, 2])) == {"molmo2"}
    refusal = refusal_of(jigsaw_sample([1, 0, 2]), "molmo2")
    assert refusal is not None
    assert refusal.reason == "it shows 3 clips, and a prompt of molmo2 takes 1"


def test_find_refusal_refuses_uneven_clocks_to_a_family_that_counts_steps() -> None:
    uneven = spanning(1, 2, Clock((0, 500, 1_100), 1_500))
    refusal = refusal_of(uneven, "qwen2_5_vl")
    assert refusal is not None
    assert "differ in length by up to 200 ms" in refusal.reason
    assert refusal_of(spanning(1, 2, uniform_clock(3, 1_500)), "qwen2_5_vl") is None


def test_find_refusal_sees_a_clock_that_starts_again() -> None:
    day = spanning(1, 2, uniform_clock(4, 120_000_000))
    assert refusing(day) == WITHOUT_CLOCK | {"kimi_k25"}


def test_family_checks_name_a_sample_the_family_and_the_way_out(dataset: Path, corpus: Corpus) -> None:
    samples = VideoSSRDataset(dataset, corpus=corpus.path)
    holds = {finding.category: finding.holds for finding in family_checks(samples, "glm46v")}
    assert holds == dict.fromkeys(("counting/easy", "grounding/mirror", "grounding/shuffle", "jigsaw/6"), True)
    findings = {finding.category: finding for finding in family_checks(samples, "internvl")}
    assert {category for category, finding in findings.items() if not finding.holds} == {
        "grounding/mirror",
        "grounding/shuffle",
    }
    mirror = findings["grounding/mirror"]
    sample = next(samples.sample(k) for k in range(len(samples)) if samples.sample(k).category == "grounding/mirror")
    assert mirror.name == "clock of internvl"
    assert mirror.text.startswith(
        f"2 of 2 samples cannot be asked: sample {sample.id}: its answer is {sample.answer} seconds, and internvl"
    )
    assert "or questions without times" in mirror.text
    with pytest.raises(ValueError, match="did you mean 'internvl'"):
        list(family_checks(samples, "internvl3"))
