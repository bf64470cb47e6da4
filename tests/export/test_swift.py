"""Exported rows and commands for ms-swift, without swift: what is written, and what is refused.

tests/integration/test_swift.py lets swift read them and trains.
"""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.export.test_lmms_eval import psnr, read_video
from tests.helpers.exports import ShortClipsDataset, UnevenDataset, damage_and_repair, stop_and_resume
from tests.helpers.scripts import script_calls
from videossr.cli import main
from videossr.clock import uniform_clock
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import ConfigError, OutputError
from videossr.export.swift import clip_kwargs, export_swift, grpo_arguments
from videossr.export.swift_plugin import MADE_FOR, check_layout, scores
from videossr.export.trainer import Cluster
from videossr.export.video_rows import Shown
from videossr.question import VIDEO, Question
from videossr.training.config import load_config


class OddClips(ShortClipsDataset):
    shown = (uniform_clock(8, 4000), uniform_clock(7, 4000))


class FastClips(ShortClipsDataset):
    """Clips of more frames a second than readers are asked for by default."""

    shown = (uniform_clock(4, 40), uniform_clock(6, 4000))


class OtherMedia(VideoSSRDataset):
    def question(self, index: Any) -> Question:
        asked = super().question(index)
        return Question("q", asked.data_source, "", f"{VIDEO * len(asked.clocks)} <bbox>", asked.answer, asked.clocks)


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swift") / "a folder, with = signs"
    export_swift(VideoSSRDataset(dataset), out, "Small", gpus=2, batch=4)
    return out


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_export_swift_writes_only_the_files_of_an_export(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "plugin.py",
        "requirements.txt",
        "sft.jsonl",
        "sft.sh",
        "train.jsonl",
        "train.sh",
        "videos",
    ]


def test_export_swift_rows_have_the_questions_and_every_frame_of_their_clips(dataset: Path, exported: Path) -> None:
    opened = VideoSSRDataset(dataset)
    rows, answered = lines_of(exported / "train.jsonl"), lines_of(exported / "sft.jsonl")
    assert len(rows) == len(answered) == len(opened)
    for index, (row, taught) in enumerate(zip(rows, answered, strict=True)):
        question, clips = opened.question(index), opened.clips(index)
        assert row["messages"] == [
            {"role": "system", "content": question.system},
            {"role": "user", "content": question.prompt},
        ]
        assert taught == row | {"messages": [*row["messages"], {"role": "assistant", "content": question.answer}]}
        assert (row["id"], row["solution"], row["data_source"]) == (question.id, question.answer, question.data_source)
        height, width = clips[0].frames.shape[1:3]
        assert row["chat_template_kwargs"] == {
            "fps": 60,
            "max_frames": len(clips[0].clock),
            "min_pixels": height * width,
            "max_pixels": height * width,
        }
        for name, clip in zip(row["videos"], clips, strict=True):
            times, frames, _ = read_video(exported / name)
            assert times == [Fraction(time, 1000) for time in clip.clock.times_ms]
            assert psnr(frames, clip.frames).min() > 34


def test_rows_ask_for_a_rate_above_that_of_every_clip(dataset: Path, tmp_path: Path) -> None:
    export_swift(FastClips(dataset), tmp_path / "out", "fast", gpus=1, batch=4)
    for row in lines_of(tmp_path / "out/train.jsonl"):
        assert row["chat_template_kwargs"]["fps"] == 101
        assert row["chat_template_kwargs"]["max_frames"] == 6


def test_script_gives_swift_the_settings_of_the_paper(exported: Path) -> None:
    ((words, variables),) = script_calls(exported / "train.sh", "swift", "/models/a model", "--save_steps", "10")
    assert words[0] == "rlhf"
    settings = dict(zip(words[1::2], words[2::2], strict=True))
    assert {
        "--rlhf_type": "grpo",
        "--model": "/models/a model",
        "--dataset": f"{exported}/train.jsonl",
        "--external_plugins": f"{exported}/plugin.py",
        "--output_dir": f"{exported}/checkpoints/grpo",
        "--reward_funcs": "videossr",
        "--num_generations": "8",
        "--max_completion_length": "64",
        "--max_length": "8192",
        "--learning_rate": "1e-06",
        "--adam_beta2": "0.999",
        "--weight_decay": "0.01",
        "--beta": "0.001",
        "--loss_type": "dapo",
        "--freeze_vit": "false",
        "--per_device_train_batch_size": "4",
        "--gradient_accumulation_steps": "4",
        "--vllm_limit_mm_per_prompt": '{"image": 0, "video": 6}',
        "--run_name": "Small",
        "--save_steps": "10",
    }.items() <= settings.items()
    assert variables["ROOT_IMAGE_DIR"] == str(exported)
    assert variables["FORCE_QWENVL_VIDEO_READER"] == "decord"
    assert variables["NPROC_PER_NODE"] == "2"


@pytest.mark.parametrize("name", ["$here$(exit 3)", "$here/$(exit 3)", "$MODEL`exit 3`", 'it\'s "a" name'])
def test_a_script_takes_a_name_for_text(dataset: Path, tmp_path: Path, name: str) -> None:
    script = export_swift(VideoSSRDataset(dataset), tmp_path / "out", name, gpus=2, batch=4)
    ((words, _),) = script_calls(script, "swift", "/model")
    shown = dict(zip(words[1::2], words[2::2], strict=True))["--run_name"]
    assert shown == name.replace("$here/", f"{tmp_path / 'out'}/")


def test_script_for_sft_takes_the_answered_rows(exported: Path) -> None:
    ((words, _),) = script_calls(exported / "sft.sh", "swift", "/model")
    settings = dict(zip(words[1::2], words[2::2], strict=True))
    assert words[0] == "sft"
    assert settings["--dataset"] == f"{exported}/sft.jsonl"
    assert settings["--output_dir"] == f"{exported}/checkpoints/sft"
    assert settings["--gradient_accumulation_steps"] == "2"
    assert "--beta" not in settings


@pytest.mark.parametrize("cards", [1, 8, 64, 128])
@pytest.mark.parametrize("updates", [1, 4])
def test_grpo_arguments_take_the_answers_of_a_step_for_any_even_share(cards: int, updates: int) -> None:
    config = load_config("train-paper", {"grpo.updates": updates})
    told = grpo_arguments(config, Cluster(1, cards), 8192, 1, "run")
    micro, passes, summed = (
        int(str(told[name]))
        for name in ("per_device_train_batch_size", "steps_per_generation", "gradient_accumulation_steps")
    )
    assert micro * passes * cards == 64 * 8
    assert summed == max(1, passes // updates)


def test_the_folder_can_be_moved(dataset: Path, tmp_path: Path) -> None:
    script = export_swift(VideoSSRDataset(dataset), tmp_path / "out", "small", gpus=1, batch=4)
    before = {path.relative_to(script.parent): path.read_bytes() for path in script.parent.rglob("*") if path.is_file()}
    for name in ("train.jsonl", "sft.jsonl", "plugin.py", "train.sh", "sft.sh"):
        assert str(tmp_path / "out") not in before[Path(name)].decode()
    script.parent.rename(tmp_path / "moved")
    ((_, variables),) = script_calls(tmp_path / "moved/train.sh", "swift", "/model")
    assert variables["ROOT_IMAGE_DIR"] == str(tmp_path / "moved")


def test_export_swift_resumes_after_an_interrupt(dataset: Path, tmp_path: Path) -> None:
    export = partial(export_swift, gpus=1, batch=4)
    script = stop_and_resume(export, "swift", dataset, tmp_path / "out", "small", "other")
    assert script == tmp_path / "out/train.sh"
    damage_and_repair(export, dataset, script, "small", damaged="train.jsonl", missing="plugin.py")


def test_export_swift_keeps_a_folder_of_something_else(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text("#!/bin/sh\n")
    with pytest.raises(OutputError, match="holds something that `videossr export swift` has not made"):
        export_swift(VideoSSRDataset(dataset), tmp_path, "small", gpus=1, batch=4)
    assert [path.name for path in tmp_path.iterdir()] == ["train.sh"]
    assert (tmp_path / "train.sh").read_text() == "#!/bin/sh\n"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (UnevenDataset, r"question \w+: .* off equal steps. Models of ms-swift compute.*--plan uniform"),
        (
            OddClips,
            r"question \w+: a clip has 7 frames. ms-swift takes frames in pairs.*choose an even number, in the recipe "
            "or as `nframes` of the row",
        ),
        (OtherMedia, "question q: its text has <bbox>, which ms-swift takes for a placeholder"),
    ],
)
def test_export_swift_refuses_a_question_by_its_name(
    kind: type[VideoSSRDataset], reason: str, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=reason):
        export_swift(kind(dataset), tmp_path / "out", "small", gpus=1, batch=4)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("gpus", "batch", "reason"),
    [
        (3, 4, "ms-swift cannot share evenly between 1 x 3 GPUs"),
        (1, 64, "8 questions and a step takes 64: ms-swift drops"),
    ],
)
def test_export_swift_refuses_a_step_that_cannot_be_shared(
    gpus: int, batch: int, reason: str, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=reason):
        export_swift(VideoSSRDataset(dataset), tmp_path / "out", "small", gpus=gpus, batch=batch)
    assert not (tmp_path / "out").exists()


def test_clip_kwargs_refuses_unlike_sizes_that_the_reader_would_shrink() -> None:
    question = Question("q", "videossr/choice", "", VIDEO * 2, "A", (uniform_clock(8, 4000),) * 2)
    large = 1024 * 1024
    assert clip_kwargs(question, Shown(large, large, 1), 60)["min_pixels"] == large
    assert clip_kwargs(question, Shown(1024, 2048, 1), 60)["max_pixels"] == 2048
    with pytest.raises(ConfigError, match="question q: its clips have frames of 1024 to 1048576 pixels"):
        clip_kwargs(question, Shown(1024, large, 1), 60)


def test_scores_are_those_of_compute_score_for_any_task_in_a_batch() -> None:
    sources = ["videossr/grounding", "videossr/jigsaw", "videossr/choice"]
    golds, texts = ["15-20", "123456", "B"], ["10-20", "no", "B"]
    assert scores(texts, golds, sources) == [0.5, 0.0, 1.0]
    assert scores(texts, golds, sources, reward="strict") == [0.0, 0.0, 1.0]
    with pytest.raises(ValueError, match="zip"):
        scores(texts[:2], golds, sources)
    with pytest.raises(ValueError, match="unknown data_source 'mine'"):
        scores(["a"], ["a"], ["mine"])


def test_plugin_is_imported_without_swift_and_without_heavy_libraries(exported: Path) -> None:
    code = "import sys, videossr.export.swift_plugin; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"numpy", "torch", "av", "pyarrow", "swift"}
    run = subprocess.run([sys.executable, str(exported / "plugin.py")], capture_output=True, text=True, check=False)
    assert "No module named 'swift'" in run.stderr


def test_check_layout_takes_matching_versions_of_engine_and_processor() -> None:
    check_layout(MADE_FOR["vllm"], MADE_FOR["transformers"])
    check_layout(f"{MADE_FOR['vllm']}+cu130", MADE_FOR["transformers"])
    check_layout(None, "5.19.0")
    for vllm, transformers in (("0.24.0", "5.10.4"), ("0.33.0", "5.9.0"), ("0.24.0", None)):
        with pytest.raises(ConfigError, match=f"vllm {vllm} and transformers {transformers}: .*requirements.txt"):
            check_layout(vllm, transformers)


def test_command_exports_and_tells_how_to_train(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        main(["export", "swift", str(dataset), "--out", str(tmp_path / "out"), "--batch", "4", "--gpus", "1"])
    printed = capsys.readouterr().out
    assert done.value.code == 0
    assert f"train with: sh {tmp_path / 'out/train.sh'}" in printed
    ((words, _),) = script_calls(tmp_path / "out/train.sh", "swift", "/model")
    assert words[words.index("--run_name") + 1] == "small"
