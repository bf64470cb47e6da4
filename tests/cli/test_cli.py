"""The command as a user runs it: the examples of `--help`, error messages, and interrupts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from videossr.cli import main
from videossr.models.tiny import make_tiny

CLIPS = ("real/bikes.mp4", "real/carphone.mp4", "made/wide.mkv")
VERBS = ("index", "build", "validate", "gallery", "corpus", "dataset", "bench", "train", "report", "export")
HELPS = (
    *VERBS[:-3],
    *(f"bench {verb}" for verb in ("list", "check", "run", "score", "compare", "chance", "probe")),
    *VERBS[-3:],
    "export swift",
    "export llamafactory",
    "export easyvideor1",
)
"""Commands whose help shows an example, in an order in which each one finds what it needs."""

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sysconfig.get_path("scripts")) / "videossr")


def run_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "120"}  # so that a command in a help stands on one line
    process = subprocess.run(
        [COMMAND, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in process.stdout + process.stderr
    return process


def find_commands(text: str) -> list[list[str]]:
    """Find the commands on the lines of a text, split into words, without the name of the program."""
    lines = re.findall(r"^(?:Example:)?\s*(videossr [a-z]+ [^`\n]*--?\w[^`\n]*)$", text, re.MULTILINE)
    lines += re.findall(r"^Example: (videossr bench [^-\n]+)$", text, re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines]


@pytest.fixture(scope="module")
def demo_root(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `make demo` creates it, in which the example of every verb has been run in order."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "demo/videos").mkdir(parents=True)
    for name in CLIPS:
        (folder / "demo/videos" / Path(name).name).symlink_to(videos / name)
    make_tiny(folder / "demo/tiny", width=64, layers=1)
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    benchmark = str(ROOT / "examples/demo_benchmark.py")
    subprocess.run([sys.executable, benchmark, "demo/videos", "demo/charades"], cwd=folder, check=True)
    for verb in HELPS:
        examples = find_commands(run_command(folder, *verb.split(), "--help").stdout)
        assert len(examples) >= 1, f"{verb} --help shows no command"
        for arguments in examples:
            assert arguments[: len(verb.split())] == verb.split()
            process = run_command(folder, *arguments)
            # The benchmark of the demo is a small part of the published one, which its check must tell.
            expected = 1 if verb == "bench check" else 0
            assert process.returncode == expected, f"{arguments}\n{process.stdout}\n{process.stderr}"
    monkeypatch.undo()
    return folder


def test_help_examples_run_as_printed(demo_root: Path) -> None:
    assert (demo_root / "demo/corpus/manifest.json").is_file()
    assert (demo_root / "demo/dataset/manifest.json").is_file()
    for page in ("gallery.html", "report.html"):
        assert "<html" in (demo_root / "demo" / page).read_text("utf-8")
    assert {path.name for path in demo_root.iterdir()} == {"demo"}


def test_help_names_every_verb(demo_root: Path) -> None:
    text = run_command(demo_root, "--help").stdout
    assert all(re.search(rf"\b{verb}\b", text) for verb in VERBS)
    assert "Start with: videossr index" in text


@pytest.fixture
def refused(
    demo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """Run a command that must be refused, in a folder with a link to `demo`, and return its standard error."""
    (tmp_path / "demo").symlink_to(demo_root / "demo")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/thesis.txt").write_text("precious")
    (tmp_path / "bad.toml").write_text("a = [")
    (tmp_path / "unknown.toml").write_text('[jigsaw]\npromt = "x"\n')
    monkeypatch.chdir(tmp_path)

    def refuse(line: str) -> str:
        with pytest.raises(SystemExit) as exit_info:
            main(shlex.split(line))
        out, err = capsys.readouterr()
        assert exit_info.value.code == 2, out + err
        assert out == ""
        assert "Traceback" not in err
        assert (tmp_path / "odd/thesis.txt").read_text() == "precious"
        assert not (tmp_path / "NEW").exists()
        # cyclopts draws a box around its message and breaks the lines.
        return " ".join(re.sub("[│╭╮╰╯─]", " ", err).split())

    return refuse


BUILD = "build smoke --corpus demo/corpus --out NEW"


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("indx demo/videos --out NEW", ['"indx"', 'Did you mean "index"?']),
        ("index demo/videos --out NEW --fraems 8", ["--fraems", "Did you mean", "--frames"]),
        ("index demo/videos --out NEW --plan unifrm", ["--plan", '"unifrm"', 'Did you mean "uniform"?']),
        ("index demo/videos", ["--out"]),
        ("index demo/videos --out NEW --frames 1", ["frames", "greater than or equal to 2, got 1"]),
        ("index demo/videos --out NEW --workers 0", ["--workers", ">= 1"]),
        ("index demo/videos --out NEW --quality 101", ["quality", "1..100, got 101"]),
        ("index demo/videos --out NEW --source-id [", ["source_id", "regular expression"]),
        ("index nowhere --out NEW", ["nowhere", "no such file or folder"]),
        ("index demo/videos --out ''", ["a path is empty"]),
        ("index demo/videos --image-fps -5 --out NEW", ["image_fps must be above 0"]),
        ("index empty --out NEW", ["empty", "no videos", "mp4"]),
        ("index demo/videos --out odd", ["odd", "has not made", "--out"]),
        ("index demo/videos --out bad.toml", ["bad.toml", "has not made", "--out"]),
        ("index demo/videos --out demo/corpus --frames 50", ["demo/corpus", "plan.frames is 48", "another --out"]),
        ("train train-nan --out NEW", ["'train-nan'", "did you mean 'train-nano'?"]),
        ("train none.toml --out NEW", ["none.toml"]),
        ("train train-nano --optim.warmpu=1 --out NEW", ["unknown key 'warmpu' in optim; did you mean 'warmup'?"]),
        ("train train-nano --optim.lr=x --out NEW", ["optim.lr", "got 'x'"]),
        ("train train-nano optim.lr=1 --out NEW", ["optim.lr=1: a setting is written --NAME=VALUE"]),
        ("train train-nano --out NEW", ["model.path is not set"]),
        ("train train-nano --model.path=demo/tiny --data.path=empty --out NEW", ["empty"]),
        ("train train-nano --model.path=demo/videos --data.path=demo/dataset --out NEW", ["no config.json"]),
        ("train train-nano --model.path=demo/tiny --data.path=demo/dataset --out odd", ["odd", "--out"]),
        ("build smok --corpus demo/corpus --out NEW", ["'smok'", "did you mean 'smoke'?"]),
        ("build none.toml --corpus demo/corpus --out NEW", ["none.toml"]),
        ("build bad.toml --corpus demo/corpus --out NEW", ["bad.toml", "not valid TOML"]),
        ("build smoke --corpus nowhere --out NEW", ["nowhere is no corpus", "videossr index VIDEOS --out nowhere"]),
        ("build smoke --corpus demo/videos/bikes.mp4 --out NEW", ["bikes.mp4 is no corpus"]),
        (
            "build smoke --corpus demo/corpus --out odd",
            ["odd holds something that `videossr build` has not made", "--out"],
        ),
        ("build smoke --corpus demo/corpus --out bad.toml", ["bad.toml"]),
        (f"{BUILD} --limit 3", ["--limit 3", "9 categories"]),
        (f"{BUILD} --workers 0", ["--workers", ">= 1"]),
        (f"{BUILD} --seed -1", ["--seed", ">= 0"]),
        (f"{BUILD} --sed 3", ["--sed", "did you mean", "--seed"]),
        (f"{BUILD} --categories.jigsaw/6.count=-1", ["categories.jigsaw/6", "count"]),
        (f"{BUILD} --categories.jigsaw/6.cuont=5", ["'cuont'", "did you mean 'count'?"]),
        (f"{BUILD} --categories.jigsaw/6.config.pices=5", ["'pices'", "did you mean 'pieces'?"]),
        (f"{BUILD} --categores.jigsaw/6.count=5", ["'categores'", "did you mean 'categories'?"]),
        (f"{BUILD} --max_pixels", ["--max_pixels", "--NAME=VALUE"]),
        (f"{BUILD} --categories=1", ["recipe smoke", "categories"]),
        (f"{BUILD} --limmit=5", ["--limmit=5", "no such option", "did you mean --limit?"]),
        (f"{BUILD} --only jigsaw/66", ["--only jigsaw/66", "did you mean 'jigsaw/6'?"]),
        (f"{BUILD} --templates bad.toml", ["bad.toml", "not valid TOML"]),
        (f"{BUILD} --templates unknown.toml", ["unknown.toml", "'promt'", "did you mean 'prompt'?"]),
        (f"{BUILD} --templates none.toml", ["none.toml"]),
        (f"{BUILD} --exclude nowhere", ["nowhere", "does not exist"]),
        (
            "build smoke --corpus demo/corpus --out demo/dataset --seed 1",
            ["demo/dataset", "seed is 0 there, 1 now", "--out", "--rebuild"],
        ),
        ("validate nowhere", ["nowhere", "does not exist"]),
        ("validate empty", ["empty", "not complete", "videossr build"]),
        ("validate demo/corpus", ["demo/corpus", "not a dataset"]),
        ("validate demo/gallery.html", ["demo/gallery.html"]),
        ("validate demo/dataset --corpus nowhere", ["nowhere is no corpus"]),
        ("validate demo/dataset --model-type qwen3", ["model type 'qwen3'", "did you mean", "qwen3_vl", "molmo2"]),
        ("gallery nowhere --out NEW", ["nowhere", "does not exist"]),
        ("gallery demo/dataset --out NEW --only zzzz", ["'zzzz'", "demo/dataset"]),
        ("gallery demo/dataset", ["--out"]),
    ],
)
def test_command_explains_a_refusal_in_one_message(refused: Callable[[str], str], line: str, parts: list[str]) -> None:
    message = refused(line)
    assert all(part in message for part in parts), message


def test_validate_command_refuses_another_corpus(
    demo_root: Path, videos: Path, refused: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/clip.mp4").symlink_to(videos / "real/carphone.mp4")
    assert run_command(tmp_path, "index", "one", "--out", "other").returncode == 0
    message = refused("validate demo/dataset --corpus other")
    assert "other has no video" in message
    assert "--corpus" in message


def test_build_command_leaves_a_complete_dataset_unchanged(demo_root: Path) -> None:
    arguments, *_ = find_commands(run_command(demo_root, "build", "--help").stdout)
    modified = {path: path.stat().st_mtime_ns for path in (demo_root / "demo/dataset").iterdir()}
    process = run_command(demo_root, *arguments)
    assert process.returncode == 0
    assert "40 samples" in process.stdout
    assert "demo/dataset was complete already" in process.stdout
    assert {path: path.stat().st_mtime_ns for path in (demo_root / "demo/dataset").iterdir()} == modified


def test_build_command_names_the_index_command_for_more_frames(demo_root: Path) -> None:
    build = ["build", "perturbations", "--only", "grounding/slow", "--limit", "2", "--workers", "1", "--out", "slow"]
    process = run_command(demo_root, *build, "--corpus", "demo/corpus")
    assert process.returncode == 2
    assert "categories.grounding/slow needs videos of 96 frames" in process.stderr
    (command,) = find_commands(process.stderr)
    assert run_command(demo_root, *(word.replace("VIDEOS", "demo/videos") for word in command)).returncode == 0
    corpus = command[command.index("--out") + 1]
    assert run_command(demo_root, *build, "--corpus", corpus).returncode == 0
    shutil.rmtree(demo_root / corpus)
    shutil.rmtree(demo_root / "slow")


def test_validate_command_exits_with_1_for_a_failed_check(demo_root: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_root / "demo/dataset", tmp_path / "dataset")
    (tmp_path / "dataset/config.toml").write_text("seed = 5\n")
    process = run_command(tmp_path, "validate", "dataset", "--corpus", str(demo_root / "demo/corpus"), "--renders", "1")
    assert process.returncode == 1
    (line,) = (line for line in process.stdout.splitlines() if "FAILS" in line)
    assert "files" in line
    assert "altered: config.toml" in line


def test_validate_command_refuses_questions_in_seconds_to_a_family_without_a_clock(demo_root: Path) -> None:
    process = run_command(demo_root, "validate", "demo/dataset", "--renders", "0", "--model-type", "internvl")
    assert process.returncode == 1
    verdicts = re.findall(r"(holds|FAILS) +clock of internvl +(\w+)/", process.stdout)
    assert set(verdicts) == {("FAILS", "grounding"), ("holds", "counting"), ("holds", "jigsaw")}
    assert "internvl reads no times, but numbers of frames, such as Frame1" in process.stdout


def test_index_command_resumes_after_an_interrupt(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name in (*CLIPS, "real/bigbuckbunny_5s.mp4", "made/large.mp4", "made/tall.webm"):
        (tmp_path / "clips" / Path(name).name).symlink_to(videos / name)
    arguments = ["index", "clips", "--out", "corpus", "--frames", "8", "--workers", "1"]
    child = subprocess.Popen(
        [COMMAND, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not any((tmp_path / "corpus/packs").glob("??.pack")) and time.monotonic() < deadline:
        assert child.poll() is None, "it ended before it could be stopped"
        time.sleep(0.005)
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 130, err
    assert "videossr: stopped; the same command goes on where it was" in err
    assert "Traceback" not in out + err
    assert not (tmp_path / "corpus/manifest.json").exists()
    process = run_command(tmp_path, *arguments)
    assert process.returncode == 0
    assert "6 videos in corpus" in process.stdout
