"""Exported rows and the configuration for LLaMA-Factory, without it: what is written, and what is refused.

tests/integration/test_llamafactory.py lets it read them.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import SupportsIndex

import pytest
import yaml

from tests.export.test_lmms_eval import psnr, read_video
from tests.helpers.exports import ShortClipsDataset, UnevenDataset, damage_and_repair, stop_and_resume
from videossr.cli import main
from videossr.clock import uniform_clock
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import ConfigError, OutputError
from videossr.export.llamafactory import export_llamafactory
from videossr.question import Clip


class UnlikeClips(ShortClipsDataset):
    shown = (uniform_clock(8, 4000), uniform_clock(8, 4100))


class OddClips(ShortClipsDataset):
    shown = (uniform_clock(7, 70),) * 2


class SmallFrames(ShortClipsDataset):
    shown = (uniform_clock(8, 4000),)

    def clips(self, index: SupportsIndex) -> list[Clip]:
        return [Clip(clip.frames[:, :48, :80], clip.clock) for clip in super().clips(index)]


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("llamafactory") / "out"
    export_llamafactory(VideoSSRDataset(dataset), out, "small")
    return out


def test_export_llamafactory_writes_only_the_files_of_an_export(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "dataset_info.json",
        "requirements.txt",
        "small.json",
        "train.yaml",
        "videos",
    ]


def test_export_llamafactory_rows_have_the_questions_and_their_clips(dataset: Path, exported: Path) -> None:
    opened = VideoSSRDataset(dataset)
    info = json.loads((exported / "dataset_info.json").read_text("utf-8"))
    rows = json.loads((exported / info["small"]["file_name"]).read_text("utf-8"))
    assert len(rows) == len(opened)
    for index, each in enumerate(rows):
        question, clips = opened.question(index), opened.clips(index)
        assert each["messages"] == [
            {"role": "system", "content": question.system},
            {"role": "user", "content": question.prompt},
            {"role": "assistant", "content": question.answer},
        ]
        for name, clip in zip(each["videos"], clips, strict=True):
            times, frames, _ = read_video(exported / name)
            assert times == [Fraction(time, 1000) for time in clip.clock.times_ms]
            assert psnr(frames, clip.frames).min() > 34


def test_configuration_takes_every_frame_at_its_size(dataset: Path, exported: Path) -> None:
    opened = VideoSSRDataset(dataset)
    table = yaml.safe_load((exported / "train.yaml").read_text("utf-8"))
    pixels = [height * width for height, width in zip(opened["height"], opened["width"], strict=True)]
    assert (table["video_fps"], table["video_maxlen"]) == (60.0, 48)
    assert (table["video_min_pixels"], table["video_max_pixels"]) == (min(pixels), max(pixels))
    assert (table["template"], table["dataset"], table["stage"]) == ("qwen3_vl_nothink", "small", "sft")
    assert table["cutoff_len"] % 1024 == 0
    assert table["cutoff_len"] > 24 * max(pixels) / 32**2


def test_odd_and_fast_clips_are_written_as_they_are(dataset: Path, tmp_path: Path) -> None:
    path = export_llamafactory(OddClips(dataset), tmp_path / "out", "odd")
    table = yaml.safe_load(path.read_text("utf-8"))
    assert (table["video_fps"], table["video_maxlen"]) == (101.0, 7)
    times, _, _ = read_video(tmp_path / "out/videos/00000/0-0.mp4")
    assert len(times) == 7


def test_export_llamafactory_resumes_after_an_interrupt(dataset: Path, tmp_path: Path) -> None:
    path = stop_and_resume(export_llamafactory, "llamafactory", dataset, tmp_path / "out", "small", "other")
    assert path == tmp_path / "out/train.yaml"
    damage_and_repair(export_llamafactory, dataset, path, "small", damaged="small.json", missing="dataset_info.json")


def test_export_llamafactory_keeps_a_folder_of_something_else(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("stage: pt\n")
    with pytest.raises(OutputError, match="holds something that `videossr export llamafactory` has not made"):
        export_llamafactory(VideoSSRDataset(dataset), tmp_path, "small")
    assert (tmp_path / "train.yaml").read_text() == "stage: pt\n"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (UnevenDataset, r"question \w+: .* off equal steps. Models of LLaMA-Factory compute.*--plan uniform"),
        (UnlikeClips, r"question \w+: clip 2 has 8 frames over 4.1 s, and the first one 8 over 4 s. .* ms-swift"),
    ],
)
def test_export_llamafactory_refuses_a_question_by_its_name(
    kind: type[VideoSSRDataset], reason: str, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=reason):
        export_llamafactory(kind(dataset), tmp_path / "out", "small")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a b", "", "../a", "dataset_info"])
def test_export_llamafactory_refuses_other_names(name: str, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a dataset of LLaMA-Factory"):
        export_llamafactory(VideoSSRDataset(dataset), tmp_path / "out", name)


def test_a_size_that_the_processor_would_scale_is_refused_at_the_first_clip(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"question \w+: its frames are 80 x 48, and a side that is no mult"):
        export_llamafactory(SmallFrames(dataset), tmp_path / "out", "small")
    assert [path.name for path in (tmp_path / "out").rglob("*.mp4")] == ["0-0.mp4"]


def test_command_exports_and_tells_how_to_train(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videossr.cli.export.is_benchmark", lambda manifest: True)
    with pytest.raises(SystemExit) as done:
        main(["export", "llamafactory", str(dataset), "--out", str(tmp_path / "out")])
    printed = " ".join(capsys.readouterr().out.split())
    assert done.value.code == 0
    assert "is a benchmark: it cannot measure a model that was trained on it" in printed
    assert "llamafactory-cli train train.yaml" in printed
    assert (tmp_path / "out/small.json").is_file()
