"""Tell in what a run departs from the paper: what was asked, shown or counted otherwise, so that scores differ.

Shown by `videossr report RUN --layout paper`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from videossr.bench.public.base import Benchmark
from videossr.bench.public.published import FRAMES
from videossr.bench.public.texts import Texts
from videossr.bench.records import Run, RunConfig
from videossr.config import parse, plain
from videossr.errors import ConfigError
from videossr.models.base import Decoding
from videossr.untrusted import one_line


def departures(run: Run, benchmark: Benchmark[object], rule: str) -> Iterator[str]:
    """Yield, a clause each, in what a run of a public benchmark departs from the paper as far as the paper is known.

    Args:
        run: complete or not.
        benchmark: that it asks.
        rule: by which it is scored.
    """
    yield from _asked(run, benchmark)
    yield from _shown(run.config, benchmark)
    if run.manifest and (label := run.manifest["model"].get("label")):
        yield one_line(f"the model was shown {label}", 160)
    if rule != "ours":
        yield f"it is scored by the rule {rule}"


def _asked(run: Run, benchmark: Benchmark[object]) -> Iterator[str]:
    """Compare which questions were asked."""
    config = run.config
    expected = _published(config, benchmark)
    if expected is not None and config.size != expected:
        yield f"{config.size:,} questions were found, and {expected:,} are published"
    if config.wanted < config.size:
        yield f"only {config.wanted:,} of {config.size:,} questions are asked"
    if len(run.predictions) < config.wanted:
        yield f"it is unfinished: {len(run.predictions):,} of {config.wanted:,} questions were asked"
    silent = [prediction for prediction in run.predictions if not prediction.texts]
    if silent:
        reason = one_line(silent[0].error, 160)
        yield f"{len(silent):,} of {len(run.predictions):,} questions have no answer" + (
            f", the first: {reason}" if reason else ""
        )


def _published(config: RunConfig, benchmark: Benchmark[object]) -> int | None:
    """Return the published number of questions; None where it is not known for the settings of a run."""
    chosen = config.benchmark.settings if config.benchmark else {}
    try:
        return benchmark.size(parse(benchmark.Settings, chosen, config.questions))[0]
    except ConfigError:  # a setting of another version, which is told as a departure
        return None


def _shown(config: RunConfig, benchmark: Benchmark[object]) -> Iterator[str]:
    """Compare how the questions were put."""
    if config.benchmark is None:
        return
    if config.benchmark.frames not in FRAMES:
        yield f"the paper has no scores at {config.benchmark.frames} frames"
    defaults = plain(parse(benchmark.Settings, {}, config.benchmark.name))
    for name in sorted({*defaults, *config.benchmark.settings}):
        chosen, default = config.benchmark.settings.get(name), defaults.get(name)
        if chosen != default:
            yield one_line(f"{name} is {json.dumps(chosen)}, by default {json.dumps(default)}", 160)
    if config.benchmark.templates != Texts(config.benchmark.name).hash:
        yield "the texts that ask are not the default ones of this version"
    needed = max(benchmark.facts.tokens, Decoding().max_tokens)
    if config.decoding.max_tokens < needed:
        yield f"answers have at most {config.decoding.max_tokens} tokens, where {needed} are the default"
    if config.decoding.temperature:
        yield f"answers are drawn at temperature {config.decoding.temperature:g}; the paper decodes greedily"
    if config.settings.get("thinking"):
        yield "the model thinks before it answers"
