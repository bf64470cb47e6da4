"""`videossr build`: gates in parallel, quotas in hash order, draws in parallel; the same bytes from any workers.

What is done is in the ledger, so that a run which was killed goes on where it was, with the same bytes in the end.
"""

from __future__ import annotations

import shutil
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from videossr.build.benchmark import carried_fault
from videossr.build.code import code_versions
from videossr.build.draft import Drafter
from videossr.build.exclude import Exclusion, exclude
from videossr.build.ledger import Ledger, Refusal, reasons
from videossr.build.manifest import (
    NAME,
    Making,
    Manifest,
    corpus_path,
    differences,
    file_hashes,
    is_benchmark,
    read_manifest,
    versions,
)
from videossr.build.recipe import Mixture
from videossr.build.select import Selection
from videossr.build.write import remove_dataset, write_dataset, write_verdicts
from videossr.measure import rejected
from videossr.sample import Reject
from videossr.store import Place, leave_workshop, workshop
from videossr.video.corpus import MANIFEST, Corpus, pack_file
from videossr.video.pack import shard_of
from videossr.wording import Wording
from videossr.workers import Died, Here, Runner, WorkerError, start

BATCH = 64
"""Draws that a worker makes at once, at the most; fewer where there are few, so that every worker has some."""


@dataclass(frozen=True)
class Progress:
    """What the callback of `build` is told: the phase, and how far it is."""

    phase: str
    done: int
    total: int
    rejected: int


class UnmetError(ValueError):
    """The corpus cannot serve the recipe."""


def build(
    mixture: Mixture,
    corpus: Corpus,
    out: Place,
    *,
    wording: Wording,
    seed: int = 0,
    exclusions: Iterable[Place] = (),
    rebuild: bool = False,
    workers: int = 1,
    ray: str | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Manifest:
    """Make the dataset `out` and return its manifest. One that is there already, made alike and whole, is left alone.

    A build that was stopped, killed or failed halfway goes on where it was, as long as it is called with the same
    arguments; `workers` and `ray` may differ. What was rejected is in `rejected.parquet`, and what the gates
    measured of all videos is in `gates.parquet`, also when the build fails.

    With `rebuild`, a dataset in `out` that was made otherwise or is damaged is replaced, and so is an unfinished build.
    The old dataset stays whole until all samples of the new one are drawn.

    Raises:
        UnmetError: the corpus cannot serve the recipe.
        ValueError: `out` holds something else, or, without `rebuild`, a dataset or an unfinished build that was made
            otherwise; the message names what differs.
        CorpusError: a pack is damaged.
        WorkerError: a video kills the processes that look at it.
        OSError: `out` cannot be written; what is done is kept.
    """
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be from 0 to 2^63 - 1, got {seed}")
    exclusions = list(exclusions)
    tasks = {column.task for column in mixture.columns.values()}
    making = Making(
        kind="dataset",
        recipe=mixture.resolved,
        seed=seed,
        wording=dict(wording),
        corpus={"hash": corpus.hash, "path": corpus_path(out, corpus.path)},
        excluded=[read_manifest(path)["hash"] for path in exclusions],
        versions=versions(tasks) | code_versions(tasks),
    )
    old = read_manifest(out) if (out / NAME).exists() else None
    if old is not None:
        if (fault := _fault(out, old, making)) is None:
            leave_workshop(out)
            return old
        if not rebuild:
            raise ValueError(f"{out} {fault}. Choose another --out, or replace it with --rebuild")
        if f"{corpus.path}/".startswith(f"{out.resolve()}/"):
            raise ValueError(f"{out} cannot be replaced: the corpus {corpus.path} is in it. Choose another --out")
    _check_plan(mixture, corpus)
    with (
        workshop(out, {"verb": "build"}, ours=old is not None) as folder,
        Ledger(folder, out, making, mixture.columns, restart=rebuild) as ledger,
    ):
        excluded = exclude(corpus.videos, exclusions)
        left = (video for video in range(len(corpus.videos)) if video not in excluded)
        usable = array("I", islice(left, mixture.recipe.videos or None))
        drafter = Drafter(corpus, mixture, wording, seed, usable)

        def refusals() -> Iterator[Refusal]:
            yield from (Refusal(video, None, None, each.reject, each.twin) for video, each in excluded.items())
            yield from ledger.refusals()

        try:
            if not usable:
                raise UnmetError(f"none of the {len(corpus.videos)} videos of {corpus.path} is left to draw from")
            with Here(drafter) if workers == 1 and ray is None else start(drafter, workers, ray) as runner:
                runner.check([corpus.path / MANIFEST, pack_file(corpus.path, shard_of(corpus.videos[0].content))])
                table = out if old is None else None
                admitted = _gate(runner, ledger, drafter, refusals, table, progress)
                _fill(runner, ledger, drafter, admitted, refusals, progress)
        except (ValueError, WorkerError) as error:
            if old is None:
                write_verdicts(out, corpus, refusals(), ledger)
            if isinstance(error, UnmetError):
                ledger.discard()
                raise UnmetError(f"{error}{_ways_out(mixture, corpus, excluded, usable)}") from error
            raise
        counts = {column: videos.count(1) for column, videos in admitted.items()}

        def copied(done: int, total: int) -> None:
            progress(Progress("packs", done, total, ledger.rejects))

        if old is not None:
            remove_dataset(out, old)
        made = write_dataset(out, making, corpus, ledger, refusals, counts, copied)
        shutil.rmtree(folder)
    return made


def _ways_out(mixture: Mixture, corpus: Corpus, excluded: Mapping[int, Exclusion], usable: Collection[int]) -> str:
    """Say which options took videos away from a build that lacks them, and what to do instead."""
    told = ""
    if excluded:
        counts = Counter(each.reject.reason for each in excluded.values())
        why = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
        told += (
            f".\n--exclude took {len(excluded)} of the {len(corpus)} videos ({why}). To have videos on both sides, "
            f"divide the corpus before you build:\n  videossr corpus split {corpus.path} --out TRAIN TEST --share 0.9\n"
            "or build the other dataset from fewer videos (--videos N), or index more"
        )
    if len(usable) < len(corpus) - len(excluded):
        told += f".\n--videos {mixture.recipe.videos} leaves {len(usable)} videos to draw from: allow more"
    return told


def _fault(out: Place, made: Manifest, making: Making) -> str | None:
    """Say why the dataset `out` is not what `making` would make; None where it is, and is whole."""
    if differs := differences(made, making):
        return f"holds a dataset that was made otherwise: {'; '.join(differs)}"
    there = [name for name in made["files"] if (out / name).is_file()]
    now = file_hashes(out, there)
    if altered := [name for name, digest in made["files"].items() if now.get(name) != digest]:
        return f"holds a dataset of which {', '.join(altered)} is missing or altered since it was built"
    if is_benchmark(made) and (fault := carried_fault(out)):
        return f"holds a benchmark whose frame packs are not whole: {fault}"
    return None


def _check_plan(mixture: Mixture, corpus: Corpus) -> None:
    """Refuse, before any work, a recipe that needs frames which no video of the corpus has, or an even clock."""
    if mixture.recipe.benchmark and corpus.plan["kind"] == "snap":
        raise UnmetError(
            f"{mixture.recipe.name} is a benchmark, whose slots are at equal times; those of {corpus.path} were moved "
            "by --plan snap. Index the videos with --plan uniform into another folder"
        )
    problems = []
    short: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for name, task in mixture.tasks.items():
        if corpus.plan["kind"] == "snap" and getattr(task, "even_clock", False):
            problems.append(
                f"columns.{name} needs slots of equal length; those of {corpus.path} were moved by --plan snap. Leave "
                f"the column out (--set columns.{name}.count=0), or index the videos with --plan uniform into another "
                "folder"
            )
        slots, density = task.needs(mixture.knobs[name])
        if not any(frames % slots == 0 and frames >= slots * density for frames in corpus.slots):
            short[slots, slots * density].append(f"columns.{name}")
    for (steps, frames), names in short.items():
        have = ", ".join(map(str, corpus.slots[:3])) + (", …" if len(corpus.slots) > 3 else "")
        by_rate = ", since --plan fps takes more frames of longer videos" if corpus.plan["kind"] == "fps" else ""
        problems.append(
            f"{', '.join(names)} need{'s' * (len(names) == 1)} videos of {frames} frames, or more in steps of {steps}; "
            f"those of {corpus.path} have {have or 'none'}{by_rate}. Index them anew:\n"
            f"  videossr index VIDEOS --out {corpus.path}-{frames} --plan uniform --frames {frames}"
        )
    if problems:
        raise UnmetError("\n".join(problems))


def _gate(
    runner: Runner[Drafter],
    ledger: Ledger,
    drafter: Drafter,
    refusals: Callable[[], Iterable[Refusal]],
    table: Place | None,
    progress: Callable[[Progress], None],
) -> dict[str, bytearray]:
    """Find for each column which videos it admits: one byte each.

    `table` is where what the gates measured will be if the build fails.
    """
    videos, usable = len(drafter.corpus.videos), drafter.usable
    admitted = {column: bytearray(videos) for column in drafter.mixture.columns}
    known = bytearray(videos)

    def note(video: int, gates: Mapping[str, Reject | None]) -> None:
        known[video] = 1
        for column, reject in gates.items():
            admitted[column][video] = reject is None

    for video, found in ledger.gates():
        note(video, found)
    done = known.count(1)
    for video, gates in runner.run(Drafter.gate, (video for video in usable if not known[video])):
        if isinstance(gates, Died):
            raise _died(drafter, video, "its gates were")
        ledger.add_gates(video, gates)
        note(video, {column: rejected(measures) for column, measures in gates.items()})
        done += 1
        progress(Progress("gates", done, len(usable), ledger.rejects))
    if empty := [column for column, fit in admitted.items() if 1 not in fit]:
        gated = (refusal for refusal in refusals() if refusal.column is not None)
        counts = ", ".join(f"{reason} ({count})" for reason, count in reasons(gated).items())
        hint = f"; `videossr dataset info {table} --gates` shows what other thresholds would admit" if table else ""
        raise UnmetError(
            f"no video is fit for {', '.join(empty)}. Rejected of {len(usable)} videos: {counts} "
            f"(docs/reference/rejections.md says what the reasons mean{hint}). "
            f"{_way_out(dict.fromkeys(empty, 0), admitted)}"
        )
    return admitted


def _fill(
    runner: Runner[Drafter],
    ledger: Ledger,
    drafter: Drafter,
    admitted: Mapping[str, bytearray],
    refusals: Callable[[], Iterable[Refusal]],
    progress: Callable[[Progress], None],
) -> None:
    """Draw until every quota is met, in passes: each makes up for the draws that failed in those before it."""
    quotas = {name: column.count for name, column in drafter.mixture.columns.items()}
    most = max(16 + 4 * quota // admitted[name].count(1) for name, quota in quotas.items())
    selection = Selection(admitted, quotas, most)
    filled: Mapping[str, int] = {}
    turn = 0
    while chosen := selection.choose(filled):
        ended = ledger.filled(turn)
        if ended is None:
            jobs = ledger.missing(selection.shares(), min(BATCH, 1 + chosen // 32))
            for batch, results in runner.run(Drafter.records, jobs):
                if isinstance(results, Died):
                    columns = ", ".join(sorted({job.column for job in batch}))
                    raise _died(drafter, batch[0].video, f"samples for {columns} were drawn from it")
                ledger.add_draws(turn, results)
                progress(Progress("draws", ledger.samples, sum(quotas.values()), ledger.rejects))
            ended = ledger.end_pass(turn)
        filled = ended
        turn += 1
    if short := {name: quota - filled.get(name, 0) for name, quota in quotas.items() if filled.get(name, 0) < quota}:
        why = reasons(refusal for refusal in refusals() if refusal.column in short)
        told = ", ".join(f"{name} lacks {lack} of {quotas[name]}" for name, lack in short.items())
        counts = ", ".join(f"{reason} ({count})" for reason, count in why.items())
        raise UnmetError(
            f"too few samples could be drawn: {told}. Rejected: {counts}. "
            f"{_way_out({name: filled.get(name, 0) for name in short}, quotas)}"
        )


def _way_out(possible: Mapping[str, int], columns: Collection[str]) -> str:
    """Say how to get a dataset where some of `columns` could be given this many samples only."""
    if len(possible) == len(columns) and not any(possible.values()):
        return "Add videos"
    lower = " ".join(f"--set columns.{name}.count={count}" for name, count in possible.items())
    return f"Add videos, or lower the counts: {lower}"


def _died(drafter: Drafter, video: int, when: str) -> WorkerError:
    entry = drafter.corpus.videos[video]
    return WorkerError(
        f"the process was killed twice while {when}: {entry.path} ({entry.content[:12]}). If memory ran out, run the "
        "same command with fewer --workers, which goes on where it was; else leave this video out of the corpus"
    )
