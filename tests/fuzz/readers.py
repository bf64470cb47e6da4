"""The readers of files and texts of strangers, each with a sound input that is then damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tomli_w

from tests.fuzz.mutations import mutate
from tests.helpers import clips
from tests.helpers.packs import join_pack, split_pack
from videossr import compute_score
from videossr.bench.evaluation import evaluate
from videossr.bench.records import read_run
from videossr.bench.scoring import score
from videossr.builder.builder import build_dataset
from videossr.builder.decontamination import read_footage
from videossr.builder.recipe import load_recipe
from videossr.corpus.corpus import Corpus
from videossr.corpus.duplicates import footage_of
from videossr.corpus.indexer import index_videos
from videossr.dataset import gate_table
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.hashing import read_checked
from videossr.dataset.published.dataset import PublishedDataset
from videossr.errors import CorpusError
from videossr.models.openai.messages import read_answer
from videossr.templates import load_templates
from videossr.video.decoding import decode
from videossr.video.plan import Plan

PLAN = Plan(frames=16, max_pixels=4096)

ANSWERS = {
    "videossr/grounding": ("12.5-17.0", "From 12.5 s to 17 s."),
    "videossr/counting": ("3,1,4", "I count 3, 1 and 4."),
    "videossr/jigsaw": ("314265", "The order is 3, 1, 4, 2, 6, 5"),
    "videossr/choice": ("B", "The answer is \\boxed{B}."),
}

RECIPE = """
name = "fuzz"
[categories."grounding/mirror"]
task = "grounding"
count = 1
config = { perturbation = "mirror", frames = 16, length = [4, 4], gates = false }
"""


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes:
        files: what is damaged, relative to the folder: one of these at a time.
        read: reads all that the folder has. It may raise errors of the package and OSError, nothing else.
        damage: changes the bytes of a file.
    """

    files: tuple[str, ...]
    read: Callable[[Path], object]
    damage: Callable[[bytes, np.random.Generator], bytes] = mutate


def make_inputs(folder: Path) -> None:
    """Write a sound input of every reader below `folder`."""
    folder.mkdir(parents=True)
    videos = folder / "videos"
    clips.add_real(videos.parent / "all")
    videos.mkdir()
    for name in ("bikes.mp4", "carphone.mp4", "bigbuckbunny.mp4"):
        source = folder / "all/real" / name
        if source.exists():
            shutil.copy(source, videos)
    shutil.rmtree(folder / "all")
    index_videos(videos, folder / "corpus", PLAN)
    shutil.copytree(folder / "corpus", folder / "tables")
    (folder / "recipe").mkdir()
    (folder / "recipe/recipe.toml").write_text(RECIPE)
    build_dataset(str(folder / "recipe/recipe.toml"), folder / "corpus", folder / "dataset")
    evaluate(VideoSSRDataset(folder / "dataset"), "constant", folder / "run")
    _write_rows(folder / "rows")
    (folder / "templates").mkdir()
    prompt = load_templates()["jigsaw"]["prompt"]
    (folder / "templates/prompts.toml").write_text(tomli_w.dumps({"jigsaw": {"prompt": f"{prompt} Please."}}))
    (folder / "answers").mkdir()
    (folder / "answers/answers.txt").write_text("\n".join(text for texts in ANSWERS.values() for text in texts))
    (folder / "server").mkdir()
    body = {"choices": [{"message": {"content": "3,1,4"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 9}}
    (folder / "server/body.json").write_text(json.dumps(body))


def _write_rows(folder: Path) -> None:
    """Write a published row of two frames in files."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        for suffix in (".jpg", ".png", ".webp"):
            cv2.imwrite(str(folder / f"{number}{suffix}"), rng.integers(0, 255, (48, 64, 3), np.uint8))
    videos = [
        {"video": [f"{number}{suffix}" for number in range(2)], "sample_fps": 2.0, "min_pixels": 1024}
        for suffix in (".jpg", ".png", ".webp")
    ]
    row = {
        "data_source": "videossr/counting",
        "prompt": [{"role": "user", "content": "<video><video><video>How many?"}],
        "videos": videos,
        "reward_model": {"ground_truth": "3,1,4"},
        "extra_info": {"index": 0},
    }
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")


def _damage_table(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage the table of a pack, and write the checksum that it has now behind it."""
    frames, table = split_pack(data)
    return join_pack(frames, mutate(table, rng))


def _read_corpus(folder: Path) -> None:
    corpus = Corpus(folder)
    corpus.rejections()
    with suppress(CorpusError):
        corpus.check_hash()
    for entry in corpus.videos:
        _ = footage_of(entry), entry.source_times
        corpus.frames(entry.key, range(len(entry.clock)), entry.size)


def _read_dataset(folder: Path) -> None:
    for footage in read_footage(folder):
        _ = footage.fingerprints
    gate_table.read(folder)
    dataset = VideoSSRDataset(folder, corpus=folder.parent.parent / "sound/corpus")
    _ = dataset.hash
    read_checked(folder)
    for index in range(len(dataset)):
        dataset.difficulty(index)
        _ = dataset[index]


def _read_rows(folder: Path) -> None:
    dataset = PublishedDataset(folder / "rows.jsonl")
    for index in range(len(dataset)):
        dataset.question(index)
        dataset.category(index)
        dataset.difficulty(index)
        dataset.clips(index)


def _read_run(folder: Path) -> None:
    score(read_run(folder))


def _read_videos(folder: Path) -> None:
    for path in folder.iterdir():
        decode(path, PLAN)


def _read_answers(folder: Path) -> None:
    texts = (folder / "answers.txt").read_bytes().decode("utf-8", "replace").split("\n")
    for source, (gold, _) in ANSWERS.items():
        for text in (*texts, "\n".join(texts)):
            compute_score(source, text, gold)


READERS = {
    "corpus": Reader(("manifest.json", "packs/*", "rejected.parquet"), _read_corpus),
    "tables": Reader(("packs/*",), _read_corpus, _damage_table),
    "dataset": Reader(("manifest.json", "*.parquet"), _read_dataset),
    "rows": Reader(("rows.jsonl", "0.jpg", "0.png", "0.webp"), _read_rows),
    "run": Reader(("config.toml", "predictions.jsonl", "manifest.json"), _read_run),
    "recipe": Reader(("recipe.toml",), lambda folder: load_recipe(str(folder / "recipe.toml"))),
    "templates": Reader(("prompts.toml",), lambda folder: load_templates(folder / "prompts.toml")),
    "videos": Reader(("*",), _read_videos),
    "answers": Reader(("answers.txt",), _read_answers),
    "server": Reader(("body.json",), lambda folder: read_answer((folder / "body.json").read_bytes())),
}
"""By the name of their folder."""
