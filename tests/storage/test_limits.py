"""Small files that ask for much are errors of their own, told before memory is reserved for them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.hostile import ATTACKS
from videossr.corpus.corpus import Corpus
from videossr.errors import CorpusError
from videossr.storage import limits

TOLD = {
    "row_with_a_large_jpeg": "line 1: .*a.jpg: 4290250000 pixels .65500 x 65500. are more .*VIDEOSSR_PICTURE_PIXELS",
    "row_with_a_large_png": "line 1: .*a.png: 256000000 pixels .16000 x 16000. are more than .*VIDEOSSR_PICTURE_PIXELS",
    "row_with_a_large_webp": "line 1: .*a.webp: 268435456 pixels .16384 x 16384. are more than",
    "row_with_a_large_file": "line 1: .*a.jpg: 1099511627776 bytes of a picture are more than .*VIDEOSSR_PICTURE_BYTES",
    "row_that_asks_for_min_pixels": "line 1: .* pixels .8 frames of 31648 x 31648.* more than .*VIDEOSSR_CLIP_PIXELS",
    "row_that_asks_for_a_size": "line 1: .* pixels .400 frames of 4096 x 4096.* more than .*VIDEOSSR_CLIP_PIXELS",
    "row_whose_entries_ask_together": "line 1: 301989888 pixels .2 frames of 4096 x 4096.* more than",
    "row_with_many_frames": "line 1: 100000 frames are more than .*VIDEOSSR_ROW_FRAMES",
    "parquet_with_a_shared_text": "rows.parquet: .* decoded bytes.* are more than .*VIDEOSSR_TABLE_BYTES",
    "parquet_with_a_shared_text_in_one_row": "rows.parquet: .* decoded bytes.* are more than",
    "parquet_with_equal_numbers": "rows.parquet: .* decoded bytes.* are more than",
    "parquet_with_long_texts": "rows.parquet: .* decoded bytes.* are more than",
    "parquet_with_differences": "rows.parquet: texts of the column a are stored as differences",
    "pack_with_a_compressed_table": "00.pack has a compressed table",
    "pack_with_long_frames": "00.pack: the sizes of the frames of a.mp4 are wrong",
    "pack_with_a_large_jpeg": "its size is .65500, 65500., not .288, 288.",
    "pack_of_large_frames": "4290250000 pixels",
    "video_that_declares_frames": "damaged: it declares 80000000 samples in .* bytes",
    "video_whose_fragment_declares_frames": "damaged: it declares 80000009 samples in .* bytes",
    "video_of_large_frames": "no_frames",
    "images_of_a_large_size": "unsupported: 0.jpg: 4290250000 pixels",
    "manifest_that_is_deep": "manifest.json is damaged .its tables and lists are nested more than 64 deep",
    "manifest_that_is_long": "manifest.json is damaged .67108865 bytes or more are more than .*VIDEOSSR_JSON_BYTES",
    "recipe_that_is_deep": "r.toml: not valid TOML: its tables and lists are nested more than 64 deep",
    "recipe_with_deep_names": "r.toml: not valid TOML: its tables and lists are nested more than 64 deep",
    "recipe_that_asks_for_samples": "count: Input should be less than or equal to 100000000",
    "recipe_that_asks_for_pixels": "max_pixels: Input should be less than or equal to 67108864",
    "prompt_with_a_width": "p.toml: jigsaw: prompt: must hold .*got clips, example, n:>999999999",
}

ALLOWED = {"row_whose_entries_ask_together": 3 * limits.CLIP_PIXELS >> 20, "manifest_that_is_long": 64}
"""MiB that the limits allow to what is refused in the end; all others are refused within `SPARE`."""

SPARE = 200


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """What became of each attack, all in one process that was given little memory."""
    words = [sys.executable, "-m", "tests.helpers.hostile", str(tmp_path_factory.mktemp("hostile"))]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[2])
    read: dict[str, tuple[int, str]] = json.loads(done.stdout)
    return read


def test_every_attack_has_its_words() -> None:
    assert TOLD.keys() == ATTACKS.keys()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("name", TOLD)
def test_a_small_file_stays_small(name: str, found: dict[str, tuple[int, str]]) -> None:
    mebibytes, said = found[name]
    assert re.match(rf"(\w*Error: ).*{TOLD[name]}", said, re.DOTALL), said
    assert mebibytes < SPARE + ALLOWED.get(name, 0)


def test_frames_of_a_corpus_are_not_scaled_to_any_size(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"pixels .* are more than .*VIDEOSSR_CLIP_PIXELS"):
        corpus.frames(corpus.videos[0].key, [0], (10**6, 10**6))


@pytest.mark.parametrize(
    ("value", "said"),
    [("1000", "1000"), ("", str(limits.ROW_FRAMES)), ("many", "must be a whole number"), ("0", "must be a whole")],
)
def test_the_environment_sets_a_limit(value: str, said: str) -> None:
    program = "from videossr.storage import limits; print(limits.ROW_FRAMES)"
    environment = {**os.environ, "VIDEOSSR_ROW_FRAMES": value}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr


def test_every_limit_is_documented() -> None:
    text = (Path(__file__).parents[2] / "SECURITY.md").read_text("utf-8")
    names = [name for name in vars(limits) if name.isupper() and not name.startswith("_")]
    assert len(names) >= 10
    for name in names:
        assert f"| `VIDEOSSR_{name}` | {getattr(limits, name)} |" in text
