"""What bears the hash of a dataset is what was hashed: altered rows are refused wherever the hash is quoted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from videossr.builder.builder import build_dataset
from videossr.cli import main
from videossr.corpus.corpus import Corpus
from videossr.dataset import schema
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.hashing import check_hash, dataset_hash, read_checked
from videossr.dataset.manifest import Manifest, file_hashes, read_manifest, write_manifest
from videossr.errors import CorpusError, DataError
from videossr.validation.validator import validate

SAMPLES = "samples-00000.parquet"


@pytest.fixture(scope="module")
def benchmark(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("frozen") / "benchmark"
    build_dataset("smoke", corpus, out, settings={"benchmark": True})
    return out


@pytest.fixture(params=["dataset", "benchmark"])
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(request.getfixturevalue(request.param), tmp_path / "copy"))


def with_other_answers(folder: Path) -> None:
    """Swap the answers of two questions, in rows that are sound by themselves, and let the manifest name their file."""
    rows = schema.read_file(folder / SAMPLES)
    first, second = [row for row in rows if row["task"] == "counting"][:2]
    first["answer"], second["answer"] = second["answer"], first["answer"]
    assert first["answer"] != second["answer"]
    write_rows(folder, rows)


def write_rows(folder: Path, rows: list[dict[str, Any]], *, rehash: bool = False) -> None:
    """Write rows whose ids are those of their samples, and let the manifest name their file."""
    for row in rows:
        for _ in range(2):
            try:
                schema.to_sample(row)
            except DataError as error:
                row["id"] = str(error).partition("give the id ")[2].partition(";")[0]
    schema.write_file(rows, folder / SAMPLES, schema.SCHEMA)
    manifest = read_manifest(folder)
    manifest["files"] |= file_hashes(folder, [SAMPLES])
    if rehash:
        manifest["hash"] = dataset_hash(folder, manifest)
    write_manifest(folder, manifest)


def test_check_hash_passes_what_was_built(copy: Path) -> None:
    assert read_checked(copy) == read_manifest(copy)
    assert VideoSSRDataset(copy).hash == read_manifest(copy)["hash"]


def test_check_hash_names_a_file_of_samples_that_was_altered(copy: Path) -> None:
    rows = schema.read_file(copy / SAMPLES)
    schema.write_file(rows[1:], copy / SAMPLES, schema.SCHEMA)
    with pytest.raises(DataError, match=rf"^{copy}/{SAMPLES} was altered since it was written: copy the dataset again"):
        check_hash(copy, read_manifest(copy))


def test_check_hash_refuses_other_answers_under_the_stated_hash(copy: Path) -> None:
    with_other_answers(copy)
    with pytest.raises(
        DataError, match=rf"^{copy} was altered since it was built: its contents have the hash \w{{12}},"
    ):
        check_hash(copy, read_manifest(copy))


@pytest.mark.parametrize("samples", [1, 10**15])
def test_check_hash_refuses_another_number_of_samples(copy: Path, samples: int) -> None:
    manifest = read_manifest(copy)
    rows = manifest["samples"]
    write_manifest(copy, {**manifest, "samples": samples})
    with pytest.raises(DataError, match=rf"^{copy} has {rows} samples, and its manifest\.json states {samples}:"):
        _ = VideoSSRDataset(copy).hash


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda manifest: manifest.update(seed=7), id="seed"),
        pytest.param(lambda manifest: manifest["recipe"].update(name="other"), id="recipe"),
        pytest.param(lambda manifest: manifest["versions"].update(numpy="0.1"), id="versions"),
        pytest.param(lambda manifest: manifest["corpus"].update(hash="ab" * 32), id="corpus"),
        pytest.param(lambda manifest: manifest.update(excluded=["cd" * 32]), id="excluded"),
    ],
)
def test_check_hash_covers_how_a_dataset_was_made(
    dataset: Path, tmp_path: Path, change: Callable[[Manifest], object]
) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    manifest = read_manifest(copy)
    change(manifest)
    with pytest.raises(DataError, match="was altered since it was built"):
        check_hash(copy, manifest)


def test_hash_refuses_samples_that_are_rendered_otherwise(copy: Path) -> None:
    rows = schema.read_file(copy / SAMPLES)
    for row in rows:
        row["pixels"] = "00" * 32
    write_rows(copy, rows, rehash=True)
    opened = VideoSSRDataset(copy)
    with pytest.raises(DataError, match=rf"^{copy}: sample \w+ has other pixels than when the dataset was built"):
        _ = opened.hash


def test_hash_names_the_libraries_that_differ_where_pixels_do(copy: Path) -> None:
    rows = schema.read_file(copy / SAMPLES)
    for row in rows:
        row["pixels"] = "00" * 32
    manifest = read_manifest(copy)
    manifest["versions"]["opencv-python-headless"] = "4.0.0"
    write_manifest(copy, manifest)
    write_rows(copy, rows, rehash=True)
    with pytest.raises(DataError, match=r"or that it was built with opencv-python-headless 4\.0\.0 \(here \d"):
        _ = VideoSSRDataset(copy).hash


def test_hash_leaves_a_video_that_cannot_be_read_to_its_questions(copy: Path, corpus: Corpus, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(str(corpus.path), tmp_path / "corpus"))
    first, *rest = sorted((damaged / "packs").iterdir())
    assert rest
    first.write_bytes(bytes(first.stat().st_size))
    opened = VideoSSRDataset(copy)
    opened.corpus = Corpus(damaged)
    assert opened.hash == read_manifest(copy)["hash"]
    for pack in rest:
        pack.write_bytes(bytes(pack.stat().st_size))
    opened = VideoSSRDataset(copy)
    opened.corpus = Corpus(damaged)
    with pytest.raises(CorpusError, match="is not a whole pack"):
        _ = opened.hash


@pytest.mark.parametrize("hashed", [False, True])
def test_datasets_that_lack_a_video_are_not_merged_or_kept_apart_from(copy: Path, hashed: bool) -> None:
    path = copy / "videos.parquet"
    rows = schema.read_file(path)
    schema.write_file(rows[:1], path, schema.VIDEOS)
    if hashed:
        manifest = read_manifest(copy)
        write_manifest(copy, {**manifest, "files": {**manifest["files"], **file_hashes(copy, [path.name])}})
    with pytest.raises(DataError, match=rf"^{path} (is missing or was altered|lacks a video that sample \w+ shows)"):
        read_checked(copy)


def test_types_of_columns_are_checked(copy: Path) -> None:
    table = pq.read_table(copy / "videos.parquet")
    numbers = pa.array(range(len(table)))
    pq.write_table(table.set_column(0, "content", numbers), copy / "videos.parquet")
    with pytest.raises(DataError, match=r"videos\.parquet: the column content has values of int64, not of string"):
        schema.read_file(copy / "videos.parquet", schema.VIDEOS)
    samples = pq.read_table(copy / SAMPLES)
    at = samples.schema.get_field_index("category")
    pq.write_table(samples.set_column(at, "category", pa.array([["a"]] * len(samples))), copy / SAMPLES)
    with pytest.raises(DataError, match=rf"{SAMPLES}: the column category has values of list"):
        _ = VideoSSRDataset(copy).rows


def test_commands_refuse_other_answers(copy: Path, dataset: Path, corpus: Corpus, tmp_path: Path, capsys: Any) -> None:
    with_other_answers(copy)
    out = tmp_path / "out"
    words = [
        ["bench", "run", str(copy), "--model", "chance", "--out", str(out)],
        ["export", "lmms-eval", str(copy), "--out", str(out)],
        ["gallery", str(copy), "--out", str(out)],
        ["dataset", "merge", str(copy), str(dataset), "--out", str(out)],
        ["dataset", "split", str(copy), "--out", str(out), str(tmp_path / "rest"), "--share", "0.5"],
        ["build", "smoke", "--corpus", str(corpus.path), "--exclude", str(copy), "--out", str(out)],
    ]
    for command in words:
        with pytest.raises(SystemExit) as exit_info:
            main(command)
        assert exit_info.value.code == 2, command
        message = " ".join(capsys.readouterr().err.split())
        assert f"{copy} was altered since it was built" in message, command
        assert not out.exists(), command


def test_validate_finds_other_answers(copy: Path) -> None:
    with_other_answers(copy)
    failed = [check.name for check in validate(VideoSSRDataset(copy), renders=0) if check.holds is False]
    assert failed[0] == "hash"


def test_a_report_shows_no_frames_of_other_answers(copy: Path, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "run", str(copy), "--model", "constant", "--out", str(tmp_path / "run")])
    with_other_answers(copy)
    with pytest.raises(SystemExit, match="0"):
        main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")])
    assert "was altered since it was built" in " ".join(capsys.readouterr().err.split())
    assert json.loads((tmp_path / "run/manifest.json").read_text())["hash"] == read_manifest(copy)["hash"]
