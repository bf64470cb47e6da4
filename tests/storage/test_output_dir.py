"""An output folder: who may write to it, what goes on in it, and what is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from videossr.errors import OutputError
from videossr.storage.output_dir import UNFINISHED, OutputDir, check_apart
from videossr.storage.paths import AnyPath, to_path, write_text


def corpus_dir(path: AnyPath, verb: str = "index") -> OutputDir:
    return OutputDir(path, verb, "corpus")


def stopped(output: OutputDir, spec: dict[str, object]) -> None:
    """Begin an output, and stop in the middle."""

    def work() -> None:
        with output.open(spec) as staging:
            (staging / "work").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()


def test_a_stopped_run_goes_on_and_leaves_nothing_when_it_is_complete(tmp_path: Path) -> None:
    output = corpus_dir(tmp_path / "out")
    stopped(output, {"size": (1, 2)})
    with output.open({"size": [1, 2]}) as staging:
        assert (staging / "work").read_text() == "half"
        write_text(output.path / "manifest.json", "{}")
    assert [path.name for path in output.path.iterdir()] == ["manifest.json"]


def test_an_unfinished_output_of_another_spec_is_refused_key_by_key(tmp_path: Path) -> None:
    output = corpus_dir(tmp_path / "out")
    stopped(output, {"plan": {"frames": 8}, "quality": 90})
    with pytest.raises(OutputError) as refused, output.open({"plan": {"frames": 9}, "quality": 90}):
        pass
    assert str(refused.value) == (
        f"{output.path} holds an unfinished `videossr index` that was begun otherwise: plan.frames is 8 there, 9 now. "
        f"Finish it with its own command, choose another --out, or delete {output.path}"
    )
    merge = corpus_dir(output.path, "corpus merge").open({})
    with pytest.raises(OutputError, match=r"unfinished `videossr index`: finish it with its own command"), merge:
        pass
    assert (output.path / UNFINISHED / "work").read_text() == "half"


def test_a_complete_output_that_was_made_otherwise_is_refused(tmp_path: Path) -> None:
    output = OutputDir(tmp_path, "build", "dataset")
    output.refuse_differences([])
    with pytest.raises(OutputError) as refused:
        output.refuse_differences(["seed is 0 there, 1 now", "a"], way_out="replace it with --rebuild")
    assert str(refused.value) == (
        f"{tmp_path} holds a dataset that was made otherwise: seed is 0 there, 1 now; a. Choose another --out, or "
        "replace it with --rebuild"
    )
    with pytest.raises(OutputError, match=r"is a dataset already \(smoke\); choose another --out"):
        output.refuse_complete("smoke")


@pytest.mark.parametrize("remote", [False, True])
def test_a_folder_that_holds_something_else_is_left_alone(
    remote: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = to_path("memory://thesis") if remote else tmp_path / "thesis"
    if not remote:
        folder.mkdir()
    write_text(folder / "text.txt", "precious")
    output = OutputDir(folder, "index", "corpus")
    with pytest.raises(OutputError, match="holds something that `videossr index` has not made; choose another --out"):
        output.check_free()
    with pytest.raises(OutputError, match="has not made"), output.open():
        pass
    assert [path.name for path in folder.iterdir()] == ["text.txt"]
    assert not (tmp_path / "cache").exists()
    with output.open(reopen=True):
        pass
    assert (folder / "text.txt").read_text() == "precious"


def test_one_run_at_a_time(tmp_path: Path) -> None:
    output = corpus_dir(tmp_path / "out")
    with output.open({}):
        for again in (output.open({}), output.open(reopen=True)):
            with pytest.raises(OutputError, match="another run is at work there; wait, or choose another --out"), again:
                pass
        with pytest.raises(OutputError, match="another run is at work there"):
            output.remove_leftovers()
        (output.path / "manifest.json").touch()
    assert [path.name for path in output.path.iterdir()] == ["manifest.json"]


def test_a_run_that_fails_before_it_writes_leaves_nothing(tmp_path: Path) -> None:
    def fail(output: OutputDir, *, reopen: bool = False) -> None:
        with pytest.raises(ValueError, match="no model"), output.open({"limit": 1}, reopen=reopen):
            raise ValueError("no model")

    fail(corpus_dir(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    fail(corpus_dir(tmp_path / "empty"))
    assert not list((tmp_path / "empty").iterdir())
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/config.toml").touch()
    fail(corpus_dir(tmp_path / "ours"), reopen=True)
    assert (tmp_path / "ours/config.toml").exists()


def test_leftovers_of_a_run_that_was_killed_after_its_last_file_are_removed(tmp_path: Path) -> None:
    output = corpus_dir(tmp_path / "out")
    output.remove_leftovers()
    stopped(output, {})
    output.remove_leftovers()
    assert not list(output.path.iterdir())


def test_two_outputs_are_apart(tmp_path: Path) -> None:
    check_apart(tmp_path / "a", tmp_path / "ab")
    for other in (tmp_path / "a", tmp_path / "a/b", tmp_path, tmp_path / "b/../a"):
        with pytest.raises(OutputError, match="the same folder, or one is in the other"):
            check_apart(tmp_path / "a", other)


@pytest.mark.parametrize("damaged", ["", "[]", '{"verb": 3}', "{"])
def test_a_damaged_claim_is_named(tmp_path: Path, damaged: str) -> None:
    output = corpus_dir(tmp_path / "out")
    stopped(output, {"size": 1})
    (output.path / UNFINISHED / "task.json").write_text(damaged)
    with pytest.raises(OutputError, match=r"task\.json is damaged: delete "), output.open({"size": 1}):
        pass


def test_a_damaged_claim_is_replaced_where_the_work_is_known_to_be_of_the_command(tmp_path: Path) -> None:
    output = corpus_dir(tmp_path / "out")
    stopped(output, {"size": 1})
    claim = output.staging / "task.json"
    claim.write_text("{")
    with output.open({"size": 2}, replace_claim=True) as staging:
        assert (staging / "work").read_text() == "half"
        assert claim.read_text() == '{"verb": "index", "size": 2}'
    stopped(output, {"size": 1})
    with pytest.raises(OutputError, match="size is 1 there, 2 now"), output.open({"size": 2}, replace_claim=True):
        pass
