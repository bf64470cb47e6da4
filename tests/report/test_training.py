"""The page of training runs in a browser, its figures in other formats, and errors of the command."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

from tests.helpers.pages import ParsedPage, check_policy, drawn_pixels, open_checked
from tests.helpers.training_runs import ROLLOUTS, shown_sample, step_of, write_run
from tests.report.conftest import HOSTILE
from videossr.bench.records import Run
from videossr.cli import report, train
from videossr.models.tiny import make_tiny
from videossr.question_set import open_questions
from videossr.report import plots
from videossr.report.plots import running_mean
from videossr.report.training.examples import training_samples
from videossr.report.training.figures import as_json, comma_separated, ends, logprob_mismatch, markdown, named, of_all
from videossr.report.training.page import MORE, PARTS, charts_of, write_training
from videossr.training.runs.records import (
    ACROSS,
    PHASES,
    PICTURES,
    VERL_PHASES,
    Failure,
    Step,
    TrainRun,
    read_train_run,
)

CATEGORIES = ("counting/easy", "grounding/mirror", "grounding/shuffle", "jigsaw/6")
BROKEN = f"pack-0007.bin: {HOSTILE}\x1b[31m\u202e"


def supervised_step(number: int) -> Step:
    """Make a step of supervised training, which has no rollouts."""
    return replace(step_of(number, CATEGORIES, mfu=None), all=None, tasks={}, categories={})


@pytest.fixture(scope="module")
def runs(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainRun]:
    """Four runs: complete, unfinished with a skipped step, supervised, and without steps."""
    folder = tmp_path_factory.mktemp("training")
    questions = open_questions(dataset)
    shown = [
        (shown_sample(questions, step, index), questions) for step in (10, 20, 30) for index in range(len(questions))
    ]
    texts = (HOSTILE, "y" * 1_000_000, "3 to 9\u202e\x1b[31m\x00 seconds", questions.question(0).answer)
    shown.append((replace(shown_sample(questions, 40, 0, texts), prompt=f"<video>{HOSTILE}"), questions))
    odd_steps = [step_of(1, CATEGORIES), step_of(2, CATEGORIES, loss=float("nan"), skipped="the loss is not a number")]
    return {
        "full": write_run(
            folder / "full",
            [step_of(number, CATEGORIES) for number in range(1, 41)],
            shown=shown,
            failures=(Failure(3, 17, BROKEN), Failure(4, 18, BROKEN)),
            set_to={"model.path": HOSTILE},
        ),
        "odd": write_run(folder / "odd", odd_steps, set_to={"grpo.kl": "0", "run.steps": "99"}, complete=False),
        "sft": write_run(
            folder / "sft", [supervised_step(number) for number in range(1, 4)], set_to={"run.method": "sft"}
        ),
        "begun": write_run(folder / "begun", [], complete=False),
    }


@pytest.fixture(scope="module")
def written(runs: dict[str, TrainRun], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_training(list(runs.values()), out, most=8)
    return out


@pytest.fixture
def page(browser: Browser, written: Path) -> Iterator[Tab]:
    with open_checked(browser, written.as_uri()) as page:
        yield page


def test_runs_table_shows_the_first_and_the_last_values_of_each_run(page: Tab, runs: dict[str, TrainRun]) -> None:
    rows = page.locator('[data-table="runs"] tbody tr')
    assert rows.evaluate_all("rows => rows.map(row => row.dataset.row)") == list(runs)
    steps = runs["full"].steps
    smooth = [step.all.smooth for step in steps if step.all]
    cell = rows.nth(0).locator('[data-name="smooth"]')
    expect(cell.locator("b")).to_have_text(f"{sum(smooth[-4:]) / 4:.1%}")
    expect(cell.locator("small")).to_have_text(f"from {sum(smooth[:4]) / 4:.1%}")
    expect(rows.nth(0).locator('[data-name="mismatch"]')).to_have_text("4.0e-05")
    expect(rows.nth(1).locator(".note")).to_have_text("unfinished: 2 of 99 steps")
    expect(rows.nth(1).locator('[data-name="loss"] b')).to_have_text("nan")
    expect(rows.nth(2).locator('[data-name="smooth"]')).to_have_text("–")  # noqa: RUF001
    expect(rows.nth(3).locator(".note")).to_have_text("unfinished: 0 steps")


def test_main_curves_are_large_and_the_others_folded(page: Tab, runs: dict[str, TrainRun]) -> None:
    main, more = charts_of([run.steps for run in runs.values()])
    folded = [chart.name for charts in more.values() for chart in charts]
    assert page.locator("#curves .large figcaption").all_text_contents() == [chart.name for chart in main]
    assert page.locator("#more figcaption").all_text_contents() == folded
    large = page.locator("#curves .large svg").first.bounding_box()
    assert large is not None
    assert large["width"] > 450
    expect(page.locator("#more svg").first).to_be_hidden()
    page.locator("#more summary").click()
    for chart in page.locator("svg.chart:visible").all():
        box = chart.bounding_box()
        assert box is not None
        assert box["width"] > 150
        assert box["height"] > 80
    tasks = page.locator("#tasks h3").all_text_contents()
    assert tasks == ["counting", "grounding", "jigsaw"]
    expect(page.locator("#task-curves figure")).to_have_count(9)
    expect(page.locator("#category-curves figure")).to_have_count(len(CATEGORIES))
    expect(page.locator("#tasks figure").first).to_be_hidden()


def test_charts_of_has_the_loss_among_the_main_curves_of_sft_only(runs: dict[str, TrainRun]) -> None:
    names = {
        kind: ([chart.name for chart in main], [chart.name for chart in more["Updates"]])
        for kind in ("full", "sft")
        for main, more in [charts_of([runs[kind].steps])]
    }
    assert "loss" not in names["full"][0]
    assert "loss" in names["full"][1]
    assert "loss" in names["sft"][0]
    assert "loss" not in names["sft"][1]


def test_training_page_begins_with_a_verdict_for_each_run(page: Tab) -> None:
    verdicts = page.locator("main > section").first.locator(".verdict")
    expect(verdicts).to_have_count(4)
    expect(verdicts.nth(0)).to_be_in_viewport()
    expect(verdicts.nth(0).locator("h2")).to_have_text("It learned")
    expect(verdicts.nth(0)).to_contain_text("full")
    expect(verdicts.nth(1)).to_contain_text("In 1 of 2 steps the loss is not a number.")
    expect(verdicts.nth(1)).to_contain_text("unfinished: 2 of 99 steps")
    expect(verdicts.nth(3).locator("h2")).to_have_text("No step is done yet")


def test_training_page_explains_groups_only_for_grpo_runs(runs: dict[str, TrainRun], tmp_path: Path) -> None:
    for kind in ("sft", "full"):
        write_training([runs[kind]], tmp_path / f"{kind}.html")
        text = (tmp_path / f"{kind}.html").read_text("utf-8")
        for words in ("A group with equal rewards", "In an uninformative group", "groups and answers"):
            assert (words in text) == (kind == "full"), (kind, words)


def test_training_page_shows_one_figure_for_memory(page: Tab, runs: dict[str, TrainRun]) -> None:
    """It is the largest of the steps, with the digits that the console prints, and it says what it counts."""
    expect(page.locator("#runs .lead")).to_contain_text("without what libraries used before the model was loaded")
    assert "| 1.50 |" in markdown([runs["full"]])
    expect(page.locator('[data-table="runs"] tbody tr').first.locator('[data-name="memory"]')).to_have_text("1.50")
    text = page.locator("#runs").evaluate("part => part.textContent")
    assert "parameters" in text, "the description of the run is on the page"
    assert text.count("GiB") == 1
    assert not [chart.name for charts in MORE.values() for chart in charts if "memory" in chart.name]


def test_means_table_has_tasks_and_categories(page: Tab, runs: dict[str, TrainRun]) -> None:
    for kind, name in (("tasks", "grounding"), ("categories", "jigsaw/6")):
        last_metrics = [getattr(step, kind)[name] for step in runs["full"].steps[-4:]]
        row = page.locator(f'[data-table="means"] tr[data-kind="{kind}"][data-row="{name}"]').first
        expect(row.locator('[data-name="smooth"]')).to_have_text(
            f"{100 * fmean(metrics.smooth for metrics in last_metrics):.1f}"
        )
        expect(row.locator('[data-name="kl"]')).to_have_text(f"{fmean(metrics.kl for metrics in last_metrics):.1e}")


def test_time_table_has_parts_that_add_up_to_a_step(page: Tab) -> None:
    row = page.locator('[data-table="time"] tbody tr').first
    seconds = dict(zip(PARTS["videossr"], map(float, row.locator("b").all_text_contents()), strict=True))
    assert seconds == {**{phase: round(0.1 * (number + 1), 3) for number, phase in enumerate(PHASES)}, "rest": 0.4}
    shares = [float(text.removesuffix(" %")) for text in row.locator("td small").all_text_contents()]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    expect(page.locator("#time svg.chart")).to_have_count(3)


def test_a_run_of_verl_is_drawn_with_what_verl_measures(page_of_verl: str, runs_of_verl: list[TrainRun]) -> None:
    """What it does not measure is left out, and its phases stand beside those of our own trainer."""
    text = page_of_verl
    assert text.count('data-table="time"') == 2
    assert all(f"</i> {phase}</span>" in text for phase in (*VERL_PHASES, *PHASES))
    assert "trained by" in text
    row = markdown(runs_of_verl).splitlines()[-1]
    assert row.startswith("| verl | 3 |")
    assert row.endswith("| - | - |")
    lines = list(csv.DictReader(io.StringIO(comma_separated(runs_of_verl))))
    assert [line["gap"] for line in lines] == ["1e-06", "2e-06", "3e-06", "", "", ""]
    assert [line["tasks/jigsaw/kl"] for line in lines[3:]] == [""] * 3
    assert all(line["all/kl"] for line in lines)


@pytest.fixture(scope="module")
def runs_of_verl(tmp_path_factory: pytest.TempPathFactory) -> list[TrainRun]:
    """A run of our own trainer, and one of verl."""
    folder = tmp_path_factory.mktemp("engines")
    ours = [step_of(number, CATEGORIES) for number in range(1, 4)]
    absent: dict[str, Any] = {
        "changed": None,
        "gap": None,
        "mfu": None,
        "memory_gib": None,
        "seconds": {"gen": 2.0, "ref": 1.0},
    }
    verls = [
        replace(
            step,
            **absent,
            tasks={name: replace(means, kl=None, entropy=None) for name, means in step.tasks.items()},
            categories={name: replace(means, kl=None, entropy=None) for name, means in step.categories.items()},
        )
        for step in ours
    ]
    return [write_run(folder / "ours", ours), write_run(folder / "verl", verls, set_to={"run.engine": "verl"})]


@pytest.fixture(scope="module")
def page_of_verl(runs_of_verl: list[TrainRun], tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("engines") / "report.html"
    write_training(runs_of_verl, out)
    return out.read_text("utf-8")


def test_configuration_table_shows_changed_settings_first(page: Tab) -> None:
    rows = page.locator("#configuration > .wide tbody tr")
    config = {row.get_attribute("data-setting"): row.locator("td").all_text_contents() for row in rows.all()}
    assert config["grpo.kl"] == ["0.001", "0", "0.001", "0.001", "0.001"]
    assert config["run.method"] == ["grpo", "grpo", "sft", "grpo", "grpo"]
    assert config["run.steps"] == ["–", "99", "–", "–", "–"]  # noqa: RUF001
    assert "optim.betas" not in config
    rest = page.locator('#configuration details [data-setting="optim.lr"]')
    expect(rest).to_be_hidden()
    page.locator("#configuration summary").click()
    expect(rest).to_be_visible()


def test_failures_table_lists_failures_and_skipped_steps(page: Tab) -> None:
    rows = page.locator("#failures tbody tr")
    expect(rows.first.locator("td").first).to_have_text("2")
    expect(rows.first).to_contain_text(f"pack-0007.bin: {HOSTILE}\\x1b[31m\\u202e")
    expect(rows.first).to_contain_text("step 3, question 17")
    expect(rows.nth(1)).to_contain_text("step skipped: the loss is not a number")
    expect(page.locator("#failures .aside")).to_have_count(2)


def test_samples_show_their_frames_and_answers(page: Tab, runs: dict[str, TrainRun]) -> None:
    cards = page.locator(".item")
    expect(cards).to_have_count(len(runs["full"].shown))
    for number, shown in enumerate(runs["full"].shown):
        card = cards.nth(number)
        card.scroll_into_view_if_needed()
        expect(card.locator("script")).to_have_count(0)
        frames = card.locator(".frame")
        expect(frames).to_have_count(sum(map(len, shown.slots)))
        assert frames.last.evaluate("frame => getComputedStyle(frame).backgroundImage").startswith('url("blob:')
        assert frames.last.evaluate("frame => frame.getBoundingClientRect().height") > 4
        expect(card.locator(".gold-row code")).to_have_text(shown.gold)
        counts = card.locator("tbody tr:not(.gold-row) th").all_text_contents()
        assert sum(int(text.split()[0]) for text in counts) == ROLLOUTS


def test_sample_frames_are_cut_from_their_cells(page: Tab, runs: dict[str, TrainRun]) -> None:
    """The browser draws the cell of the picture in the folder of the run."""
    sample = next(
        candidate for candidate in runs["full"].shown if candidate.category == "jigsaw/6" and len(candidate.slots) > 1
    )
    jpeg = (runs["full"].path / PICTURES / sample.frames).read_bytes()
    cells = simplejpeg.decode_jpeg(jpeg, "RGB").astype(float)
    height = cells.shape[0] // sum(-(-len(clip) // ACROSS) for clip in sample.slots)
    width = cells.shape[1] // ACROSS
    card = page.locator(f'.item[data-step="{sample.step}"]', has_text=f"question {sample.index}")
    page.locator(".bar").evaluate("bar => bar.remove()")  # the bar would cover frames that are scrolled to the top
    card.scroll_into_view_if_needed()
    expect(card.locator("script")).to_have_count(0)
    last = len(sample.slots[0]) - 1
    for row, slot in [(row, slot) for row in range(len(sample.slots)) for slot in (0, last)]:
        drawn = drawn_pixels(card.locator(".frame").nth(row * (last + 1) + slot))
        scaled = cv2.resize(drawn, (width, height)).astype(float)
        column = cells[:, slot * width : (slot + 1) * width].reshape(-1, height, width, 3)
        assert np.abs(column - scaled).mean((1, 2, 3)).argmin() == row


def test_samples_mark_the_gold_span_under_its_frames(page: Tab) -> None:
    card = page.locator('.item[data-task="grounding"]').first
    gold = card.locator(".gold-row code").text_content()
    assert gold is not None
    start, end = map(float, gold.split("-"))
    slots = card.locator(".slot")
    covered = []
    for slot in slots.all():
        title = slot.get_attribute("title")
        assert title is not None
        if slot.locator(".gold-lane i").count():
            first, _, last, _ = title.split()
            covered.append((float(first), float(last)))
    assert covered[0][0] <= start < covered[0][1]
    assert covered[-1][0] < end <= covered[-1][1] + 0.01


def test_training_page_escapes_hostile_text(page: Tab, written: Path) -> None:
    assert page.title() == "Training report"
    assert page.locator("img").count() == 0
    text = written.read_text("utf-8")
    check_policy(ParsedPage(text))
    assert HOSTILE not in text
    for letter in "\x1b\u202e\x00":
        assert letter not in text
    assert "(1,000,000 characters)" in text
    assert not any(name.startswith("on") for _, attributes in ParsedPage(text).elements for name in attributes)
    expect(page.locator("#configuration")).to_contain_text(HOSTILE)


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_training_page_has_only_tables_wider_than_the_window(browser: Browser, written: Path, width: int) -> None:
    with open_checked(browser, written.as_uri(), width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = page.locator("body *:visible").evaluate_all(
            "(elements, width) => elements.filter(e => !e.closest('.wide, .hidden, svg') &&"
            " e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 80))",
            width,
        )
        assert outside == []


def test_training_charts_use_the_colors_fonts_and_ids_of_the_page(written: Path) -> None:
    text = written.read_text("utf-8")
    assert not re.findall(r"#f[cde]00[0-9a-f]{2}", text)
    assert "mathdefault" not in text
    ids = [attributes["id"] for _, attributes in ParsedPage(text).elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_write_training_of_a_run_without_steps(runs: dict[str, TrainRun], browser: Browser, tmp_path: Path) -> None:
    write_training([runs["begun"]], tmp_path / "page.html")
    with open_checked(browser, (tmp_path / "page.html").as_uri()) as page:
        expect(page.locator("#curves")).to_contain_text("No step is done yet")
        expect(page.locator("svg.chart")).to_have_count(0)


def test_training_samples_lose_only_the_frames_of_a_broken_picture(dataset: Path, tmp_path: Path) -> None:
    questions = open_questions(dataset)
    shown = [(shown_sample(questions, 10, index), questions) for index in range(5)]
    run = write_run(tmp_path / "run", [step_of(10, CATEGORIES)], shown=shown)
    pictures = tmp_path / "run" / PICTURES
    (pictures / "10-0.jpg").unlink()
    (pictures / "10-1.jpg").write_bytes(b"no picture")
    (pictures / "10-2.jpg").write_bytes((pictures / "10-3.jpg").read_bytes())
    changed = list(run.shown)
    changed[3] = replace(changed[3], frames="../config.toml")
    changed[2] = replace(changed[2], slots=changed[2].slots[:1] * 7)
    samples = list(training_samples(named([replace(run, shown=tuple(changed))]), 9))
    assert [bool(sample.data) for sample in samples] == [False, False, False, False, True]
    for sample, words in zip(
        samples, ("No such file", "decode|JPEG|jpeg", "rows of 8", "no name of a picture"), strict=False
    ):
        assert re.search(words, sample.missing)
        assert not sample.clips
    write_training([replace(run, shown=tuple(changed))], tmp_path / "page.html", most=9)
    assert len(ParsedPage((tmp_path / "page.html").read_text()).of_class("clip")) == 1


def test_training_samples_are_of_the_first_the_last_and_steps_between(dataset: Path, tmp_path: Path) -> None:
    questions = open_questions(dataset)
    shown = [
        replace(shown_sample(questions, step, index), step=step) for step in range(10, 210, 10) for index in range(3)
    ]
    run = replace(write_run(tmp_path / "run", []), shown=tuple(shown))
    samples = list(training_samples(named([run]), 2))
    steps = sorted({sample.step for sample in samples})
    assert (steps[0], steps[-1], len(steps)) == (10, 200, 8)
    assert len(samples) == 16
    assert not any(sample.missing for sample in samples)


def test_json_csv_and_markdown_have_the_same_figures(runs: dict[str, TrainRun]) -> None:
    json_runs = json.loads(as_json(list(runs.values())))["training"]
    assert [json_run["name"] for json_run in json_runs] == list(runs)
    assert [json_run["complete"] for json_run in json_runs] == [True, False, True, False]
    assert json_runs[1]["steps"][1]["loss"] == "nan"
    assert json_runs[0]["steps"][4]["tasks"]["jigsaw"]["smooth"] == runs["full"].steps[4].tasks["jigsaw"].smooth
    assert len(json_runs[0]["failures"]) == 2
    rows = list(csv.DictReader(io.StringIO(comma_separated(list(runs.values())))))
    assert len(rows) == sum(len(run.steps) for run in runs.values())
    rollouts = runs["full"].steps[6].all
    assert rollouts is not None
    assert float(rows[6]["all/strict"]) == rollouts.strict
    assert rows[-1]["all/strict"] == ""
    assert rows[41]["skipped"] == "the loss is not a number"
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in markdown([*runs.values()]).splitlines()[2:]
    ]
    assert [row[0] for row in table[2:]] == [
        "full",
        "odd (unfinished: 2 of 99 steps)",
        "sft",
        "begun (unfinished: 0 steps)",
    ]
    means = ends(runs["full"].steps, of_all("smooth"))
    assert means is not None
    assert table[2][table[0].index("smooth")] == f"{means.first:.1%} → {means.last:.1%}"
    assert table[2][table[0].index("log-probability mismatch")] == f"{logprob_mismatch(runs['full'].steps):.1e}"
    assert table[4][table[0].index("smooth")] == "-"


def test_report_command_tells_training_and_benchmark_runs_apart(
    runs: dict[str, TrainRun],
    benchmark: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = str(runs["full"].path)
    report.command(full, str(runs["odd"].path), out=tmp_path / "page.html")
    assert "2 training runs in" in capsys.readouterr().out
    assert "Training report" in (tmp_path / "page.html").read_text("utf-8")
    report.command(full, format="csv", out=tmp_path / "steps.csv")
    assert len((tmp_path / "steps.csv").read_text().splitlines()) == 41
    capsys.readouterr()
    report.command(full, format="md")
    assert "| full |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="write a report for each kind"):
        report.command(str(benchmark.path), full, format="md")
    with pytest.raises(ValueError, match="are for benchmark runs"):
        report.command(full, format="md", paper=True)
    with pytest.raises(ValueError, match="--out"):
        report.command(full)


@pytest.fixture(scope="module")
def benchmark(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    from videossr.bench.evaluation import evaluate
    from videossr.models.base import ModelSpec
    from videossr.models.baselines import Chance, NoSettings

    folder = tmp_path_factory.mktemp("benchmark") / "chance"
    return evaluate(open_questions(dataset), ModelSpec("chance", Chance, "", NoSettings()), folder)


def test_report_of_a_run_of_the_train_command(
    dataset: Path, browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = make_tiny(tmp_path / "tiny", width=64, layers=2)
    settings = [
        *("run.steps=2", "run.batch=3", "run.dtype=float32", "run.sharding=none", "grpo.rollouts=3"),
        *("grpo.max_tokens=4", "log.samples_every=2", f"model.path={tiny}", f"data.path={dataset}"),
    ]
    train.command("train-paper", *(f"--{setting}" for setting in settings), out=str(tmp_path / "run"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("step") and "loss" in line] == [
        "step 1 of 2",
        "step 2 of 2",
    ]
    report.command(str(tmp_path / "run"), out=tmp_path / "page.html")
    run = read_train_run(tmp_path / "run")
    assert run.manifest is not None
    last = run.steps[-1]
    assert last.all is not None
    assert last.all.groups == sum(setting.groups for setting in last.categories.values()) == 3
    assert set(last.seconds) <= set(PHASES)
    mismatch = logprob_mismatch(run.steps)
    assert mismatch is not None
    assert 0 < mismatch < 1e-3
    assert run.shown
    with open_checked(browser, (tmp_path / "page.html").as_uri()) as page:
        cards = page.locator(".item")
        samples_per_step = Counter(shown.step for shown in run.shown)
        expect(cards).to_have_count(sum(min(count, 2) for count in samples_per_step.values()))
        cards.first.scroll_into_view_if_needed()
        expect(cards.first.locator("script")).to_have_count(0)
        expect(cards.first.locator(".frame")).to_have_count(sum(map(len, run.shown[0].slots)))
        row = page.locator('[data-table="runs"] tbody tr')
        expect(row.locator('[data-name="mismatch"]')).to_have_text(f"{logprob_mismatch(run.steps):.1e}")
        expect(row.locator(".note")).to_have_count(0)
        expect(page.locator('[data-setting="grpo.rollouts"] td').first).to_have_text("3")


def test_running_mean_is_over_the_values_before() -> None:
    assert running_mean([]) == []
    assert running_mean([3.0, 0.0, 0.0, 3.0]) == [3.0, 1.5, 1.0, 1.0]
    assert running_mean([1.0] * 10_000) == [1.0] * 10_000


@pytest.mark.parametrize("values", [[], [float("nan")], [0.0, 0.0], [float("inf"), 1.0], [5.0], [1e-5], [1e-300]])
@pytest.mark.parametrize("log", [False, True])
def test_curve_chart_of_empty_constant_and_infinite_values(values: list[float], log: bool) -> None:
    chart = plots.curve_chart([list(enumerate(values))], '<"&>', log=log, percent=not log)
    assert 'aria-label="&lt;&#34;&amp;&gt;"' in chart
    assert "nan" not in chart.lower()


def test_charts_of_a_long_run_are_small(tmp_path: Path) -> None:
    steps = [step_of(number % 40 + 1, CATEGORIES) for number in range(5000)]
    curves = [(number, step.loss) for number, step in enumerate(steps)]
    assert len(plots.curve_chart([curves], "loss")) < 150_000
    parts = [[step.seconds[phase] for step in steps] for phase in PHASES]
    assert len(plots.stack_chart(range(5000), parts, "time", "s")) < 60_000
