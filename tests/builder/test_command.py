"""`build`, `gallery` and `report` as a user runs them: errors come before any work and name the way out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import videossr
from tests.helpers.building import JIGSAW, MIRROR, SLOTS, SWAP, Make, Run, indexed, picture
from tests.helpers.clips import write
from videossr.corpus.corpus import Corpus

RECIPE = f"""
name = "mine"
[categories.jigsaw]
task = "jigsaw"
count = 4
config = {{ frames = {SLOTS}, pieces = 4 }}
"""


@pytest.fixture
def run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, called in `tmp_path`, where `mine.toml` is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(RECIPE)
    return run


def test_build_command_reports_a_limit_above_the_recipe(made: Corpus, run: Run) -> None:
    arguments = ["build", "mine.toml", "--corpus", str(made.path), "--out", "dataset", "--workers", "1"]
    status, out, err = run(*arguments, "--limit", "300")
    assert status == 0
    assert "4 samples" in out
    assert "--limit 300 changes nothing: mine has 4 samples in all. For more: --per-category N" in err
    assert "changes nothing" not in run(*arguments, "--limit", "4")[2]


def test_build_command_suggests_a_corpus_outside_the_videos(clips: Path, run: Run, tmp_path: Path) -> None:
    shutil.copytree(clips, tmp_path / "my videos/inner")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/thesis.txt").write_text("precious")
    for corpus, message in {
        "my videos": "but a folder of videos: make one with `videossr index 'my videos' --out CORPUS`",
        "my videos/inner/clip_00.mp4": "but a video: make one with `videossr index 'my videos/inner/clip_00.mp4' --out",
        "texts": "make one in a new folder with `videossr index VIDEOS --out CORPUS`",
        "nowhere": "make one with `videossr index VIDEOS --out nowhere`",
    }.items():
        status, out, err = run("build", "mine.toml", "--corpus", corpus, "--out", "dataset")
        assert (status, out) == (2, "")
        assert f"{corpus} is no corpus" in err
        assert message in err


def test_build_dataset_names_the_categories_to_leave_out_for_one_video(make: Make, tmp_path: Path) -> None:
    """A swap needs a second video, so a lower count does not help."""
    write(tmp_path / "single/clip.mp4", picture(50))
    corpus = indexed(tmp_path / "single")
    both = {"swap": (SWAP, 2), "mirror": (MIRROR, 2)}
    lacking = r"swap lacks 2 of 2\. Rejected: swap: no_donor \(\d+\)\."
    message = lacking + r" Add videos, or lower .*: --categories\.swap\.count=0$"
    with pytest.raises(ValueError, match=message):
        make("dataset", corpus, both)
    assert make("dataset", corpus, {"mirror": (MIRROR, 2)})["samples"] == 2
    with pytest.raises(ValueError, match=r"swap: no_donor \(\d+\)\. Add videos$"):
        make("other", corpus, {"swap": (SWAP, 2)})


def test_build_dataset_names_the_option_that_leaves_out_a_category_without_videos(make: Make, tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"still/{number}.mp4", picture(number)[:1].repeat(24, axis=0))
    corpus = indexed(tmp_path / "still")
    with pytest.raises(ValueError, match=r"no video is fit for jigsaw\. .*: --categories\.jigsaw\.count=0$"):
        make("dataset", corpus, {"jigsaw": (JIGSAW, 2), "mirror": (MIRROR, 2)})


def test_build_dataset_counts_rejections_of_examined_videos_only(make: Make, tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"still/{number}.mp4", picture(number)[:1].repeat(24, axis=0))
    corpus = indexed(tmp_path / "still")
    categories = {"jigsaw": (JIGSAW, 1), "mirror": (MIRROR, 1)}
    with pytest.raises(
        ValueError,
        match=r"Rejected of 1 videos: jigsaw: [a-z_]+ \(1\) \(docs/reference/rejections.md says .*`videossr ",
    ):
        make("few", corpus, categories, 1)
    manifest = make("one", corpus, {"mirror": (MIRROR, 1)}, 1)
    assert manifest["samples"] == 1
    with pytest.raises(ValueError, match=r"Rejected of 2 videos: jigsaw: [a-z_]+ \(2\) .*\n--exclude took 1 of"):
        make("rest", corpus, categories, exclude=[tmp_path / "one"])


@pytest.fixture
def runs(made: Corpus, make: Make, run: Run) -> None:
    """A dataset, and two runs in folders of their own."""
    make("dataset", made, {"jigsaw": (JIGSAW, 2), "mirror": (MIRROR, 2)})
    for model in ("chance", "constant"):
        status, _, err = run("bench", "run", "dataset", "--model", model, "--out", f"runs/of/{model}")
        assert status == 0, err


@pytest.mark.usefixtures("runs")
def test_report_and_gallery_commands_refuse_a_folder_as_output(run: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    for arguments in (
        ["report", "runs/of/chance"],
        ["report", "runs/of/chance", "--format", "json"],
        ["gallery", "dataset"],
    ):
        status, out, err = run(*arguments, "--out", "folder")
        assert (status, out) == (2, "")
        page = {"gallery": "gallery.html"}.get(arguments[0], "report.json" if "json" in arguments else "report.html")
        assert f"folder is a folder: name a file, such as folder/{page}" in err
        assert "items" not in err, "work was done first"
        status, _, err = run(*arguments, "--out", "file/page.html")
        assert status == 2
        assert "file/page.html: file is not a folder" in err
        assert run(*arguments, "--out", f"folder/{page}")[0] == 0
        assert (tmp_path / "folder" / page).is_file()
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "recipe.toml").mkdir()
    arguments = ["bench", "probe", "dataset", "--model", "chance", "--out", "runs/probe", "--recipe", "recipe.toml"]
    status, _, err = run(*arguments)
    assert status == 2
    assert "recipe.toml is a folder" in err
    assert not (tmp_path / "runs/probe").exists()


@pytest.mark.usefixtures("runs")
def test_commands_print_ascii_where_utf_8_is_unavailable(tmp_path: Path) -> None:
    """The dagger of the paper's rows and a file name are printed escaped."""
    write(tmp_path / "named/k\u00f6ln.mp4", picture(60))
    indexed(tmp_path / "named")
    ascii_only = {"PYTHONPATH": str(Path(videossr.__file__).parents[1]), "PYTHONIOENCODING": "ascii", "COLUMNS": "200"}
    for line, escaped in {
        "bench score runs/of/chance --paper": r"\u2020 as the paper prints it",
        "corpus info named-corpus --videos": r"k\xf6ln.mp4",
    }.items():
        process = subprocess.run(
            [sys.executable, "-m", "videossr.cli", *line.split()],
            cwd=tmp_path, env=os.environ | ascii_only, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        assert escaped in process.stdout
        assert process.stdout.isascii()


@pytest.mark.usefixtures("runs")
def test_report_command_finds_the_runs_below_a_folder(run: Run, tmp_path: Path) -> None:
    status, output, _ = run("report", "runs", "--format", "csv")
    assert status == 0
    assert output == run("report", "runs/of/chance", "runs/of/constant", "--format", "csv")[1]
    assert "chance" in output
    (tmp_path / "runs/empty").mkdir()
    status, _, err = run("report", "runs/empty", "--format", "csv")
    assert status == 2
    assert "runs/empty: there is no run in it, nor in the folders below it" in err
    (tmp_path / "runs/empty/1.jpg").write_bytes(b"")
    assert run("report", "runs/empty", "--out", "page.html")[2] == err
    (tmp_path / "runs/trained").mkdir()
    (tmp_path / "runs/trained/config.toml").write_text("[run]\n[optim]\n")
    status, _, err = run("report", "runs", "--format", "csv")
    assert status == 2
    assert f"training runs: runs{os.sep}trained; other runs: runs/of/chance, runs/of/constant; write a report" in err


def test_a_corpus_without_videos_is_refused_in_one_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hurt").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "hurt" / name).write_bytes(name.encode())
    status, out, _ = run("index", "hurt", "--out", "corpus", "--workers", "1")
    assert status == 1
    assert "0 videos in corpus" in out
    corpus = tmp_path / "corpus"
    told = f"videossr: {corpus} has no videos: 2 were rejected; see `videossr corpus info {corpus} --rejected`\n"
    for words in (
        ("build", "mine.toml", "--corpus", "corpus", "--out", "dataset", "--workers", "1"),
        ("corpus", "merge", "corpus", "corpus", "--out", "merged"),
        ("corpus", "split", "corpus", "--out", "one", "two", "--share", "0.5"),
    ):
        status, out, err = run(*words)
        assert (status, out, err) == (2, "", told), words
    assert {path.name for path in tmp_path.iterdir()} == {"mine.toml", "hurt", "corpus"}
