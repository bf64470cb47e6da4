"""Exported VLMEvalKit datasets: complete, with every text as it was, and written again only where they differ.

tests/integration/test_vlmevalkit.py runs the class in VLMEvalKit.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dataset.published.conftest import row, write_json
from tests.helpers.exports import HostileDataset, UnevenDataset, stop_and_resume
from videossr.cli import main
from videossr.clock import Clock
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.published.dataset import PublishedDataset
from videossr.errors import OutputError
from videossr.export import folder
from videossr.export.clips import rate
from videossr.export.vlmevalkit import COLUMNS, export_vlmevalkit


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vlmevalkit") / "small"
    export_vlmevalkit(VideoSSRDataset(dataset), out, "Small")
    return out


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


def datasets_of(module: Path) -> dict[str, dict[str, str | int]]:
    """Read the table of datasets of a class as Python does."""
    for node in ast.parse(module.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DATASETS":
            tables: dict[str, dict[str, str | int]] = ast.literal_eval(node.value)
            return tables
    raise AssertionError("no DATASETS")


def test_export_vlmevalkit_writes_only_the_files_of_a_dataset(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "README.md",
        "Small.tsv",
        "videos",
        "viubench.py",
        "viubench_rewards.py",
        "viubench_scoring.py",
    ]


def test_export_vlmevalkit_table_has_the_questions_and_their_clips(dataset: Path, exported: Path) -> None:
    questions = VideoSSRDataset(dataset)
    rows = table_of(exported / "Small.tsv")
    assert len(rows) == len(questions)
    for index, each in enumerate(rows):
        question = questions.question(index)
        assert tuple(each) == COLUMNS
        assert (each["index"], each["id"], each["answer"]) == (str(index), question.id, question.answer)
        assert (each["question"], each["system"]) == (question.prompt, question.system)
        assert each["category"] == questions.category(index)
        videos = json.loads(each["videos"])
        assert each["video"] == videos[0]
        assert len(videos) == len(question.clocks)
        assert all((exported / f"videos/{video}.mp4").is_file() for video in videos)


def test_export_vlmevalkit_class_knows_table_rate_and_frames(dataset: Path, exported: Path) -> None:
    questions = VideoSSRDataset(dataset)
    clocks = [clock for index in range(len(questions)) for clock in questions.question(index).clocks]
    (facts,) = datasets_of(exported / "viubench.py").values()
    assert facts["md5"] == hashlib.md5((exported / "Small.tsv").read_bytes()).hexdigest()
    assert facts["videossr_hash"] == questions.hash
    assert facts["frames"] == max(len(clock) for clock in clocks) == 48
    assert int(facts["fps"]) >= max(rate(clock) for clock in clocks)
    assert facts["fps"] == 30


def test_rate_is_the_frames_over_the_duration_of_the_file() -> None:
    assert rate(Clock((0, 500, 1000, 1500), 1600)) == 2.0
    assert rate(Clock((0, 10, 20), 30)) == 100.0


def test_export_vlmevalkit_readme_names_settings_in_code_that_python_reads(exported: Path) -> None:
    readme = (exported / "README.md").read_text("utf-8")
    blocks = [re.sub(r"^   ", "", code, flags=re.M) for code in re.findall(r"```python\n(.*?) *```", readme, re.S)]
    assert len(blocks) == 3
    for code in blocks:
        ast.parse(code)
    assert "'Small_30fps': partial(VIUBench, dataset='Small', fps=30)" in blocks[2]
    assert "'Small_48frame': partial(VIUBench, dataset='Small', nframe=48)" in blocks[2]
    assert f"ln -s {exported} " in readme


def test_exported_modules_score_without_the_package(exported: Path, tmp_path: Path) -> None:
    rows = table_of(exported / "Small.tsv")
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    code = f"""
import json, sys
sys.modules["videossr"] = None
sys.path.insert(0, {str(exported)!r})
from viubench_rewards import scorer
from viubench_scoring import category_means, mean_of_categories, metric_value
rows = json.load(open({str(tmp_path / "rows.json")!r}))
def items(texts):
    return [dict(category=row["category"], score=metric_value(
        row["metric"], row["data_source"], scorer(row["data_source"])(text, row["answer"])))
        for row, text in zip(rows, texts)]
right, wrong = items([row["answer"] for row in rows]), items(["no"] * len(rows))
print(json.dumps([mean_of_categories(right), mean_of_categories(wrong), category_means(right[:3] + wrong[3:])]))
"""
    process = subprocess.run([sys.executable, "-I", "-B", "-c", code], capture_output=True, text=True, check=True)
    right, wrong, mixed = json.loads(process.stdout)
    assert (right, wrong) == (1.0, 0.0)
    assert set(mixed) == {each["category"] for each in rows}
    assert sum(mixed.values()) == pytest.approx(1.5), "two questions a category, of which three were answered"


def test_export_vlmevalkit_writes_again_what_differs_or_is_missing(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    module = export_vlmevalkit(VideoSSRDataset(dataset), out, "Small")
    sound = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "viubench_rewards.py").write_text("import os  # the code of a stranger")
    module.write_text(module.read_text("utf-8") + "import os\n")
    (out / "Small.tsv").unlink()
    (out / "videos/0-0.mp4").unlink()
    assert export_vlmevalkit(VideoSSRDataset(dataset), out, "Small") == module
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == sound


def test_export_vlmevalkit_resumes_after_an_interrupt(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "small"
    module = stop_and_resume(export_vlmevalkit, "vlmevalkit", dataset, out, "Small", "Other")
    assert module == out / "viubench.py"
    modified = module.stat().st_mtime_ns
    monkeypatch.setattr(folder, "write_mp4", None)  # nothing may be written again
    assert export_vlmevalkit(VideoSSRDataset(dataset), out, "Small") == module
    assert module.stat().st_mtime_ns == modified


@pytest.mark.parametrize(
    "text", ["", "DATASETS = {\n}\n", 'DATASETS = {\n"Small": 5\n}\n', "DATASETS = {\n" + "[" * 5_000 + "\n}\n"]
)
def test_export_vlmevalkit_takes_a_damaged_class_for_none(dataset: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "viubench.py").write_text(text)
    with pytest.raises(OutputError, match="holds something that `videossr export vlmevalkit` has not made"):
        export_vlmevalkit(VideoSSRDataset(dataset), tmp_path, "Small")


def test_export_vlmevalkit_refuses_other_folders_and_names(dataset: Path, exported: Path, tmp_path: Path) -> None:
    opened = VideoSSRDataset(dataset)
    with pytest.raises(ValueError, match="holds something that `videossr export vlmevalkit` has not made"):
        export_vlmevalkit(opened, exported, "Other")
    for name in ("a.b", "a b", "", "../a", "_a", 'a"'):
        with pytest.raises(ValueError, match="cannot be the name of a dataset"):
            export_vlmevalkit(opened, tmp_path / "out", name)
    assert not (tmp_path / "out").exists()


HOSTILE = "a\"b'\n}\nimport os\n\tx: {{ 7 * 7 }}\u2028\x1b[2J\r"


class Hostile(HostileDataset):
    """Texts that would leave their literal, cell or template."""

    text = HOSTILE


def test_exported_class_holds_hostile_texts_as_texts(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / HOSTILE.replace("/", "").replace("\n", " ")
    module = export_vlmevalkit(Hostile(dataset), out, "Small")
    assert datasets_of(module)["Small"]["videossr_hash"] == HOSTILE
    assert "49" not in module.read_text("utf-8")
    assert {each["category"] for each in table_of(out / "Small.tsv")} == {f"{HOSTILE}{number}" for number in range(2)}
    assert "\x1b" not in (out / "README.md").read_text("utf-8")
    modified = module.stat().st_mtime_ns
    assert export_vlmevalkit(Hostile(dataset), out, "Small").stat().st_mtime_ns == modified, "it is complete"


def test_export_vlmevalkit_refuses_a_category_of_the_name_of_the_mean(tmp_path: Path) -> None:
    class Renamed(PublishedDataset):
        def category(self, index: int) -> str:
            return "overall"

    opened = Renamed(write_json(tmp_path / "rows.json", [row("counting", "<video>?", [{"video": ["a.jpg"]}], "1,1,1")]))
    with pytest.raises(ValueError, match="'overall' and 'the mean of all categories' would both be the metric"):
        export_vlmevalkit(opened, tmp_path / "out", "rows")
    assert not (tmp_path / "out").exists()


def test_export_vlmevalkit_refuses_an_uneven_clock(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"off equal steps. Models of VLMEvalKit compute.*--plan uniform"):
        export_vlmevalkit(UnevenDataset(dataset), tmp_path / "uneven", "Small")
    assert not (tmp_path / "uneven").exists()


def test_export_vlmevalkit_command_names_the_dataset_and_the_readme(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for words, name in (([], "small"), (["--name", "viubench"], "VIUBench")):
        with pytest.raises(SystemExit) as exit_info:
            main(["export", "vlmevalkit", str(dataset), "--out", str(out / name), *words])
        assert not exit_info.value.code
        assert (out / name / f"{name}.tsv").is_file()
        printed = capsys.readouterr().out
        assert f"8 questions in {out / name}" in " ".join(printed.split())
        assert "README.md says where the files go" in " ".join(printed.split())
