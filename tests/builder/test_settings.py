"""Settings of recipes and training: docs/reference lists them, and all violations are reported at once."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.building import CONFIG, SLOTS, Make
from videossr.builder import recipe
from videossr.config import parse
from videossr.corpus.corpus import Corpus
from videossr.tasks.counting import CountingConfig
from videossr.tasks.grounding import GroundingConfig

DOCS = Path(__file__).parents[2] / "docs"

WRONG = """
name = "my recipe"
max_pixel = 5000
max_pixels = 10

[categories."jigsaw/6"]
task = "jigsaw"
count = -1
config = { pieces = 12, pices = 3 }

[categories.mirror]
task = "grounding"
count = 4
config = { perturbation = "miror", length = [9, 5], strengths = { noise = [0, 300] } }

[categories.other]
task = "jigsw"
cuont = 3

[categories.off]
task = "nowhere"
count = 0
"""


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings", DOCS / "settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_settings_pages_of_the_docs_are_up_to_date(writer: ModuleType) -> None:
    for name, parts in writer.PAGES.items():
        written = (DOCS / "reference" / name).read_text("utf-8")
        assert writer.page(written, parts) == written, f"docs/reference/{name} is stale: run python docs/settings.py"
    verl = (DOCS / "how-to/verl.md").read_text("utf-8")
    assert writer.verl_page(verl) == verl, "docs/how-to/verl.md is stale: run python docs/settings.py"
    text = (DOCS / "reference/training.md").read_text("utf-8")
    assert "| `clip_low` | a number at least 0 and below 1 | `0.2` |" in text
    assert "| `kl_estimator` | `low_variance` `plain` `squared` |" in text
    text = (DOCS / "reference/recipe.md").read_text("utf-8")
    assert "| `pieces` | a whole number from 3 to 9 | `6` |" in text
    assert "| `strengths.blur` | a number above 0 and at most 32 | `2.0` |" in text
    assert "`perturbation` | `blur` `channel_swap`" in text
    stale = text.replace("from 3 to 9", "from 3 to 8")
    assert writer.page(stale, writer.PAGES["recipe.md"]) == text


def test_load_recipe_reports_all_errors_at_once(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(WRONG)
    with pytest.raises(ValueError, match=r"wrong\.toml") as error:
        recipe.load_recipe(str(tmp_path / "wrong.toml"))
    message = str(error.value)
    for part in (
        "name: may hold letters, digits and _.- only",
        "unknown key 'max_pixel'; did you mean 'max_pixels'?",
        "max_pixels: Input should be greater than or equal to 1024, got 10",
        "categories.jigsaw/6: count: Input should be greater than or equal to 0, got -1",
        "categories.jigsaw/6.config: pieces: Input should be less than or equal to 9, got 12",
        "categories.jigsaw/6.config: unknown key 'pices'; did you mean 'pieces'?",
        "categories.mirror.config: perturbation: no 'miror'; did you mean 'mirror'?",
        "categories.mirror.config: strengths.noise.0: Input should be greater than 0, got 0",
        "categories.mirror.config: strengths.noise.1: Input should be less than or equal to 255, got 300",
        "categories.other: unknown key 'cuont'; did you mean 'count'?",
        "categories.other: count: must be set, it has no default",
        "categories.other: no task 'jigsw'; did you mean 'jigsaw'?",
    ):
        assert part in message
    assert "nowhere" not in message


def test_parse_reports_rules_between_settings_together() -> None:
    config = {"size_min": 0.9, "size_max": 0.8, "frames": 4}
    with pytest.raises(ValueError, match="counting: ") as error:
        parse(CountingConfig, config, "counting")
    for part in (
        "size_min and",
        "frames, got 4",
        "size_max 0.8",
    ):
        assert part in str(error.value)
    shuffle = {"perturbation": "shuffle", "length": [4, 99], "strengths": {"shift": 9}}
    with pytest.raises(ValueError, match=r"need most < frames.* cannot move their ends by 9"):
        parse(GroundingConfig, shuffle, "grounding")
    with pytest.raises(ValueError, match=r"noise: the least.*\n.*holds: the least"):
        parse(GroundingConfig, {"perturbation": "noise", "strengths": {"noise": [9, 8], "holds": [9, 8]}}, "grounding")


def test_build_dataset_names_all_categories_that_need_more_frames(made: Corpus, make: Make) -> None:
    categories = {
        name: ({"task": "grounding", "config": {**CONFIG, "perturbation": "mirror", "frames": frames}}, 1)
        for name, frames in (("twice", 2 * SLOTS), ("fits", SLOTS), ("thrice", 3 * SLOTS))
    }
    with pytest.raises(ValueError, match=r"categories\.twice needs videos of 32 frames") as error:
        make("dataset", made, categories)
    assert "categories.thrice needs videos of 48 frames" in str(error.value)
    assert "categories.fits" not in str(error.value)
