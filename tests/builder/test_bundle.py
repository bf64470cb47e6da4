"""Benchmarks: they contain their packs, can be moved, and their hash covers questions and pixels alone."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from tests.helpers.building import CLIPS, COUNTING, JIGSAW, MIRROR, SWAP, Make, indexed, picture
from tests.helpers.clips import write
from videossr.builder import merging, recipe, splitting
from videossr.builder.builder import Progress, build_dataset
from videossr.builder.recipe import Recipe
from videossr.cli import main
from videossr.corpus.corpus import Corpus
from videossr.corpus.pack import Pack
from videossr.dataset import schema
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.hashing import questions_hash
from videossr.dataset.manifest import Manifest, read_manifest, write_manifest
from videossr.errors import CorpusError, UnmetError
from videossr.storage.paths import file_hash, to_path
from videossr.tasks.base import TASKS
from videossr.templates import load_templates
from videossr.validation.validator import validate
from videossr.video.plan import Plan

pytestmark = pytest.mark.slow

CATEGORIES = {"mirror": (MIRROR, 3), "swap": (SWAP, 1), "jigsaw": (JIGSAW, 2)}
"""At most seven of the sixteen videos are shown."""

Bench = Callable[..., Manifest]

CHILD = """
    import os, signal, sys
    from pathlib import Path
    from videossr.builder import recipe, builder
    from videossr.corpus import pack
    from videossr.corpus.corpus import Corpus
    from videossr.templates import load_templates

    corpus, settings, out, left = *sys.argv[1:4], int(sys.argv[4])
    whole = pack._write_table

    def killed(*given):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*given)

    pack._write_table = killed
    builder.build_dataset(recipe.load_recipe(settings), Corpus(Path(corpus)), Path(out), templates=load_templates())
"""


def make_mixture(categories: Mapping[str, tuple[dict[str, Any], int]]) -> recipe.ResolvedRecipe:
    tables = {category: {**config, "count": count} for category, (config, count) in categories.items()}
    return recipe.ResolvedRecipe(Recipe(name="frozen", benchmark=True, categories=tables), "frozen")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """`bench("name", corpus)` builds `tmp_path/name` and returns its manifest."""

    def build(name: str, corpus: Corpus, categories: Mapping[str, Any] = CATEGORIES, **options: Any) -> Manifest:
        return build_dataset(make_mixture(categories), corpus, tmp_path / name, templates=load_templates(), **options)

    return build


def read_files(folder: Path) -> dict[str, bytes]:
    """Read all files, by their paths in the folder."""
    assert not (folder / ".unfinished").exists()
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def find_failures(folder: Path) -> dict[str, str]:
    return {finding.name: finding.text for finding in validate(VideoSSRDataset(folder)) if finding.holds is False}


def test_benchmark_contains_its_frames_and_can_be_moved(clips: Path, bench: Bench, tmp_path: Path) -> None:
    shutil.copytree(clips, tmp_path / "clips")
    corpus = indexed(tmp_path / "clips")
    frames = {entry.content: b"".join(corpus.pack(entry.content[:2]).pieces(entry)) for entry in corpus.videos}
    manifest = bench("bench", corpus)
    shutil.rmtree(str(corpus.path))
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "bench").rename(tmp_path / "elsewhere/moved")
    shutil.copytree(moved, tmp_path / "copied")
    shutil.rmtree(moved)

    opened = VideoSSRDataset(tmp_path / "copied")
    assert opened.hash == manifest["hash"]
    assert opened.corpus.path == tmp_path / "copied/corpus"
    assert opened.corpus.hash == manifest["corpus"]["hash"] != manifest["corpus"]["source"]
    shown = {key for index in range(len(opened)) for key in opened.sample(index).sources}
    assert {entry.key for entry in opened.corpus.videos} == shown
    assert any(len(opened.sample(index).sources) == 2 for index in range(len(opened))), "a donor is carried too"
    assert len(opened.corpus) == manifest["videos"] < CLIPS
    for entry in opened.corpus.videos:
        assert b"".join(opened.corpus.pack(entry.content[:2]).pieces(entry)) == frames[entry.content]
    assert all(opened.repeats(index) for index in range(len(opened)))
    assert find_failures(tmp_path / "copied") == {}
    with pytest.raises(SystemExit) as exit_info:
        main(["gallery", str(tmp_path / "copied"), "--out", str(tmp_path / "page.html")])
    assert exit_info.value.code in (0, None)
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_benchmark_hash_depends_on_questions_and_pixels_alone(
    made: Corpus, clips: Path, bench: Bench, tmp_path: Path
) -> None:
    """The hash does not depend on file names, folders, workers, or videos that no question shows."""
    first = bench("first", made)
    assert len(first["hash"]) == 64
    assert bench("second", made, workers=2)["hash"] == first["hash"]
    for number, path in enumerate(sorted(clips.iterdir(), reverse=True)):
        (tmp_path / "more" / f"{number % 3}").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "more" / f"{number % 3}/{number}.mp4")
    renamed = indexed(tmp_path / "more")
    assert bench("third", renamed)["hash"] == first["hash"]

    categories = {"mirror": (MIRROR, 3), "jigsaw": (JIGSAW, 2)}
    smaller = bench("few", made, categories)
    for seed in range(3):  # still videos, which no gate admits, but which renumber the videos after them
        write(tmp_path / "more" / f"still{seed}.mp4", np.repeat(picture(90 + seed, 1), 24, axis=0)[:, :, ::-1])
    grown = indexed(tmp_path / "more")
    assert len(grown) == CLIPS + 3
    still = {entry.content for entry in grown.videos if "still" in entry.path}
    jigsaws = bench("more-few", grown, {"jigsaw": categories["jigsaw"]})
    assert jigsaws["categories"]["jigsaw"]["admitted"] == CLIPS
    assert not still & {row["content"] for row in schema.read_file(tmp_path / "more-few/videos.parquet")}
    assert jigsaws["corpus"]["source"] != smaller["corpus"]["source"]
    assert jigsaws["hash"] == bench("alone", made, {"jigsaw": categories["jigsaw"]})["hash"]

    others = [bench("seed", made, seed=1), bench("categories", made, categories)]
    templates = load_templates()
    reworded = {**templates, "jigsaw": {**templates["jigsaw"], "prompt": templates["jigsaw"]["prompt"] + "\nThink."}}
    others.append(build_dataset(make_mixture(CATEGORIES), made, tmp_path / "words", templates=reworded))
    assert len({first["hash"], *(manifest["hash"] for manifest in others)}) == 4


def test_questions_hash_covers_every_part_of_a_question(made: Corpus, bench: Bench, tmp_path: Path) -> None:
    manifest = bench("bench", made)
    rows = list(schema.sample_rows(tmp_path / "bench", manifest["files"]))
    assert questions_hash(rows) == manifest["hash"]
    other: dict[type, Any] = {str: "x", int: 7, list: []}
    for name, value in rows[0].items():
        changed = questions_hash([{**rows[0], name: other[type(value)]}, *rows[1:]]) != manifest["hash"]
        assert changed == (name not in ("seed", "attempt")), name
    assert questions_hash(rows[:-1]) != manifest["hash"]
    assert questions_hash(rows[::-1]) != manifest["hash"]


def test_build_dataset_resumes_a_benchmark_killed_while_packs_are_copied(
    made: Corpus, bench: Bench, tmp_path: Path
) -> None:
    """The build is killed after the frames of a pack were written and before its table was."""
    whole = bench("whole", made)
    settings = tmp_path / "whole/config.toml"
    packs = tmp_path / "killed/corpus/packs"
    for complete in (2, 3):
        arguments = [sys.executable, "-c", dedent(CHILD), str(made.path), str(settings), str(tmp_path / "killed")]
        remaining = complete + 1 - len(list(packs.glob("*.pack")))
        assert subprocess.run([*arguments, str(remaining)], check=False).returncode == -signal.SIGKILL
        assert not (tmp_path / "killed/manifest.json").exists()
        assert not (tmp_path / "killed/corpus/manifest.json").exists()
        assert len(list(packs.glob("??.pack"))) == complete
        assert len(list(packs.glob(".*.partial"))) == 1
    first, second, third = sorted(packs.glob("??.pack"))
    second.write_bytes(second.read_bytes()[:5000])  # as after a power failure or an interrupted copy
    third.rename(packs / "ab.pack")  # a pack that does not belong there
    modified = first.stat().st_mtime_ns
    progress: list[Progress] = []
    assert bench("killed", made, progress=progress.append) == whole
    assert {report.phase for report in progress} == {"packs"}, "something was drawn again"
    assert first.stat().st_mtime_ns == modified
    assert read_files(tmp_path / "killed") == read_files(tmp_path / "whole")


def test_build_dataset_keeps_a_complete_benchmark_and_refuses_other_settings(
    made: Corpus, bench: Bench, tmp_path: Path
) -> None:
    manifest = bench("bench", made)
    before = read_files(tmp_path / "bench")
    assert bench("bench", made) == manifest
    assert read_files(tmp_path / "bench") == before
    with pytest.raises(ValueError, match=r"cannot be replaced: the corpus .* is in it"):
        bench("bench", Corpus(tmp_path / "bench/corpus"), seed=1, rebuild=True)
    with pytest.raises(ValueError, match="made otherwise: seed is 0 there, 1 now"):
        bench("bench", made, seed=1)
    lost = next((tmp_path / "bench/corpus/packs").iterdir())
    lost.unlink()
    with pytest.raises(ValueError, match=rf"packs are not whole: .*{lost.name} is missing.* --rebuild"):
        bench("bench", made)


@pytest.mark.parametrize("harm", ["answer", "frames"])
def test_validate_reports_a_damaged_benchmark(made: Corpus, bench: Bench, tmp_path: Path, harm: str) -> None:
    manifest = bench("bench", made)
    assert find_failures(tmp_path / "bench") == {}
    if harm == "answer":
        path = tmp_path / "bench/samples-00000.parquet"
        rows = schema.read_file(path)
        rows[0]["prompt"] += " Please."
        schema.write_file(rows, path, schema.SCHEMA)
        files = {**manifest["files"], path.name: file_hash(path)}
        write_manifest(tmp_path / "bench", {**manifest, "files": files})
        assert "the samples give" in find_failures(tmp_path / "bench")["hash"]
    else:
        path = next((tmp_path / "bench/corpus/packs").iterdir())
        data = bytearray(path.read_bytes())
        data[-1 - Pack(path).size // 2] ^= 255
        path.write_bytes(data)
        assert path.name in find_failures(tmp_path / "bench")["frames"]


def test_benchmark_clips_refuse_altered_frames(made: Corpus, bench: Bench, tmp_path: Path) -> None:
    bench("bench", made)
    opened = VideoSSRDataset(tmp_path / "bench")
    sample = opened.sample(0)
    entry = opened.corpus.entry(sample.sources[0])
    pack = tmp_path / "bench/corpus/packs" / f"{entry.content[:2]}.pack"
    harmed = bytearray(pack.read_bytes())
    harmed[entry.offset + entry.frame_bytes[0] // 2] ^= 1  # a JPEG that can still be decoded
    pack.write_bytes(harmed)
    with pytest.raises(CorpusError, match="are damaged"):
        VideoSSRDataset(tmp_path / "bench").clips(0)


def test_build_dataset_refuses_a_benchmark_of_uneven_slots(make: Make, bench: Bench, tmp_path: Path) -> None:
    write(tmp_path / "few/clip.mp4", picture(1, frames=80), options={"g": "7", "bf": "2", "preset": "medium"})
    corpus = indexed(tmp_path / "few", Plan(kind="snap", frames=16))
    with pytest.raises(UnmetError, match=r"frozen is a benchmark, whose slots are at equal times; .* --plan uniform"):
        bench("bench", corpus, {"counting": (COUNTING, 1)})
    assert not (tmp_path / "bench").exists()
    make("dataset", corpus, {"counting": (COUNTING, 1)})


def test_build_dataset_exclude_keeps_training_data_and_benchmark_apart(
    made: Corpus, bench: Bench, make: Make, tmp_path: Path
) -> None:
    frozen = bench("bench", made)
    trained = make("train", made, {"jigsaw": (JIGSAW, 12)}, exclude=[tmp_path / "bench"])
    contents_of = [
        {row["content"] for row in schema.read_file(tmp_path / name / "videos.parquet")} for name in ("bench", "train")
    ]
    assert not contents_of[0] & contents_of[1]
    assert trained["excluded"] == [frozen["hash"]]
    apart = bench("apart", made, {"mirror": (MIRROR, 3)}, exclude=[tmp_path / "bench", tmp_path / "train"][:1])
    assert apart["excluded"] == [frozen["hash"]]


def test_split_and_merge_make_ordinary_datasets_of_a_benchmark(
    made: Corpus, bench: Bench, make: Make, tmp_path: Path
) -> None:
    frozen = bench("bench", made, {"mirror": (MIRROR, 3), "jigsaw": (JIGSAW, 3)})
    sides = splitting.split(tmp_path / "bench", (tmp_path / "one", tmp_path / "two"), 3)
    make("more", made, {"counting": (COUNTING, 2)})
    both = merging.merge([tmp_path / "bench", tmp_path / "more"], tmp_path / "both", corpus=made.path).manifest
    for name, manifest in zip(("one", "two", "both"), (*sides, both), strict=True):
        opened = VideoSSRDataset(tmp_path / name)
        assert "benchmark" not in manifest["recipe"]
        assert "source" not in manifest["corpus"]
        assert opened.corpus.path == (made.path if name == "both" else tmp_path / "bench/corpus")
        assert all(opened.repeats(index) for index in range(len(opened)))
    assert both["samples"] == sum(side["samples"] for side in sides) + 2 == frozen["samples"] + 2


def test_build_dataset_writes_a_benchmark_to_a_remote_store(
    made: Corpus, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store, here in memory, takes whole files only."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    local = bench("near", made)
    remote = to_path("memory://bench/frozen")

    def interrupt(progress: Progress) -> None:
        if (progress.phase, progress.done) == ("packs", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_dataset(make_mixture(CATEGORIES), made, remote, templates=load_templates(), progress=interrupt)
    assert not (remote / "manifest.json").exists()
    assert build_dataset(make_mixture(CATEGORIES), made, remote, templates=load_templates()) == local
    opened = VideoSSRDataset("memory://bench/frozen")
    assert str(opened.corpus.path) == "memory://bench/frozen/corpus"
    assert all(opened.repeats(index) for index in range(len(opened)))


@pytest.fixture(scope="module")
def real(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`real("released")` builds that profile of viubench from the real clips, three samples a category."""
    folder = tmp_path_factory.mktemp("real")

    def build(profile: str = "") -> Path:
        out = folder / (profile or "plain")
        if not out.exists():
            arguments = ["build", "viubench", "--corpus", str(corpus.path), "--out", str(out), "--per-category", "3"]
            with pytest.raises(SystemExit) as exit_info:
                main([*arguments, "--workers", "1", *(["--profile", profile] if profile else [])])
            assert exit_info.value.code in (0, None)
        return out

    return build


def test_build_command_makes_viubench_from_real_clips(
    corpus: Corpus, real: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    out = real("")
    captured = capfd.readouterr()
    manifest = read_manifest(out)
    assert manifest["hash"] in captured.out
    assert "at most 65536 pixels, of the 262144" in " ".join(captured.err.split())
    assert list(manifest["categories"]) == sorted(recipe.load_recipe("viubench").categories)
    assert {category["samples"] for category in manifest["categories"].values()} == {3}
    opened = VideoSSRDataset(out)
    sizes = {entry.key: entry.size for entry in corpus.videos}
    for index in range(len(opened)):
        sample = opened.sample(index)
        assert sample.size == sizes[sample.sources[0]], "a pack is used as it is"
        assert len(sample.slots) == 48
    assert find_failures(out) == {}
    with pytest.raises(SystemExit):
        main(["dataset", "info", str(out)])
    assert manifest["hash"] in capfd.readouterr().out


def test_build_command_with_the_released_profile_applies_no_gates(real: Callable[[str], Path]) -> None:
    out = real("released")
    manifest = read_manifest(out)
    assert manifest["recipe"]["name"] == "viubench-released"
    assert manifest["rejected"] == {}
    videos = {category["admitted"] for category in manifest["categories"].values()}
    assert len(videos) == 1
    (admitted,) = videos
    assert admitted > min(category["admitted"] for category in read_manifest(real(""))["categories"].values())
    findings = list(validate(VideoSSRDataset(out)))
    assert not [finding for finding in findings if finding.holds is False]
    assert {finding.holds for finding in findings if finding.name == "borders change"} == {None}


def test_recipe_per_category_sets_the_count_of_every_category() -> None:
    plan = recipe.load_recipe("viubench", {"categories.jigsaw/8.count": "0"}).per_category(5)
    assert {name: category.count for name, category in plan.categories.items()} == dict.fromkeys(
        recipe.load_recipe("viubench").categories.keys() - {"jigsaw/8"}, 5
    )
    assert plan.recipe.benchmark
    assert plan.limited(8).recipe.benchmark


def test_load_recipe_reads_a_profile_from_beside_the_recipe(tmp_path: Path) -> None:
    assert recipe.load_recipe("viubench", profile="released").recipe.name == "viubench-released"
    (tmp_path / "mine-odd.toml").write_text('name = "odd"\n[categories.j]\ntask = "jigsaw"\ncount = 1\n')
    assert recipe.load_recipe(str(tmp_path / "mine.toml"), profile="odd").recipe.name == "odd"
    with pytest.raises(ValueError, match=r"no recipe 'viubench-relesed'.*; did you mean 'viubench-released'"):
        recipe.load_recipe("viubench", profile="relesed")


def test_viubench_released_recipe_differs_from_viubench_in_its_distributions_only() -> None:
    plain, released = recipe.load_recipe("viubench"), recipe.load_recipe("viubench", profile="released")
    assert released.recipe.max_pixels == plain.recipe.max_pixels == 512 * 512
    assert {name: (category.task, category.count) for name, category in released.categories.items()} == {
        name: (category.task, category.count) for name, category in plain.categories.items()
    }
    assert sum(category.count for category in plain.categories.values()) == 2700
    for name, config in released.config.items():
        assert not config.gates
        assert config.frames == 48
        assert plain.config[name].gates
        assert TASKS.get(plain.categories[name].task).Config is type(config)
