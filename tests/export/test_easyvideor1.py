"""Exported rows, stored frames, reward and command for EasyVideoR1: what is written, left out and refused."""

from __future__ import annotations

import importlib.util
import json
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.exports import HostileDataset, UnevenDataset
from videossr.cli import main
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import ConfigError, OutputError
from videossr.export.easyvideor1 import export_easyvideor1, shown_alone
from videossr.export.trainer import Cluster
from videossr.question_set import QuestionSet

export = partial(export_easyvideor1, cluster=Cluster(1, 2), batch=2)


def read_rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "train.jsonl").read_text("utf-8").splitlines()]


def assert_complete(out: Path, questions: QuestionSet) -> None:
    """Compare every row and its stored frames with the questions."""
    rows = read_rows(out)
    chosen = shown_alone(questions)
    assert len(rows) == len(chosen)
    for row, index in zip(rows, chosen, strict=True):
        question = questions.question(index)
        (clip,) = questions.clips(index)
        assert row["problem"].count("<video>") == len(row["videos"]) == 1
        assert row["problem"].endswith(question.prompt)
        assert row["problem"].startswith(question.system)
        assert (row["answer"], row["problem_type"]) == (question.answer, question.data_source)
        stored = torch.load(out / "clips" / row["preprocessed_video"], weights_only=True)
        assert stored["frames"].dtype == torch.uint8
        assert np.array_equal(stored["frames"].permute(0, 2, 3, 1).numpy(), clip.frames)
        metadata = stored["metadata"]
        seconds = [index / metadata["fps"] for index in metadata["frames_indices"]]
        assert seconds == [time / 1000 for time in question.clocks[0].times_ms]
        assert metadata["total_num_frames"] == question.clocks[0].end_ms


@pytest.mark.parametrize("kind", [VideoSSRDataset, UnevenDataset])
def test_export_easyvideor1_stores_frames_with_any_clock(
    kind: type[VideoSSRDataset], dataset: Path, tmp_path: Path
) -> None:
    opened = kind(dataset)
    assert 0 < len(shown_alone(opened)) < len(opened)
    export(opened, tmp_path / "out", "some run")
    assert_complete(tmp_path / "out", opened)
    script = (tmp_path / "out/train.sh").read_text()
    for setting in (
        """'data.video_source_mode='"'"'preprocessed_only'"'"''""",
        """"data.preprocessed_video_dir='$here/clips'\"""",
        "data.shuffle=true",
        "data.rollout_batch_size=2",
        "worker.rollout.n=8",
        "algorithm.kl_coef=0.001",
        shlex.quote("trainer.experiment_name='some run'"),
        """'trainer.logger=["console", "file"]'""",
        "worker.rollout.tensor_parallel_size=1",
        "trainer.n_gpus_per_node=2",
    ):
        assert f"    {setting} \\\n" in script


def test_export_easyvideor1_goes_on_after_a_stop_and_keeps_foreign_folders(dataset: Path, tmp_path: Path) -> None:
    opened = VideoSSRDataset(dataset)
    out = tmp_path / "out"

    def interrupt(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(opened, out, "run", interrupt)
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.pt")}
    assert len(written) == 2
    with pytest.raises(OutputError, match="unfinished `videossr export easyvideor1` that was begun otherwise: name is"):
        export(opened, out, "other")
    export(opened, out, "run")
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert_complete(out, opened)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something that `videossr export easyvideor1` has not made"):
        export(opened, tmp_path / "foreign", "run")


def test_reward_of_the_folder_scores_a_batch_of_all_tasks(dataset: Path, tmp_path: Path) -> None:
    export(VideoSSRDataset(dataset), tmp_path / "out", "run")
    spec = importlib.util.spec_from_file_location("custom_reward_fn", tmp_path / "out/reward.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.REWARD_TYPE == "batch"
    rows = read_rows(tmp_path / "out")
    asked = [{"ground_truth": row["answer"], "problem_type": row["problem_type"]} for row in rows]
    assert len({row["problem_type"] for row in rows}) > 1
    right = module.compute_score([{**each, "response": each["ground_truth"]} for each in asked])
    wrong = module.compute_score([{**each, "response": "no idea"} for each in asked])
    assert right == [{"overall": 1.0, "accuracy": 1.0}] * len(rows)
    assert wrong == [{"overall": 0.0, "accuracy": 0.0}] * len(rows)


def test_export_easyvideor1_refuses_what_cannot_be_shown(dataset: Path, tmp_path: Path) -> None:
    opened = VideoSSRDataset(dataset)
    jigsaws = [index for index in range(len(opened)) if index not in shown_alone(opened)]

    class Jigsaws(VideoSSRDataset):
        def __len__(self) -> int:
            return 1

        def question(self, index: Any) -> Any:
            return super().question(jigsaws[index])

    with pytest.raises(ConfigError, match=r"shows one video a row, and every question of .* has several clips"):
        export(Jigsaws(dataset), tmp_path / "jigsaws", "run")
    with pytest.raises(ConfigError, match="which EasyVideoR1 cannot share evenly between 1 x 7 GPUs"):
        export_easyvideor1(opened, tmp_path / "cards", "run", cluster=Cluster(1, 7), batch=2)
    assert not (tmp_path / "jigsaws").exists()
    hostile = HostileDataset(dataset)
    hostile.text = "one\nrm -rf /"
    export(hostile, tmp_path / "hostile", "$(touch hacked)")
    script = (tmp_path / "hostile/train.sh").read_text()
    assert "\nrm" not in script
    assert "'$(touch hacked)'" in script


def test_export_easyvideor1_command_tells_what_it_left_out(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = VideoSSRDataset(dataset)
    left = len(opened) - len(shown_alone(opened))
    command = ["export", "easyvideor1", str(dataset), "--out", str(tmp_path / "out"), "--gpus", "1", "--batch", "2"]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 0
    output = capsys.readouterr().out.replace("\n", " ")
    assert f"{left} questions about several clips are left out" in output
