"""A run with verl is refused in a sentence where it cannot be made, and programs are followed and ended.

tests/integration/test_verl_run.py trains.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from videossr.cli import main
from videossr.errors import WorkerError
from videossr.models.tiny import make_tiny
from videossr.verl.process import run_module

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """Run `videossr train`, which must end with status 2 and leave no run, and return what it says."""

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as done:
            main(["train", "train-paper", "--out", str(tmp_path / "run"), *words])
        assert done.value.code == 2
        assert not (tmp_path / "run").exists()
        return " ".join("".join(capsys.readouterr()).split())

    return run


def test_train_names_what_to_install_where_there_is_no_verl(refused: Refused, dataset: Path) -> None:
    said = refused("--engine", "verl", f"--data.path={dataset}")
    assert "verl is not installed here" in said
    assert "pip install 'verl[vllm,fsdp]==0.9.1' vllm==0.24.0 transformers==5.9.0 videossr" in said


def test_train_refuses_settings_by_name_before_it_looks_for_verl(refused: Refused, dataset: Path) -> None:
    verl = ("--engine", "verl", f"--data.path={dataset}")
    assert "grpo.drop_noise=true: verl has no filter" in refused(*verl, "--grpo.drop_noise=true")
    assert "Set --optim.lr" in refused(*verl, "--verl.actor_rollout_ref.actor.optim.lr=1e-3")
    assert "data.path is not set" in refused("--engine", "verl")


@pytest.mark.parametrize("word", ["--gpus=2", "--nodes=2", "--ray=auto", "--verl.trainer.device=cpu"])
def test_train_refuses_options_of_verl_for_our_own_trainer(refused: Refused, dataset: Path, word: str) -> None:
    said = refused(f"--data.path={dataset}", word)
    assert f"{word.partition('=')[0]} is for --engine verl" in said


def test_the_engine_is_a_setting_of_the_configuration(refused: Refused, dataset: Path) -> None:
    assert "verl is not installed here" in refused(f"--data.path={dataset}", "--run.engine=verl")


def test_run_module_adds_to_the_log_and_reports_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    run_module("json.tool", ["--help"], log, {})
    assert log.read_text().startswith("before\nusage:")
    with pytest.raises(
        WorkerError, match=r"json\.tool ended with exit status [12]\. The end of .*log\.txt:\n(.*\n)*.*none"
    ):
        run_module("json.tool", [str(tmp_path / "none")], log, {})


def test_run_module_gives_variables(tmp_path: Path) -> None:
    run_module("site", [], tmp_path / "log.txt", {"PYTHONUSERBASE": "/somewhere/else"})
    assert "/somewhere/else" in (tmp_path / "log.txt").read_text()


def test_run_module_ends_a_program_that_is_to_be_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    port = free_port()

    def serves() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    with pytest.raises(KeyboardInterrupt):
        run_module("http.server", [str(port), "--bind", "127.0.0.1"], log, {}, serves)
    assert not serves()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_our_own_trainer_leaves_the_folder_of_verl_alone(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = make_tiny(tmp_path / "tiny", width=64, layers=1)
    words = ["train", "train-nano", f"--model.path={tiny}", f"--data.path={dataset}", "--run.steps=1", "--run.batch=1"]
    words += ["--grpo.rollouts=2", "--grpo.max_tokens=2", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit):
        main(words)
    config = (tmp_path / "run/config.toml").read_text()
    (tmp_path / "run/config.toml").write_text(config.replace('engine = "videossr"', 'engine = "verl"'))
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 2
    assert "run.engine is 'verl' there, 'videossr' now" in " ".join("".join(capsys.readouterr()).split())
