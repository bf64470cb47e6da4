"""The local back end says what each release of transformers says by its own processor, model and `generate`."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.integration.conftest import TRANSFORMERS, is_release
from tests.integration.conftest import Ask as AskSide
from videossr.dataset.dataset import VideoSSRDataset
from videossr.engine.checkpoint import prompt_inputs
from videossr.engine.shared_prefix import read_prefix
from videossr.models.base import Decoding, Request
from videossr.models.tiny import make_tiny
from videossr.models.transformers_model import TransformersModel, TransformersSettings
from videossr.prompt.qwen3_vl import Layout

pytestmark = pytest.mark.integration

TOKENS = 16
CLOSE = 1e-4
"""Of scores whose standard deviation is about one."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.mark.parametrize(("environment", "layout"), TRANSFORMERS.items())
def test_it_says_what_the_library_says(
    ask: AskSide, checkpoint: Path, dataset: Path, environment: str, layout: Layout
) -> None:
    """Questions of all tasks, a jigsaw of several clips among them."""
    question = {
        "library": sysconfig.get_paths()["purelib"],
        "checkpoint": str(checkpoint),
        "dataset": str(dataset),
        "layout": layout,
        "tokens": TOKENS,
    }
    theirs = ask(environment, "local.py", question)
    assert is_release(theirs["version"], environment)

    questions = VideoSSRDataset(dataset)
    local = TransformersModel(str(checkpoint), TransformersSettings(batch=4, device="cpu", layout=layout), questions)
    asks = [
        Request(index, questions.question(index), "", lambda index=index: questions.clips(index))  # type: ignore[misc]
        for index in range(len(questions))
    ]
    assert max(len(each.question.clocks) for each in asks) == 6
    for each, ids, scores in zip(asks, theirs["ids"], theirs["scores"], strict=True):
        prompt = local._prompt(each, TOKENS)
        assert prompt.ids.tolist() == ids
        with torch.inference_mode():
            ours = read_prefix(local._model, prompt_inputs(prompt, torch.device("cpu"), torch.float32)).logits
        assert np.abs(ours[0].numpy() - np.array(scores)).max() < CLOSE
        assert np.std(scores) > 0.5
    said = [[reply.error, *reply.texts] for reply in local.answer(asks, Decoding(max_tokens=TOKENS))]
    assert said == [["", text] for text in theirs["texts"]]
    assert theirs["ours"] == said
    assert len(set(theirs["texts"])) > 4
