"""Reports of runs: what the figures are, that every format has the same ones, and that no text breaks out."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bench.conftest import a_run, prediction
from tests.helpers.pages import Page, check_policy
from tests.report.conftest import HOSTILE, rewrite
from videossr.answers.counts import COUNTS
from videossr.answers.interval import INTERVAL
from videossr.answers.order import ORDER
from videossr.answers.panel import GivenAnswers, Mean
from videossr.bench.records import Prediction, Run
from videossr.bench.scoring import Estimate, score
from videossr.cli import report
from videossr.question_set import open_questions
from videossr.report import plots
from videossr.report.benchmark.answers import Answers, difficulty_curves
from videossr.report.benchmark.difference import baselines
from videossr.report.benchmark.examples import chosen, examples_of
from videossr.report.benchmark.formats import as_json, comma_separated, markdown
from videossr.report.benchmark.page import write_report
from videossr.report.benchmark.table import EMPTY, PUBLISHED, gather, short
from videossr.untrusted import plain_text

TIMES = tuple(range(0, 10_000, 500))


def said(task: str, gold: str, *texts: str, category: str = "", **difficulty: float | str) -> list[Prediction]:
    """Answers to as many questions of one gold answer."""
    return [
        Prediction(
            id=f"{task}{at}",
            index=at,
            category=category or task,
            data_source=f"videossr/{task}",
            answer=gold,
            difficulty=difficulty,
            times_ms=TIMES,
            end_ms=10_000,
            texts=(text,),
            finish=("stop",),
        )
        for at, text in enumerate(texts)
    ]


def value(estimate: Mean | None) -> float:
    assert estimate is not None
    return estimate.value


def given(predictions: list[Prediction]) -> GivenAnswers:
    answers = Answers(predictions)
    return GivenAnswers([answer.given for answer in answers.every], answers.means)


def test_spans_are_compared_in_seconds_and_in_slots() -> None:
    found = INTERVAL.spans(given(said("grounding", "2.0-4.0", "3.0-4.0", "2.5-5.5", "6-7", "soon", "1-99")))
    assert found.histogram == (1, 1, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0)
    assert value(found.start) == pytest.approx((1 + 0.5 + 4 - 1) / 4)
    assert value(found.end) == pytest.approx((0 + 1.5 + 3 + 6) / 4)
    assert value(found.start_slots) == pytest.approx(2 * value(found.start))
    assert value(found.length) == pytest.approx((0.5 + 1.5 + 0.5 + 4.5) / 4)
    assert found.beyond == 1
    assert found.start is not None
    assert found.start.low < found.start.value < found.start.high


def test_slots_follow_an_uneven_clock() -> None:
    uneven = [replace(each, times_ms=(0, 1000, 4000), end_ms=10_000) for each in said("grounding", "1.0-4.0", "2.5-7")]
    found = INTERVAL.spans(given(uneven))
    assert (value(found.start_slots), value(found.end_slots)) == (0.5, 0.5)


def test_counts_are_set_against_the_gold_ones() -> None:
    circles, squares, triangles = COUNTS.confusions(given(said("counting", "2,0,1", "2,0,1", "3,0,1", "9,0,0", "many")))
    assert circles.golds == (2,)
    assert circles.table == ((0, 0, 1, 2, 1),)
    assert circles.exact == 0.25
    assert value(circles.bias) == pytest.approx((0 + 1 + 2) / 3)
    assert squares.table == ((3, 0, 1),)
    assert triangles.table == ((1, 2, 0, 1),)


def test_a_run_without_an_answer_has_no_figure_in_any_format(
    dataset: Path, runs: dict[str, Run], tmp_path: Path
) -> None:
    failed = [replace(each, texts=(), finish=(), error="status 413: too large") for each in runs["chance"].predictions]
    run = rewrite(Path(str(runs["chance"].path)), tmp_path / "refused", failed)
    (benchmark,) = gather([run])
    (row,) = [row for row in benchmark.rows if row.kind == "run"]
    assert {row.cell(*figure) for figure in benchmark.figures} == {EMPTY}
    line = f"all {len(failed)} questions failed: nothing was answered, so there is no score"
    table = [each for each in markdown([benchmark]).splitlines() if each.startswith("| refused")]
    assert not any("0.0" in each for each in table)
    assert line in markdown([benchmark])
    lines = [each for each in csv.DictReader(io.StringIO(comma_separated([benchmark]))) if each["row"] == "refused"]
    assert {(each["value"], each["answered"]) for each in lines} == {("", "0")}
    assert {each["name"] for each in lines} == set(benchmark.categories)
    (told,) = json.loads(as_json([benchmark]))["benchmarks"]
    assert told["runs"][0]["scores"]["asked"]["overall"] is None
    assert told["runs"][0]["scores"]["asked"]["outcomes"]["failed"] == len(failed)
    assert all(not category for category in told["difficulty"].values())
    write_report([benchmark], {benchmark.hash: open_questions(dataset)}, tmp_path / "page.html", 1)
    page = (tmp_path / "page.html").read_text()
    assert line in page
    ours = re.findall(r'<tr data-row="refused">.*?</tr>', page, re.DOTALL)
    assert len(ours) == 2
    assert not any("<b>0.0</b>" in each for each in ours)
    assert "right 0.0 %" not in page


def test_pieces_are_set_against_their_places() -> None:
    found = ORDER.displacement(given(said("jigsaw", "312", "312", "132", "3122")))
    assert found.matrix == ((1, 1, 0), (1, 1, 0), (0, 0, 2))
    assert found.steps == (0, 1, 4, 1, 0)
    assert found.none == 1


def test_settings_are_cut_at_their_quartiles_and_each_group_is_scored() -> None:
    answers = said("jigsaw", "312", *["312"] * 12, *["132"] * 12)
    varied = [
        replace(each, difficulty={"seconds": float(at), "kind": "ab"[at % 2], "fixed": 1.0})
        for at, each in enumerate(answers)
    ]
    seconds, kind = difficulty_curves([Answers(varied), Answers(varied[:4])])
    assert (seconds.name, seconds.counts) == ("seconds", ((6, 6, 6, 6), (4, 0, 0, 0)))
    assert seconds.bins == ("0-5", "6-11", "12-17", "18-23")
    assert [value(each) for each in seconds.scores[0]] == [1, 1, 0, 0]
    assert seconds.scores[1][1:] == (None, None, None)
    assert (kind.bins, [value(each) for each in kind.scores[0]]) == (("a", "b"), [0.5, 0.5])


def test_the_worst_and_the_best_are_those_by_score(runs: dict[str, Run]) -> None:
    answers = said("grounding", "2.0-4.0", "2.0-4.0", "2.0-3.5", "8-9", "no", "2-3", category="grounding/mirror")
    run = replace(runs["chance"], predictions=tuple(answers))
    (benchmark,) = gather([run])
    assert chosen(benchmark, 2) == {
        "grounding/mirror": {2: [(0, "worst")], 4: [(0, "worst")], 0: [(0, "best")], 1: [(0, "best")]}
    }


def test_every_format_has_the_figures_of_the_scores(runs: dict[str, Run]) -> None:
    chosen_runs = [runs["chance"], runs["odd"]]
    benchmarks = gather(chosen_runs, paper=True)
    lines = list(csv.DictReader(io.StringIO(comma_separated(benchmarks))))
    told = json.loads(as_json(benchmarks))["benchmarks"][0]
    table = {row[0]: row[1:] for row in cells(markdown(benchmarks))}
    for run, figures in zip(chosen_runs, told["runs"], strict=True):
        for denominator in ("asked", "answered"):
            board = score(run, denominator)
            assert figures["scores"][denominator]["overall"]["value"] == value(board.overall)
            own = [line for line in lines if (line["row"], line["denominator"]) == (run.name, denominator)]
            expected = {
                each.category: each.score if denominator == "asked" else each.answered_score
                for each in board.categories
            }
            got = {line["name"]: float(line["value"]) for line in own if line["level"] == "category" and line["value"]}
            assert got == {name: each.value for name, each in expected.items() if each}
            overall = next(line for line in own if line["level"] == "overall")
            assert board.overall is not None
            assert [float(overall[key]) for key in ("value", "low", "high")] == [
                board.overall.value,
                board.overall.low,
                board.overall.high,
            ]
        shown = [each.score.value for each in score(run).categories if each.score] + [value(score(run).overall)]
        told_cells = [cell for cell in table[run.name] if cell != "–"]  # noqa: RUF001
        assert [float(cell.split()[0]) for cell in told_cells] == [round(100 * each, 1) for each in shown]
    published = [line for line in lines if line["kind"] == "published"]
    assert {line["note"] for line in published} == {PUBLISHED}
    assert PUBLISHED in markdown(benchmarks)
    assert not [line for line in published if line["level"] == "overall"], "a mean of categories that are not all here"


def cells(text: str) -> list[list[str]]:
    """The cells of the first Markdown table."""
    rows = text.split("\n\n")[1].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


@pytest.mark.parametrize(
    ("category", "gold", "texts", "guesses", "mark"),
    [
        ("jigsaw/8", "23456781", ["12345678"], (1 / 40320, 1 / 40320), ""),
        ("jigsaw/8", "23456781", ["12345678"] * 500, (1 / 40320, 1 / 40320), ""),
        ("counting/easy", "3,1,4", ["9,9,9"], (0.2, 0.3), ""),
        ("counting/easy", "3,1,4", ["9,9,9"] * 14, (0.2, 0.3), "▽"),  # 0 of 14: at most 1 - 0.025 ** (1 / 14) = 0.232
        ("counting/easy", "3,1,4", ["9,9,9"] * 60, (0.2, 0.3), "▼"),
        ("counting/easy", "3,1,4", ["9,9,9", "9,1,9"] * 30, (0.2, 0.3), "▽"),  # 0.17, whose interval holds 0.2
        ("counting/easy", "3,1,4", ["9,9,9", "9,1,9"] * 200, (0.2, 0.3), "▼"),
        ("counting/easy", "3,1,4", ["9,9,9", "9,1,9", "3,1,9"] * 10, (0.3, 0.35), ""),  # 0.33, below the best alone
        ("counting/easy", "3,1,4", ["9,9,9", "9,9,4"], (0.4, 0.5), ""),  # at most 0.33 by the bootstrap, of two videos
        ("counting/easy", "3,1,4", ["9,9,9", "9,9,4"] * 7, (0.4, 0.5), "▼"),
        ("counting/easy", "3,1,4", [], (0.2, 0.3), ""),
    ],
)
def test_a_score_is_below_chance_where_its_interval_is(
    tmp_path: Path, category: str, gold: str, texts: list[str], guesses: tuple[float, float], mark: str
) -> None:
    """One question or a chance of nearly 0 proves nothing, even though a bootstrap of equal scores has no width."""
    said = [prediction(at, category, gold, text) for at, text in enumerate(texts)]
    run = a_run(*said or [prediction(0, category, gold, error="no frames")])
    worth = dict(zip(("uniform", "constant"), ({"score": guess} for guess in guesses), strict=True))
    made: Any = {"chance": {category: worth}, "seconds": 1.0, "waited": 0.0, "versions": {}, "model": {}}
    (benchmark,) = gather([replace(run, manifest=made)])
    write_report([benchmark], {benchmark.hash: "they are not at hand"}, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    for name in (category, "overall"):
        (cell,) = re.findall(rf'<tbody class="run">.*?<td data-name="{name}">(.*?)</td>', text, re.DOTALL)[:1]
        assert set(re.findall("[▼▽]", cell)) == {*mark}, name
    assert "upper end of the score\u2019s 95 % interval" in text
    differs = baselines(benchmark)[0].changes[0]
    assert differs is not None
    assert differs.real == (mark == "▼"), "the overall score less that of the first guess is more than noise"


def test_guesses_stand_in_the_table(runs: dict[str, Run]) -> None:
    (benchmark,) = gather([runs["stopped"], runs["constant"]])
    guesses = {row.name: row for row in benchmark.rows if row.kind == "guess"}
    assert list(guesses) == ["uniform", "prior", "constant"]
    manifest = runs["constant"].manifest
    assert manifest is not None
    for category in benchmark.categories:
        figure = guesses["constant"].categories[category].asked
        assert value(figure) == manifest["chance"][category]["constant"]["score"]


def test_runs_of_other_questions_stand_apart_and_names_are_unique(runs: dict[str, Run], tmp_path: Path) -> None:
    again = rewrite(Path(str(runs["chance"].path)), tmp_path / "chance", list(runs["chance"].predictions))
    benchmarks = gather([runs["chance"], runs["other"], again, runs["chance"]])
    assert [benchmark.hash for benchmark in benchmarks] == [runs["chance"].config.hash, "f" * 64]
    names = [each.name for benchmark in benchmarks for each in benchmark.runs]
    parent = runs["chance"].path.parent.name
    assert names == [f"{parent}/chance (1)", f"{tmp_path.name}/chance", f"{parent}/chance (2)", "other"]
    assert benchmarks[1].runs[0].name in markdown(benchmarks).split("VIUBench layout")[2]


def test_what_is_missing_is_said(runs: dict[str, Run]) -> None:
    manifest = runs["chance"].manifest
    assert manifest is not None
    labelled = replace(runs["chance"], manifest={**manifest, "model": {"label": "frames as images"}})
    (benchmark,) = gather([runs["stopped"], labelled])
    assert [row.note for row in benchmark.rows if row.kind == "run"] == [
        "unfinished: 5 of 8 asked",
        "frames as images",
    ]
    assert "unfinished: 5 of 8 asked" in markdown([benchmark])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – text\n\tß", "plain – text\n\tß"),  # noqa: RUF001
        ("\x1b[31m\x00\x7f", r"\x1b[31m\x00\x7f"),
        ("\u202egnol\u2066", r"\u202egnol\u2066"),
        ("\udcff", r"\udcff"),
        ("日本", "日本"),
    ],
)
def test_what_is_not_seen_stands_as_its_code(text: str, shown: str) -> None:
    assert plain_text(text) == shown


def test_no_text_reaches_a_terminal_raw(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    named = replace(runs["odd"], path=runs["odd"].path.with_name("a|b\x1b[2J\u202e`*"))
    text = markdown(gather([named]))
    for letter in "\x1b\u202e":
        assert letter not in text
    (row,) = [row for row in text.splitlines() if row.startswith(r"| a\|b")][:1]
    assert row.startswith(r"| a\|b\\x1b\[2J\\u202e\`\* |")
    report.command(str(runs["chance"].path), format="md")
    assert "| chance |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--out"):
        report.command(str(runs["chance"].path))


@pytest.fixture(scope="module")
def text(runs: dict[str, Run], dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("report") / "report.html"
    benchmarks = gather([runs["odd"], runs["constant"], runs["stopped"]], paper=True)
    write_report(benchmarks, {benchmarks[0].hash: open_questions(dataset)}, out, most=1)
    return out.read_text("utf-8")


def test_hostile_and_endless_text_stays_text(text: str) -> None:
    page = Page(text)
    assert HOSTILE not in text
    assert "img" not in {tag for tag, _ in page.elements}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    for letter in "\x1b\u202e\x00\x07":
        assert letter not in text
    assert len(text) < 3_000_000
    assert "(10,000,000 characters)" in text


def test_the_policy_allows_the_one_script_and_no_network(text: str) -> None:
    check_policy(Page(text))


def test_charts_keep_their_text_and_follow_the_colors_of_the_page(text: str) -> None:
    assert not re.findall(r"#f[de]00[0-9a-f]{2}", text)
    assert "DejaVu" not in text
    charts = re.findall(r'<svg class="chart".*?</svg>', text, re.DOTALL)
    assert len(charts) > 10
    for chart in charts:
        assert "<text" in chart
        assert 'role="img" aria-label="' in chart
        used = re.findall(r'(?:url\(|href=")#([^)"]+)', chart)
        assert set(used) <= set(re.findall(r' id="([^"]+)"', chart))
    ids = Counter(attributes["id"] for _, attributes in Page(text).elements if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []


def test_names_in_charts_are_never_markup() -> None:
    hostile = "$\\frac</text><script>\"'&"
    figure = Estimate(0.5, 0.4, 0.6)
    for chart in (
        plots.columns_chart([hostile], [[figure]], [[0.1]], hostile),
        plots.difficulty_chart([hostile], [[figure]], hostile, hostile),
        plots.histogram_chart([hostile], [[1.0]], hostile, hostile),
    ):
        tags = {tag for tag, _ in Page(chart).elements}
        assert "script" not in tags
        assert "$\\frac" in chart


def test_a_page_without_its_questions_says_so(runs: dict[str, Run], tmp_path: Path) -> None:
    gone = replace(runs["odd"], config=replace(runs["odd"].config, questions=str(tmp_path / "gone")))
    for where, words in ((None, "gone"), (str(runs["other"].config.questions), "")):
        benchmarks = gather([gone] if where is None else [runs["other"]])
        out = tmp_path / "page.html"
        write_report(benchmarks, report.opened(benchmarks, where, None), out, most=1)
        page = out.read_text("utf-8")
        assert "No frames:" in page
        assert words in page
        assert "--questions" in page
        assert not Page(page).of_class("clip")
        assert Page(page).of_class("item")


def test_a_broken_clip_costs_its_own_frames_alone(runs: dict[str, Run], dataset: Path) -> None:
    class Broken:
        def __init__(self) -> None:
            self.whole = open_questions(dataset)

        def __getattr__(self, name: str) -> object:
            return getattr(self.whole, name)

        def clips(self, index: int) -> object:
            if index == broken:
                raise ValueError("pack-0007.bin is cut off")
            return self.whole.clips(index)

    (benchmark,) = gather([runs["chance"]])
    broken = next(examples_of(benchmark, open_questions(dataset), 9, 32)).index
    found = list(examples_of(benchmark, Broken(), 9, 32))  # type: ignore[arg-type]
    assert [item.missing for item in found if not item.strips] == [
        "Its frames cannot be rendered: pack-0007.bin is cut off"
    ]
    assert len(found) > 4


def test_strips_show_gold_and_answered_spans(runs: dict[str, Run], dataset: Path) -> None:
    questions = open_questions(dataset)
    (benchmark,) = gather([runs["constant"]])
    shown = [item for item in examples_of(benchmark, questions, 9, 32) if item.task == "grounding"]
    assert shown
    for item in shown:
        (strip,) = item.strips
        (first, last), *_ = questions.truth(item.index).spans
        assert [slot.index for slot in strip.slots if slot.marked] == list(range(first, last + 1))
        start, end = (float(part) for part in item.said[0].text.split("-"))
        covered = [
            (slot.start_ms + (slot.end_ms - slot.start_ms) * edge / 100) / 1000
            for slot, part in zip(strip.slots, item.said[0].parts, strict=True)
            for share in part
            for edge in share
        ]
        assert covered[0] == pytest.approx(start, abs=0.002)
        assert covered[-1] == pytest.approx(end, abs=0.002)


def test_pieces_show_where_they_were_put(runs: dict[str, Run], dataset: Path, tmp_path: Path) -> None:
    said = [replace(each, texts=(each.answer,), finish=("stop",)) for each in runs["chance"].predictions]
    (benchmark,) = gather([rewrite(Path(str(runs["chance"].path)), tmp_path / "right", said)])
    shown = [item for item in examples_of(benchmark, open_questions(dataset), 9, 32) if item.task == "jigsaw"]
    for item in shown:
        right = [strip.original for strip in item.strips]
        said_right = [each for each in item.said if each.mark.strict == 1]
        for each in said_right:
            assert list(each.places) == right
    assert shown
    assert all(item.said[0].mark.strict == 1 for item in shown)


def test_categories_of_a_task_stand_side_by_side_and_have_names_of_their_own(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    names = ("jigsaw/6", "grounding/mirror/4-7", "grounding/blur/4-7", "jigsaw/3", "counting/1x2")
    golds = {"jigsaw": "132", "grounding": "2.0-4.0", "counting": "1,0,0"}
    answers = []
    for at, name in enumerate(names):
        task, *perturbation = name.split("/")[:2]
        drawn = {"perturbation": perturbation[0]} if task == "grounding" else {}
        (each,) = said(task, golds[task], golds[task], category=name, **drawn)
        answers.append(replace(each, id=name, index=at))
    run = rewrite(Path(str(runs["chance"].path)), tmp_path / "run", answers)
    assert run.manifest is not None
    run.manifest["chance"] = {name: {"uniform": {"score": 0.1 * at, "smooth": 0.0}} for at, name in enumerate(names)}
    (benchmark,) = gather([run])
    tasks = [benchmark.task_of[category] for category in benchmark.categories]
    assert tasks == ["jigsaw", "jigsaw", "counting", "grounding", "grounding"]
    assert [short(category) for category in benchmark.categories] == ["6", "3", "1x2", "blur/4-7", "mirror/4-7"]
    # a guess's mean is of the categories that a run's mean is of
    ours, guess = benchmark.rows
    assert ours.abilities.keys() == guess.abilities.keys() == {"fine-grained", "spatial", "temporal"}
    assert value(guess.cell("ability", "spatial").asked) == pytest.approx(0.1)
    assert value(guess.cell("ability", "fine-grained").asked) == pytest.approx((0.2 + 0.4) / 2)


def test_runs_that_said_the_same_keep_their_names(runs: dict[str, Run], tmp_path: Path) -> None:
    said_before = runs["chance"].predictions
    twins = [rewrite(Path(str(runs["chance"].path)), tmp_path / name, list(said_before)) for name in ("one", "two")]
    page = tmp_path / "report.html"
    write_report(benchmarks := gather(twins), {benchmarks[0].hash: "not at hand"}, page, most=0)
    text = page.read_text()
    for task in ("counting", "jigsaw"):
        part = text.partition(f'id="{task}0"')[2].partition("</section>")[0]
        assert len(re.findall(r"<summary>.*one</bdi>|<caption>one<", part)) == 1
        assert len(re.findall(r"<summary>.*two</bdi>|<caption>two<", part)) == 1
