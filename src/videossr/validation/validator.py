"""`videossr validate`: everything that a dataset claims, checked again from what lies on the disk."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from statistics import fmean
from typing import Any

import numpy as np

from videossr.answers.checks import Check
from videossr.answers.counts import Counts
from videossr.answers.order import Order
from videossr.config import parse
from videossr.dataset import manifest as manifests
from videossr.dataset import schema
from videossr.dataset.dataset import Item, VideoSSRDataset
from videossr.dataset.hashing import dataset_hash
from videossr.errors import CorpusError
from videossr.prompt.qwen3_vl import MERGE, markers
from videossr.rendering import pixel_hash, unaltered
from videossr.rewards import Scores, parse_interval, scorer
from videossr.sample import Sample, VideoKey
from videossr.tasks.base import TASKS, open_task
from videossr.validation import distributions, native_shapes, orders, shortcuts
from videossr.validation.visibility import VisibilityChecks

TOLERANCE = 0.05
"""Seconds by which a label or a marker may differ from the clock: they are printed with one decimal."""

VISIBLE = 0.5
"""Mean difference in gray levels by which the first and last slot of a span must differ from what they would show."""

FEW = 20
"""Samples of a category below which its statistics say nothing."""


def validate(
    dataset: VideoSSRDataset,
    *,
    renders: int | None = None,
    solver: float | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Iterator[Check]:
    """Yield one finding a check. `renders` limits how many samples are rendered, spread evenly; None renders all.

    `solver` is the share of orders, beyond chance, that a solver which only matches borders may have right; None takes
    it from the recipe. `progress` is told (rendered, to render).
    """
    yield _files(dataset)
    yield _hash(dataset)
    yield _corpus(dataset)
    if manifests.is_benchmark(dataset.manifest):
        frames = _carried(dataset)
        yield frames
        renders = renders if frames.holds else 0  # what is damaged cannot be rendered
    samples: dict[str, list[Sample]] = defaultdict(list)
    ids: Counter[str] = Counter()
    other: list[str] = []
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        samples[sample.category].append(sample)
        ids[sample.id] += 1
        if dataset.question(index) != open_task(sample.task).question(sample, dataset.manifest["templates"]):
            other.append(sample.id)
    twice = [sample_id for sample_id, count in ids.items() if count > 1]
    yield Check("unique samples", not twice, f"{len(ids)} ids" + (f", twice: {twice[:3]}" if twice else ""))
    yield Check("questions", not other, f"other words: {other[:3]}" if other else f"{len(dataset)} as worded")
    wanted = {name: table["count"] for name, table in dataset.manifest["recipe"]["categories"].items()}
    found = {category: len(members) for category, members in samples.items()}
    yield Check("quotas", wanted == found, f"{sum(found.values())} samples of {sum(wanted.values())}")

    scorable = set()
    for category, members in sorted(samples.items()):
        gold = _gold(category, members)
        yield gold
        if not gold.holds:
            continue  # the other checks need answers that can be scored
        scorable.add(category)
        yield _truth(category, members)
        yield _clock(category, members)
        if len(members) < FEW:
            yield Check(
                "distributions, guesses, shortcuts", None, f"{len(members)} samples are too few, need {FEW}", category
            )
            continue
        task = open_task(members[0].task)
        yield from distributions.distribution_checks(category, members, task, _config(dataset, category))
        yield from shortcuts.guesses(category, task.answer_type, [sample.answer for sample in members])
        yield from shortcuts.shortcut_checks(category, members, task)
    yield from _pixels(dataset, scorable, renders, solver, progress)


def _files(dataset: VideoSSRDataset) -> Check:
    stored = dataset.manifest["files"]
    missing = [name for name in stored if not (dataset.path / name).is_file()]
    if missing:
        return Check("files", False, f"missing: {', '.join(missing)}")
    now = manifests.file_hashes(dataset.path, [*stored])
    altered = [name for name in stored if now[name] != stored[name]]
    return Check("files", not altered, f"altered: {', '.join(altered)}" if altered else f"{len(now)} as written")


def _hash(dataset: VideoSSRDataset) -> Check:
    """Check that the samples have the hash that the manifest states."""
    now, stated = dataset_hash(dataset.path, dataset.manifest), dataset.manifest["hash"]
    return Check("hash", now == stated, stated if now == stated else f"the samples give {now}, not {stated}")


def _corpus(dataset: VideoSSRDataset) -> Check:
    """Check that what the corpus says of its videos has the hash that its manifest states."""
    try:
        dataset.corpus.check_hash()
    except CorpusError as error:
        return Check("corpus", False, str(error))
    return Check("corpus", True, dataset.corpus.hash)


def _carried(dataset: VideoSSRDataset) -> Check:
    """Check that the JPEGs of every video are those that were indexed."""
    rows = schema.read_rows(dataset.path / "videos.parquet", schema.subset(schema.VIDEOS, ["content", "pack"]))
    keys = [VideoKey(row["content"], row["pack"]) for row in rows]
    for key in keys:
        try:
            dataset.corpus.verify(key)
        except CorpusError as error:
            return Check("frames", False, str(error))
    return Check("frames", True, f"of {len(keys)} videos as indexed, in {dataset.corpus.path}")


def _config(dataset: VideoSSRDataset, category: str) -> Any:
    """Return the config of a category, an instance of its task's `Config`."""
    written = dataset.manifest["recipe"]["categories"][category]
    return parse(TASKS.get(written["task"]).Config, written["config"], f"manifest: categories.{category}.config")


def _gold(category: str, samples: Sequence[Sample]) -> Check:
    """Check that gold answers score 1 by the task and by `compute_score`."""
    wrong = {sample.id: fault for sample in samples if (fault := _scoring_fault(sample))}
    text = (
        f"{len(wrong)} of {len(samples)} do not: {next(iter(wrong.values()))}" if wrong else f"{len(samples)} samples"
    )
    return Check("gold scores 1", not wrong, text, category)


def _scoring_fault(sample: Sample) -> str:
    """Say what is wrong when the gold answer of `sample` is scored; empty when it scores 1."""
    try:
        by_task = open_task(sample.task).score(sample.answer, sample)
    except ValueError as error:  # the answer has not the form of a gold answer, or the task's code fails
        return str(error)
    try:
        by_source = scorer(f"videossr/{sample.task}")(sample.answer, sample.answer)
    except Exception as error:  # the scorer may be of another package
        return f"sample {sample.id}: compute_score for {sample.task}: {type(error).__name__}: {error}"
    for name, scores in {"the task": by_task, "compute_score": by_source}.items():
        if (scores.smooth, scores.strict, scores.parsed) != (1.0, 1.0, True):
            return f"sample {sample.id}: {name} gives {scores}"
    return ""


def _truth(category: str, samples: Sequence[Sample]) -> Check:
    """Check that answers are what the samples' own parameters say: the shapes drawn, or the order shown."""
    wrong = [sample.id for sample in samples if true_answer(sample) not in (None, sample.answer)]
    return Check("answers", not wrong, f"wrong: {wrong[:3]}" if wrong else f"{len(samples)} as drawn", category)


def true_answer(sample: Sample) -> str | None:
    """Derive the answer from the truth; None for spans, which are held against the clock, and for nothing."""
    truth = open_task(sample.task).truth(sample)
    if truth.outlines and isinstance(names := sample.params.get("names"), list):
        drawn = Counter(outline.name for outline in truth.outlines)
        return ",".join(str(drawn[str(name)]) for name in names)
    if truth.order:
        return "".join(str(truth.order.index(piece) + 1) for piece in range(len(truth.order)))
    return None


def _clock(category: str, samples: Sequence[Sample]) -> Check:
    """Check that printed markers are their slots' mean times, and that labels in seconds are their spans."""
    worst = 0.0
    for sample in samples:
        worst = max(worst, *marker_errors(sample), label_error(sample))
    # Half a millisecond for the rounding of printed decimals that lie exactly between two.
    return Check("clock", worst <= TOLERANCE + 0.0005, f"largest error {worst:.3f} s, allowed {TOLERANCE} s", category)


def marker_errors(sample: Sample) -> list[float]:
    """Measure the seconds between each marker as it is printed and the mean of its slots' times.

    That Qwen3-VL's processor prints these markers is what `make integration` shows.
    """
    times = [*sample.clock.times_ms, *sample.clock.times_ms[-1:] * (-len(sample.clock) % MERGE)]
    means = [fmean(times[start : start + MERGE]) / 1000 for start in range(0, len(times), MERGE)]
    shown = [float(marker.split()[0].removeprefix("<")) for marker in markers(sample.clock)]
    return [abs(mean - marker) for mean, marker in zip(means, shown, strict=True)]


def label_error(sample: Sample) -> float:
    """Measure the seconds between an answer that is an interval and the span of its slots; 0 for others."""
    spans = open_task(sample.task).truth(sample).spans
    if not spans:
        return 0.0
    label = parse_interval(sample.answer)
    if label is None:
        return float("inf")
    start, end = sample.clock.span(*spans[0])
    return max(abs(label[0] - start), abs(label[1] - end))


def _pixels(
    dataset: VideoSSRDataset,
    scorable: Set[str],
    renders: int | None,
    solver: float | None,
    progress: Callable[[int, int], None],
) -> Iterator[Check]:
    """Check what only rendering shows: hashes, changes at the borders, the order of pieces and what solves it."""
    count = len(dataset) if renders is None else min(renders, len(dataset))
    changed: list[str] = []
    least: dict[str, float] = {}
    solved: dict[str, list[Scores]] = defaultdict(list)
    hidden: dict[str, list[list[str]]] = defaultdict(list)
    shapes: dict[str, list[bool]] = defaultdict(list)
    visible: dict[str, VisibilityChecks] = defaultdict(VisibilityChecks)
    for done, index in enumerate(np.linspace(0, len(dataset) - 1, count).round().astype(int), start=1):
        item = dataset[index]
        if pixel_hash(item.clips) != dataset.row(index)["pixels"]:
            changed.append(item.sample.id)
        if due := dataset.due(item.sample):
            visible[item.sample.category].look(dataset, item, due)
            if "strides" not in item.sample.params:  # where the speed changes, the first slot shows what it would
                change = border_change(dataset, item, due)
                least[item.sample.category] = min(change, least.get(item.sample.category, change))
        task = open_task(item.sample.task)
        if item.truth.order and isinstance(task.answer_type, Order) and item.sample.category in scorable:
            solved[item.sample.category].append(task.score(shortcuts.chain(item.clips), item.sample))
            positions = map(item.truth.order.index, range(len(item.clips)))
            hidden[item.sample.category].append(orders.faults([item.clips[at].frames for at in positions]))
        if item.truth.outlines and isinstance(task.answer_type, Counts) and item.sample.category in scorable:
            bare = np.delete(item.clips[0].frames, [outline.slot for outline in item.truth.outlines], axis=0)
            if len(bare):
                shapes[item.sample.category].append(native_shapes.shows_shapes(bare))
        progress(done, count)
    text = f"other pixels now: {changed[:3]}" if changed else f"{count} of {len(dataset)} rendered"
    yield Check("renders repeat", not changed if count else None, text)
    for category, value in sorted(least.items()):
        text = f"least change of a first or last slot {value:.2f} gray levels"
        if getattr(_config(dataset, category), "proven", False):
            yield Check("borders change", value >= VISIBLE, f"{text}, needed {VISIBLE}", category)
        else:
            yield Check("borders change", None, f"{text}; the recipe does not ask for any", category)
    for category, seen in sorted(visible.items()):
        yield from seen.findings(category, asked=getattr(_config(dataset, category), "gates", True))
    for category, clips in sorted(shapes.items()):
        yield native_shapes.finding(category, clips, gated=_gated(dataset, category))
    for category, results in sorted(solved.items()):
        yield orders.finding(category, hidden[category], gated=_gated(dataset, category))
        bound = getattr(_config(dataset, category), "solver", 1.0) if solver is None else solver
        yield shortcuts.solver(category, results, len(results[0].parts), bound)


def _gated(dataset: VideoSSRDataset, category: str) -> bool:
    """Tell whether the recipe asks for gates; a task whose config has no such setting promises none."""
    return bool(getattr(_config(dataset, category), "gates", False))


def border_change(dataset: VideoSSRDataset, item: Item, due: Sequence[tuple[int, int]]) -> float:
    """Return the mean gray levels by which the first and the last slot of the first span differ from those `due`."""
    first, last = item.truth.spans[0]
    before = unaltered(dataset.corpus, item.sample, {first: due[0], last: due[-1]})
    shown = item.clips[0].frames[[first, last]].astype(np.int16)
    return float(np.abs(shown - before).mean(axis=(1, 2, 3)).min())
