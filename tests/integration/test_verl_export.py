"""What `videossr export verl` writes, read by verl: settings, clocks, prompts of the engine and of the trainer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.helpers.scripts import script_words
from tests.integration.conftest import Ask
from videossr.clock import Clock
from videossr.dataset.dataset import VideoSSRDataset
from videossr.engine.checkpoint import open_checkpoint
from videossr.export.trainer import Cluster
from videossr.export.verl import export_verl
from videossr.models.tiny import make_tiny
from videossr.prompt.qwen3_vl import markers
from videossr.training.config import load_config

pytestmark = pytest.mark.integration

SLOWER_MS = 7
"""How much longer each slot of a clip lasts than the one before it, halved, in a test."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verl") / "it's = out"
    export_verl(VideoSSRDataset(dataset), out, load_config("train-paper", {"run.batch": 4}), Cluster(1, 1))
    return out


@pytest.fixture(scope="module")
def answer(ask: Ask, exported: Path, tiny: Path) -> dict[str, Any]:
    words = script_words(exported / "train.sh", tiny)
    answered: dict[str, Any] = ask("verl", "verl_export.py", {"overrides": words, "model": str(tiny)})
    return answered


def test_verl_composes_and_validates_the_settings_of_the_script(answer: dict[str, Any]) -> None:
    assert answer["settings"]["lr"] == 1e-6
    assert answer["settings"]["betas"] == [0.9, 0.999]


def test_prompts_show_the_clock_of_every_clip(answer: dict[str, Any], dataset: Path) -> None:
    opened = VideoSSRDataset(dataset)
    assert len(answer["text"]) == len(opened)
    for index, (text, metadata) in enumerate(zip(answer["text"], answer["metadata"], strict=True)):
        clocks = opened.question(index).clocks
        assert [times["frames_indices"] for times in metadata] == [list(clock.times_ms) for clock in clocks]
        marks = [mark for clock in clocks for mark in markers(clock)]
        assert re.findall(r"<[\d.]+ seconds>", text) == marks


def test_uneven_clocks_come_out_exactly(ask: Ask, exported: Path, dataset: Path, tiny: Path) -> None:
    words = script_words(exported / "train.sh", tiny)
    answer = ask("verl", "verl_export.py", {"overrides": words, "model": str(tiny), "slower_ms": SLOWER_MS})
    assert answer["read"] == answer["trained"]
    for index, text in enumerate(answer["text"]):
        even = VideoSSRDataset(dataset).question(index).clocks
        uneven = [
            Clock(tuple(time + SLOWER_MS * slot**2 for slot, time in enumerate(clock.times_ms)), 10**6)
            for clock in even
        ]
        shown = re.findall(r"<[\d.]+ seconds>", text)
        assert shown == [mark for clock in uneven for mark in markers(clock)]
        assert shown != [mark for clock in even for mark in markers(clock)]


def test_the_engine_reads_the_ids_that_are_trained_on(answer: dict[str, Any], dataset: Path, tiny: Path) -> None:
    opened, pad = VideoSSRDataset(dataset), open_checkpoint(str(tiny)).config["video_token_id"]
    assert answer["read"] == answer["trained"]
    assert answer["features"] == [ids.count(pad) for ids in answer["trained"]]
    for index, sent in enumerate(answer["sent"]):
        assert sent.count(pad) == len(opened.question(index).clocks)


def test_prompts_are_those_of_our_trainer_in_text(answer: dict[str, Any], dataset: Path, tiny: Path) -> None:
    """A space before a clip is a token of its own to vLLM; to the processor, and to us, it is one with the marker."""
    opened, checkpoint = VideoSSRDataset(dataset), open_checkpoint(str(tiny))
    spaced = 0
    for index, (text, trained) in enumerate(zip(answer["text"], answer["trained"], strict=True)):
        item = opened[index]
        ours = checkpoint.build(item.question, item.clips)
        assert text == ours.text
        before = item.question.prompt.count(" <video>")
        assert len(trained) == len(ours.ids) + before
        spaced += bool(before)
        if not before:
            assert trained == ours.ids.tolist()
    assert 0 < spaced < len(opened)


def test_verls_own_loop_samples_from_another_prompt_than_it_trains_on(ask: Ask, exported: Path, tiny: Path) -> None:
    """If this fails, verl has mended it: `videossr.verl.agent_loop` is then not needed."""
    question = {"overrides": script_words(exported / "train.sh", tiny), "model": str(tiny), "stock": True}
    stock = ask("verl", "verl_export.py", question)
    assert all(len(read) > len(trained) for read, trained in zip(stock["read"], stock["trained"], strict=True))


def test_one_batch_of_all_tasks_is_scored(ask: Ask, exported: Path, tiny: Path) -> None:
    rows = pq.read_table(exported / "train.parquet").to_pylist()
    assert len({row["data_source"] for row in rows}) == 3
    told = [
        {"data_source": row["data_source"], "text": text, "gold": row["reward_model"]["ground_truth"]}
        for row in rows
        for text in (row["reward_model"]["ground_truth"], "I cannot tell.")
    ]
    question = {"overrides": script_words(exported / "train.sh", tiny), "rows": told, "worker": True}
    results = ask("verl", "verl_reward.py", question)
    assert [result["reward_score"] for result in results] == [1.0, 0.0] * len(rows)
    assert len({tuple(result["reward_extra_info"]) for result in results}) == 1
