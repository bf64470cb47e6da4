"""A command that loads a model prints nothing of what libraries warn of and no user can change."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import videossr.models


def test_loading_a_model_and_adding_adapters_prints_no_warnings(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, torch\n"
        "from videossr.models.checkpoint import open_checkpoint\n"
        "from videossr.models.tiny import make_tiny\n"
        "from videossr.train.config import Lora, ModelConfig, TrainConfig\n"
        "from videossr.train.policy import load_policy\n"
        "source = open_checkpoint(str(make_tiny(pathlib.Path(sys.argv[1]))))\n"
        "load_policy(source, TrainConfig(model=ModelConfig(lora=Lora(rank=4))), torch.device('cpu'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tiny")], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize("name", videossr.models.TORCHAO_MESSAGES)
def test_other_messages_of_the_same_loggers_are_shown(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, name):
        logging.getLogger(name).warning("something else is wrong")
        for message in videossr.models.TORCHAO_MESSAGES[name]:
            logging.getLogger(name).warning(f"{message} …")
    assert caplog.messages == ["something else is wrong"]
