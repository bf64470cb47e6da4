"""Benchmarks: they carry their packs, can be moved, and their hash stands for questions and pixels alone."""

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
from videossr.builder.bundle import questions_hash
from videossr.builder.recipe import Recipe
from videossr.cli import main
from videossr.corpus.corpus import Corpus
from videossr.corpus.pack import Pack
from videossr.dataset import schema
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import Manifest, read_manifest, write_manifest
from videossr.errors import CorpusError, UnmetError
from videossr.storage.paths import file_hash, to_path
from videossr.tasks.base import TASKS
from videossr.templates import load_templates
from videossr.validation.validator import validate
from videossr.video.plan import Plan

CATEGORIES = {"mirror": (MIRROR, 3), "swap": (SWAP, 1), "jigsaw": (JIGSAW, 2)}
"""Of sixteen videos, seven at the most are shown."""

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


def mixture(categories: Mapping[str, tuple[dict[str, Any], int]]) -> recipe.ResolvedRecipe:
    tables = {category: {**config, "count": count} for category, (config, count) in categories.items()}
    return recipe.ResolvedRecipe(Recipe(name="frozen", benchmark=True, categories=tables), "frozen")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """`bench("name", corpus)` builds `tmp_path/name` and returns its manifest."""

    def run(name: str, corpus: Corpus, categories: Mapping[str, Any] = CATEGORIES, **options: Any) -> Manifest:
        return build_dataset(mixture(categories), corpus, tmp_path / name, templates=load_templates(), **options)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """All files, by their paths in the folder."""
    assert not (folder / ".unfinished").exists()
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def failures(folder: Path) -> dict[str, str]:
    return {found.name: found.text for found in validate(VideoSSRDataset(folder)) if found.holds is False}


def test_it_holds_all_that_it_needs_and_can_be_moved(clips: Path, bench: Bench, tmp_path: Path) -> None:
    shutil.copytree(clips, tmp_path / "clips")
    corpus = indexed(tmp_path / "clips")
    whole = {entry.content: b"".join(corpus.pack(entry.content[:2]).pieces(entry)) for entry in corpus.videos}
    made = bench("bench", corpus)
    shutil.rmtree(str(corpus.path))
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "bench").rename(tmp_path / "elsewhere/moved")
    shutil.copytree(moved, tmp_path / "copied")
    shutil.rmtree(moved)

    opened = VideoSSRDataset(tmp_path / "copied")
    assert opened.hash == made["hash"]
    assert opened.corpus.path == tmp_path / "copied/corpus"
    assert opened.corpus.hash == made["corpus"]["hash"] != made["corpus"]["source"]
    shown = {key for index in range(len(opened)) for key in opened.sample(index).sources}
    assert {entry.key for entry in opened.corpus.videos} == shown
    assert any(len(opened.sample(index).sources) == 2 for index in range(len(opened))), "a donor is carried too"
    assert len(opened.corpus) == made["videos"] < CLIPS
    for entry in opened.corpus.videos:
        assert b"".join(opened.corpus.pack(entry.content[:2]).pieces(entry)) == whole[entry.content]
    assert all(opened.repeats(index) for index in range(len(opened)))
    assert failures(tmp_path / "copied") == {}
    with pytest.raises(SystemExit) as done:
        main(["gallery", str(tmp_path / "copied"), "--out", str(tmp_path / "page.html")])
    assert done.value.code in (0, None)
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_the_hash_is_that_of_questions_and_pixels(made: Corpus, clips: Path, bench: Bench, tmp_path: Path) -> None:
    """Not of names, places, workers, or of videos that no question shows."""
    first = bench("first", made)
    assert len(first["hash"]) == 64
    assert bench("second", made, workers=2)["hash"] == first["hash"]
    for number, path in enumerate(sorted(clips.iterdir(), reverse=True)):
        (tmp_path / "more" / f"{number % 3}").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "more" / f"{number % 3}/{number}.mp4")
    renamed = indexed(tmp_path / "more")
    assert bench("third", renamed)["hash"] == first["hash"]

    several = {"mirror": (MIRROR, 3), "jigsaw": (JIGSAW, 2)}
    few = bench("few", made, several)
    for seed in range(3):  # that stand still: no gate admits them, but every video after them has another number
        write(tmp_path / "more" / f"still{seed}.mp4", np.repeat(picture(90 + seed, 1), 24, axis=0)[:, :, ::-1])
    grown = indexed(tmp_path / "more")
    assert len(grown) == CLIPS + 3
    still = {entry.content for entry in grown.videos if "still" in entry.path}
    more = bench("more-few", grown, {"jigsaw": several["jigsaw"]})
    assert more["categories"]["jigsaw"]["admitted"] == CLIPS
    assert not still & {row["content"] for row in schema.read_file(tmp_path / "more-few/videos.parquet")}
    assert more["corpus"]["source"] != few["corpus"]["source"]
    assert more["hash"] == bench("alone", made, {"jigsaw": several["jigsaw"]})["hash"]

    others = [bench("seed", made, seed=1), bench("categories", made, several)]
    templates = load_templates()
    asked = {**templates, "jigsaw": {**templates["jigsaw"], "prompt": templates["jigsaw"]["prompt"] + "\nThink."}}
    others.append(build_dataset(mixture(CATEGORIES), made, tmp_path / "words", templates=asked))
    assert len({first["hash"], *(manifest["hash"] for manifest in others)}) == 4


def test_the_hash_covers_every_part_of_a_question(made: Corpus, bench: Bench, tmp_path: Path) -> None:
    manifest = bench("bench", made)
    rows = list(schema.sample_rows(tmp_path / "bench", manifest["files"]))
    assert questions_hash(rows) == manifest["hash"]
    other: dict[type, Any] = {str: "x", int: 7, list: []}
    for name, value in rows[0].items():
        changed = questions_hash([{**rows[0], name: other[type(value)]}, *rows[1:]]) != manifest["hash"]
        assert changed == (name not in ("seed", "attempt")), name
    assert questions_hash(rows[:-1]) != manifest["hash"]
    assert questions_hash(rows[::-1]) != manifest["hash"]


def test_killed_while_packs_are_copied(made: Corpus, bench: Bench, tmp_path: Path) -> None:
    """Each time after the frames of a pack were written, and before its table was."""
    whole = bench("whole", made)
    settings = tmp_path / "whole/config.toml"
    packs = tmp_path / "killed/corpus/packs"
    for kept in (2, 3):
        words = [sys.executable, "-c", dedent(CHILD), str(made.path), str(settings), str(tmp_path / "killed")]
        left = kept + 1 - len(list(packs.glob("*.pack")))
        assert subprocess.run([*words, str(left)], check=False).returncode == -signal.SIGKILL
        assert not (tmp_path / "killed/manifest.json").exists()
        assert not (tmp_path / "killed/corpus/manifest.json").exists()
        assert len(list(packs.glob("??.pack"))) == kept
        assert len(list(packs.glob(".*.partial"))) == 1
    first, second, third = sorted(packs.glob("??.pack"))
    second.write_bytes(second.read_bytes()[:5000])  # a disk that lost power, a copy by hand that was stopped
    third.rename(packs / "ab.pack")  # one that does not belong there
    before = first.stat().st_mtime_ns
    progress: list[Progress] = []
    assert bench("killed", made, progress=progress.append) == whole
    assert {now.phase for now in progress} == {"packs"}, "something was drawn again"
    assert first.stat().st_mtime_ns == before
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_benchmark_is_made_once(made: Corpus, bench: Bench, tmp_path: Path) -> None:
    manifest = bench("bench", made)
    before = contents(tmp_path / "bench")
    assert bench("bench", made) == manifest
    assert contents(tmp_path / "bench") == before
    with pytest.raises(ValueError, match=r"cannot be replaced: the corpus .* is in it"):
        bench("bench", Corpus(tmp_path / "bench/corpus"), seed=1, rebuild=True)
    with pytest.raises(ValueError, match="made otherwise: seed is 0 there, 1 now"):
        bench("bench", made, seed=1)
    lost = next((tmp_path / "bench/corpus/packs").iterdir())
    lost.unlink()
    with pytest.raises(ValueError, match=rf"packs are not whole: .*{lost.name} is missing.* --rebuild"):
        bench("bench", made)


@pytest.mark.parametrize("harm", ["answer", "frames"])
def test_validation_notices_harm(made: Corpus, bench: Bench, tmp_path: Path, harm: str) -> None:
    manifest = bench("bench", made)
    assert failures(tmp_path / "bench") == {}
    if harm == "answer":
        path = tmp_path / "bench/samples-00000.parquet"
        rows = schema.read_file(path)
        rows[0]["prompt"] += " Please."
        schema.write_file(rows, path, schema.SCHEMA)
        files = {**manifest["files"], path.name: file_hash(path)}
        write_manifest(tmp_path / "bench", {**manifest, "files": files})
        assert "the samples give" in failures(tmp_path / "bench")["frozen hash"]
    else:
        path = next((tmp_path / "bench/corpus/packs").iterdir())
        data = bytearray(path.read_bytes())
        data[-1 - Pack(path).size // 2] ^= 255
        path.write_bytes(data)
        assert path.name in failures(tmp_path / "bench")["frames"]


def test_frames_other_than_those_of_the_hash_are_never_shown(made: Corpus, bench: Bench, tmp_path: Path) -> None:
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


def test_a_corpus_of_moved_slots_is_refused(make: Make, bench: Bench, tmp_path: Path) -> None:
    write(tmp_path / "few/clip.mp4", picture(1, frames=80), options={"g": "7", "bf": "2", "preset": "medium"})
    corpus = indexed(tmp_path / "few", Plan(kind="snap", frames=16))
    with pytest.raises(UnmetError, match=r"frozen is a benchmark, whose slots are at equal times; .* --plan uniform"):
        bench("bench", corpus, {"counting": (COUNTING, 1)})
    assert not (tmp_path / "bench").exists()
    make("dataset", corpus, {"counting": (COUNTING, 1)})


def test_training_data_is_kept_apart(made: Corpus, bench: Bench, make: Make, tmp_path: Path) -> None:
    frozen = bench("bench", made)
    trained = make("train", made, {"jigsaw": (JIGSAW, 12)}, exclude=[tmp_path / "bench"])
    contents_of = [
        {row["content"] for row in schema.read_file(tmp_path / name / "videos.parquet")} for name in ("bench", "train")
    ]
    assert not contents_of[0] & contents_of[1]
    assert trained["excluded"] == [frozen["hash"]]
    again = bench("apart", made, {"mirror": (MIRROR, 3)}, exclude=[tmp_path / "bench", tmp_path / "train"][:1])
    assert again["excluded"] == [frozen["hash"]]


def test_its_parts_are_ordinary_datasets(made: Corpus, bench: Bench, make: Make, tmp_path: Path) -> None:
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


def test_it_may_lie_elsewhere(made: Corpus, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a store that knows whole files only, here in memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    near = bench("near", made)
    far = to_path("memory://bench/frozen")

    def stop(progress: Progress) -> None:
        if (progress.phase, progress.done) == ("packs", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_dataset(mixture(CATEGORIES), made, far, templates=load_templates(), progress=stop)
    assert not (far / "manifest.json").exists()
    assert build_dataset(mixture(CATEGORIES), made, far, templates=load_templates()) == near
    opened = VideoSSRDataset("memory://bench/frozen")
    assert str(opened.corpus.path) == "memory://bench/frozen/corpus"
    assert all(opened.repeats(index) for index in range(len(opened)))


@pytest.fixture(scope="module")
def real(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`real("released")`: what the command makes of a profile of viubench from the real clips, three a category."""
    where = tmp_path_factory.mktemp("real")

    def run(profile: str = "") -> Path:
        out = where / (profile or "plain")
        if not out.exists():
            words = ["build", "viubench", "--corpus", str(corpus.path), "--out", str(out), "--per-category", "3"]
            with pytest.raises(SystemExit) as done:
                main([*words, "--workers", "1", *(["--profile", profile] if profile else [])])
            assert done.value.code in (0, None)
        return out

    return run


def test_the_papers_benchmark_from_real_clips(
    corpus: Corpus, real: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    out = real("")
    told = capfd.readouterr()
    manifest = read_manifest(out)
    assert manifest["hash"] in told.out
    assert "at most 65536 pixels, of the 262144" in " ".join(told.err.split())
    assert list(manifest["categories"]) == sorted(recipe.load_recipe("viubench").categories)
    assert {category["samples"] for category in manifest["categories"].values()} == {3}
    opened = VideoSSRDataset(out)
    sizes = {entry.key: entry.size for entry in corpus.videos}
    for index in range(len(opened)):
        sample = opened.sample(index)
        assert sample.size == sizes[sample.sources[0]], "a pack is used as it is"
        assert len(sample.slots) == 48
    assert failures(out) == {}
    with pytest.raises(SystemExit):
        main(["dataset", "info", str(out)])
    assert manifest["hash"] in capfd.readouterr().out


def test_the_released_distributions_claim_nothing_of_gates(real: Callable[[str], Path]) -> None:
    out = real("released")
    manifest = read_manifest(out)
    assert manifest["recipe"]["name"] == "viubench-released"
    assert manifest["rejected"] == {}
    videos = {category["admitted"] for category in manifest["categories"].values()}
    assert len(videos) == 1
    (admitted,) = videos
    assert admitted > min(category["admitted"] for category in read_manifest(real(""))["categories"].values())
    found = list(validate(VideoSSRDataset(out)))
    assert not [finding for finding in found if finding.holds is False]
    assert {finding.holds for finding in found if finding.name == "borders change"} == {None}


def test_every_category_gets_as_many() -> None:
    plan = recipe.load_recipe("viubench", {"categories.jigsaw/8.count": "0"}).per_category(5)
    assert {name: category.count for name, category in plan.categories.items()} == dict.fromkeys(
        recipe.load_recipe("viubench").categories.keys() - {"jigsaw/8"}, 5
    )
    assert plan.recipe.benchmark
    assert plan.limited(8).recipe.benchmark


def test_profiles_are_recipes_beside_a_recipe(tmp_path: Path) -> None:
    assert recipe.load_recipe("viubench", profile="released").recipe.name == "viubench-released"
    (tmp_path / "mine-odd.toml").write_text('name = "odd"\n[categories.j]\ntask = "jigsaw"\ncount = 1\n')
    assert recipe.load_recipe(str(tmp_path / "mine.toml"), profile="odd").recipe.name == "odd"
    with pytest.raises(ValueError, match=r"no recipe 'viubench-relesed'.*; did you mean 'viubench-released'"):
        recipe.load_recipe("viubench", profile="relesed")


def test_the_released_recipe_is_the_benchmark_with_other_distributions() -> None:
    ours, theirs = recipe.load_recipe("viubench"), recipe.load_recipe("viubench", profile="released")
    assert theirs.recipe.max_pixels == ours.recipe.max_pixels == 512 * 512
    assert {name: (category.task, category.count) for name, category in theirs.categories.items()} == {
        name: (category.task, category.count) for name, category in ours.categories.items()
    }
    assert sum(category.count for category in ours.categories.values()) == 2700
    for name, config in theirs.config.items():
        assert not config.gates
        assert config.frames == 48
        assert ours.config[name].gates
        assert TASKS.get(ours.categories[name].task).Config is type(config)
