"""The rewards with TRL's signature: texts and conversations of all tasks in one batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from videossr.dataset.dataset import VideoSSRDataset
from videossr.rewards import compute_score
from videossr.trl.rewards import completion_text, smooth_reward, strict_reward

ASKED = [
    ("videossr/grounding", "14.5-26.2", "15.0-26.0"),
    ("videossr/counting", "3,1,4", "3,1,4"),
    ("videossr/jigsaw", "341562", "341526"),
    ("videossr/counting", "3,1,4", "none"),
    ("videossr/choice", "B", "B"),
]


@pytest.mark.parametrize("kind", ["texts", "conversations"])
@pytest.mark.parametrize(("reward", "key"), [(smooth_reward, "smooth"), (strict_reward, "strict")])
def test_rewards_are_those_of_compute_score(reward: Callable[..., list[float]], key: str, kind: str) -> None:
    texts = [text for _, _, text in ASKED]
    completions: list[Any] = list(texts)
    if kind == "conversations":
        completions = [[{"role": "assistant", "content": text}] for text in texts]
    logged = defaultdict(list)
    found = reward(
        prompts=["?"] * len(ASKED),
        completions=completions,
        completion_ids=[[1]] * len(ASKED),
        data_source=[source for source, _, _ in ASKED],
        answer=[gold for _, gold, _ in ASKED],
        videos=[[]] * len(ASKED),
        trainer_state=None,
        log_extra=None,
        log_metric=lambda name, value: logged[name].append(value),
    )
    scores = [compute_score(source, text, gold) for source, gold, text in ASKED]
    assert found == [score[key] for score in scores]
    assert len({*found}) > 1
    assert logged["counting/parsed"] == [1.0, 0.0]
    assert logged["jigsaw/smooth"] == [scores[2]["smooth"]]
    assert {name.split("/")[0] for name in logged} == {"grounding", "counting", "jigsaw", "choice"}


def test_gold_answers_of_a_dataset_are_rewarded_in_full(dataset: Path) -> None:
    opened = VideoSSRDataset(dataset)
    gold: dict[str, Any] = {"data_source": opened["data_source"], "answer": opened["answer"]}
    assert strict_reward(completions=opened["answer"], **gold) == [1.0] * len(opened)
    assert smooth_reward(completions=["" for _ in range(len(opened))], **gold) == [0.0] * len(opened)


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("3,1,4", "3,1,4"),
        ([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}], "b"),
        ([{"role": "assistant", "content": [{"type": "text", "text": "1-"}, {"type": "text", "text": "2"}]}], "1-2"),
        ([{"role": "assistant", "content": None, "tool_calls": []}], ""),
        ([{"role": "assistant", "reasoning_content": "hm"}], ""),
    ],
)
def test_completion_text_reads_texts_and_turns(completion: str | Sequence[dict[str, Any]], text: str) -> None:
    assert completion_text(completion) == text


def test_rewards_name_an_unknown_data_source() -> None:
    with pytest.raises(ValueError, match="unknown data_source 'videossr/absent'"):
        smooth_reward(completions=["1"], data_source=["videossr/absent"], answer=["1"])
