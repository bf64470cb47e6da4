"""Make one question from one video, in memory, for a first look and for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from videossr.builder.allocation import Job
from videossr.builder.generation import RejectedDraw, SampleGenerator
from videossr.builder.recipe import Recipe, ResolvedRecipe
from videossr.config import parse
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset.dataset import Item
from videossr.errors import ConfigError, DataError
from videossr.measure import rejected
from videossr.rendering import render
from videossr.sample import Rejection
from videossr.storage.paths import AnyPath
from videossr.tasks.base import open_task
from videossr.templates import load_templates
from videossr.video.plan import Plan


def sample_video(
    path: str | AnyPath,
    task: str,
    *,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    plan: Plan | None = None,
) -> Item:
    """Make one question about one video, with its frames, its prompt and its gold answer. Nothing is kept on disk.

    The question is the one that `videossr build` would draw first for this video, task and seed. The video is decoded
    in this process, so a file that crashes the decoder ends it; `index_videos` would only reject such a file.

    Args:
        path: the video, local or remote; it is only read.
        task: registered name of a pretext task: ``grounding``, ``counting``, ``jigsaw``, or that of a plug-in.
        seed: another seed gives another question.
        config: settings of the task, such as ``{"perturbation": "mirror"}``; see docs/reference/recipe.md.
        plan: which frames are decoded; by default as many as the task needs, of at most 65,536 pixels.

    Returns:
        The question with its clips, each (T, H, W, 3) uint8 RGB.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: a setting is wrong.
        DataError: the file is no video that can be used, or the video cannot serve the task; the message names what was
            measured. `swap` needs a second video, so it is refused here.
    """
    opened = open_task(task)
    try:
        parse(opened.Config, config or {}, f"sample_video({task!r})")
    except ConfigError as error:
        raise ConfigError(f"{error}; settings are given as config={{…}}, see docs/reference/recipe.md") from error
    category = {"task": task, "count": 1, "config": dict(config or {})}
    most = (plan or Plan()).max_pixels
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed must be from 0 to 2^63 - 1, got {seed}")
    table = {"name": "sample", "max_pixels": most, "categories": {task: category}}
    recipe = ResolvedRecipe(parse(Recipe, table, "sample_video"), "sample_video")
    slots, density = recipe.tasks[task].required_frames(recipe.config[task])
    with TemporaryDirectory() as folder:
        index_videos(path, Path(folder) / "corpus", plan or Plan(frames=slots * density), isolated=False)
        corpus = Corpus(Path(folder) / "corpus")
        if unusable := corpus.rejections():
            raise DataError(f"{path} cannot be used: {unusable[0].reason}: {unusable[0].detail}")
        if len(corpus) > 1:
            raise DataError(f"{path} holds {len(corpus)} videos: name one of them")
        generator = SampleGenerator(corpus, recipe, load_templates(), seed, range(1))
        if reject := rejected(generator.gate(0)[task]):
            raise _unfit(path, task, reject)
        (result,) = generator.draw([Job(0, task, 0)])
        if isinstance(result, RejectedDraw):
            raise _unfit(path, task, result.reject)
        truth = recipe.tasks[task].truth(result.sample)
        return Item(result.question, render(corpus, result.sample), result.sample, truth)


def _unfit(path: str | AnyPath, task: str, reject: Rejection) -> DataError:
    return DataError(
        f"{path} cannot serve the task {task}: {reject.reason}, measured {reject.value:g}, threshold "
        f"{reject.threshold:g}. Try another video, seed or config; see docs/reference/rejections.md"
    )
