"""Loading a model prints no warnings of libraries about which a user can do nothing."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import videossr.models
from videossr.engine.checkpoint import without_report


@pytest.mark.slow
def test_load_policy_with_adapters_prints_no_warnings(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, torch\n"
        "from videossr.engine.checkpoint import open_checkpoint\n"
        "from videossr.models.tiny import make_tiny\n"
        "from videossr.training.config import Lora, ModelConfig\n"
        "from videossr.training.policy import load_policy\n"
        "source = open_checkpoint(str(make_tiny(pathlib.Path(sys.argv[1]))))\n"
        "load_policy(source, ModelConfig(lora=Lora(rank=4)), device=torch.device('cpu'))\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tiny")], capture_output=True, text=True, check=True
    )
    assert process.stderr == ""


LOAD = (
    "import pathlib, sys, torch\n"
    "from safetensors.torch import load_file, save_file\n"
    "from videossr.engine.checkpoint import open_checkpoint\n"
    "from videossr.models.tiny import make_tiny\n"
    "folder = make_tiny(pathlib.Path(sys.argv[1]))\n"
    "file = folder / 'model.safetensors'\n"
    "tensors = load_file(file)\n"
    "name = next(name for name in tensors if name.endswith('layers.1.mlp.down_proj.weight'))\n"
    "CHANGE\n"
    "save_file(tensors, file, metadata={'format': 'pt'})\n"
    "try:\n"
    "    print(*open_checkpoint(str(folder)).load(torch.device('cpu'), 'auto', 'sdpa').unbuilt)\n"
    "except ValueError as error:\n"
    "    print(error)\n"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "tensors |= {'mtp.norm.weight': torch.ones(4), 'extra.weight': torch.ones(4)}",
            "extra.weight mtp.norm.weight",
        ),
        ("del tensors[name]", "its files lack 1 of the model's weights, such as "),
        (
            "tensors[name] = torch.ones(3, 5)",
            "1 of its weights have another shape than its configuration says, such as ",
        ),
    ],
)
def test_checkpoint_load_names_mismatched_tensors_without_a_report_of_transformers(
    tmp_path: Path, change: str, message: str
) -> None:
    code = LOAD.replace("CHANGE", change)
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tiny")], capture_output=True, text=True, check=True
    )
    assert message in process.stdout
    assert process.stderr == ""


def test_without_report_shows_the_report_if_loading_fails(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("transformers.modeling_utils")

    @without_report()
    def fail() -> None:
        logger.warning("Qwen LOAD REPORT from: there")
        raise RuntimeError("look at the above report")

    logger.addHandler(caplog.handler)
    try:
        with without_report():
            logger.warning("Qwen LOAD REPORT from: here")
            logger.warning("something else is wrong")
        with pytest.raises(RuntimeError):
            fail()
        logger.warning("Qwen LOAD REPORT from: elsewhere")
    finally:
        logger.removeHandler(caplog.handler)
    assert list(dict.fromkeys(caplog.messages)) == [
        "something else is wrong",
        "Qwen LOAD REPORT from: there",
        "Qwen LOAD REPORT from: elsewhere",
    ]


@pytest.mark.parametrize("name", videossr.models.TORCHAO_MESSAGES)
def test_torchao_filter_shows_other_messages_of_the_same_loggers(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, name):
        logging.getLogger(name).warning("something else is wrong")
        for message in videossr.models.TORCHAO_MESSAGES[name]:
            logging.getLogger(name).warning(f"{message} …")
    assert caplog.messages == ["something else is wrong"]
