"""The functions of an exported lmms-eval task: `videossr export lmms-eval` puts a copy beside the task's YAML file.

It uses the standard library and copies of `rewards.py` and `scoring.py` beside it, so that the exported folder works
where videossr is not installed: `lmms-eval --include_path FOLDER --tasks NAME --model dummy`. The answers of a plug-in
are scored by its package, which must be installed beside lmms-eval.
"""

# Annotations are objects here, not text: lmms-eval loads this file by its path, and not as a module of a package.

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
VIDEO = "<video>"


def doc_to_visual(doc: Mapping[str, Any]) -> list[str]:
    """List the paths of the clips, in order."""
    return [str(HERE / name) for name in doc["videos"]]


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """Return the user's text without the markers of the clips, for models that show all clips before one text."""
    text: str = doc["prompt"].replace(VIDEO, "")
    return text.strip()


def doc_to_messages(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the turns with each clip in its place in the user's text."""
    clips = iter(doc_to_visual(doc))
    user: list[dict[str, str]] = []
    for number, text in enumerate(doc["prompt"].split(VIDEO)):
        if number:
            user.append({"type": "video", "url": next(clips)})
        if text:
            user.append({"type": "text", "text": text})
    turns = [{"role": "user", "content": user}]
    if doc["system"]:
        turns.insert(0, {"role": "system", "content": [{"type": "text", "text": doc["system"]}]})
    return turns


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, object]:
    """Score the first answer in [0, 1] by the metric of its category, for the category and for `overall`."""
    scores = _module("rewards").scorer(doc["data_source"])(results[0], doc["answer"])
    score = _module("scoring").metric_value(doc["metric"], doc["data_source"], scores)
    return {metric_name(doc["category"]): score, "overall": {"category": doc["category"], "score": score}}


def metric_name(category: str) -> str:
    """Return the name of a category's score in lmms-eval."""
    return category.replace("/", "_")


def mean_of_categories(items: Sequence[Mapping[str, Any]]) -> float:
    """Compute the mean over the categories of the mean score of each."""
    return float(_module("scoring").mean_of_categories(items))


@cache
def _module(name: str) -> ModuleType:
    """Import a copy of a module of videossr, `rewards` or `scoring`."""
    spec = importlib.util.spec_from_file_location(f"videossr_{name}_copy", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up here
    spec.loader.exec_module(module)
    return module
