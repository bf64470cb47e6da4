"""Exported folders of the hub: complete, within its limits, and with clips that browsers play at the clock's times.

tests/integration/test_hf.py loads them with datasets.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, SupportsIndex

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import simplejpeg
import yaml
from playwright.sync_api import Browser

from tests.dataset.published.conftest import row, write_json
from tests.export.test_lmms_eval import psnr, read_video
from tests.helpers.exports import stop_and_resume
from videossr.builder.recipe import load_recipe
from videossr.cli import main
from videossr.clock import Clock
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import OutputError
from videossr.export import folder, hf
from videossr.export.contact_sheet import ACROSS, choose_frames, draw_sheet
from videossr.export.hf import export_hf, hub_rows
from videossr.question import Clip, Outline, Question, Truth
from videossr.question_set import open_questions

UNEVEN = Clock((0, 40, 55, 400, 410, 1000, 1200), 1900)


class UnevenDataset(VideoSSRDataset):
    """Questions whose clips have 7 frames at times of no rate."""

    def question(self, index: SupportsIndex) -> Question:
        question = super().question(index)
        return replace(question, clocks=(UNEVEN,) * len(question.clocks))

    def clips(self, index: SupportsIndex) -> list[Clip]:
        return [Clip(clip.frames[: len(UNEVEN)], UNEVEN) for clip in super().clips(index)]

    def truth(self, index: SupportsIndex) -> Truth:
        return Truth()


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hf") / "exported"
    export_hf(VideoSSRDataset(dataset), out, "Small | one")
    return out


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_export_hf_writes_the_questions_and_their_clips(dataset: Path, exported: Path) -> None:
    opened = VideoSSRDataset(dataset)
    rows = pq.read_table(exported / "train/metadata.parquet").to_pylist()
    assert [row["id"] for row in rows] == opened["id"]
    for index, written in enumerate(rows):
        item = opened[index]
        question = item.question
        assert (written["system"], written["prompt"], written["answer"]) == (
            question.system,
            question.prompt,
            question.answer,
        )
        assert written["source"] == item.sample.sources[0].content
        assert written["end_ms"] == [clip.clock.end_ms for clip in item.clips]
        for name, times_ms, clip in zip(written["file_names"], written["times_ms"], item.clips, strict=True):
            times, frames, _ = read_video(exported / "train" / name)
            assert times == [Fraction(time, 1000) for time in clip.clock.times_ms]
            assert times_ms == [*clip.clock.times_ms]
            assert psnr(frames, clip.frames).min() > 34


def test_export_hf_writes_no_other_files(dataset: Path, exported: Path) -> None:
    names = {str(Path(name).parent if name.endswith(".mp4") else name) for name in files_of(exported)}
    assert names == {
        "README.md",
        "gallery.jpg",
        "recipe/config.toml",
        "recipe/templates.toml",
        "train/metadata.parquet",
        "train/00000",
    }
    assert load_recipe(str(exported / "recipe/config.toml")).recipe.name == "small"
    for name in ("config.toml", "templates.toml"):
        assert (exported / "recipe" / name).read_bytes() == (dataset / name).read_bytes()


def test_card_has_a_header_and_names_the_dataset(dataset: Path, exported: Path) -> None:
    opened = VideoSSRDataset(dataset)
    _, header, text = (exported / "README.md").read_text("utf-8").split("---\n", 2)
    facts = yaml.safe_load(header)
    assert facts["pretty_name"] == "Small | one"
    assert (facts["task_categories"], facts["size_categories"]) == (["video-text-to-text"], ["n<1K"])
    assert "\n# Small \\| one\n" in text
    assert f"{len(opened)} questions about {opened.manifest['videos']} videos" in text
    assert opened.hash in text
    assert opened.manifest["corpus"]["hash"] in text
    assert "(gallery.jpg)" in text
    for category in opened.manifest["categories"]:
        assert f"| `{category}` | 2 |" in text
    assert "odd number" not in text


def test_clips_of_an_odd_number_of_frames_have_the_last_one_twice(dataset: Path, tmp_path: Path) -> None:
    questions = UnevenDataset(dataset)
    card = export_hf(questions, tmp_path / "out", "uneven")
    name = pq.read_table(tmp_path / "out/train/metadata.parquet")["file_names"][0].as_py()[0]
    times, frames, duration = read_video(tmp_path / "out/train" / name)
    assert [time * 1000 for time in times] == [*UNEVEN.times_ms, 1400], "one mean step of 200 ms later"
    assert duration == Fraction(1600, 1000)
    assert psnr(frames[7:], frames[6:7]).min() > 34
    assert "odd number" in card.read_text("utf-8")


def test_folders_stay_within_the_limit_of_the_hub(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = VideoSSRDataset(dataset)
    monkeypatch.setattr(hf, "FOLDER_FILES", 3)
    rows = hub_rows(opened)
    folders: dict[str, int] = {}
    for written in rows:
        (parent,) = {str(Path(name).parent) for name in written["file_names"]}
        folders[parent] = folders.get(parent, 0) + len(written["file_names"])
    assert len(folders) > 2
    assert list(folders) == [f"{number:05d}" for number in range(len(folders))]
    assert max(folders.values()) < 3 + 6
    assert len({name for written in rows for name in written["file_names"]}) == sum(folders.values())


def test_benchmark_is_a_test_split(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "is_benchmark", lambda manifest: True)
    opened = VideoSSRDataset(dataset)
    card = export_hf(opened, tmp_path / "out", "bench")
    assert (tmp_path / "out/test/metadata.parquet").is_file()
    assert not (tmp_path / "out/train").exists()
    assert 'split="test"' in card.read_text("utf-8")
    assert hf.uploaded(opened)[-2:] == ["test/metadata.parquet", "test/*.mp4"]


def test_published_rows_are_exported_without_a_recipe(videos: Path, tmp_path: Path) -> None:
    item = {"video": str(videos / "real/bikes.mp4"), "fps": 2.0, "max_pixels": 16384, "min_pixels": 16384}
    rows = write_json(tmp_path / "rows.json", [row("counting", "<video>?", [item], "1,1,1")])
    opened = open_questions(rows, anywhere=True)
    card = export_hf(opened, tmp_path / "out", "rows")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "gallery.jpg", "train"]
    assert "Recipe" not in card.read_text("utf-8")
    (clock,) = opened.question(0).clocks
    times, _, _ = read_video(tmp_path / "out/train/00000/0-0.mp4")
    assert [time * 1000 for time in times][: len(clock)] == [*clock.times_ms]


def test_export_hf_resumes_after_an_interrupt(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, out = VideoSSRDataset(dataset), tmp_path / "out"
    card = stop_and_resume(export_hf, "hf", dataset, out, "small", "other")
    assert card == out / "README.md"
    card.write_text(card.read_text("utf-8") + "\nThe licence is mine.\n", "utf-8")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setattr(folder, "write_mp4", None)  # nothing may be written again
    export_hf(opened, out, "small")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path != out} == {
        path: time for path, time in before.items() if path != out
    }


def test_export_hf_writes_again_what_is_missing_or_differs(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_hf(VideoSSRDataset(dataset), out, "small")
    sound = files_of(out)
    (out / "train/00000/0-0.mp4").unlink()
    (out / "gallery.jpg").unlink()
    (out / "recipe/config.toml").write_text("[categories]")
    pq.write_table(pq.read_table(out / "train/metadata.parquet").slice(0, 1), out / "train/metadata.parquet")
    export_hf(VideoSSRDataset(dataset), out, "small")
    assert files_of(out) == sound


def test_export_hf_refuses_another_folder(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(OutputError, match="holds something that `videossr export hf` has not made"):
        export_hf(VideoSSRDataset(dataset), tmp_path, "small")
    assert (tmp_path / "README.md").read_text() == "# Mine\n"


def test_command_exports_and_tells_how_to_load_it(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videossr.cli.export.REPOSITORY_FILES", 3)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["export", "hf", str(dataset), "--out", "out"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert 'datasets.load_dataset("videofolder", data_dir="out", split="train")' in printed
    assert "video files: the hub advises at most 3 a repository" in printed
    assert (tmp_path / "out/README.md").is_file()


def picture(slot: int) -> Any:
    return np.full((90, 160, 3), 4 * slot, np.uint8)


def test_frames_of_the_picture_show_what_was_altered() -> None:
    clip = Clip(np.stack([picture(slot) for slot in range(48)]), Clock(tuple(range(48)), 48))
    chosen = choose_frames([clip], Truth(spans=((20, 31),)))
    assert chosen.marked.count(True) == chosen.marked.count(False) == ACROSS // 2
    slots = [int(frame[0, 0, 0]) // 4 for frame in chosen.frames]
    assert slots == sorted(slots)
    assert [20 <= slot <= 31 for slot in slots] == [*chosen.marked]
    drawn = choose_frames([clip], Truth(outlines=(Outline(7, "circle", ()), Outline(7, "square", ()))))
    assert drawn.marked.count(True) == 1
    assert len(drawn.frames) == ACROSS
    pieces = choose_frames([clip] * 3, Truth(order=(1, 0, 2)))
    assert len(pieces.frames) == 3
    assert not any(pieces.marked)
    sheet = simplejpeg.decode_jpeg(draw_sheet([chosen, pieces]), "RGB")
    assert sheet.shape == (2 * (90 + 6 + 10), ACROSS * 160, 3)
    at = chosen.marked.index(True)
    np.testing.assert_allclose(sheet[92, 160 * at + 80], (230, 110, 20), atol=12)
    np.testing.assert_allclose(sheet[92, 160 * (ACROSS - 1) + 80], (255, 255, 255), atol=12)


SHOW = """
async ([data, times]) => {
    const video = document.createElement("video");
    document.body.append(video);
    video.muted = true;
    let stage = "loading";
    const failure = new Promise((_, failed) => {
        video.onerror = () => failed(`${stage}: ${video.error.message}`);
        setTimeout(() => failed(`${stage}: nothing for a minute`), 60000);
    });
    const event = (name) => new Promise((done) => video.addEventListener(name, done, {once: true}));
    const frame = () => new Promise((done) => video.requestVideoFrameCallback((_, facts) => done(facts.mediaTime)));
    const wait = (...promises) => Promise.race([Promise.all(promises), failure]);

    const loaded = [frame(), event("loadeddata")];
    video.src = "data:video/mp4;base64," + data;
    await wait(...loaded);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const shown = [];
    for (const time of times) {
        stage = `seeking ${time}`;
        const drawn = [frame(), event("seeked")];
        video.currentTime = time;
        const [at] = await wait(...drawn);
        canvas.getContext("2d").drawImage(video, 0, 0);
        shown.push([at, canvas.toDataURL("image/png").split(",")[1]]);
    }
    stage = "rewinding";
    const start = event("seeked");
    video.currentTime = 0;
    await wait(start);
    stage = "playing";
    const end = event("ended");
    video.playbackRate = 8;
    await wait(video.play(), end);
    return {shown, duration: video.duration};
}
"""


def test_browser_plays_the_clips_with_our_frames_at_our_times(browser: Browser, dataset: Path, exported: Path) -> None:
    opened = VideoSSRDataset(dataset)
    page = browser.new_page()
    for index in (opened["task"].index("grounding"), opened["task"].index("jigsaw")):
        clip = opened.clips(index)[0]
        data = base64.b64encode((exported / f"train/00000/{index}-0.mp4").read_bytes()).decode()
        slots = [len(clip.frames) - 2, 3, len(clip.frames) // 2]
        times = clip.clock.times_ms
        asked = [(times[slot] + times[slot + 1]) / 2000 for slot in slots]
        told = page.evaluate(SHOW, [data, asked])
        assert told["duration"] * 1000 == pytest.approx(clip.clock.end_ms, abs=2)
        for slot, (at, png) in zip(slots, told["shown"], strict=True):
            assert at * 1000 == pytest.approx(times[slot], abs=0.1)
            drawn = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_COLOR_RGB)
            assert drawn is not None
            assert psnr(drawn[None].astype(np.uint8), clip.frames[slot : slot + 1]).min() > 32
    page.close()
