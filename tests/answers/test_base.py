"""Answer types: found by data source, declared by tasks, added by other packages; no other module names a task."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

import videossr
from tests.helpers.plugins import write_entry_points
from videossr.answers.base import ANSWER_TYPES, GUESSES, AnswerType
from videossr.answers.choice import CHOICE
from videossr.answers.counts import COUNTS, Counts
from videossr.answers.interval import INTERVAL, SpanDistribution, uniform_spans
from videossr.answers.order import ORDER
from videossr.clock import uniform_clock
from videossr.question import Question
from videossr.rewards import compute_score, is_scored, scorer
from videossr.tasks.base import TASKS, answer_type_of, open_task, task_of

ROOT = Path(videossr.__file__).parent
GOLD = {"interval": "10-20", "counts": "3,1,4", "order": "312", "choice": "B"}

NAMES_OF_TASKS = re.compile(r"\b(grounding|counting|jigsaw)\b")

MAY_NAME_TASKS = {
    "rewards.py": "data sources, which a trainer asks for by name",
    "bench/viubench.py": "categories and abilities of the paper's benchmark",
    "dataset/published/dataset.py": "data sources of the rows that the paper's authors published",
    "dataset/published/formats/easyvideor1.py": "problem types of the rows that EasyVideoR1 reads",
    "cli/build.py": "examples in a help text",
    "cli/dataset.py": "an example in a help text",
    "templates.py": "the texts of perturbations stand in the table of the task that uses them",
    "validation/shortcuts.py": "the name of a check in reports",
    "validation/traces.py": "it probes the perturbations of one task",
}
"""Modules outside `answers` and `tasks` that name a task, and why; recipes are no modules."""

PLUGIN = """
    from pydantic.dataclasses import dataclass

    from videossr.answers.base import AnswerType
    from videossr.answers.interval import INTERVAL
    from videossr.rewards import Scores


    def score(answer, gold):
        return Scores(float(answer == gold), float(answer == gold), answer.startswith("#"))


    COLOR = AnswerType("color", score, metric="hits")


    @dataclass(frozen=True)
    class Config:
        pass


    class Silent:
        Config = Config

        def gates(self, video, config):
            return ()


    class When(Silent):
        answer_type = INTERVAL


    class Which(Silent):
        answer_type = AnswerType("which", score, metric="found")


    class Computed(Silent):
        @property
        def answer_type(self):
            return INTERVAL
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Four tasks and an answer type of another package; no task has a scorer of its own."""
    module = f"typed_{tmp_path.name}"
    write_entry_points(
        tmp_path,
        "typed",
        f"[videossr.tasks]\nwhen = {module}:When\nwhich = {module}:Which\n"
        f"computed = {module}:Computed\nsilent = {module}:Silent\n"
        f"[videossr.answers]\ncolor = {module}:COLOR\n",
    )
    (tmp_path / f"{module}.py").write_text(dedent(PLUGIN))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for registry in (TASKS._items, ANSWER_TYPES._items):
        for name in ("when", "which", "computed", "silent", "color"):
            registry.pop(name, None)
    scorer.cache_clear()
    answer_type_of.cache_clear()


def make_question(data_source: str, answer: str) -> Question:
    return Question("q", data_source, "", "<video> ?", answer, (uniform_clock(48, 48_000),))


def test_answer_type_of_finds_the_type_of_every_data_source() -> None:
    assert answer_type_of("videossr/grounding") is answer_type_of("grounding") is INTERVAL
    assert answer_type_of("shuffled") is answer_type_of("videossr/jigsaw") is ORDER
    assert isinstance(answer_type_of("counting"), Counts)
    assert [task_of(source) for source in ("shuffled", "videossr/jigsaw")] == ["jigsaw", "jigsaw"]
    for name, kind in {"interval": INTERVAL, "counts": COUNTS, "order": ORDER, "choice": CHOICE}.items():
        assert answer_type_of(f"videossr/{name}") is ANSWER_TYPES.get(name) is kind
        assert scorer(f"videossr/{name}") is kind.score
    with pytest.raises(ValueError, match=r"'videossr/riddle'.*Known: .*videossr/interval"):
        answer_type_of("videossr/riddle")
    assert not is_scored("videossr/riddle")


@pytest.mark.parametrize("name", GOLD)
def test_answer_type_parses_scores_describes_and_guesses(name: str) -> None:
    kind, gold = ANSWER_TYPES.get(name), GOLD[name]
    assert kind.parse(gold, gold) is not None
    assert kind.parse("I cannot tell", gold) is None
    right, wrong = kind.score(gold, gold), kind.score("I cannot tell", gold)
    assert (kind.value(right), kind.value(wrong)) == (1, 0)
    assert kind.describe([right, wrong]).startswith("smooth 0.500, strict 0.500")
    probabilities = kind.distribution([make_question(f"videossr/{name}", gold)] * 3)
    for guess in GUESSES:
        text = probabilities.text(guess, np.random.default_rng(0), uniform_clock(48, 48_000))
        assert kind.score(text, gold).parsed
        assert 0 <= probabilities.expected_score(guess).score <= 1
    assert list(probabilities.checks([])) == [check for check in probabilities.checks([]) if check.holds is None]


def test_answer_type_metric_is_that_of_each_type() -> None:
    assert (INTERVAL.metric, INTERVAL.value(INTERVAL.score("10-15", "10-20"))) == ("miou", 0.5)
    assert COUNTS.metric == "per_shape"
    assert COUNTS.value(COUNTS.score("3,9,9", "3,1,4")) == pytest.approx(1 / 3)
    assert (ORDER.metric, ORDER.value(ORDER.score("132", "312"))) == ("exact", 0)
    assert [kind.overlap for kind in (INTERVAL, COUNTS, ORDER, CHOICE)] == [True, False, False, False]


@pytest.mark.usefixtures("plugin")
def test_answer_type_of_reads_the_attribute_of_a_plugin_task() -> None:
    for task in ("when", "computed"):
        assert answer_type_of(f"videossr/{task}") is INTERVAL
        assert compute_score(f"videossr/{task}", "10-15", "10-20")["smooth"] == 0.5
    which = answer_type_of("videossr/which")
    assert (which.metric, which.value(which.score("#f00", "#f00"))) == ("found", 1)
    assert compute_score("videossr/which", "#f00", "#0f0") == {"score": 0, "smooth": 0, "strict": 0, "parsed": 1}
    probabilities = which.distribution(
        [make_question("videossr/which", answer) for answer in ("#f00", "#f00", "#0f0", "#00f")]
    )
    assert probabilities.expected_score("constant").score == 0.5


@pytest.mark.usefixtures("plugin")
def test_answer_type_of_finds_an_answer_type_of_a_plugin() -> None:
    color = answer_type_of("videossr/color")
    assert isinstance(color, AnswerType)
    assert (color.name, color.metric) == ("color", "hits")
    assert compute_score("videossr/color", "#f00", "#f00")["score"] == 1


@pytest.mark.usefixtures("plugin")
def test_open_task_refuses_a_task_without_an_answer_type() -> None:
    with pytest.raises(ValueError, match=r"'silent' .*has no answer_type.*answer_type = INTERVAL"):
        open_task("silent")


def test_uniform_spans_are_uniform_in_length_and_then_in_position() -> None:
    probabilities = uniform_spans(6, 2, 3)
    assert sum(probabilities.values()) == pytest.approx(1)
    assert probabilities[0, 1] == pytest.approx(1 / 2 / 5)
    assert probabilities[3, 5] == pytest.approx(1 / 2 / 4)
    late = uniform_spans(6, 2, 3, lambda length: range(1, 6 - length))
    assert sorted(late) == [(1, 2), (1, 3), (2, 3), (2, 4), (3, 4)]
    assert late[1, 2] == pytest.approx(1 / 2 / 3)
    assert (
        SpanDistribution(6, probabilities).expected_score("constant").score
        >= SpanDistribution(6, probabilities).expected_score("uniform").score
    )


def texts_naming_tasks(path: Path) -> list[str]:
    """Find the texts of a module, without docstrings, and its imports that name a task."""
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]
    imports = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return [text for text in texts + imports if NAMES_OF_TASKS.search(text)]


def test_modules_outside_answers_and_tasks_do_not_name_a_task() -> None:
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if path.relative_to(ROOT).parts[0] not in ("answers", "tasks")
        # Grounding is there a domain of public benchmarks, as in the paper's tables.
        and path.relative_to(ROOT).parts[:2] != ("bench", "public")
        and texts_naming_tasks(path)
    }
    assert modules == set(MAY_NAME_TASKS)


def test_templates_do_not_name_a_task() -> None:
    templates = [path.name for path in ROOT.rglob("*.jinja") if NAMES_OF_TASKS.search(path.read_text("utf-8"))]
    assert not templates
