"""Identifiers in files of others are refused where the file is read, unless they look like what they identify."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from videossr.bench.evaluation import evaluate
from videossr.bench.records import read_run
from videossr.corpus.corpus import Corpus
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import read_manifest
from videossr.errors import DataError, VideoSSRError
from videossr.storage import identifiers

HASH = "ab" * 32
INJECTED = HASH[:-1] + "\ndoc_to_text: !function os.system"


@pytest.mark.parametrize(
    ("kind", "sound", "odd"),
    [
        ("Sha256", [HASH], ["", HASH[1:], HASH + "0", HASH.upper(), HASH + "\n", "\n" + HASH, INJECTED, "g" * 64]),
        ("Shard", ["00", "ff"], ["", "0", "000", "0g", "..", "00\n", "FF"]),
        ("RecipeName", ["videossr-30k", "smoke_2.1", "größe"], ["", "a b", "a\n", "a/b", "a+b", "\x1b[2J", '"']),
        ("MergedName", ["a+b", "a"], ["", "a b", "a+b\n", "a`b"]),
        ("CategoryName", ["grounding/zoom_in", "jigsaw/6"], ["", "a.b", "a b", "a\n", "a|b", "\u202ea"]),
        ("PluginName", ["grounding", "my.task"], ["", "a/b", "a b", "a\n"]),
        ("FileName", ["samples-00000.parquet", "config.toml"], ["", "..", ".", ".x", "a/b", "a\\b", "a\n", "a b"]),
        ("Count", [0, 10**15], [-1, 10**15 + 1, 10**400, 1.5, "x", None]),
        ("Number", [0.0, -1e100, float("inf")], [1e101, -1e308, "x", None]),
        ("Line", ["", "4.11.0.86, 5.0", "1.0 (git)"], ["a\nb", "\x1b[2J", "\u2028", "x" * 201]),
    ],
)
def test_identifiers_have_one_form(kind: str, sound: list[Any], odd: list[Any]) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(getattr(identifiers, kind))
    assert [adapter.validate_python(text) for text in sound] == sound
    for text in odd:
        with pytest.raises(ValidationError):
            adapter.validate_python(text)


def rewrite(path: Path, change: Callable[[Any], object]) -> None:
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("hash", lambda table: table.update(hash=INJECTED)),
        ("corpus.hash", lambda table: table["corpus"].update(hash=INJECTED)),
        ("corpus.source", lambda table: table["corpus"].update(source=INJECTED)),
        ("excluded.0", lambda table: table.update(excluded=[INJECTED])),
        ("files.config.toml", lambda table: table["files"].update({"config.toml": INJECTED})),
        ("files.../x", lambda table: table["files"].update({"../x": HASH})),
        ("recipe.name", lambda table: table["recipe"].update(name="a\n---\nb")),
        ("recipe.categories.a|b", lambda table: table["recipe"]["categories"].update({"a|b": {}})),
        ("categories.a|b", lambda table: table["categories"].update({"a|b": {"samples": 1, "admitted": 1}})),
        ("samples", lambda table: table.update(samples=10**30)),
        ("versions.numpy", lambda table: table["versions"].update(numpy="1\n2")),
    ],
)
def test_manifests_of_datasets_are_checked(
    dataset: Path, tmp_path: Path, key: str, change: Callable[[Any], object]
) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    rewrite(copy / "manifest.json", change)
    with pytest.raises(DataError) as error:
        read_manifest(copy)
    assert str(error.value).startswith(f"{copy}/manifest.json: damaged, or of another version: see {key}")


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("hash", lambda table: table.update(hash=INJECTED)),
        ("shards.../../x", lambda table: table["shards"].update({"../../x": {"videos": 1, "bytes": 1, "hash": HASH}})),
        ("versions.av", lambda table: table["versions"].update(av="1\n2")),
    ],
)
def test_manifests_of_corpora_are_checked(
    corpus: Corpus, tmp_path: Path, key: str, change: Callable[[Any], object]
) -> None:
    copy = Path(shutil.copytree(str(corpus.path), tmp_path / "copy"))
    rewrite(copy / "manifest.json", change)
    with pytest.raises(DataError) as error:
        Corpus(copy)
    assert str(error.value).startswith(f"{copy}/manifest.json: damaged, or of another version: see {key}")


@pytest.mark.parametrize("change", [{"end_ms": 10**23}, {"times_ms": [0, 10**20]}, {"end_ms": -1}])
def test_times_of_predictions_are_checked(dataset: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    evaluate(VideoSSRDataset(dataset), "constant", tmp_path / "run")
    path = tmp_path / "run/predictions.jsonl"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), **change}), *rest, ""]))
    with pytest.raises(DataError, match=rf"^{path}:1: no prediction: "):
        read_run(tmp_path / "run")


def test_settings_and_manifests_of_runs_are_checked(dataset: Path, tmp_path: Path) -> None:
    questions = VideoSSRDataset(dataset)
    evaluate(questions, "constant", tmp_path / "run")
    rewrite(tmp_path / "run/manifest.json", lambda table: table.update(hash=INJECTED))
    with pytest.raises(DataError, match=rf"^{tmp_path}/run/manifest\.json: damaged"):
        read_run(tmp_path / "run")
    (tmp_path / "run/manifest.json").unlink()
    config = tmp_path / "run/config.toml"
    config.write_text(config.read_text().replace(questions.hash, "x" + questions.hash))
    with pytest.raises(VideoSSRError, match=rf"^{config}: hash: String should match pattern"):
        read_run(tmp_path / "run")
