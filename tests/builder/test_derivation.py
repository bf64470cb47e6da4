"""Datasets merged and split: valid datasets, no sample twice, no video on both sides."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.building import COUNTING, JIGSAW, MIRROR, SWAP, Make, Run, indexed, picture
from tests.helpers.clips import write
from tests.helpers.killed import kill_at_the_end
from videossr.builder.derivation import write_part
from videossr.builder.merging import merge
from videossr.builder.splitting import split
from videossr.cli import main
from videossr.corpus.corpus import Corpus
from videossr.corpus.merging import merge as merge_corpora
from videossr.dataset import schema
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import Manifest, read_manifest
from videossr.errors import CorpusError
from videossr.storage.output_dir import OutputDir
from videossr.validation.validator import validate

pytestmark = pytest.mark.slow

CATEGORIES = {"mirror": (MIRROR, 14), "jigsaw": (JIGSAW, 8), "counting": (COUNTING, 6)}


def read_rows(dataset: Path, name: str = "samples-00000") -> list[dict[str, Any]]:
    return schema.read_file(dataset / f"{name}.parquet")


def read_ids(dataset: Path) -> list[str]:
    return [row["id"] for row in read_rows(dataset)]


def read_shown(dataset: Path) -> set[str]:
    return {source["content"] for row in read_rows(dataset) for source in row["sources"]}


def assert_whole(dataset: Path, manifest: Manifest) -> None:
    """Check that the dataset is complete, agrees with its manifest and passes every check of `validate`."""
    opened = VideoSSRDataset(dataset)
    assert opened.manifest == manifest == read_manifest(dataset)
    failed = [finding for finding in validate(opened) if finding.holds is False]
    assert not failed
    assert {row["content"] for row in read_rows(dataset, "videos")} == read_shown(dataset)
    uses = Counter(source["content"] for row in read_rows(dataset) for source in row["sources"])
    assert {row["content"]: row["samples"] for row in read_rows(dataset, "videos")} == uses
    assert not (dataset / ".unfinished").exists()


def test_split_puts_the_samples_of_a_video_on_one_side(made: Corpus, make: Make, tmp_path: Path) -> None:
    whole = make("whole", made, CATEGORIES)
    first, second = tmp_path / "first", tmp_path / "deep/er/second"
    manifests = split(tmp_path / "whole", (first, second), 20)
    for folder, manifest in zip((first, second), manifests, strict=True):
        assert_whole(folder, manifest)
        assert manifest["origin"] is not None
        assert [part["hash"] for part in manifest["origin"]["of"]] == [whole["hash"]]
        assert "Split off the dataset" in (folder / "README.md").read_text("utf-8")
    assert sorted([*read_ids(first), *read_ids(second)]) == read_ids(tmp_path / "whole")
    assert 17 <= len(read_ids(first)) <= 20
    assert not read_shown(first) & read_shown(second)
    second_manifests = split(tmp_path / "whole", (tmp_path / "1", tmp_path / "2"), 20)
    assert [manifest["hash"] for manifest in second_manifests] == [manifest["hash"] for manifest in manifests]
    merged = merge([second, first], tmp_path / "back").manifest
    assert_whole(tmp_path / "back", merged)
    assert read_ids(tmp_path / "back") == read_ids(tmp_path / "whole")
    assert merged["recipe"]["categories"] == whole["recipe"]["categories"]


def test_split_resumes_after_an_interrupt(
    made: Corpus, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("whole", made, CATEGORIES)
    whole, first, second = tmp_path / "whole", tmp_path / "first", tmp_path / "second"

    def interrupt(output: OutputDir, *arguments: Any) -> Manifest:
        if output.path == second:
            raise KeyboardInterrupt
        return write_part(output, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr("videossr.builder.splitting.write_part", interrupt)
        with pytest.raises(KeyboardInterrupt):
            split(whole, (first, second), 20)
    modified = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    with pytest.raises(ValueError, match="first is a dataset already"):
        split(whole, (first, second), 8)
    assert not second.exists()
    manifests = split(whole, (first, second), 20)
    for folder, manifest in zip((first, second), manifests, strict=True):
        assert_whole(folder, manifest)
    assert split(whole, (first, second), 20) == manifests
    assert modified == {path: path.stat().st_mtime_ns for path in first.iterdir()}
    (first / "samples-00000.parquet").write_bytes((second / "samples-00000.parquet").read_bytes())
    with pytest.raises(ValueError, match="first is a dataset already"):
        split(whole, (first, second), 20)


def test_split_checks_both_folders_before_writing_one(made: Corpus, make: Make, tmp_path: Path) -> None:
    make("whole", made, CATEGORIES)
    whole, first = tmp_path / "whole", tmp_path / "first"
    (tmp_path / "link").symlink_to(tmp_path)
    for other in (first, tmp_path / "link/first", first / "second", tmp_path):
        with pytest.raises(ValueError, match="the same folder, or one is in the other"):
            split(whole, (first, other), 20)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("precious")
    for other in (tmp_path / "mine", tmp_path / "mine/thesis.txt"):
        with pytest.raises(ValueError, match="holds something that `videossr dataset split` has not made"):
            split(whole, (first, other), 20)
    with pytest.raises(ValueError, match="whole is a dataset already"):
        split(whole, (first, whole), 20)
    assert not first.exists()


def test_split_command_refuses_an_empty_side_before_writing(
    made: Corpus, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Donors join all videos, so few samples of a small side show no video of the other side."""
    make("whole", made, {"swap": (SWAP, 14)})
    refusals, splits = 0, 0
    for count in range(1, 14):
        sides = tmp_path / f"{count}a", tmp_path / f"{count}b"
        with pytest.raises(SystemExit) as exit_info:
            main(["dataset", "split", f"{tmp_path / 'whole'}", "--out", *map(str, sides), "--count", f"{count}"])
        if exit_info.value.code:
            refusals += 1
            assert exit_info.value.code == 2
            message = capsys.readouterr().err
            assert "would show videos of both sides" in message
            assert "another --count or --share" in message
            assert not any(side.exists() for side in sides)
            continue
        splits += 1
        assert all(read_ids(side) for side in sides)
    assert refusals
    assert splits


@pytest.mark.parametrize(("share", "first"), [("0.99", 5), ("0.01", 1)])
def test_split_command_share_leaves_samples_for_both_sides(
    made: Corpus, make: Make, tmp_path: Path, share: str, first: int
) -> None:
    make("whole", made, {"mirror": (MIRROR, 6)})
    with pytest.raises(SystemExit, match="0"):
        main(["dataset", "split", f"{tmp_path / 'whole'}", "--out", f"{tmp_path}/a", f"{tmp_path}/b", "--share", share])
    assert (len(read_ids(tmp_path / "a")), len(read_ids(tmp_path / "b"))) == (first, 6 - first)


def test_split_keeps_samples_of_donors_sources_and_near_duplicates_together(
    clips: Path, make: Make, tmp_path: Path
) -> None:
    """Two of six videos are of one source, and two are near-duplicates."""
    for number, name in enumerate(("a_1", "a_2", "b_1", "c_1", "d_1")):
        path = tmp_path / "six" / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(clips / f"clip_{number:02}.mp4", path)
    write(tmp_path / "six/e_1.avi", picture(2, height=192, width=256), "mpeg4", {"qscale": "6"})
    corpus = indexed(tmp_path / "six", source_id=r"^(\w)_")
    names = {entry.content: entry.path[0] for entry in corpus.videos}
    make("whole", corpus, {"mirror": (MIRROR, 6)})
    sides = []
    for count in range(1, 6):
        split(tmp_path / "whole", (tmp_path / f"{count}a", tmp_path / f"{count}b"), count)
        pair = [{names[content] for content in read_shown(tmp_path / f"{count}{side}")} for side in "ab"]
        assert len(read_ids(tmp_path / f"{count}a")) == count
        assert not pair[0] & pair[1]
        assert any({"b", "e"} <= side for side in pair)
        sides.append(pair)
    assert len({tuple(sorted(pair[0])) for pair in sides}) == 5
    (tmp_path / "two").mkdir()
    for name in ("a_1", "a_2"):
        shutil.copy(tmp_path / f"six/{name}.mp4", tmp_path / "two")
    make("tied", indexed(tmp_path / "two", source_id=r"^(\w)_"), {"swap": (SWAP, 4)})
    with pytest.raises(ValueError, match=r"tied cannot be split so: of 1 groups .* the smallest has 4 .*corpus split"):
        split(tmp_path / "tied", (tmp_path / "x", tmp_path / "y"), 3)
    assert not (tmp_path / "x").exists()


def test_split_command_leaves_out_samples_that_join_both_sides(
    made: Corpus, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make("whole", made, {"mirror": (MIRROR, 20), "swap": (SWAP, 20)})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_info:
        main(["dataset", "split", "whole", "--out", "a", "b", "--share", "0.75"])
    assert exit_info.value.code == 0
    output = capsys.readouterr().out
    a, b = tmp_path / "a", tmp_path / "b"
    for side in (a, b):
        assert_whole(side, read_manifest(side))
    assert not read_shown(a) & read_shown(b)
    refused = [*read_rows(a, "rejected"), *read_rows(b, "rejected")]
    assert {(row["category"], row["reason"], row["value"]) for row in refused} == {("swap", "both_sides", 1)}
    assert len(read_ids(a)) + len(read_ids(b)) + len(refused) == 40
    assert Counter(row["category"] for row in [*read_rows(a), *read_rows(b)])["mirror"] == 20, (
        "what shows one video is kept"
    )
    assert len(read_ids(a)) > len(read_ids(b)) > 0
    assert f"{len(refused)} samples show videos of both sides, and are in neither" in output
    assert f"left out, swap: both_sides: {len(read_rows(a, 'rejected'))}" in output
    with pytest.raises(SystemExit):
        main(["dataset", "split", "whole", "--out", "a", "b", "--share", "0.75"])
    assert capsys.readouterr().out == output


def test_split_leaves_nothing_out_for_a_few_donors(made: Corpus, make: Make, tmp_path: Path) -> None:
    """Whole groups give the first side about as many samples as it asks for."""
    make("whole", made, {"mirror": (MIRROR, 24), "swap": (SWAP, 2)})
    sides = split(tmp_path / "whole", (tmp_path / "a", tmp_path / "b"), 18)
    assert sum(side["samples"] for side in sides) == 26
    assert sides[0]["samples"] >= 16
    assert not read_shown(tmp_path / "a") & read_shown(tmp_path / "b")


def test_merge_datasets_of_one_corpus(made: Corpus, make: Make, tmp_path: Path) -> None:
    one = make("one", made, CATEGORIES)
    two = make("two", made, {"mirror": (MIRROR, 20), "swap": (SWAP, 3)})
    merged = merge([tmp_path / "one", tmp_path / "two"], tmp_path / "both")
    assert_whole(tmp_path / "both", merged.manifest)
    assert not merged.near
    equal = set(read_ids(tmp_path / "one")) & set(read_ids(tmp_path / "two"))
    assert len(equal) >= 1, "nothing is in both"
    assert merged.manifest["samples"] == one["samples"] + two["samples"] - len(equal)
    assert merged.manifest["rejected"] == {"mirror: drawn_before": len(equal)}
    assert merged.manifest["recipe"]["categories"]["swap"]["count"] == 3
    assert merged.manifest["origin"] is not None
    assert [part["recipe"] for part in merged.manifest["origin"]["of"]] == [one["recipe"], two["recipe"]]
    with pytest.raises(ValueError, match=r"both holds a dataset that was made otherwise: origin\.of\.1\.hash is"):
        merge([tmp_path / "two", tmp_path / "one"], tmp_path / "both")


def test_merge_datasets_of_several_corpora(made: Corpus, make: Make, tmp_path: Path) -> None:
    write(tmp_path / "new/again.avi", picture(3, height=192, width=256), "mpeg4", {"qscale": "6"})
    write(tmp_path / "new/fresh.mp4", picture(103))
    new = indexed(tmp_path / "new")
    make("old", made, {"jigsaw": (JIGSAW, 16)})
    make("late", new, {"mirror": (MIRROR, 2), "swap": (SWAP, 1)})
    pair = [tmp_path / "old", tmp_path / "late"]
    with pytest.raises(ValueError, match="different corpora: name one that has the videos of all with --corpus"):
        merge(pair, tmp_path / "both")
    with pytest.raises(CorpusError, match="has no video"):
        merge(pair, tmp_path / "both", corpus=made.path)
    merge_corpora([made, new], tmp_path / "corpus")
    merged = merge(pair, tmp_path / "both", corpus=tmp_path / "corpus")
    assert_whole(tmp_path / "both", merged.manifest)
    assert [near[:2] for near in merged.near] == [("again.avi", "clip_03.mp4")]
    assert merged.manifest["samples"] == 19
    dropped = merge(pair, tmp_path / "apart", corpus=tmp_path / "corpus", drop_near=True)
    assert_whole(tmp_path / "apart", dropped.manifest)
    (copy,) = (entry.content for entry in new.videos if entry.path == "again.avi")
    showing = [row for row in read_rows(tmp_path / "late") if copy in {source["content"] for source in row["sources"]}]
    assert dropped.manifest["samples"] == 19 - len(showing) < 19
    left_out = read_rows(tmp_path / "apart", "rejected")
    assert {(row["path"], row["reason"]) for row in left_out} == {("again.avi", "near_duplicate")}
    assert {row["twin"] for row in left_out} == {"clip_03.mp4"}
    assert all(row["value"] >= row["threshold"] for row in left_out)


def test_merge_and_split_refuse_what_does_not_fit_together(made: Corpus, make: Make, tmp_path: Path) -> None:
    make("one", made, {"mirror": (MIRROR, 2)})
    longer = {"task": "grounding", "config": {**MIRROR["config"], "length": [4, 7]}}  # type: ignore[dict-item]
    make("two", made, {"mirror": (longer, 2)})
    with pytest.raises(ValueError, match=r"categories\.mirror has another config in .*two than in .*one"):
        merge([tmp_path / "one", tmp_path / "two"], tmp_path / "both")
    with pytest.raises(ValueError, match="two datasets or more"):
        merge([tmp_path / "one"], tmp_path / "both")
    with pytest.raises(ValueError, match="has 2 samples: 2 of them leave none"):
        split(tmp_path / "one", (tmp_path / "a", tmp_path / "b"), 2)
    assert not (tmp_path / "both").exists()
    assert not (tmp_path / "a").exists()


def test_dataset_command_examples_of_the_help_run_as_printed(
    made: Corpus, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo").mkdir()
    make("demo/dataset", made, CATEGORIES)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as exit_info:
            main(arguments)
        out, err = capsys.readouterr()
        assert exit_info.value.code == 0, err
        return out

    for verb in ("info", "merge", "split"):
        (example,) = re.findall(
            rf"Example: videossr (dataset {verb} .*)$", run("dataset", verb, "--help"), re.MULTILINE
        )
        output = run(*shlex.split(example))
        if verb == "info":
            assert json.loads(output)["samples"] == 28
    assert_whole(tmp_path / "demo/both", read_manifest(tmp_path / "demo/both"))
    assert "split" in run("dataset", "info", "demo/a")


def test_a_merge_that_is_complete_is_left_alone(made: Corpus, make: Make, run: Run, tmp_path: Path) -> None:
    """Also after a kill in the last moment; another merge into the folder is refused by the keys that differ."""
    write(tmp_path / "new/again.avi", picture(3, height=192, width=256), "mpeg4", {"qscale": "6"})
    write(tmp_path / "new/fresh.mp4", picture(103))
    new = indexed(tmp_path / "new")
    merge_corpora([made, new], tmp_path / "corpus")
    make("old", made, {"jigsaw": (JIGSAW, 16)})
    make("late", new, {"mirror": (MIRROR, 4)})
    old, late, both = (f"{tmp_path / name}" for name in ("old", "late", "both"))
    words = ["dataset", "merge", old, late, "--out", both, "--corpus", f"{tmp_path / 'corpus'}"]
    kill_at_the_end(*words, "--drop-near")
    assert (tmp_path / "both/.unfinished/task.json").is_file()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "both").iterdir() if path.is_file()}
    for _ in range(2):
        status, out, err = run(*words, "--drop-near")
        assert (status, err) == (0, "")
        assert "both was complete already, merged from the same datasets: nothing was written" in " ".join(out.split())
        assert "again.avi looks like clip_03.mp4" in " ".join(out.split())
        assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "both").iterdir()}
    for other, told in {
        (*words,): "made otherwise: rejected.mirror: near_duplicate is ",
        (*words[:2], late, old, *words[4:], "--drop-near"): "made otherwise: origin.of.1.hash is ",
        (*words[:4], old, *words[4:], "--drop-near"): "origin.of.3 is not set there, a table now",
    }.items():
        status, out, err = run(*other)
        assert (status, out) == (2, "")
        assert told in " ".join(err.split())
    (tmp_path / "both/videos.parquet").write_bytes(b"")
    status, out, err = run(*words, "--drop-near")
    assert (status, out) == (2, "")
    assert "videos.parquet is missing or altered since it was merged. Choose another --out, or delete" in err
    (tmp_path / "both/manifest.json").write_text("{")
    status, out, err = run(*words, "--drop-near")
    assert (status, out) == (2, "")
    assert "manifest.json: not valid JSON" in err
    assert "Choose another --out, or delete" in err


def test_a_split_that_was_killed_in_the_last_moment_leaves_nothing(
    made: Corpus, make: Make, run: Run, tmp_path: Path
) -> None:
    make("whole", made, {"mirror": (MIRROR, 4)})
    words = ["dataset", "split", f"{tmp_path / 'whole'}", "--out", f"{tmp_path}/a", f"{tmp_path}/b", "--count", "2"]
    kill_at_the_end(*words)
    assert (tmp_path / "a/.unfinished").is_dir()
    assert run(*words)[0] == 0
    assert not (tmp_path / "a/.unfinished").exists()
