"""Errors of a plug-in task name the task, the method and the sample, wherever it is called."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.helpers.building import indexed, picture
from tests.helpers.clips import write
from tests.helpers.plugins import write_entry_points
from videossr.bench.evaluation import evaluate
from videossr.bench.records import Prediction
from videossr.bench.scoring import score_prediction
from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe, ResolvedRecipe
from videossr.cli import main
from videossr.corpus.corpus import Corpus
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import CorpusError, TaskError
from videossr.rewards import scorer
from videossr.sample import Sample
from videossr.tasks.base import TASKS, OpenTask, answer_type_of, open_task
from videossr.templates import load_templates
from videossr.validation.validator import validate

PLUGIN = """
    from pathlib import Path

    from pydantic.dataclasses import dataclass

    from videossr.answers.base import AnswerType
    from videossr.question import Clip, Question, Truth
    from videossr.rewards import Scores
    from videossr.sample import Sample

    FAULT = Path(__file__).with_name("fault")


    def fail(method):
        if FAULT.exists() and FAULT.read_text() == method:
            return {"what": 1}["it needs"]


    @dataclass(frozen=True)
    class Config:
        pass


    def score(answer, gold):
        fail("reward")
        right = float(answer == gold)
        return Scores(right, right, True)


    def score_by_task(answer, gold):
        fail("score")
        return score(answer, gold)


    class Brittle:
        name = "brittle"
        Config = Config
        answer_type = AnswerType("brittle", score_by_task)

        def required_frames(self, config):
            fail("required_frames")
            return 16 if FAULT.exists() and FAULT.read_text() == "one number" else (16, 1)

        def gates(self, video, config):
            fail("gates")
            return ()

        def draw(self, video, category, config, rng, donors):
            fail("draw")
            if FAULT.exists() and FAULT.read_text() == "nothing":
                return None
            slots = tuple((0, slot) for slot in range(16))
            number = int(rng.integers(1, 1000))
            return Sample("brittle", category, (video.key,), slots, video.clock, video.size, {"n": number}, str(number))

        def render(self, frames, sample):
            fail("render")
            return [] if FAULT.exists() and FAULT.read_text() == "no clip" else [Clip(frames, sample.clock)]

        def question(self, sample, wording):
            fail("question")
            return Question(sample.id, "videossr/brittle", "", "<video> Which?", sample.answer, (sample.clock,))

        def truth(self, sample):
            fail("truth")
            return Truth()

        def difficulty(self, sample):
            fail("difficulty")
            return {}
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("two") / "clips"
    for number in range(2):
        write(folder / f"clip_{number}.mp4", picture(number))
    return indexed(folder)


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install the task `brittle`, and return a file: the method whose name is written into it fails."""
    name = f"brittle_{tmp_path.name}"
    site = tmp_path / "site"
    write_entry_points(
        site,
        "brittle",
        f"[videossr.tasks]\nbrittle = {name}:Brittle\n[videossr.rewards]\nbrittle = {name}:score\n",
    )
    (site / f"{name}.py").write_text(dedent(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    monkeypatch.syspath_prepend(str(site))
    yield site / "fault"
    TASKS._items.pop("brittle", None)
    scorer.cache_clear()
    answer_type_of.cache_clear()


def mixture(count: int = 2) -> ResolvedRecipe:
    return recipe.ResolvedRecipe(Recipe(name="made", categories={"odd": {"task": "brittle", "count": count}}), "made")


@pytest.mark.parametrize(
    ("method", "subject"),
    [
        ("required_frames", ""),
        ("gates", r", video \w{12}"),
        ("draw", r", video \w{12} \(category odd\)"),
        ("render", r", sample \w{20} \(category odd\)"),
        ("question", r", sample \w{20} with these templates \(category odd\)"),
    ],
)
def test_build_dataset_names_the_failing_method_and_its_input(
    fault: Path, corpus: Corpus, tmp_path: Path, method: str, subject: str
) -> None:
    fault.write_text(method)
    source_line = r" \(brittle_\w+\.py, line \d+\)"
    video_name = "" if method == "required_frames" else r"; the video is clip_\d\.mp4"
    error = rf"KeyError: 'it needs'{source_line}{video_name}$"
    message = rf"task 'brittle' \(brittle_\w+\.Brittle\) failed in {method}{subject}: {error}"
    with pytest.raises(TaskError, match=message):
        build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates())
    fault.unlink()
    assert build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates())["samples"] == 2


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("one number", r"failed in required_frames: TypeError: it must return two whole numbers.*, and returned 16"),
        ("no clip", r"failed in render, sample .*: TypeError: it must return one Clip or more, and returned \[\]"),
    ],
)
def test_build_dataset_checks_what_methods_return(
    fault: Path, corpus: Corpus, tmp_path: Path, returned: str, message: str
) -> None:
    fault.write_text(returned)
    with pytest.raises(TaskError, match=message):
        build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates())


def test_build_dataset_in_worker_processes_gives_the_same_error(fault: Path, corpus: Corpus, tmp_path: Path) -> None:
    fault.write_text("render")
    with pytest.raises(TaskError, match=r"failed in render, sample \w{20} .*; the video is clip_\d\.mp4$") as raised:
        build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates(), workers=2)
    assert "in a worker process" in "".join(raised.value.__notes__)


def test_build_dataset_checks_what_draw_returns(fault: Path, corpus: Corpus, tmp_path: Path) -> None:
    fault.write_text("nothing")
    with pytest.raises(TaskError, match=r"failed in draw.*must return a Sample or a Rejection, and returned None"):
        build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates())


def test_reading_and_scoring_name_the_failing_method_and_sample(fault: Path, corpus: Corpus, tmp_path: Path) -> None:
    build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates())
    dataset = VideoSSRDataset(tmp_path / "out")
    sample = dataset.sample(1)
    calls: dict[str, Callable[[], object]] = {
        "render": lambda: dataset.clips(1),
        "truth": lambda: dataset[1],
        "difficulty": lambda: dataset.difficulty(1),
        "score": lambda: dataset.score(1, "7"),
    }
    for method, call in calls.items():
        fault.write_text(method)
        with pytest.raises(TaskError, match=f"'brittle' .* failed in {method}, sample {sample.id} .*KeyError"):
            call()
    (failed,) = [finding for finding in validate(dataset) if finding.name == "gold scores 1"]
    assert failed.holds is False
    assert "2 of 2 do not: task 'brittle'" in failed.text
    assert "failed in score, sample" in failed.text
    fault.write_text("reward")
    prediction = Prediction("q-7", 0, "odd", "videossr/brittle", "7", {}, (0,), 1000, texts=("7",), finish=("stop",))
    with pytest.raises(ValueError, match="question q-7: the scorer of videossr/brittle failed: KeyError: 'it needs'"):
        score_prediction(prediction)


def test_build_command_reports_a_task_error_in_one_line(
    fault: Path, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fault.write_text("draw")
    (tmp_path / "odd.toml").write_text('name = "odd"\n[categories.odd]\ntask = "brittle"\ncount = 1\n')
    words = ["build", str(tmp_path / "odd.toml"), "--corpus", str(corpus.path), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as raised:
        main([*words, "--workers", "1"])
    assert raised.value.code == 2
    (message,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("videossr: ")]
    assert "task 'brittle'" in message
    assert "failed in draw" in message
    assert "clip_" in message


def test_open_task_names_code_that_cannot_be_loaded(fault: Path) -> None:
    next(fault.parent.glob("brittle_*.py")).write_text("import nothing_of_this_name\n")
    with pytest.raises(ValueError, match=r"'brittle' \(brittle_.*of the package brittle\) cannot be loaded: ModuleNot"):
        open_task("brittle")


def test_build_dataset_says_how_to_write_missing_gates(fault: Path, corpus: Corpus, tmp_path: Path) -> None:
    code = next(fault.parent.glob("brittle_*.py"))
    code.write_text(code.read_text("utf-8").replace("def gates(", "def admits("))
    message = (
        r"'brittle' \(brittle_\w+\.Brittle\) has no method gates\(video, config\), which yields a videossr\.Measure"
    )
    with pytest.raises(ValueError, match=message):
        build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates())


def test_build_dataset_checks_what_gates_yields(fault: Path, corpus: Corpus, tmp_path: Path) -> None:
    code = next(fault.parent.glob("brittle_*.py"))
    code.write_text(code.read_text("utf-8").replace("return ()", "return [None]"))
    with pytest.raises(TaskError, match=r"failed in gates, video \w{12}: TypeError: it must give a videossr\.Measure"):
        build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates())


def test_tasks_can_be_pickled(fault: Path) -> None:
    assert not fault.exists()
    for name in ("brittle", "jigsaw"):
        task = pickle.loads(pickle.dumps(open_task(name)))
        assert task.name == name
        assert task.even_clock is (name == "jigsaw")


def test_a_damaged_corpus_is_no_task_error(fault: Path, corpus: Corpus, tmp_path: Path) -> None:
    assert not fault.exists()
    copy = Corpus(shutil.copytree(str(corpus.path), tmp_path / "copy"))
    build_dataset(mixture(), copy, tmp_path / "out", templates=load_templates())
    for pack in (tmp_path / "copy/packs").iterdir():
        data = bytearray(pack.read_bytes())
        data[100] ^= 255
        pack.write_bytes(data)
    with pytest.raises(CorpusError, match="are damaged") as raised:
        VideoSSRDataset(tmp_path / "out").clips(0)
    assert not isinstance(raised.value, TaskError)


def returning(fault: Path, method: str, value: str) -> None:
    """Let a method of `brittle`, which it has or not, return this value; imports of the plug-in are at hand."""
    code = next(fault.parent.glob("brittle_*.py"))
    code.write_text(code.read_text("utf-8") + f"\n\nBrittle.{method} = lambda self, *given: {value}\n")


SAMPLE = r", sample \w{20} \(category odd\)"


@pytest.mark.parametrize(
    ("method", "value", "said"),
    [
        ("required_frames", "(0, -1)", r": TypeError: it must return two whole numbers from 1 on.*returned \(0, -1\)"),
        ("question", "'Which?'", r", sample .*: TypeError: it must return a Question, and returned 'Which\?'"),
        ("truth", "None", SAMPLE + ": TypeError: it must return a Truth, and returned None"),
        ("difficulty", "7", SAMPLE + ": TypeError: it must return a mapping of names to numbers.*, and returned 7"),
        ("difficulty", "{'hard': None}", SAMPLE + r": TypeError: .*, and returned \{'hard': None\}"),
        ("perturbations", "'mirror'", ": TypeError: it must return names of perturbations, and returned 'mirror'"),
    ],
)
def test_a_build_refuses_what_a_method_may_not_return(
    fault: Path, corpus: Corpus, tmp_path: Path, method: str, value: str, said: str
) -> None:
    returning(fault, method, value)
    with pytest.raises(TaskError, match=rf"task 'brittle' \(brittle_\w+\.Brittle\) failed in {method}{said}"):
        build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates())
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize(
    ("altered", "said"),
    [
        (
            ('{"n": number}', '{"n": object()}'),
            r"draw, video \w{12} \(category odd\): TypeError: .*params \{'n': <object.*is not JSON serializable",
        ),
        (
            ('{"n": number}', '{"n": float("nan")}'),
            r"draw, video \w{12} \(category odd\): TypeError: .*params \{'n': nan\}.*not JSON compliant",
        ),
        (
            ("right = float(answer == gold)", "right = 0.5"),
            f"draw{SAMPLE}: ValueError: its answer .* must score 1 by the answer type 'brittle', and gets Scores",
        ),
        (
            ('fail("reward")', 'raise ValueError(f"gold answer {gold!r} has no color")'),
            f"score{SAMPLE}: ValueError: gold answer .* has no color",
        ),
        (("return Scores(right, right, True)", "return right"), f"score{SAMPLE}: TypeError: it must return Scores"),
    ],
    ids=["params", "a number that is none", "half right", "malformed", "no scores"],
)
def test_a_build_refuses_a_sample_that_could_not_be_stored_or_scored(
    fault: Path, corpus: Corpus, tmp_path: Path, altered: tuple[str, str], said: str
) -> None:
    code = next(fault.parent.glob("brittle_*.py"))
    assert altered[0] in code.read_text("utf-8")
    code.write_text(code.read_text("utf-8").replace(*altered))
    with pytest.raises(TaskError, match=f"task 'brittle' .* failed in {said}.*; the video is clip_"):
        build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates())


@pytest.mark.parametrize(
    ("method", "value", "call", "said"),
    [
        ("checks", "['no']", lambda task, sample: task.checks([sample]), r"a Check for .*, and returned \['no'\]"),
        ("unaltered", "5", lambda task, sample: task.unaltered(sample, [16]), "for each slot, and returned 5"),
        ("shown_params", "3", lambda task, sample: task.shown_params(sample), "names to values, and returned 3"),
        (
            "answer_distribution",
            "'foo'",
            lambda task, _: task.answer_distribution(None),
            "Distribution.*returned 'foo'",
        ),
    ],
)
def test_readers_refuse_what_an_optional_method_may_not_return(
    fault: Path,
    corpus: Corpus,
    tmp_path: Path,
    method: str,
    value: str,
    call: Callable[[OpenTask, Sample], object],
    said: str,
) -> None:
    returning(fault, method, value)
    build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates())
    with pytest.raises(TaskError, match=f"task 'brittle' .* failed in {method}.*: TypeError: it must return .*{said}"):
        call(open_task("brittle"), VideoSSRDataset(tmp_path / "out").sample(0))


def test_a_config_that_is_no_dataclass_is_named(fault: Path) -> None:
    code = next(fault.parent.glob("brittle_*.py"))
    code.write_text(code.read_text("utf-8").replace("Config = Config", "Config = dict"))
    said = r"'brittle' \(brittle_\w+\.Brittle\) must have a Config that is a frozen pydantic dataclass, and has <class"
    with pytest.raises(TaskError, match=said):
        open_task("brittle")


def test_a_distribution_that_is_none_is_refused_before_anything_is_asked(
    fault: Path, corpus: Corpus, tmp_path: Path
) -> None:
    returning(fault, "answer_distribution", "'foo'")
    build_dataset(mixture(), corpus, tmp_path / "out", templates=load_templates())
    with pytest.raises(TaskError, match=r"'brittle' .* failed in answer_distribution: .* and returned 'foo'"):
        evaluate(tmp_path / "out", "openai:model@http://127.0.0.1:9", tmp_path / "run")
    assert not (tmp_path / "run").exists()
