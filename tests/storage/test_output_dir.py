"""An output folder: which runs may write to it, how a run resumes, and which files remain."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from videossr.errors import OutputError
from videossr.storage.output_dir import UNFINISHED, OutputDir, check_apart
from videossr.storage.paths import AnyPath, to_path, write_text


def corpus_dir(path: AnyPath, verb: str = "index") -> OutputDir:
    return OutputDir(path, verb, "corpus")


def begin_and_stop(output: OutputDir, spec: dict[str, object]) -> None:
    """Begin an output and stop before it is complete."""

    def work() -> None:
        with output.open(spec) as staging:
            (staging / "work").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()


def test_open_resumes_a_stopped_run_and_removes_staging_at_its_end(tmp_path: Path) -> None:
    output = corpus_dir(tmp_path / "out")
    begin_and_stop(output, {"size": (1, 2)})
    with output.open({"size": [1, 2]}) as staging:
        assert (staging / "work").read_text() == "half"
        write_text(output.path / "manifest.json", "{}")
    assert [path.name for path in output.path.iterdir()] == ["manifest.json"]


def test_open_refuses_an_unfinished_output_of_another_spec_key_by_key(tmp_path: Path) -> None:
    output = corpus_dir(tmp_path / "out")
    begin_and_stop(output, {"plan": {"frames": 8}, "quality": 90})
    with pytest.raises(OutputError) as raised, output.open({"plan": {"frames": 9}, "quality": 90}):
        pass
    assert str(raised.value) == (
        f"{output.path} holds an unfinished `videossr index` that was begun otherwise: plan.frames is 8 there, 9 now. "
        f"Finish it with its own command, choose another --out, or delete {output.path}"
    )
    merge = corpus_dir(output.path, "corpus merge").open({})
    with pytest.raises(OutputError, match=r"unfinished `videossr index`: finish it with its own command"), merge:
        pass
    assert (output.path / UNFINISHED / "work").read_text() == "half"


def test_refuse_differences_and_refuse_complete_say_what_to_do(tmp_path: Path) -> None:
    output = OutputDir(tmp_path, "build", "dataset")
    output.refuse_differences([])
    with pytest.raises(OutputError) as raised:
        output.refuse_differences(["seed is 0 there, 1 now", "a"], way_out="replace it with --rebuild")
    assert str(raised.value) == (
        f"{tmp_path} holds a dataset that was made otherwise: seed is 0 there, 1 now; a. Choose another --out, or "
        "replace it with --rebuild"
    )
    with pytest.raises(OutputError, match=r"is a dataset already \(smoke\); choose another --out"):
        output.refuse_complete("smoke")


@pytest.mark.parametrize("remote", [False, True])
def test_open_and_check_free_refuse_a_folder_of_other_files(
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


def test_open_refuses_a_folder_in_use(tmp_path: Path) -> None:
    output = corpus_dir(tmp_path / "out")
    with output.open({}):
        for second_run in (output.open({}), output.open(reopen=True)):
            with (
                pytest.raises(OutputError, match="another run is at work there; wait, or choose another --out"),
                second_run,
            ):
                pass
        with pytest.raises(OutputError, match="another run is at work there"):
            output.remove_leftovers()
        (output.path / "manifest.json").touch()
    assert [path.name for path in output.path.iterdir()] == ["manifest.json"]


def test_open_leaves_nothing_when_a_run_fails_before_it_writes(tmp_path: Path) -> None:
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


def test_remove_leftovers_deletes_the_staging_of_a_killed_run(tmp_path: Path) -> None:
    output = corpus_dir(tmp_path / "out")
    output.remove_leftovers()
    begin_and_stop(output, {})
    output.remove_leftovers()
    assert not list(output.path.iterdir())


def test_check_apart_refuses_nested_folders(tmp_path: Path) -> None:
    check_apart(tmp_path / "a", tmp_path / "ab")
    for other in (tmp_path / "a", tmp_path / "a/b", tmp_path, tmp_path / "b/../a"):
        with pytest.raises(OutputError, match="the same folder, or one is in the other"):
            check_apart(tmp_path / "a", other)


@pytest.mark.parametrize("damaged", ["", "[]", '{"verb": 3}', "{"])
def test_open_names_a_damaged_task_file(tmp_path: Path, damaged: str) -> None:
    output = corpus_dir(tmp_path / "out")
    begin_and_stop(output, {"size": 1})
    (output.path / UNFINISHED / "task.json").write_text(damaged)
    with pytest.raises(OutputError, match=r"task\.json is damaged: delete "), output.open({"size": 1}):
        pass


@pytest.mark.parametrize(
    "name",
    [
        ".unfinished",
        ".unfinished/lock",
        ".unfinished/task.json",
        ".unfinished/parts",
        ".unfinished/journal.sqlite-journal",
        "packs",
        "packs/00.pack",
        "samples.jsonl",
    ],
)
@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_a_folder_whose_links_lead_out_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    if kind == "file":
        outside.write_text("mine")
    elif kind == "folder":
        outside.mkdir()
        (outside / "lock").write_text("mine")
    link = tmp_path / "out" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    output = corpus_dir(tmp_path / "out")
    before = tree(tmp_path)
    with pytest.raises(OutputError) as refused, output.open({}, reopen=True):
        pass
    assert str(refused.value).startswith(f"{link} is a link that leads out of {output.path}, ")
    with pytest.raises(OutputError), output.open({}):
        pass
    if (output.path / UNFINISHED).exists():
        with pytest.raises(OutputError):
            output.remove_leftovers()
    assert tree(tmp_path) == before


def test_a_staging_directory_that_is_a_link_is_refused_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / "packs").mkdir()
    (tmp_path / UNFINISHED).symlink_to("packs")
    with pytest.raises(OutputError, match=r"\.unfinished is a link"), corpus_dir(tmp_path).open(reopen=True):
        pass
    assert list((tmp_path / "packs").iterdir()) == []


def test_a_pipe_in_a_folder_stops_no_command(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "steps.jsonl")
    with (
        pytest.raises(OutputError, match=r"steps\.jsonl is .* a pipe or device"),
        corpus_dir(tmp_path).open(reopen=True),
    ):
        pass


def test_links_inside_the_folder_and_a_folder_that_is_named_by_a_link_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "disk/checkpoints/step-000001").mkdir(parents=True)
    (tmp_path / "disk/model").symlink_to("checkpoints/step-000001")
    (tmp_path / "run").symlink_to("disk")
    with corpus_dir(tmp_path / "run").open(reopen=True):
        pass
    assert (tmp_path / "run/model").resolve() == tmp_path / "disk/checkpoints/step-000001"


def test_temporary_files_that_a_kill_has_left_are_removed(tmp_path: Path) -> None:
    output = corpus_dir(tmp_path / "out")
    begin_and_stop(output, {})
    (output.path / "packs").mkdir()
    for name in ("packs/.00.pack.0a1b2c3d.partial", ".manifest.json.partial", "packs/.hidden", "x.partial"):
        (output.path / name).touch()
    with output.open({}):
        pass
    assert sorted(path.name for path in output.path.rglob("*")) == [".hidden", "packs", "x.partial"]


def tree(top: Path) -> dict[str, tuple[int, int, str]]:
    """All that is in a folder: the times and modes of files, and where links lead."""
    return {
        path.relative_to(top).as_posix(): (
            path.lstat().st_mtime_ns,
            path.lstat().st_mode,
            str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else "",
        )
        for path in top.rglob("*")
    }


def test_a_damaged_claim_is_replaced_where_the_work_is_known_to_be_of_the_command(tmp_path: Path) -> None:
    output = corpus_dir(tmp_path / "out")
    begin_and_stop(output, {"size": 1})
    claim = output.staging / "task.json"
    claim.write_text("{")
    with output.open({"size": 2}, replace_claim=True) as staging:
        assert (staging / "work").read_text() == "half"
        assert claim.read_text() == '{"verb": "index", "size": 2}'
    begin_and_stop(output, {"size": 1})
    with pytest.raises(OutputError, match="size is 1 there, 2 now"), output.open({"size": 2}, replace_claim=True):
        pass
