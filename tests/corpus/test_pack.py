"""Tables of packs that were made to do harm are refused before a value is read from them."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.helpers.packs import alter_packs, join_pack, rehash, split_pack, write_table
from videossr.builder.builder import build_dataset
from videossr.corpus.corpus import Corpus
from videossr.corpus.entry import SCHEMA
from videossr.corpus.merging import merge
from videossr.corpus.pack import Pack
from videossr.corpus.splitting import split
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import CorpusError
from videossr.validation.validator import validate


@pytest.fixture
def pack(corpus: Corpus, tmp_path: Path) -> Path:
    """A copy of a pack with one video or more."""
    (shard, *_) = corpus.manifest["shards"]
    return Path(shutil.copy(f"{corpus.path}/packs/{shard}.pack", tmp_path))


@pytest.fixture
def copy(corpus: Corpus, tmp_path: Path) -> Path:
    return Path(shutil.copytree(str(corpus.path), tmp_path / "corpus"))


def replaced(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)


def with_offset(pack: Path, name: str, column: pa.Array, known: int, other: int) -> None:
    """Write a column whose last offset is `known`, and set that offset to `other` in the bytes of the table."""
    frames, _ = split_pack(pack.read_bytes())
    write_table(pack, frames, replaced(Pack(pack).table.slice(0, 1), name, column))
    _, data = split_pack(pack.read_bytes())
    before, offsets, after = data.rpartition(struct.pack("<ii", 0, known))  # the metadata before the data has it too
    assert offsets
    pack.write_bytes(join_pack(frames, before + struct.pack("<ii", 0, other) + after))


@pytest.mark.parametrize("end", [2**30, -1, 2**31 - 1])
def test_texts_beyond_the_table_are_refused(pack: Path, end: int) -> None:
    with_offset(pack, "path", pa.array(["x" * 12345]), 12345, end)
    with pytest.raises(CorpusError, match=rf"^{pack} has a damaged table \(.*\): copy it again"):
        list(Pack(pack))


@pytest.mark.parametrize("end", [2**30, -1])
def test_lists_beyond_the_table_are_refused(pack: Path, end: int) -> None:
    with_offset(pack, "ticks", pa.array([[7] * 7777]), 7777, end)
    with pytest.raises(CorpusError, match=f"^{pack} has a damaged table"):
        list(Pack(pack))


def test_texts_that_are_no_utf_8_are_refused(pack: Path) -> None:
    table = Pack(pack).table
    texts = pa.array([b"\xff\xfe"] * len(table), pa.binary()).view(pa.string())
    write_table(pack, split_pack(pack.read_bytes())[0], replaced(table, "codec", texts))
    with pytest.raises(CorpusError, match=f"^{pack} has a damaged table"):
        list(Pack(pack))


@pytest.mark.parametrize("name", [name for name in SCHEMA.names if name != "source_id"])
def test_empty_cells_are_refused(pack: Path, name: str) -> None:
    table = Pack(pack).table
    write_table(
        pack, split_pack(pack.read_bytes())[0], replaced(table, name, pa.nulls(len(table), SCHEMA.field(name).type))
    )
    with pytest.raises(CorpusError, match=f"^{pack} has a table with empty cells"):
        list(Pack(pack))


@pytest.mark.parametrize("value", ["", "AB" * 32, "ab" * 32 + "\n", "../" + "a" * 61])
@pytest.mark.parametrize("name", ["content", "pack"])
def test_hashes_that_are_none_are_refused(pack: Path, name: str, value: str) -> None:
    table = Pack(pack).table
    write_table(pack, split_pack(pack.read_bytes())[0], replaced(table, name, pa.array([value] * len(table))))
    with pytest.raises(CorpusError, match=f"^{pack} has a table with a wrong hash in the column {name}"):
        list(Pack(pack))


@pytest.mark.parametrize(
    "notes",
    [
        pytest.param(None, id="none"),
        pytest.param({"hash": "x\ny", "rejected": "[]"}, id="hash"),
        pytest.param({"hash": "ab" * 32, "rejected": "{}"}, id="no-list"),
        pytest.param({"hash": "ab" * 32, "rejected": '[{"path": "a"}]'}, id="fields"),
        pytest.param({"hash": "ab" * 32, "rejected": "[" * 9000}, id="deep"),
    ],
)
def test_metadata_of_another_form_is_refused(pack: Path, notes: dict[str, str] | None) -> None:
    write_table(pack, split_pack(pack.read_bytes())[0], Pack(pack).table.replace_schema_metadata(notes))
    with pytest.raises(CorpusError, match=f"^{pack} has a damaged table"):
        _ = Pack(pack).rejected


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"times_ms": [0, 0, 1]}, id="times"),
        pytest.param({"end_ms": 0}, id="end"),
        pytest.param({"ticks": [1]}, id="ticks"),
        pytest.param({"crop": []}, id="crop"),
        pytest.param({"time_base": [1, 0]}, id="time-base"),
        pytest.param({"pixel_aspect": [1, 2, 3]}, id="aspect"),
        pytest.param({"fingerprints": b"x"}, id="fingerprints"),
        pytest.param({"frame_bytes": [1]}, id="sizes"),
        pytest.param({"offset": -1}, id="offset"),
        pytest.param({"height": 0}, id="height"),
    ],
)
def test_facts_that_do_not_fit_together_are_refused(copy: Path, change: dict[str, Any]) -> None:
    def changed(row: dict[str, Any]) -> None:
        fill = {"times_ms": len(row["times_ms"])}
        row.update(
            {name: (value * fill[name])[: fill[name]] if name in fill else value for name, value in change.items()}
        )

    alter_packs(copy, changed, pack_hashes=True, manifest=True)
    rehash(copy)
    with pytest.raises(CorpusError, match=r"packs/\w\w\.pack: the (times|sizes of the frames) of .* are wrong"):
        list(Corpus(copy).videos)


def later(row: dict[str, Any]) -> None:
    row["times_ms"] = [time + 40 for time in row["times_ms"]]
    row["end_ms"] += 40


def test_check_hash_passes_a_corpus_as_it_was_written(copy: Path) -> None:
    Corpus(copy).check_hash()


def test_check_hash_names_a_pack_with_other_times(copy: Path) -> None:
    alter_packs(copy, later)
    with pytest.raises(CorpusError, match=r"packs/\w\w\.pack was altered: its table is not the one"):
        Corpus(copy).check_hash()


def test_check_hash_names_a_pack_that_the_manifest_does_not_name(copy: Path) -> None:
    alter_packs(copy, later, pack_hashes=True)
    with pytest.raises(CorpusError, match=r"packs/\w\w\.pack is not the pack that .*manifest\.json names"):
        Corpus(copy).check_hash()


def test_check_hash_names_a_manifest_that_states_another_hash(copy: Path, corpus: Corpus) -> None:
    alter_packs(copy, later, pack_hashes=True, manifest=True)
    with pytest.raises(CorpusError, match=r"manifest\.json was altered"):
        Corpus(copy).check_hash()
    rehash(copy)
    Corpus(copy).check_hash()
    assert Corpus(copy).hash != corpus.hash


def test_an_altered_corpus_is_not_built_from_merged_or_split(copy: Path, corpus: Corpus, tmp_path: Path) -> None:
    alter_packs(copy, later)
    altered = r"packs/\w\w\.pack was altered"
    with pytest.raises(CorpusError, match=altered):
        build_dataset("smoke", copy, tmp_path / "dataset")
    with pytest.raises(CorpusError, match=altered):
        merge([corpus, Corpus(copy)], tmp_path / "merged")
    with pytest.raises(CorpusError, match=altered):
        split(Corpus(copy), (tmp_path / "one", tmp_path / "two"), 1)
    assert {path.name for path in tmp_path.iterdir()} == {"corpus"}


def test_validate_notices_an_altered_corpus(copy: Path, dataset: Path) -> None:
    alter_packs(copy, later)
    findings = validate(VideoSSRDataset(dataset, corpus=copy), renders=0)
    assert [check.name for check in findings if check.holds is False] == ["corpus"]
