"""What every test may ask for."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from videossr.build import recipe
from videossr.build.recipe import Recipe
from videossr.build.run import build
from videossr.sample import VideoKey
from videossr.tasks.base import Video
from videossr.video.corpus import Corpus
from videossr.video.decode import decode
from videossr.video.index import index
from videossr.video.plan import Plan
from videossr.wording import load_wording

# Tests run side by side, one a core: threads of torch would only wait for each other. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A job in the background ignores Ctrl-C, and so would all that the tests start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test may fail because the machine is busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def ordinary_scheduling() -> Iterator[None]:
    """Where root encodes with SVT-AV1, that takes real-time priority for the whole process and all that it starts.

    Such processes keep every other from the machine, and wait for each other without end.
    """
    yield
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(scope="session")
def videos() -> Path:
    """The folder of real and of damaged test videos: beside the repository, or where VIDEOSSR_TEST_VIDEOS says."""
    named = os.environ.get("VIDEOSSR_TEST_VIDEOS")
    folder = Path(named) if named else Path(__file__).parents[1] / "../shared/videos"
    if not folder.is_dir():
        pytest.skip(f"no test videos at {folder}; set VIDEOSSR_TEST_VIDEOS to a folder that has them")
    return folder.resolve()


@pytest.fixture(scope="session")
def clip(videos: Path) -> Callable[..., Video]:
    """A real clip at the default size, by its file name in `real/`: `clip("bikes.mp4", frames=144)`."""

    @cache
    def load(name: str, frames: int = 48) -> Video:
        decoded = decode(videos / "real" / name, Plan(frames=frames))
        key = VideoKey(hashlib.sha256(name.encode()).hexdigest(), hashlib.sha256(bytes(frames)).hexdigest())
        return Video(key, decoded.choice.clock, decoded.frames)

    return load


@pytest.fixture(scope="session")
def corpus(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The real clips, indexed with the defaults."""
    out = tmp_path_factory.mktemp("corpus") / "corpus"
    index(videos / "real", out)
    return Corpus(out)


SMALL = {
    "grounding/mirror": {"task": "grounding", "count": 2, "knobs": {"perturbation": "mirror"}},
    "grounding/shuffle": {"task": "grounding", "count": 2, "knobs": {"perturbation": "shuffle"}},
    "jigsaw/6": {"task": "jigsaw", "count": 2},
    "counting/easy": {"task": "counting", "count": 2},
}


@pytest.fixture(scope="session")
def dataset(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samples of each task's kind, built from the real clips. Not to be written to."""
    out = tmp_path_factory.mktemp("built") / "dataset"
    build(recipe.Mixture(Recipe(name="small", columns=SMALL), "small"), corpus, out, wording=load_wording())
    return out
