"""The paper's tables of runs with invented answers, against values worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.public.paper_runs import predictions, write_run
from videossr.bench.public.base import BENCHMARKS
from videossr.bench.public.model_runs import find_models
from videossr.bench.public.paper import ABLATION, Check, Entry, Paper, gather_paper
from videossr.bench.public.published import FRAMES, published
from videossr.bench.records import UNREAD, Prediction
from videossr.errors import ConfigError
from videossr.models.base import Decoding

TASKS = ("action_count", "moving_count")
"""Two tasks of MVBench, to which questions belong in turn."""


def mvbench(answers: Sequence[str | None]) -> list[Prediction]:
    return predictions(answers, categories=TASKS)


def gathered(*trees: Path, **options: Any) -> Paper:
    return gather_paper(find_models([str(tree) for tree in trees]), **options)


def entry(paper: Paper, table: str, heading: str, model: str, frames: int = 32, group: str = "") -> Entry:
    found = next(each for each in paper.tables if each.name == table)
    (place,) = [
        at for at, each in enumerate(found.metrics) if each.heading == heading and (not group or each.group == group)
    ]
    (line,) = [line for line in found.lines if (line.model, line.frames) == (model, frames)]
    return line.entries[place]


def share(value: Entry) -> float:
    assert value.value is not None
    return value.value.value


def check(paper: Paper, heading: str, model: str = "mine") -> Check:
    return next(each for each in paper.checks if (each.heading, each.model) == (heading, model))


def reasons(tmp_path: Path, name: str, made: Sequence[Prediction], frames: int = 32, **changes: Any) -> str:
    write_run(tmp_path / "mine", name, made, frames, **changes)
    heading = BENCHMARKS.get(name).facts.column
    return "; ".join(reason for reason, _ in check(gathered(tmp_path / "mine"), heading).reasons)


def test_columns_are_those_of_the_registered_benchmarks() -> None:
    columns = published().columns
    assert len(columns) == 16
    for column in columns:
        facts = BENCHMARKS.get(column.benchmark).facts
        assert (facts.column, facts.domain) == (column.heading, column.domain)
    assert {row.frames for row in published().scores} == {*FRAMES}
    assert {len(row.values) for row in published().scores} == {16}
    assert {len(row.values) for row in published().recall} == {12}
    assert {len(row.values) for row in published().ablation} == {len(ABLATION)}


def test_published_tables_agree_where_they_print_the_same_figure() -> None:
    """The ablation begins with the base model and has the full model, both at 32 frames."""
    paper = published()
    places = {column.heading: at for at, column in enumerate(paper.columns)}
    by_name = {row.model: row.values for row in paper.ablation}
    full = by_name["all, smooth (VideoSSR-8B)"]
    for model, values in (("Qwen3-VL-8B", by_name["Qwen3-VL-8B"]), ("VideoSSR-8B", full)):
        (scores,) = [row.values for row in paper.scores if (row.model, row.frames) == (model, 32)]
        assert [scores[places[heading]] for heading in ("VMME", "Cha", "VCR")] == [values[0], values[2], values[4]]


def test_gains_are_over_the_first_model_and_tables_have_the_printed_rows(tmp_path: Path) -> None:
    write_run(tmp_path / "base", "mvbench", mvbench(["A", "B", "B", "B"]))
    write_run(tmp_path / "mine", "mvbench", mvbench(["A", "A", "A", "B"]))
    paper = gathered(tmp_path / "base", tmp_path / "mine")
    assert share(entry(paper, "general", "MVB", "base")) == 0.25  # 1 of 2, and 0 of 2
    assert entry(paper, "general", "MVB", "base").gain is None
    mine = entry(paper, "general", "MVB", "mine")
    assert share(mine) == 0.75
    assert mine.gain is not None
    assert mine.gain.value == pytest.approx(0.5)
    assert mine.gain.low < 0.5 < mine.gain.high
    printed = entry(paper, "general", "MVB", "VideoSSR-8B")
    assert share(printed) == pytest.approx(0.686)
    assert printed.gain is not None
    assert printed.gain.value == pytest.approx(0.017)
    assert gathered(tmp_path / "base", tmp_path / "mine", base="mine").base == "mine"
    with pytest.raises(ConfigError, match="no such model"):
        gathered(tmp_path / "base", base="bass")


def test_runs_of_other_questions_have_no_gain(tmp_path: Path) -> None:
    write_run(tmp_path / "base", "mvbench", mvbench(["A", "A", "A"]))
    write_run(tmp_path / "mine", "mvbench", mvbench(["A", "A"]))
    mine = entry(gathered(tmp_path / "base", tmp_path / "mine"), "general", "MVB", "mine")
    assert share(mine) == 1
    assert mine.gain is None


def test_nothing_that_was_not_measured_has_a_score(tmp_path: Path) -> None:
    write_run(tmp_path / "mine", "mvbench", mvbench([None, None]), 32)
    write_run(tmp_path / "mine", "mvbench", [], 48, size=2)
    paper = gathered(tmp_path / "mine")
    measured = [line for table in paper.tables for line in table.lines if line.kind == "run"]
    assert {line.frames for line in measured} == {32, 48}
    assert {cell.value for line in measured for cell in line.entries} == {None}
    assert check(paper, "MVB").status == "no"
    assert check(paper, "TempC") == Check("mine", "TempC", "not run")


def test_ablation_takes_the_long_videos_the_recall_and_the_steps(tmp_path: Path) -> None:
    lengths = predictions(["A", "B", "A", "A"], groups=[{"duration": "short"}, {"duration": "long"}])
    write_run(tmp_path / "mine", "videomme", lengths)
    write_run(tmp_path / "mine", "charades", predictions(["0-10", "0-4", "2-12"], "0.0-10.0", "windows"))
    write_run(tmp_path / "mine", "vcrbench", predictions(["3,1,2", "3,2,1"], "3,1,2", "sequence"))
    paper = gathered(tmp_path / "mine")
    figures = {
        (metric.group, metric.heading): share(cell)
        for metric, cell in zip(ABLATION, next(line for line in paper.tables[3].lines).entries, strict=True)
    }
    assert figures == {
        ("Video-MME", "all"): 0.75,
        ("Video-MME", "long"): 0.5,
        ("Charades-STA", "mIoU"): pytest.approx((1 + 0.4 + 8 / 12) / 3),
        ("Charades-STA", "R@0.5"): pytest.approx(2 / 3),
        ("VCRBench", "accuracy"): 0.5,
        ("VCRBench", "step"): pytest.approx(4 / 6),
    }
    assert share(entry(paper, "recall", "R@0.3", "mine", group="Charades-STA")) == 1
    assert share(entry(paper, "grounding", "Cha", "mine")) == pytest.approx((1 + 0.4 + 8 / 12) / 3)


def test_a_run_that_asks_all_as_the_paper_does_is_comparable_as_far_as_is_known(tmp_path: Path) -> None:
    questions = BENCHMARKS.get("vcrbench").facts.questions or 0
    made = predictions(["3,1,2"] * questions, "3,1,2", "sequence")
    for frames in FRAMES:
        write_run(tmp_path / "mine", "vcrbench", made, frames)
    write_run(tmp_path / "other", "vcrbench", made, 32)
    write_run(tmp_path / "other", "vcrbench", made, 64, decoding=Decoding(temperature=0.7))
    paper = gathered(tmp_path / "mine", tmp_path / "other")
    assert check(paper, "VCR") == Check("mine", "VCR", "as far as is known")
    found = check(paper, "VCR", "other")
    assert found.status == "in part"
    assert found.reasons[0][1] == (64,)
    assert found.reasons[-1] == ("it was not run", (48,))
    assert entry(paper, "grounding", "VCR", "other", 64).departs
    assert not entry(paper, "grounding", "VCR", "other", 32).departs


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"limit": 1}, "only 1 of 2 questions are asked"),
        ({"size": 3}, "it is unfinished: 2 of 3 questions were asked"),
        ({"frames": 16}, "no scores at 16 frames"),
        ({"benchmark": {"templates": "1" * 64}}, "the texts that ask are not the default ones"),
        ({"benchmark": {"settings": {"knob": 2}}}, "knob is 2, by default null"),
        ({"decoding": Decoding(temperature=0.5)}, "at temperature 0.5"),
        ({"settings": {"thinking": True}}, "thinks before it answers"),
        ({}, "2 questions were found, and 4,000 are published"),
    ],
)
def test_departures_are_named(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    assert reason in reasons(tmp_path, "mvbench", mvbench(["A", "A"]), **changes)


def test_missing_videos_are_named(tmp_path: Path) -> None:
    first, second = mvbench(["A", None])
    missing = replace(second, category=UNREAD, data_source="", answer="", difficulty={})
    text = reasons(tmp_path, "mvbench", [first, missing])
    assert "1 of 2 questions have no answer, the first: question: NotFoundError: no such video" in text


def test_a_rule_is_used_where_a_benchmark_has_it(tmp_path: Path) -> None:
    write_run(tmp_path / "mine", "mvbench", mvbench(["A", "A", "B"]))
    assert share(entry(gathered(tmp_path / "mine"), "general", "MVB", "mine")) == 0.75
    paper = gathered(tmp_path / "mine", rule="micro")
    assert share(entry(paper, "general", "MVB", "mine")) == pytest.approx(2 / 3)
    assert paper.rules == {"mvbench": "micro"}
    assert "it is scored by the rule micro" in [reason for reason, _ in check(paper, "MVB").reasons]
    with pytest.raises(ConfigError, match="no benchmark that was run has such a rule"):
        gathered(tmp_path / "mine", rule="macaroni")


def test_benchmarks_that_the_paper_does_not_have_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    write_run(tmp_path / "mine", "tomato", predictions(["A", "B"]), 8)
    paper = gathered(tmp_path / "mine")
    further = paper.tables[-1]
    assert (further.name, [metric.group for metric in further.metrics]) == ("further", ["TOMATO"])
    assert [(line.model, line.frames, share(line.entries[0])) for line in further.lines] == [("mine", 8, 0.5)]


def test_runs_are_found_below_the_folder_of_a_model(tmp_path: Path) -> None:
    for name in ("a/out", "b/out"):
        write_run(tmp_path / name, "mvbench", mvbench(["A"]))
        write_run(tmp_path / name, "mvbench", mvbench(["A"]), 64, model=f"hf:{name[0]}")
    (tmp_path / "a/out/notes").mkdir()
    (tmp_path / "a/out/notes/config.toml").write_text("[model]\nname = 1\n")
    models = find_models([str(tmp_path / "a/out"), str(tmp_path / "b/out")])
    assert [model.name for model in models] == ["a/out", "b/out"]
    assert [sorted(model.runs) for model in models] == [[("mvbench", 32), ("mvbench", 64)]] * 2
    assert models[0].note == "a/out holds runs of 2 models: hf:invented, hf:a"


def test_folders_without_runs_or_with_two_runs_of_one_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no run of a public benchmark"):
        find_models([str(tmp_path / "empty")])
    write_run(tmp_path / "mine/first", "mvbench", mvbench(["A"]))
    write_run(tmp_path / "mine/second", "mvbench", mvbench(["A"]))
    with pytest.raises(ConfigError, match="both runs of mvbench at 32 frames"):
        find_models([str(tmp_path / "mine")])
    with pytest.raises(ConfigError, match="two of the folders have this name"):
        find_models([str(tmp_path / "mine/first"), str(tmp_path / "mine/first")])
