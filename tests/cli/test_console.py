"""Nothing that others wrote reaches a terminal raw, whichever verb prints it."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.table import Table
from rich.text import Text

import videossr
from tests.bench.conftest import a_run, prediction
from tests.helpers.training_runs import step_of
from videossr.bench.outcomes import outcomes
from videossr.builder.card import card
from videossr.cli import main
from videossr.cli.bench.tables import print_outcomes
from videossr.cli.console import Bar, PlainConsole, lines
from videossr.corpus.corpus import Corpus
from videossr.report.benchmark import formats as benchmark_formats
from videossr.report.benchmark.table import gather
from videossr.report.training.figures import comma_separated
from videossr.training.checkpoints.checkpoint import model_card
from videossr.training.config import DataConfig, ModelConfig, TrainConfig
from videossr.training.runs.records import TrainRun

HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\n\u202edrow\x9b2J"
RAW = frozenset("\x1b\x07\r\x9b\u202e\x00\x08")


def python(program: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    """Run a program with this package, from where it was imported."""
    environment = os.environ | {
        "PYTHONPATH": str(Path(videossr.__file__).parents[1]),
        "TERM": "xterm",
        "COLUMNS": "200",
    }
    streams = streams or {"capture_output": True}
    words = [sys.executable, "-c", program]
    return subprocess.run(words, text=True, check=False, env=environment, **streams)


def clean(text: str) -> bool:
    return not RAW & set(text)


@pytest.fixture
def hostile_dataset(dataset: Path, tmp_path: Path) -> Path:
    """A dataset whose manifest names its recipe and its categories so that they hold escapes."""
    copy = tmp_path / "SET"
    shutil.copytree(dataset, copy)
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["recipe"]["name"] = manifest["recipe"]["summary"] = HOSTILE
    manifest["rejected"] = {HOSTILE: 3}
    category = f"=1|{HOSTILE}"
    for table in (manifest["categories"], manifest["recipe"]["categories"]):
        table[category] = table.pop("jigsaw/6")
    for name in ("samples-00000.parquet", "gates.parquet"):
        rows = pq.read_table(copy / name)
        names = [category if each == "jigsaw/6" else each for each in rows["category"].to_pylist()]
        at = rows.column_names.index("category")
        changed = pa.chunked_array([pa.array(names, rows["category"].type)])
        pq.write_table(rows.set_column(at, rows.field(at), changed), copy / name)
    manifest["corpus"]["path"] = str((dataset / manifest["corpus"]["path"]).resolve())
    path.write_text(json.dumps(manifest))
    return copy


def test_a_console_prints_strings_on_one_line_and_nothing_raw(capsys: pytest.CaptureFixture[str]) -> None:
    console = PlainConsole(width=200)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE))
    for shown in (HOSTILE, table, Text(HOSTILE), lines(HOSTILE)):
        console.print(shown)
    console.out(HOSTILE)
    printed = capsys.readouterr().out
    assert clean(printed)
    assert printed.splitlines()[0] == "\\x1b[31mred\\x1b]0;title\\x07\\r\\n\\u202edrow\\x9b2J"


def test_a_bar_prints_nothing_raw(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        bar.say(f"{HOSTILE}.mp4: unreadable")
        bar._said -= 100
        bar.show(HOSTILE, 1, 2, HOSTILE)
    printed = capsys.readouterr().err
    assert clean(printed)
    assert printed.count("\n") == 2


def test_a_bar_at_a_terminal_lets_no_name_through() -> None:
    """Of a real terminal, since only there a bar is drawn, with the escapes of the bar itself."""
    program = f"from videossr.cli.console import Bar\nwith Bar() as bar:\n    bar.show({HOSTILE!r}, 1, 2, {HOSTILE!r})"
    master, slave = pty.openpty()
    done = python(program, stderr=slave)
    os.close(slave)
    read = os.read(master, 1 << 16).decode()
    os.close(master)
    assert done.returncode == 0
    assert "\x1b[31mred" not in read
    assert "\x1b]0;" not in read
    assert not {"\x07", "\x9b", "\u202e"} & set(read)
    assert "\\x1b[31mred" in read


@pytest.mark.parametrize(
    "words",
    [
        ["dataset", "info", "SET"],
        ["dataset", "info", "SET", "--json"],
        ["dataset", "info", "SET", "--gates"],
        ["validate", "SET", "--renders", "1"],
        ["gallery", "SET", "--out", "page.html"],
        ["bench", "chance", "SET"],
        ["bench", "run", "SET", "--model", "chance", "--out", "run"],
        ["dataset", "merge", "SET", "SET", "--out", "merged"],
        ["dataset", "split", "SET", "--out", "one", "two", "--share", "0.5"],
        ["dataset", "info", HOSTILE],
        ["corpus", "info", HOSTILE],
        ["bench", "score", HOSTILE],
        ["report", HOSTILE],
        ["build", HOSTILE, "--corpus", HOSTILE, "--out", "x"],
        ["index", f"--{HOSTILE}"],
        [HOSTILE],
    ],
    ids=lambda words: " ".join(words).replace(HOSTILE, "hostile"),
)
def test_no_verb_prints_names_of_others_raw(
    words: list[str],
    hostile_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([str(hostile_dataset) if word == "SET" else word for word in words])
    printed = "".join(capsys.readouterr())
    assert ended.value.code in (0, 1, 2)
    assert printed
    assert clean(printed), ascii(printed)


def test_names_of_videos_are_printed_on_one_line(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    shutil.copy(videos / "real/bikes.mp4", tmp_path / f"in/{HOSTILE}.mp4")
    (tmp_path / f"in/bad{HOSTILE}.mp4").write_bytes(b"no video")
    for words in ("index in --out corpus --workers 1", "corpus info corpus --videos --rejected"):
        with pytest.raises(SystemExit):
            main(words.split())
    printed = "".join(capsys.readouterr())
    assert clean(printed)
    assert "bad\\x1b[31mred" in printed
    assert not any(line.startswith("drow") for line in printed.splitlines())
    assert len(Corpus(tmp_path / "corpus")) == 1


def test_answers_of_a_model_are_printed_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(*(prediction(k, "jigsaw/6", "341562", HOSTILE) for k in range(6)))
    print_outcomes([(HOSTILE, outcomes(run)), ("b", outcomes(run))])
    assert clean(capsys.readouterr().out)


def test_an_error_of_several_lines_is_one_message() -> None:
    done = python("from videossr.cli import main\nmain(['corpus', 'info', 'a\x1b[2J\\nvideossr: all is well'])")
    assert done.returncode == 2
    assert clean(done.stderr)
    assert sum(line.startswith("videossr:") for line in done.stderr.splitlines()) == 1


def test_a_traceback_is_escaped() -> None:
    done = python(
        "from videossr.cli.streams import prepare_streams\nprepare_streams()\nraise RuntimeError('a\\x1b[2J')"
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("RuntimeError: a\\x1b[2J")


def test_cards_hold_no_escapes_and_no_broken_cells(hostile_dataset: Path) -> None:
    text = card(json.loads((hostile_dataset / "manifest.json").read_text()))
    assert clean(text)
    (row,) = (line for line in text.splitlines() if "=1" in line)
    assert row.replace("\\|", "").count("|") == 4
    config = TrainConfig(model=ModelConfig(path=f"a|{HOSTILE}`"), data=DataConfig(path=f"b|{HOSTILE}"))
    text = model_card(config, f"h|{HOSTILE}", None)
    cells = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(line.replace("\\|", "").count("|") == 3 for line in cells)
    assert clean(text.partition("## Configuration")[0])


def test_tables_of_training_runs_hold_no_formulas() -> None:
    step = replace(step_of(1, (f"=cmd/{HOSTILE}", "@a/b")), skipped="=1+1")
    run = TrainRun(Path("-run"), TrainConfig(model=ModelConfig(path="m")), (step,), (), (), None)
    text = comma_separated([run])
    assert clean(text)
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert "'=1+1" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "-")) and not cell[1:2].isdigit()]
    assert asdict(step)["skipped"] == "=1+1"


def test_tables_of_benchmark_runs_hold_no_formulas_and_no_broken_rows() -> None:
    answers = [
        prediction(k, f"=cmd|{HOSTILE}/a|b", "341562", "341562", data_source="videossr/jigsaw") for k in range(3)
    ]
    tables = gather([a_run(*answers, name=f"+run|{HOSTILE}")])
    text = benchmark_formats.comma_separated(tables)
    assert clean(text)
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) > 2
    assert {len(row) for row in rows} == {len(rows[0])}
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]
    text = benchmark_formats.markdown(tables)
    assert clean(text)
    table = [line.replace("\\\\", "").replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table[:3]} == {4}
    assert len(table) == 9
