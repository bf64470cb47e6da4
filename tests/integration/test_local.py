"""`TransformersModel` gives the answers of transformers' own processor, model and `generate`, for each release."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.integration.conftest import RELEASES, Release
from tests.integration.conftest import Ask as AskSide
from videossr.dataset.dataset import VideoSSRDataset
from videossr.engine.checkpoint import prompt_inputs
from videossr.engine.shared_prefix import read_prefix
from videossr.models.base import Decoding, Request
from videossr.models.tiny import make_tiny
from videossr.models.transformers_model import TransformersModel, TransformersSettings

pytestmark = pytest.mark.integration

TOKENS = 16
CLOSE = 1e-4
"""The tolerance of scores, whose standard deviation is about one."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_transformers_model_answers_like_transformers(
    ask: AskSide, checkpoint: Path, dataset: Path, release: Release
) -> None:
    """The questions are of all tasks, with a jigsaw of several clips among them."""
    question = {
        "library": sysconfig.get_paths()["purelib"],
        "checkpoint": str(checkpoint),
        "dataset": str(dataset),
        "layout": release.layout,
        "tokens": TOKENS,
    }
    library_answer = ask(release.environment, "local.py", question)
    assert library_answer["version"].startswith(f"{release}.")

    questions = VideoSSRDataset(dataset)
    local = TransformersModel(
        str(checkpoint), TransformersSettings(batch=4, device="cpu", layout=release.layout), questions
    )
    requests = [
        Request(index, questions.question(index), "", lambda index=index: questions.clips(index))  # type: ignore[misc]
        for index in range(len(questions))
    ]
    assert max(len(request.question.clocks) for request in requests) == 6
    for request, ids, scores in zip(requests, library_answer["ids"], library_answer["scores"], strict=True):
        prompt = local._prompt(request, TOKENS)
        assert prompt.ids.tolist() == ids
        with torch.inference_mode():
            logits = read_prefix(local._model, prompt_inputs(prompt, torch.device("cpu"), torch.float32)).logits
        assert np.abs(logits[0].numpy() - np.array(scores)).max() < CLOSE
        assert np.std(scores) > 0.5
    replies = [[reply.error, *reply.texts] for reply in local.answer(requests, Decoding(max_tokens=TOKENS))]
    assert replies == [["", text] for text in library_answer["texts"]]
    assert library_answer["ours"] == replies
    assert len(set(library_answer["texts"])) > 4
