"""Models of other packages: an error of their code names the model and the method, wherever it is called."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.helpers.plugins import write_entry_points
from videossr.bench.evaluation import evaluate
from videossr.bench.records import read_run
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import ConfigError, ModelError
from videossr.models.base import MODELS, model_spec

PLUGIN = """
    from pydantic.dataclasses import dataclass

    from videossr.models.base import Given, Model, Response


    @dataclass(frozen=True)
    class Settings:
        fault: str = ""


    class Parrot:
        Settings = Settings
        tuning = frozenset({"fault"})

        def __init__(self, target, settings, questions):
            self.fault = settings.fault
            self.fail("__init__")
            self.waited = "long" if self.fault == "waited" else 0.0

        def fail(self, method):
            if self.fault == method:
                return {"what": 1}["it needs"]

        def describe(self):
            self.fail("describe")
            return {"made": object() if self.fault == "no JSON" else "today"}

        def answer(self, requests, decoding):
            self.fail("answer")
            for request in requests:
                if self.fault == "text":
                    yield "x"
                elif self.fault == "number":
                    yield Response(request.index, (3,), ("stop",))
                elif self.fault == "other":
                    yield Response(-1, ("x",), ("stop",))
                elif self.fault == "third" and request.index == 2:
                    self.fail("third")
                else:
                    yield Response(request.index, (request.question.answer,), ("stop",))


    class Derived(Parrot, Model[Settings]):
        def resume(self, description):
            self.fail("resume")


    class Given(Parrot):
        @classmethod
        def given(cls, target, questions):
            return {"what": 1}["it needs"]
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The models `parrot`, which has what it must, and `derived`, installed; their setting `fault` names what fails."""
    name = f"parrot_{tmp_path.name}"
    site = tmp_path / "site"
    write_entry_points(
        site,
        "parrot",
        f"[videossr.models]\nparrot = {name}:Parrot\nderived = {name}:Derived\ngiven = {name}:Given\n"
        f"instance = {name}:PLUGIN\n",
    )
    (site / f"{name}.py").write_text(dedent(PLUGIN) + "\n\nPLUGIN = 3\n")
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    monkeypatch.syspath_prepend(str(site))
    yield site
    for added in ("parrot", "derived", "given", "instance"):
        MODELS._items.pop(added, None)


LINE = r" \(parrot_\w+\.py, line \d+\)$"
LOST = "KeyError: 'it needs'" + LINE


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("__init__", f"__init__: {LOST}"),
        ("waited", "waited: ValueError: could not convert string to float"),
        ("describe", f"describe: {LOST}"),
        ("no JSON", "describe: TypeError: Object of type object is not JSON serializable"),
        ("answer", f"answer: {LOST}"),
        ("text", "answer: TypeError: it must yield a Response for each question, and yielded 'x'"),
        ("number", "answer: TypeError: texts and finish of a Response are tuples of str"),
    ],
)
def test_a_run_names_the_model_and_the_method(dataset: Path, tmp_path: Path, fault: str, said: str) -> None:
    with pytest.raises(ModelError, match=rf"^model 'parrot' \(parrot_\w+\.Parrot\) failed in {said}") as raised:
        evaluate(dataset, model_spec("parrot", {"fault": fault}), tmp_path / "run")
    assert isinstance(raised.value.__cause__, KeyError | TypeError | ValueError)


@pytest.mark.usefixtures("plugin")
def test_a_question_that_was_not_asked_is_named_with_the_model(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="model 'parrot' answered question -1, which is not open"):
        evaluate(dataset, model_spec("parrot", {"fault": "other"}), tmp_path / "run")


@pytest.mark.usefixtures("plugin")
def test_what_was_answered_before_a_failure_is_kept_and_the_run_goes_on(dataset: Path, tmp_path: Path) -> None:
    questions = VideoSSRDataset(dataset)
    with pytest.raises(ModelError, match="failed in answer: KeyError"):
        evaluate(questions, model_spec("parrot", {"fault": "third"}), tmp_path / "run")
    assert [p.index for p in read_run(tmp_path / "run").predictions] == [0, 1]
    done = evaluate(questions, model_spec("parrot"), tmp_path / "run")
    assert not any(p.error for p in done.predictions)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("kind", ["parrot", "derived"])
def test_a_run_is_resumed_with_or_without_a_method_for_it(
    dataset: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = model_spec(kind)
    whole = spec.kind.answer
    with monkeypatch.context() as patched:
        patched.setattr(spec.kind, "answer", lambda self, requests, decoding: whole(self, list(requests)[:2], decoding))
        first = evaluate(dataset, spec, tmp_path / "run", stop_after=0)
    assert sum(not p.error for p in first.predictions) == 2
    seen: list[object] = []
    if kind == "derived":
        monkeypatch.setattr(spec.kind, "resume", lambda self, description: seen.append(description))
    done = evaluate(dataset, spec, tmp_path / "run")
    assert not any(p.error for p in done.predictions)
    assert seen == [{"made": "today"}] * (kind == "derived")


@pytest.mark.usefixtures("plugin")
def test_given_answers_are_asked_for_under_the_models_name(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"^model 'given' \(parrot_\w+\.Given\) failed in given: {LOST}"):
        evaluate(dataset, "given", tmp_path / "run")


@pytest.mark.usefixtures("plugin")
def test_a_kind_that_is_no_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'instance' \(parrot_\w+\) must be a class with Settings.*, and is 3"):
        model_spec("instance")


def test_the_command_prints_one_line_and_the_traceback_on_demand(plugin: Path, dataset: Path, tmp_path: Path) -> None:
    words = ["bench", "run", str(dataset), "--model", "parrot", "--model.fault=answer", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "videossr.cli", *words]
    environment = {name: value for name, value in os.environ.items() if name != "VIDEOSSR_TRACEBACK"}
    brief = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert brief.returncode == 2
    assert "videossr: model 'parrot'" in brief.stderr
    assert "Traceback" not in brief.stderr
    whole = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment | {"VIDEOSSR_TRACEBACK": "1"}
    )
    code = next(plugin.glob("parrot_*.py"))
    assert f'File "{code}"' in whole.stderr
    assert "KeyError: 'it needs'" in whole.stderr
