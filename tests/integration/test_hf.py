"""The library datasets loads an exported folder by itself: our frames, at our times to the millisecond."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.export.test_hf import UnevenDataset
from tests.export.test_lmms_eval import psnr
from tests.integration.conftest import Ask
from videossr.dataset.dataset import VideoSSRDataset
from videossr.export.hf import export_hf

pytestmark = pytest.mark.integration


def load(ask: Ask, questions: VideoSSRDataset, folder: Path) -> tuple[dict[str, Any], Path]:
    """Export questions, and return what datasets makes of them, and the folder of the frames."""
    if not shutil.which("ffmpeg"):
        pytest.skip("torchcodec needs the libraries of ffmpeg: install ffmpeg")
    card = export_hf(questions, folder / "exported", "Small")
    (block,) = re.findall(r"```python\n(.*?)```", card.read_text("utf-8"), re.DOTALL)
    out = folder / "frames"
    out.mkdir()
    question = {"folder": str(card.parent), "split": "train", "out": str(out), "block": block}
    return ask("lmms_eval", "hf_load.py", question), out


@pytest.fixture(scope="module")
def hf_home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def loaded(
    ask: Ask, hf_home: None, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    return load(ask, VideoSSRDataset(dataset), tmp_path_factory.mktemp("hf"))


def test_datasets_reads_every_question(loaded: tuple[dict[str, Any], Path], dataset: Path) -> None:
    answer, _ = loaded
    questions = VideoSSRDataset(dataset)
    assert answer["found"] == {"train": len(questions)}
    assert "Video(" in answer["features"]["videos"]
    assert len(answer["rows"]) == len(questions)
    for index, row in enumerate(answer["rows"]):
        question = questions.question(index)
        texts = (row["id"], row["data_source"], row["system"], row["prompt"], row["answer"])
        assert texts == (question.id, question.data_source, question.system, question.prompt, question.answer)
        assert (row["category"], row["source"]) == (questions.category(index), questions.source(index))


def test_datasets_shows_our_frames_at_the_milliseconds_of_the_clock(
    loaded: tuple[dict[str, Any], Path], dataset: Path
) -> None:
    answer, out = loaded
    questions = VideoSSRDataset(dataset)
    for index, row in enumerate(answer["rows"]):
        clips = questions.clips(index)
        assert row["times_ms"] == [[*clip.clock.times_ms] for clip in clips]
        assert row["end_ms"] == [clip.clock.end_ms for clip in clips]
        assert [[time * 1000 for time in times] for times in row["clips"]] == [
            pytest.approx(times, abs=1e-6) for times in row["times_ms"]
        ]
        for number, clip in enumerate(clips):
            assert psnr(np.load(out / f"{index}-{number}.npy"), clip.frames).min() > 34


def test_card_tells_how_to_read_the_clips(loaded: tuple[dict[str, Any], Path], dataset: Path) -> None:
    answer, _ = loaded
    clips = VideoSSRDataset(dataset).clips(0)
    shapes = [clip.frames.shape for clip in clips]
    assert answer["card"]["clips"] == [[count, 3, height, width] for count, height, width, _ in shapes]
    assert answer["card"]["types"] == ["torch.uint8"]
    names = {"fps", "frames_indices", "total_num_frames"}
    assert answer["card"]["metadata"] == [
        {name: value for name, value in clip.video_metadata.items() if name in names} for clip in clips
    ]


def test_datasets_keeps_an_uneven_clock_of_an_odd_number_of_frames(
    ask: Ask, hf_home: None, dataset: Path, tmp_path: Path
) -> None:
    questions = UnevenDataset(dataset)
    answer, out = load(ask, questions, tmp_path)
    for index, row in enumerate(answer["rows"]):
        for number, clip in enumerate(questions.clips(index)):
            times = clip.clock.times_ms
            assert len(times) == 7
            assert row["times_ms"][number] == [*times]
            assert [round(time * 1000, 6) for time in row["clips"][number]] == [*times, times[-1] + 200]
            frames = np.load(out / f"{index}-{number}.npy")
            assert psnr(frames[:7], clip.frames).min() > 34
            assert psnr(frames[7:], frames[6:7]).min() > 34
    (first, *_) = questions.clips(0)
    assert answer["card"]["clips"][0][0] == 7
    assert answer["card"]["metadata"][0]["frames_indices"] == [*first.clock.times_ms]
