"""Runs of public benchmarks by the command: all of them with a tiny model, resumed, scored, refused."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.public import write
from tests.helpers.public.scored import rows_of
from videossr.bench.public.base import BENCHMARKS
from videossr.bench.records import PREDICTIONS, UNREAD, read_run
from videossr.cli import main
from videossr.cli.bench.public import paper_names
from videossr.models.tiny import make_tiny

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run a command line in the folder of the test; returns its exit status, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(line: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as status:
            main(shlex.split(line))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        code = status.value.code
        return (code if isinstance(code, int) else 0), out, " ".join(err.split())

    return run


def test_a_tiny_model_answers_all_benchmarks(command: Command, tmp_path: Path) -> None:
    names = BENCHMARKS.names()
    assert len(names) == 22
    for name in names:
        write(name, tmp_path / "data" / name)
    make_tiny(tmp_path / "tiny", width=64, layers=1)
    code, out, _ = command(
        f"bench run {','.join(names)} --data data --model hf:tiny --frames 4,6 --cache frames --out run --max-tokens 4"
    )
    assert code == 1  # some of the videos are missing on purpose
    for name in names:
        rows = rows_of(name, tmp_path / "data" / name)
        for frames in (4, 6):
            run = read_run(tmp_path / f"run/{name}/{frames}")
            assert run.manifest is not None
            assert run.config.benchmark is not None
            assert run.config.benchmark.frames == frames
            read = [prediction for prediction in run.predictions if prediction.category != UNREAD]
            assert {prediction.id for prediction in read} == {row.id for row in rows}
            for prediction in run.predictions:
                assert bool(prediction.error) != bool(prediction.texts)
            assert any(prediction.texts for prediction in run.predictions), name
            errors = {prediction.error.partition(":")[0] for prediction in run.predictions if prediction.error}
            assert errors <= {"question"}, name
        assert f"{BENCHMARKS.get(name).facts.title} ({name}, 6 frames)" in out
    code, out, _ = command("report run --layout paper --out page.html")
    assert code == 0
    assert "<html" in (tmp_path / "page.html").read_text("utf-8")


def test_a_run_goes_on_and_asks_nothing_twice(command: Command, tmp_path: Path) -> None:
    write("mvbench", tmp_path / "data")
    line = "bench run mvbench --data data --model chance --frames 4 --out run"
    assert command(line)[0] == 1
    predictions = tmp_path / "run/mvbench/4" / PREDICTIONS
    lines = predictions.read_text().splitlines(keepends=True)
    answered = next(k for k, text in enumerate(lines) if not json.loads(text)["error"])
    predictions.write_text("".join(lines[:answered] + lines[answered + 1 :]) + lines[answered][:40])
    (tmp_path / "run/mvbench/4/manifest.json").unlink()
    assert command(line)[0] == 1
    again = predictions.read_text().splitlines()
    # One answer was lost and one video is missing: these two are asked, and no other.
    assert len(again) == len(lines) - 1 + 2
    (tmp_path / "data/video/nturgbd").mkdir()
    (tmp_path / "data/video/nturgbd/S001.avi").symlink_to(
        tmp_path / "data/video/clevrer/video_validation/video_10001.mp4"
    )
    code, out, _ = command(line)
    assert code == 0
    assert "0 of 5 questions failed" in out


def test_stored_answers_are_scored_by_another_rule(command: Command, tmp_path: Path) -> None:
    write("mvbench", tmp_path / "data")
    command("bench run mvbench --data data --model constant --frames 4 --out run")
    ours = json.loads(command("bench score run/mvbench/4 --json")[1])[0]
    micro = json.loads(command("bench score run/mvbench/4 --rule micro --json")[1])[0]
    assert ours["figures"][0]["units"] == micro["figures"][0]["units"] == 5
    by_scope = {figure["scope"]: figure["asked"]["value"] for figure in ours["figures"]}
    tasks = [value for scope, value in by_scope.items() if scope]
    assert by_scope[""] == pytest.approx(sum(tasks) / 4)
    code, _, err = command("bench score run/mvbench/4 --rule offical")
    assert code == 2
    assert "did you mean 'official'" in err


def test_the_gain_of_lectures_is_told_for_both_runs_of_videommmu(command: Command, tmp_path: Path) -> None:
    write("videommmu", tmp_path / "data")
    command("bench run videommmu --data data --model constant --frames 4 --out lecture")
    command("bench run videommmu --data data --model constant --frames 4 --out before --videommmu.video=question_only")
    predictions = tmp_path / "before/videommmu/4" / PREDICTIONS
    said = json.loads(predictions.read_text().splitlines()[0])
    predictions.write_text(json.dumps({**said, "texts": ["no letter"]}) + "\n")
    code, out, _ = command("bench score before/videommmu/4 lecture/videommmu/4")
    assert code == 0
    assert "adaptation: 0.0% without the lecture, 100.0% with it: gain 100.0%" in out
    assert "without the lecture" not in command("bench score lecture/videommmu/4")[1]


def test_settings_of_a_benchmark_and_texts_decide_what_is_asked(command: Command, tmp_path: Path) -> None:
    write("tempcompass", tmp_path / "data")
    (tmp_path / "texts.toml").write_text('[tempcompass]\nyes_or_no = "{videos}{question} Yes or no?"\n')
    line = "bench run tempcompass --data data --model chance --frames 4 --out run --templates texts.toml"
    command(f"{line} --tempcompass.formats=yes_no")
    run = read_run(tmp_path / "run/tempcompass/4")
    assert run.config.benchmark is not None
    assert run.config.benchmark.settings == {"formats": ["yes_no"]}
    code, _, err = command(line)
    assert code == 2
    assert "was made with" in err or "hash" in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bench run mvbench --model chance --out run", "name the folder of the public benchmark with --data"),
        ("bench run mvbnch,charades --data data --model chance --out run", "did you mean 'mvbench'"),
        ("bench run mybench --data data --model chance --out run", "is no public benchmark"),
        ("bench run mvbench --data nowhere --model chance --out run", "nowhere is no folder: name the one of"),
        ("bench run mvbench --data data --model chance --out run --frames 1", "numbers from 2 to 4096"),
        ("bench run mvbench --data data --model chance --out run --frames 8,x", "numbers from 2 to 4096"),
        (
            "bench run mvbench --data data --model chance --out run --source videossr/choice",
            "not for public benchmarks",
        ),
        ("bench run mvbench --data data --model chance --out run --charades.x=1", "a setting begins with"),
        ("bench run mvbench --data data --model chance --out run --mvbench.x=1", "unknown key 'x'"),
        ("bench run dataset --model chance --out run --frames 4", "--frames is for public benchmarks"),
        ("bench list mvbnch", "did you mean 'mvbench'"),
        ("bench check nothing --data data", "there is no benchmark 'nothing'"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_way_out(
    command: Command, tmp_path: Path, line: str, message: str
) -> None:
    write("mvbench", tmp_path / "data")
    code, out, err = command(line)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "run").exists()


def test_nothing_answered_is_no_score_and_does_not_stop_the_others(command: Command, tmp_path: Path) -> None:
    write("mvbench", tmp_path / "data/mvbench")
    write("charades", tmp_path / "data/charades")
    for path in (tmp_path / "data/charades").rglob("*.mp4"):
        path.unlink()
    code, out, err = command("bench run charades,mvbench --data data --model chance --frames 4 --out run")
    assert code == 2
    assert "no question was answered of charades, 4 frames" in err
    assert "MVBench (mvbench, 4 frames)" in out


def test_list_shows_every_benchmark_and_the_paper_has_sixteen(command: Command) -> None:
    assert len(paper_names()) == 16
    code, out, _ = command("bench list --json")
    assert code == 0
    listed = {entry["name"]: entry for entry in json.loads(out)}
    assert set(listed) == set(BENCHMARKS.names())
    for entry in listed.values():
        assert entry["layout"]
        assert entry["licence"]
        assert entry["source"].startswith("https://")
        assert "ours" in entry["rules"]
    for name in listed:
        code, out, _ = command(f"bench list {name}")
        assert code == 0
        assert listed[name]["source"] in out.replace("\n", "") or listed[name]["source"][:60] in out


def test_check_exits_with_one_where_a_run_would_not_be_comparable(command: Command, tmp_path: Path) -> None:
    write("mvbench", tmp_path / "data/mvbench")
    code, out, _ = command("bench check mvbench --data data")
    assert code == 1
    assert "not comparable" in out
    code, out, _ = command("bench check mvbench --data data --json")
    assert code == 1
    assert {finding["verdict"] for finding in json.loads(out)["mvbench"]} == {"ok", "note", "fault"}
