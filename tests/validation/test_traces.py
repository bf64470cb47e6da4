"""Trace probes find frames that differ by codec artifacts alone, and find nothing in datasets of the package."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from tests.helpers.clips import write
from videossr.answers.checks import Check
from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.cli import app
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset.dataset import VideoSSRDataset
from videossr.perturb.color import ChannelSwap
from videossr.perturb.pixel import GRAIN, PixelPerturbation
from videossr.perturb.spatial import QuarterTurn, ZoomIn
from videossr.question import Frames
from videossr.rendering import pictures
from videossr.templates import load_templates
from videossr.validation import traces
from videossr.video.plan import Plan
from videossr.video.scaling import fill_each

SIDE = 96
VIDEOS = 12
SLOTS = 16

Build = Callable[..., Path]


def drifting(seed: int, frames: int = 18, side: int = 192) -> Frames:
    """Make pictures (T, side, side, 3) of drifting colored stains of all sizes."""
    rng = np.random.default_rng(seed)
    whole = np.zeros((side, side + 2 * frames, 3))
    for cells in (3, 6, 12, 24, 48, 96, 192):
        grid = rng.uniform(-1, 1, (cells, cells + cells * 2 * frames // side + 1, 3)).astype(np.float32)
        stains = np.asarray(cv2.resize(grid, whole.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.float64)
        whole += stains * 70 / cells**0.3
    pictures = np.stack([whole[:, 2 * frame : 2 * frame + side] for frame in range(frames)])
    return np.clip(128 + pictures, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drifting") / "videos"
    for seed in range(VIDEOS):
        write(folder / f"{seed}.mp4", drifting(seed), options={"crf": "12", "preset": "ultrafast", "threads": "1"})
    return folder


@pytest.fixture
def built(clips: Path, tmp_path: Path) -> Build:
    """Index the clips, build two samples per video of each perturbation without gates, and return the folder."""

    def run(*names: str, videos: Path = clips) -> Path:
        index_videos(videos, tmp_path / "corpus", Plan(frames=SLOTS, max_pixels=SIDE * SIDE, min_step=0.01))
        count = 2 * len(list(videos.iterdir()))
        config = {"frames": SLOTS, "length": [4, 6], "gates": False, "strengths": {"shift": 1}}
        categories = {
            name: {"task": "grounding", "count": count, "config": {**config, "perturbation": name}} for name in names
        }
        mixture = recipe.ResolvedRecipe(Recipe(name="traces", max_pixels=SIDE * SIDE, categories=categories), "traces")
        build_dataset(mixture, Corpus(tmp_path / "corpus"), tmp_path / "data", templates=load_templates())
        return tmp_path / "data"

    return run


def checks_by_category(data: Path) -> dict[str, Check]:
    return {finding.category: finding for finding in traces.probes(VideoSSRDataset(data))}


def test_probes_find_no_traces_in_built_datasets(built: Build) -> None:
    """zoom_in is left out: in these uniform clips a magnified segment differs by its content alone."""
    data = built("channel_swap", "mirror", "rotate_180", "shuffle")
    progress_calls: list[tuple[int, int]] = []
    findings = list(
        traces.probes(VideoSSRDataset(data), progress=lambda done, total: progress_calls.append((done, total)))
    )
    assert [finding.category for finding in findings] == ["channel_swap", "mirror", "rotate_180", "shuffle"]
    assert not [finding for finding in findings if finding.holds is False]
    assert progress_calls == [(done, 4 * 2 * VIDEOS) for done in range(1, 4 * 2 * VIDEOS + 1)]


def test_unaltered_has_the_grain_and_the_softness_of_its_clip(built: Build) -> None:
    dataset = VideoSSRDataset(built("channel_swap", "zoom_in"))
    for category in ("channel_swap", "zoom_in"):
        sample = next(item.sample for item in dataset if item.sample.category == category)
        before, due = dataset.unaltered(sample), dataset.due(sample)
        assert before is not None
        assert due is not None
        change = np.abs(before.astype(np.int16) - pictures(dataset.corpus, sample, due))
        assert change.max() == GRAIN if category == "channel_swap" else change.mean() > GRAIN


def test_probes_find_a_channel_swap_of_frames_with_jpeg_artifacts(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames are JPEGs of the rendered size, and the perturbation adds no grain that would hide the artifacts."""

    def fill_from_jpeg(decoded: Iterable[Frames], frames: Frames, shape: tuple[int, int]) -> None:
        fill_each(decoded, frames, shape)
        for frame in frames:
            frame[:] = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(frame, 90, "RGB", "444"), "RGB")

    data = built("channel_swap")
    monkeypatch.setattr("videossr.corpus.corpus.fill_each", fill_from_jpeg)
    monkeypatch.setattr(ChannelSwap, "grain", False)
    finding = checks_by_category(data)["channel_swap"]
    assert finding.holds is False, finding.text
    control = re.search(r"with nothing altered ([\d.]+)", finding.text)
    assert control
    assert 0.35 < float(control[1]) < 0.65


def test_probes_find_a_magnified_segment_among_sharp_frames(built: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    data = built("zoom_in")
    monkeypatch.setattr(ZoomIn, "beside", PixelPerturbation.beside)
    assert checks_by_category(data)["zoom_in"].holds is False


def test_probes_give_no_verdict_for_a_blur(built: Build) -> None:
    finding = checks_by_category(built("blur"))["blur"]
    assert finding.holds is None
    assert finding.text.startswith("AUC 0.9") or finding.text.startswith("AUC 1.0")
    assert finding.text.endswith(traces.PLAIN)


def test_probes_give_no_verdict_for_few_videos(built: Build, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    for path in sorted(clips.iterdir())[:4]:
        (tmp_path / "few" / path.name).symlink_to(path)
    finding = checks_by_category(built("mirror", videos=tmp_path / "few"))["mirror"]
    assert finding.holds is None
    assert "too few" in finding.text


def test_probes_leave_out_turned_pictures_on_black() -> None:
    probed = traces.Probed(odd=3)
    assert "3 turned pictures lie on black and are left out" in probed.finding("rotate", QuarterTurn()).text


def test_validate_command_runs_probes_with_its_option(built: Build, capsys: pytest.CaptureFixture[str]) -> None:
    data = built("mirror")
    for option, expected in (([], False), (["--probes"], True)):
        with pytest.raises(SystemExit):
            app(["validate", str(data), *option], exit_on_error=False)
        assert ("AUC" in capsys.readouterr().out) is expected
