"""Batches of a `QwenCollator`: those of single prompts, padded; tests/integration compares them with the processors."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.utils.data import DataLoader

from videossr.clock import Clock
from videossr.dataset.dataset import Item, VideoSSRDataset
from videossr.engine.checkpoint import open_checkpoint, prompt_inputs
from videossr.engine.collator import IGNORED, QwenBatch, QwenCollator, Side
from videossr.errors import ConfigError, DataError
from videossr.models.tiny import Family, make_tiny
from videossr.question import Clip

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Family], str]:
    """A tiny checkpoint of a family."""
    folder = tmp_path_factory.mktemp("models")
    return lambda family: str(make_tiny(folder / family, family=family))


@pytest.fixture(scope="module")
def items(dataset: Path) -> list[Item]:
    """An item of one clip, one of six, and one with an uneven clock."""
    opened = VideoSSRDataset(dataset)
    indices = {category: index for index, category in enumerate(opened["category"])}
    grounding, jigsaw, counting = (opened[indices[name]] for name in ("grounding/mirror", "jigsaw/6", "counting/easy"))
    assert [len(item.clips) for item in (grounding, jigsaw, counting)] == [1, 6, 1]
    slots = len(counting.clips[0].clock)
    clock = Clock(tuple(k * k + 40 * k for k in range(slots)), slots**2 + 40 * slots)
    question = replace(counting.question, clocks=(clock,))
    uneven = replace(counting, question=question, clips=[Clip(counting.clips[0].frames, clock)])
    return [grounding, jigsaw, uneven]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_vl_moe", "qwen2_5_vl"])
def test_model_reads_a_batch_as_it_reads_single_prompts(
    tiny: Callable[[Family], str], items: list[Item], family: Family, side: Side
) -> None:
    shown = items[:2] if family == "qwen2_5_vl" else items  # it cannot express uneven clocks
    inputs = QwenCollator(tiny(family), padding_side=side).inputs(shown)
    checkpoint = open_checkpoint(tiny(family))
    model = checkpoint.load(CPU, "float32", "sdpa")
    length = inputs["input_ids"].shape[1]
    with torch.no_grad():
        together = model(**inputs).logits
        for row, item in enumerate(shown):
            prompt = checkpoint.build(item.question, item.clips)
            alone = model(**prompt_inputs(prompt, CPU, torch.float32)).logits[0]
            first = length - len(prompt.ids) if side == "left" else 0
            here = slice(first, first + len(prompt.ids))
            assert inputs["input_ids"][row, here].tolist() == prompt.ids.tolist()
            assert inputs["attention_mask"][row].tolist() == [int(k in range(length)[here]) for k in range(length)]
            torch.testing.assert_close(together[row, here], alone, rtol=0, atol=2e-5)
    assert len({len(checkpoint.build(item.question, item.clips).ids) for item in shown}) == len(shown)


def test_positions_are_those_that_the_model_computes(tiny: Callable[[Family], str], items: list[Item]) -> None:
    """They are given with a row for the mask; at padding all are zero, as the model has them."""
    inputs = QwenCollator(tiny("qwen3_vl")).inputs(items)
    model = transformers.AutoModelForImageTextToText.from_pretrained(tiny("qwen3_vl"))
    asked = {name: value for name, value in inputs.items() if name != "position_ids"}
    computed = model._prepare_position_ids_for_generation(asked.pop("input_ids"), {**inputs})
    assert inputs["position_ids"].tolist() == computed.tolist()
    assert inputs["position_ids"].shape == (4, *inputs["input_ids"].shape)


def test_generate_takes_a_batch(tiny: Callable[[Family], str], items: list[Item]) -> None:
    collator = QwenCollator(tiny("qwen3_vl"))
    model = transformers.AutoModelForImageTextToText.from_pretrained(tiny("qwen3_vl")).eval()

    def generate(shown: list[Item], **how: Any) -> torch.Tensor:
        inputs = collator.inputs(shown)
        ids = model.generate(
            **inputs, max_new_tokens=6, do_sample=True, top_k=1, suppress_tokens=collator.checkpoint.placeholders, **how
        )
        answers: torch.Tensor = ids[:, inputs["input_ids"].shape[1] :]
        return answers

    together = generate(items, min_new_tokens=6)
    for row, item in enumerate(items):
        assert together[row].tolist() == generate([item], min_new_tokens=6)[0].tolist()
    several = generate(items[:2], min_new_tokens=6, num_return_sequences=2)
    assert several.tolist() == together[[0, 0, 1, 1]].tolist()
    assert len({tuple(row) for row in together.tolist()}) > 1
    assert len(collator.tokenizer.batch_decode(together, skip_special_tokens=True)) == 3


@pytest.mark.parametrize("side", ["left", "right"])
def test_labels_are_the_gold_answers(tiny: Callable[[Family], str], items: list[Item], side: Side) -> None:
    collator = QwenCollator(tiny("qwen3_vl"), padding_side=side, labels=True)
    inputs = collator.inputs(items)
    checkpoint = collator.checkpoint
    for row, item in enumerate(items):
        learned = inputs["labels"][row] != IGNORED
        answer = inputs["input_ids"][row][learned].tolist()
        assert inputs["labels"][row][learned].tolist() == answer == checkpoint.answer_ids(item.question.answer)
        assert checkpoint.text(answer) == item.question.answer
        text = checkpoint.tokenizer.decode(inputs["input_ids"][row][inputs["attention_mask"][row].bool()])
        assert text.endswith(f"<|im_start|>assistant\n{item.question.answer}<|im_end|>")
        prompt = checkpoint.build(item.question, item.clips)
        where = inputs["position_ids"][:, row][:, learned]
        assert where[1].tolist() == [len(prompt.ids) + k + prompt.delta for k in range(len(answer))]
        assert where[1].tolist() == where[2].tolist() == where[3].tolist()
    model = transformers.AutoModelForImageTextToText.from_pretrained(tiny("qwen3_vl"))
    with torch.no_grad():
        loss = model(**inputs).loss.item()
        without = {name: value for name, value in inputs.items() if name != "position_ids"}
        assert loss == pytest.approx(model(**without).loss.item(), rel=1e-6)
    assert "labels" not in QwenCollator(tiny("qwen3_vl")).inputs(items)


def batches(loader: DataLoader[QwenBatch]) -> list[QwenBatch]:
    return list(loader)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_loader_make_the_same_batches(tiny: Callable[[Family], str], dataset: Path, start: str) -> None:
    shown = VideoSSRDataset(dataset)[:4]
    collator = QwenCollator(tiny("qwen3_vl"), layout="wrapped")
    here: Any = DataLoader(shown, batch_size=2, collate_fn=collator)
    there: Any = DataLoader(shown, batch_size=2, collate_fn=collator, num_workers=2, multiprocessing_context=start)
    for mine, theirs in zip(batches(here), batches(there), strict=True):
        assert {name: mine[name] for name in ("id", "category", "data_source", "answer")} == {
            name: theirs[name] for name in ("id", "category", "data_source", "answer")
        }
        assert mine["inputs"].keys() == theirs["inputs"].keys()
        assert all(torch.equal(value, theirs["inputs"][name]) for name, value in mine["inputs"].items())


def test_batches_have_what_scoring_needs(tiny: Callable[[Family], str], items: list[Item]) -> None:
    batch = QwenCollator(tiny("qwen3_vl"))(items)
    assert batch["answer"] == [item.question.answer for item in items]
    assert batch["data_source"] == ["videossr/grounding", "videossr/jigsaw", "videossr/counting"]
    assert batch["id"] == [item.question.id for item in items]
    assert batch["category"] == [item.sample.category for item in items]


def test_trainer_of_transformers_learns_the_gold_answers(
    tiny: Callable[[Family], str], dataset: Path, tmp_path: Path
) -> None:
    """The loss over all answers falls when the same four are shown again and again."""
    collator = QwenCollator(tiny("qwen3_vl"), padding_side="right", labels=True)
    shown = VideoSSRDataset(dataset)[:4]
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        max_steps=4,
        per_device_train_batch_size=2,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    model = transformers.AutoModelForImageTextToText.from_pretrained(tiny("qwen3_vl"))
    trainer = transformers.Trainer(model, arguments, data_collator=collator.inputs, train_dataset=shown)
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(losses) == 4
    assert losses[-1] < losses[0] - 0.5


def test_collator_can_be_pickled_and_is_small(tiny: Callable[[Family], str]) -> None:
    collator = QwenCollator(tiny("qwen3_vl"), padding_side="right", labels=True)
    data = pickle.dumps(collator)
    assert len(data) < 1000
    copy: QwenCollator = pickle.loads(data)
    assert (copy.padding_side, copy.labels) == ("right", True)
    assert copy.checkpoint.fingerprint == collator.checkpoint.fingerprint


def test_collator_refuses_what_it_cannot_do(tiny: Callable[[Family], str], items: list[Item]) -> None:
    with pytest.raises(ConfigError, match="padding_side='middle': choose left or right"):
        QwenCollator(tiny("qwen3_vl"), padding_side="middle")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="cannot be asked: ConfigError: Qwen3-VL has no layout 'other'"):
        QwenCollator(tiny("qwen3_vl"), layout="other")
    with pytest.raises(DataError, match="no such folder"):
        QwenCollator("demo/absent/model")
    with pytest.raises(DataError, match=f"question {items[2].question.id}: its slots differ"):
        QwenCollator(tiny("qwen2_5_vl")).inputs(items)
    with pytest.raises(DataError, match="no items"):
        QwenCollator(tiny("qwen3_vl")).inputs([])
