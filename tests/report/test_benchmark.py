"""Reports of benchmark runs: their figures, the same in every format, and that hostile text stays text."""

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
from tests.helpers.pages import ParsedPage, check_policy
from tests.report.conftest import HOSTILE, copy_run_with
from videossr.answers.counts import COUNTS
from videossr.answers.interval import INTERVAL
from videossr.answers.order import ORDER
from videossr.answers.panel import GivenAnswers, Mean
from videossr.bench.records import Prediction, Run
from videossr.bench.scoring import Estimate, score
from videossr.cli import report
from videossr.errors import DataError
from videossr.question_set import open_questions
from videossr.report import plots
from videossr.report.benchmark.answers import Answers, difficulty_curves
from videossr.report.benchmark.difference import baselines
from videossr.report.benchmark.examples import chosen, examples_of
from videossr.report.benchmark.formats import as_json, comma_separated, markdown
from videossr.report.benchmark.page import write_report
from videossr.report.benchmark.table import EMPTY, PUBLISHED, check_questions, gather, short
from videossr.untrusted import plain_text

TIMES = tuple(range(0, 10_000, 500))


def predictions_of(
    task: str, gold: str, *texts: str, category: str = "", **difficulty: float | str
) -> list[Prediction]:
    """Make a prediction for each text, to questions with the same gold answer."""
    return [
        Prediction(
            id=f"{task}{index}",
            index=index,
            category=category or task,
            data_source=f"videossr/{task}",
            answer=gold,
            difficulty=difficulty,
            times_ms=TIMES,
            end_ms=10_000,
            texts=(text,),
            finish=("stop",),
        )
        for index, text in enumerate(texts)
    ]


def value_of(estimate: Mean | None) -> float:
    assert estimate is not None
    return estimate.value


def given_answers(predictions: list[Prediction]) -> GivenAnswers:
    answers = Answers(predictions)
    return GivenAnswers([answer.given for answer in answers.every], answers.means)


def test_interval_spans_compare_answers_in_seconds_and_in_slots() -> None:
    spans = INTERVAL.spans(
        given_answers(predictions_of("grounding", "2.0-4.0", "3.0-4.0", "2.5-5.5", "6-7", "soon", "1-99"))
    )
    assert spans.histogram == (1, 1, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0)
    assert value_of(spans.start) == pytest.approx((1 + 0.5 + 4 - 1) / 4)
    assert value_of(spans.end) == pytest.approx((0 + 1.5 + 3 + 6) / 4)
    assert value_of(spans.start_slots) == pytest.approx(2 * value_of(spans.start))
    assert value_of(spans.length) == pytest.approx((0.5 + 1.5 + 0.5 + 4.5) / 4)
    assert spans.beyond == 1
    assert spans.start is not None
    assert spans.start.low < spans.start.value < spans.start.high


def test_interval_spans_in_slots_follow_an_uneven_clock() -> None:
    uneven = [
        replace(answer, times_ms=(0, 1000, 4000), end_ms=10_000)
        for answer in predictions_of("grounding", "1.0-4.0", "2.5-7")
    ]
    spans = INTERVAL.spans(given_answers(uneven))
    assert (value_of(spans.start_slots), value_of(spans.end_slots)) == (0.5, 0.5)


def test_counts_confusions_compare_counts_with_gold_counts() -> None:
    circles, squares, triangles = COUNTS.confusions(
        given_answers(predictions_of("counting", "2,0,1", "2,0,1", "3,0,1", "9,0,0", "many"))
    )
    assert circles.golds == (2,)
    assert circles.table == ((0, 0, 1, 2, 1),)
    assert circles.exact == 0.25
    assert value_of(circles.bias) == pytest.approx((0 + 1 + 2) / 3)
    assert squares.table == ((3, 0, 1),)
    assert triangles.table == ((1, 2, 0, 1),)


def test_reports_of_a_run_without_an_answer_have_no_figure(dataset: Path, runs: dict[str, Run], tmp_path: Path) -> None:
    failed = [
        replace(guess, texts=(), finish=(), error="status 413: too large") for guess in runs["chance"].predictions
    ]
    run = copy_run_with(Path(str(runs["chance"].path)), tmp_path / "refused", failed)
    (benchmark,) = gather([run])
    (row,) = [row for row in benchmark.rows if row.kind == "run"]
    assert {row.cell(*figure) for figure in benchmark.figures} == {EMPTY}
    message = f"all {len(failed)} questions failed: nothing was answered, so there is no score"
    table = [line for line in markdown([benchmark]).splitlines() if line.startswith("| refused")]
    assert not any("0.0" in line for line in table)
    assert message in markdown([benchmark])
    csv_rows = [
        csv_row for csv_row in csv.DictReader(io.StringIO(comma_separated([benchmark]))) if csv_row["row"] == "refused"
    ]
    assert {(csv_row["value"], csv_row["answered"]) for csv_row in csv_rows} == {("", "0")}
    assert {csv_row["name"] for csv_row in csv_rows} == set(benchmark.categories)
    (benchmark_json,) = json.loads(as_json([benchmark]))["benchmarks"]
    assert benchmark_json["runs"][0]["scores"]["asked"]["overall"] is None
    assert benchmark_json["runs"][0]["scores"]["asked"]["outcomes"]["failed"] == len(failed)
    assert all(not category for category in benchmark_json["difficulty"].values())
    write_report([benchmark], {benchmark.hash: open_questions(dataset)}, tmp_path / "page.html", 1)
    page = (tmp_path / "page.html").read_text()
    assert message in page
    page_rows = re.findall(r'<tr data-row="refused">.*?</tr>', page, re.DOTALL)
    assert len(page_rows) == 2
    assert not any("<b>0.0</b>" in row for row in page_rows)
    assert "right 0.0 %" not in page


def test_order_displacement_compares_pieces_with_their_places() -> None:
    displacement = ORDER.displacement(given_answers(predictions_of("jigsaw", "312", "312", "132", "3122")))
    assert displacement.matrix == ((1, 1, 0), (1, 1, 0), (0, 0, 2))
    assert displacement.steps == (0, 1, 4, 1, 0)
    assert displacement.none == 1


def test_difficulty_curves_score_quartiles_of_each_setting() -> None:
    answers = predictions_of("jigsaw", "312", *["312"] * 12, *["132"] * 12)
    varied = [
        replace(answer, difficulty={"seconds": float(number), "kind": "ab"[number % 2], "fixed": 1.0})
        for number, answer in enumerate(answers)
    ]
    seconds, kind = difficulty_curves([Answers(varied), Answers(varied[:4])])
    assert (seconds.name, seconds.counts) == ("seconds", ((6, 6, 6, 6), (4, 0, 0, 0)))
    assert seconds.bins == ("0-5", "6-11", "12-17", "18-23")
    assert [value_of(estimate) for estimate in seconds.scores[0]] == [1, 1, 0, 0]
    assert seconds.scores[1][1:] == (None, None, None)
    assert (kind.bins, [value_of(estimate) for estimate in kind.scores[0]]) == (("a", "b"), [0.5, 0.5])


def test_chosen_takes_the_worst_and_the_best_by_score(runs: dict[str, Run]) -> None:
    answers = predictions_of(
        "grounding", "2.0-4.0", "2.0-4.0", "2.0-3.5", "8-9", "no", "2-3", category="grounding/mirror"
    )
    run = replace(runs["chance"], predictions=tuple(answers))
    (benchmark,) = gather([run])
    assert chosen(benchmark, 2) == {
        "grounding/mirror": {2: [(0, "worst")], 4: [(0, "worst")], 0: [(0, "best")], 1: [(0, "best")]}
    }


def test_csv_json_and_markdown_have_the_figures_of_the_scores(runs: dict[str, Run]) -> None:
    chosen_runs = [runs["chance"], runs["odd"]]
    benchmarks = gather(chosen_runs, paper=True)
    lines = list(csv.DictReader(io.StringIO(comma_separated(benchmarks))))
    benchmark_json = json.loads(as_json(benchmarks))["benchmarks"][0]
    table = {row[0]: row[1:] for row in table_cells(markdown(benchmarks))}
    for run, figures in zip(chosen_runs, benchmark_json["runs"], strict=True):
        for denominator in ("asked", "answered"):
            board = score(run, denominator)
            assert figures["scores"][denominator]["overall"]["value"] == value_of(board.overall)
            run_lines = [line for line in lines if (line["row"], line["denominator"]) == (run.name, denominator)]
            expected = {
                result.category: result.score if denominator == "asked" else result.answered_score
                for result in board.categories
            }
            category_values = {
                line["name"]: float(line["value"])
                for line in run_lines
                if line["level"] == "category" and line["value"]
            }
            assert category_values == {name: estimate.value for name, estimate in expected.items() if estimate}
            overall = next(line for line in run_lines if line["level"] == "overall")
            assert board.overall is not None
            assert [float(overall[key]) for key in ("value", "low", "high")] == [
                board.overall.value,
                board.overall.low,
                board.overall.high,
            ]
        scores = [result.score.value for result in score(run).categories if result.score] + [
            value_of(score(run).overall)
        ]
        markdown_cells = [cell for cell in table[run.name] if cell != "–"]  # noqa: RUF001
        assert [float(cell.split()[0]) for cell in markdown_cells] == [round(100 * value, 1) for value in scores]
    published = [line for line in lines if line["kind"] == "published"]
    assert {line["note"] for line in published} == {PUBLISHED}
    assert PUBLISHED in markdown(benchmarks)
    assert not [line for line in published if line["level"] == "overall"], (
        "the published mean is over categories that are not in this benchmark"
    )


def table_cells(text: str) -> list[list[str]]:
    """Return the cells of the first Markdown table."""
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
def test_report_marks_a_score_as_below_chance_by_its_interval(
    tmp_path: Path, category: str, gold: str, texts: list[str], guesses: tuple[float, float], mark: str
) -> None:
    """One question or a chance near 0 gives no mark, although the bootstrap interval of equal scores has no width."""
    predictions = [prediction(index, category, gold, text) for index, text in enumerate(texts)]
    run = a_run(*predictions or [prediction(0, category, gold, error="no frames")])
    expected_scores = dict(zip(("uniform", "constant"), ({"score": guess} for guess in guesses), strict=True))
    manifest: Any = {"chance": {category: expected_scores}, "seconds": 1.0, "waited": 0.0, "versions": {}, "model": {}}
    (benchmark,) = gather([replace(run, manifest=manifest)])
    write_report([benchmark], {benchmark.hash: "they are not at hand"}, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    for name in (category, "overall"):
        (cell,) = re.findall(rf'<tbody class="run">.*?<td data-name="{name}">(.*?)</td>', text, re.DOTALL)[:1]
        assert set(re.findall("[▼▽]", cell)) == {*mark}, name
    assert "upper end of the score\u2019s 95 % interval" in text
    differs = baselines(benchmark)[0].changes[0]
    assert differs is not None
    assert differs.real == (mark == "▼"), "the overall score less that of the first guess is more than noise"


def test_gather_adds_rows_of_guesses(runs: dict[str, Run]) -> None:
    (benchmark,) = gather([runs["stopped"], runs["constant"]])
    guesses = {row.name: row for row in benchmark.rows if row.kind == "guess"}
    assert list(guesses) == ["uniform", "prior", "constant"]
    manifest = runs["constant"].manifest
    assert manifest is not None
    for category in benchmark.categories:
        figure = guesses["constant"].categories[category].asked
        assert value_of(figure) == manifest["chance"][category]["constant"]["score"]


def test_gather_separates_other_questions_and_makes_names_unique(runs: dict[str, Run], tmp_path: Path) -> None:
    same_name = copy_run_with(Path(str(runs["chance"].path)), tmp_path / "chance", list(runs["chance"].predictions))
    benchmarks = gather([runs["chance"], runs["other"], same_name, runs["chance"]])
    assert [benchmark.hash for benchmark in benchmarks] == [runs["chance"].config.hash, "f" * 64]
    names = [run.name for benchmark in benchmarks for run in benchmark.runs]
    parent = runs["chance"].path.parent.name
    assert names == [f"{parent}/chance (1)", f"{tmp_path.name}/chance", f"{parent}/chance (2)", "other"]
    assert benchmarks[1].runs[0].name in markdown(benchmarks).split("VIUBench layout")[2]


def test_gather_refuses_runs_with_other_answers_under_one_hash(runs: dict[str, Run], tmp_path: Path) -> None:
    first, *rest = runs["chance"].predictions
    altered = copy_run_with(
        Path(str(runs["chance"].path)), tmp_path / "altered", [replace(first, answer=first.answer[::-1]), *rest]
    )
    assert altered.config.hash == runs["chance"].config.hash
    gather([altered])
    with pytest.raises(
        DataError, match=rf"^{tmp_path}/altered and .* one of the two was altered: question {first.index} is"
    ):
        gather([runs["chance"], altered])


def test_check_questions_names_a_run_with_other_answers(runs: dict[str, Run], dataset: Path, tmp_path: Path) -> None:
    questions = open_questions(dataset)
    first, *rest = runs["chance"].predictions
    altered = copy_run_with(
        Path(str(runs["chance"].path)), tmp_path / "altered", [replace(first, answer=first.answer[::-1]), *rest]
    )
    check_questions(gather([runs["chance"]])[0], questions)
    with pytest.raises(DataError, match=rf"^{tmp_path}/altered was altered: question {first.index} of {dataset} is"):
        check_questions(gather([altered])[0], questions)


def test_gather_notes_unfinished_runs_and_labels(runs: dict[str, Run]) -> None:
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
def test_plain_text_shows_invisible_characters_as_codes(text: str, shown: str) -> None:
    assert plain_text(text) == shown


def test_markdown_escapes_control_characters_and_markup(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    hostile_run = replace(runs["odd"], path=runs["odd"].path.with_name("a|b\x1b[2J\u202e`*"))
    text = markdown(gather([hostile_run]))
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


def test_report_page_escapes_hostile_text_and_shortens_long_text(text: str) -> None:
    page = ParsedPage(text)
    assert HOSTILE not in text
    assert "img" not in {tag for tag, _ in page.elements}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    for letter in "\x1b\u202e\x00\x07":
        assert letter not in text
    assert len(text) < 3_000_000
    assert "(10,000,000 characters)" in text


def test_report_page_policy_allows_one_script_and_no_network(text: str) -> None:
    check_policy(ParsedPage(text))


def test_report_charts_keep_their_text_and_use_the_colors_of_the_page(text: str) -> None:
    assert not re.findall(r"#f[de]00[0-9a-f]{2}", text)
    assert "DejaVu" not in text
    charts = re.findall(r'<svg class="chart".*?</svg>', text, re.DOTALL)
    assert len(charts) > 10
    for chart in charts:
        assert "<text" in chart
        assert 'role="img" aria-label="' in chart
        references = re.findall(r'(?:url\(|href=")#([^)"]+)', chart)
        assert set(references) <= set(re.findall(r' id="([^"]+)"', chart))
    ids = Counter(attributes["id"] for _, attributes in ParsedPage(text).elements if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []


def test_charts_escape_names() -> None:
    hostile = "$\\frac</text><script>\"'&"
    figure = Estimate(0.5, 0.4, 0.6)
    for chart in (
        plots.columns_chart([hostile], [[figure]], [[0.1]], hostile),
        plots.difficulty_chart([hostile], [[figure]], hostile, hostile),
        plots.histogram_chart([hostile], [[1.0]], hostile, hostile),
    ):
        tags = {tag for tag, _ in ParsedPage(chart).elements}
        assert "script" not in tags
        assert "$\\frac" in chart


def test_report_page_without_its_questions_says_so(runs: dict[str, Run], tmp_path: Path) -> None:
    run_of_missing_questions = replace(
        runs["odd"], config=replace(runs["odd"].config, questions=str(tmp_path / "gone"))
    )
    for questions, words in ((None, "gone"), (str(runs["other"].config.questions), "")):
        benchmarks = gather([run_of_missing_questions] if questions is None else [runs["other"]])
        out = tmp_path / "page.html"
        write_report(benchmarks, report.opened(benchmarks, questions, None), out, most=1)
        page = out.read_text("utf-8")
        assert "No frames:" in page
        assert words in page
        assert "--questions" in page
        assert not ParsedPage(page).of_class("clip")
        assert ParsedPage(page).of_class("item")


def test_examples_of_lose_only_the_frames_of_a_broken_clip(runs: dict[str, Run], dataset: Path) -> None:
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
    examples = list(examples_of(benchmark, Broken(), 9, 32))  # type: ignore[arg-type]
    assert [item.missing for item in examples if not item.strips] == [
        "Its frames cannot be rendered: pack-0007.bin is cut off"
    ]
    assert len(examples) > 4


def test_example_strips_show_gold_and_answered_spans(runs: dict[str, Run], dataset: Path) -> None:
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


def test_examples_show_where_pieces_were_put(runs: dict[str, Run], dataset: Path, tmp_path: Path) -> None:
    predictions = [replace(guess, texts=(guess.answer,), finish=("stop",)) for guess in runs["chance"].predictions]
    (benchmark,) = gather([copy_run_with(Path(str(runs["chance"].path)), tmp_path / "right", predictions)])
    shown = [item for item in examples_of(benchmark, open_questions(dataset), 9, 32) if item.task == "jigsaw"]
    for item in shown:
        right = [strip.original for strip in item.strips]
        right_answers = [answer for answer in item.said if answer.mark.strict == 1]
        for answer in right_answers:
            assert list(answer.places) == right
    assert shown
    assert all(item.said[0].mark.strict == 1 for item in shown)


def test_gather_groups_categories_by_task_and_short_names_differ(runs: dict[str, Run], tmp_path: Path) -> None:
    names = ("jigsaw/6", "grounding/mirror/4-7", "grounding/blur/4-7", "jigsaw/3", "counting/1x2")
    golds = {"jigsaw": "132", "grounding": "2.0-4.0", "counting": "1,0,0"}
    answers = []
    for number, name in enumerate(names):
        task, *perturbation = name.split("/")[:2]
        difficulty = {"perturbation": perturbation[0]} if task == "grounding" else {}
        (answer,) = predictions_of(task, golds[task], golds[task], category=name, **difficulty)
        answers.append(replace(answer, id=name, index=number))
    run = copy_run_with(Path(str(runs["chance"].path)), tmp_path / "run", answers)
    assert run.manifest is not None
    run.manifest["chance"] = {
        name: {"uniform": {"score": 0.1 * number, "smooth": 0.0}} for number, name in enumerate(names)
    }
    (benchmark,) = gather([run])
    tasks = [benchmark.task_of[category] for category in benchmark.categories]
    assert tasks == ["jigsaw", "jigsaw", "counting", "grounding", "grounding"]
    assert [short(category) for category in benchmark.categories] == ["6", "3", "1x2", "blur/4-7", "mirror/4-7"]
    # the mean of a guess is over the same categories as that of a run
    run_row, guess = benchmark.rows
    assert run_row.abilities.keys() == guess.abilities.keys() == {"fine-grained", "spatial", "temporal"}
    assert value_of(guess.cell("ability", "spatial").asked) == pytest.approx(0.1)
    assert value_of(guess.cell("ability", "fine-grained").asked) == pytest.approx((0.2 + 0.4) / 2)


def test_report_of_runs_with_equal_answers_keeps_their_names(runs: dict[str, Run], tmp_path: Path) -> None:
    predictions = runs["chance"].predictions
    twins = [
        copy_run_with(Path(str(runs["chance"].path)), tmp_path / name, list(predictions)) for name in ("one", "two")
    ]
    page = tmp_path / "report.html"
    write_report(benchmarks := gather(twins), {benchmarks[0].hash: "not at hand"}, page, most=0)
    text = page.read_text()
    for task in ("counting", "jigsaw"):
        part = text.partition(f'id="{task}0"')[2].partition("</section>")[0]
        assert len(re.findall(r"<summary>.*one</bdi>|<caption>one<", part)) == 1
        assert len(re.findall(r"<summary>.*two</bdi>|<caption>two<", part)) == 1
