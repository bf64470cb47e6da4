"""Build a dataset: gates in parallel, quotas in hash order, draws in parallel. Exercised by `videossr build`.

The bytes do not depend on the workers. What is done is in the journal, so that a run which was killed goes on where it
was, with the same bytes in the end.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from videossr.builder.allocation import Selection
from videossr.builder.code_hash import code_versions
from videossr.builder.decontamination import Exclusion, find_excluded
from videossr.builder.generation import SampleGenerator
from videossr.builder.journal import BuildJournal
from videossr.builder.old_dataset import current_manifest, find_old, recognized
from videossr.builder.recipe import ResolvedRecipe, load_recipe
from videossr.builder.rejections import RejectionRecord, reasons
from videossr.builder.writer import write_dataset, write_verdicts
from videossr.corpus.corpus import MANIFEST, Corpus, pack_file
from videossr.corpus.pack import shard_of
from videossr.dataset.hashing import read_checked
from videossr.dataset.manifest import BuildSpec, Manifest, corpus_path, versions
from videossr.errors import ConfigError, UnmetError, WorkerError
from videossr.measure import rejected
from videossr.runners import start
from videossr.runners.base import Runner, WorkerCrash
from videossr.sample import Rejection
from videossr.storage.output_dir import OutputDir
from videossr.storage.paths import AnyPath, to_path
from videossr.templates import PromptTemplates, load_templates

BATCH = 64
"""Draws that a worker makes at once, at the most; fewer where there are few, so that every worker has some."""


@dataclass(frozen=True)
class Progress:
    """The progress of a build: `done` of `total` in a phase, "gates", "draws" or "packs", and rejections so far."""

    phase: str
    done: int
    total: int
    rejected: int


def build_dataset(
    recipe: str | Path | ResolvedRecipe,
    corpus: str | AnyPath | Corpus,
    out: str | AnyPath,
    settings: Mapping[str, object] | None = None,
    *,
    templates: PromptTemplates | None = None,
    seed: int = 0,
    exclude: Iterable[str | AnyPath] = (),
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
    The old dataset stays whole until all samples of the new one are drawn. Where its manifest cannot be read, it is
    replaced only if nothing else is in the folder.

    Args:
        recipe: name of a shipped recipe, path of a TOML file, or a recipe that `load_recipe` returned.
        corpus: folder or address that `index_videos` wrote, or an opened corpus.
        out: folder or address of the dataset.
        settings: values that replace those of a recipe or file, by dotted name: ``{"categories.jigsaw/6.count": 9}``.
        templates: texts of the questions; those of the package when None.
        seed: the same seed gives the same files, whatever the number of workers.
        exclude: datasets to keep apart from: none of their videos is used, nor one that looks like them.
        rebuild: replace a dataset in `out` that was made otherwise or is damaged, or an unfinished build.
        workers: processes. More than one are spawned: a script that calls this needs a ``__main__`` guard.
        ray: address of a Ray cluster that does the work instead, or "local".
        progress: called as samples are finished.

    Returns:
        The manifest of the dataset: counts, hashes and versions.

    Raises:
        UnmetError: the corpus cannot serve the recipe.
        ConfigError: the recipe, a setting or the seed is wrong.
        OutputError: `out` holds something else, or, without `rebuild`, a dataset or an unfinished build that was made
            otherwise; the message names what differs.
        CorpusError: a pack is damaged.
        WorkerError: a video kills the processes that look at it.
        OSError: `out` cannot be written; what is done is kept.
    """
    if isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise ConfigError(f"seed must be from 0 to 2^63 - 1, got {seed}")
    if isinstance(exclude, str):
        raise TypeError("exclude is a list of datasets, not the path of one")
    if not isinstance(recipe, ResolvedRecipe):
        recipe = load_recipe(recipe, settings)
    elif settings:
        raise ValueError("settings replace values of a recipe or a file; give them to load_recipe")
    corpus = corpus if isinstance(corpus, Corpus) else Corpus(corpus)
    output = OutputDir(to_path(out), "build", "dataset")
    templates = templates or load_templates()
    apart = [to_path(dataset) for dataset in exclude]
    spec = _build_spec(recipe, corpus, output.path, templates, seed, apart)
    old = find_old(output, rebuild=rebuild)
    if old is not None and (current := current_manifest(old, spec, output, corpus, rebuild=rebuild)):
        output.remove_leftovers()
        return current
    _check_plan(recipe, corpus)
    corpus.check_hash()
    replace_claim = rebuild and (old is not None or recognized(output) is not None)
    with (
        output.open(reopen=old is not None, replace_claim=replace_claim) as staging,
        BuildJournal(staging, output, spec, recipe.categories, restart=rebuild) as journal,
    ):
        journal.check_videos(len(corpus.videos))
        excluded = find_excluded(corpus.videos, apart)
        left = (video for video in range(len(corpus.videos)) if video not in excluded)
        usable = array("I", islice(left, recipe.recipe.videos or None))
        generator = SampleGenerator(corpus, recipe, templates, seed, usable)
        build = _Build(generator, journal, excluded, progress)
        try:
            if not usable:
                raise UnmetError(f"none of the {len(corpus.videos)} videos of {corpus.path} is left to draw from")
            with start(generator, workers, ray) as runner:
                runner.check([corpus.path / MANIFEST, pack_file(corpus.path, shard_of(corpus.videos[0].content))])
                admitted = build.gate(runner, table=output.path if old is None else None)
                build.draw(runner, admitted)
        except (ValueError, WorkerError) as error:
            if old is None:
                write_verdicts(output.path, corpus, build.rejection_records(), journal)
            if isinstance(error, UnmetError):
                journal.discard()
                raise UnmetError(f"{error}{build.ways_out()}") from error
            raise
        if old is not None:
            old.remove(output.path)
        counts = {category: videos.count(1) for category, videos in admitted.items()}
        return write_dataset(
            output.path, spec, corpus, journal, build.rejection_records, counts, partial(build.report, "packs")
        )


def _build_spec(
    recipe: ResolvedRecipe, corpus: Corpus, out: AnyPath, templates: PromptTemplates, seed: int, apart: list[AnyPath]
) -> BuildSpec:
    """Name all inputs that determine the dataset."""
    tasks = {category.task for category in recipe.categories.values()}
    perturbations = {
        name for category, task in recipe.tasks.items() for name in task.perturbations(recipe.config[category])
    }
    return BuildSpec(
        kind="dataset",
        recipe=recipe.resolved,
        seed=seed,
        templates=dict(templates),
        corpus={"hash": corpus.hash, "path": corpus_path(out, corpus.path)},
        excluded=[read_checked(path)["hash"] for path in apart],
        versions=versions(tasks, perturbations) | code_versions(tasks, perturbations),
    )


def _check_plan(mixture: ResolvedRecipe, corpus: Corpus) -> None:
    """Refuse, before any work, a corpus without videos, and a recipe that needs other frames than there are.

    These are more frames than any video has, or frames at equal times.
    """
    if not len(corpus):
        raise UnmetError(corpus.no_videos())
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
                f"categories.{name} needs slots of equal length; those of {corpus.path} were moved by --plan snap. "
                f"Leave the category out (--categories.{name}.count=0), or index the videos with --plan uniform "
                "into another folder"
            )
        slots, density = task.required_frames(mixture.config[name])
        if not any(frames % slots == 0 and frames >= slots * density for frames in corpus.slots):
            short[slots, slots * density].append(f"categories.{name}")
    for (steps, frames), names in short.items():
        have = ", ".join(map(str, corpus.slots[:3])) + (", …" if len(corpus.slots) > 3 else "")
        by_rate = ", since --plan fps takes more frames of longer videos" if corpus.plan["kind"] == "fps" else ""
        problems.append(
            f"{', '.join(names)} need{'s' * (len(names) == 1)} videos of {frames} frames, or more in steps of {steps}; "
            f"those of {corpus.path} have {have}{by_rate}. Index them anew:\n"
            f"  videossr index VIDEOS --out {corpus.path}-{frames} --plan uniform --frames {frames}"
        )
    if problems:
        raise UnmetError("\n".join(problems))


@dataclass(frozen=True)
class _Build:
    """A build that is under way.

    Attributes:
        generator: of samples, from the videos that may be used.
        journal: what is done.
        excluded: the videos that other datasets take away.
        progress: called as work is done.
    """

    generator: SampleGenerator
    journal: BuildJournal
    excluded: Mapping[int, Exclusion]
    progress: Callable[[Progress], None]

    def report(self, phase: str, done: int, total: int) -> None:
        """Report the progress of a phase."""
        self.progress(Progress(phase, done, total, self.journal.rejects))

    def rejection_records(self) -> Iterator[RejectionRecord]:
        """Yield all that was rejected so far: excluded videos first."""
        for video, exclusion in self.excluded.items():
            yield RejectionRecord(video, None, None, exclusion.reject, exclusion.twin)
        yield from self.journal.rejection_records()

    def gate(self, runner: Runner[SampleGenerator], table: AnyPath | None) -> dict[str, bytearray]:
        """Find for each category which videos it admits: one byte each.

        `table` is where what the gates measured will be if the build fails. Raises UnmetError where a category admits
        no video.
        """
        corpus, usable = self.generator.corpus, self.generator.usable
        admitted = {category: bytearray(len(corpus.videos)) for category in self.generator.mixture.categories}
        known = bytearray(len(corpus.videos))

        def note(video: int, gates: Mapping[str, Rejection | None]) -> None:
            known[video] = 1
            for category, reject in gates.items():
                admitted[category][video] = reject is None

        for video, rejections in self.journal.gates():
            note(video, rejections)
        results = runner.run(SampleGenerator.gate, (video for video in usable if not known[video]))
        for done, (video, gates) in enumerate(results, known.count(1) + 1):
            if isinstance(gates, WorkerCrash):
                raise self._worker_error(video, "its gates were")
            self.journal.add_gates(video, gates)
            note(video, {category: rejected(measures) for category, measures in gates.items()})
            self.report("gates", done, len(usable))
        if empty := [category for category, fit in admitted.items() if 1 not in fit]:
            gated = (rejection for rejection in self.rejection_records() if rejection.category is not None)
            counts = ", ".join(f"{reason} ({count})" for reason, count in reasons(gated).items())
            hint = f"; `videossr dataset info {table} --gates` shows what other thresholds would admit" if table else ""
            raise UnmetError(
                f"no video is fit for {', '.join(empty)}. Rejected of {len(usable)} videos: {counts} "
                f"(docs/reference/rejections.md says what the reasons mean{hint}). "
                f"{_fewer(dict.fromkeys(empty, 0), admitted)}"
            )
        return admitted

    def draw(self, runner: Runner[SampleGenerator], admitted: Mapping[str, bytearray]) -> None:
        """Draw until every quota is met, in rounds: each makes up for the draws that failed in those before it.

        Raises UnmetError when nothing is left to draw from.
        """
        quotas = {name: category.count for name, category in self.generator.mixture.categories.items()}
        most = max(16 + 4 * quota // admitted[name].count(1) for name, quota in quotas.items())
        selection = Selection(admitted, quotas, most)
        filled: Mapping[str, int] = {}
        round_number = 0
        while chosen := selection.choose(filled):
            ended = self.journal.counts_after(round_number)
            if ended is None:
                jobs = self.journal.missing(selection.shares(), min(BATCH, 1 + chosen // 32))
                for batch, results in runner.run(SampleGenerator.records, jobs):
                    if isinstance(results, WorkerCrash):
                        categories = ", ".join(sorted({job.category for job in batch}))
                        raise self._worker_error(batch[0].video, f"samples for {categories} were drawn from it")
                    self.journal.add_draws(round_number, results)
                    self.report("draws", self.journal.samples, sum(quotas.values()))
                ended = self.journal.end_round(round_number)
            filled = ended
            round_number += 1
        counts = {name: filled.get(name, 0) for name in quotas}
        if short := {name: count for name, count in counts.items() if count < quotas[name]}:
            why = reasons(rejection for rejection in self.rejection_records() if rejection.category in short)
            lacking = ", ".join(
                f"{name} lacks {quotas[name] - count} of {quotas[name]}" for name, count in short.items()
            )
            rejections = ", ".join(f"{reason} ({count})" for reason, count in why.items())
            raise UnmetError(
                f"too few samples could be drawn: {lacking}. Rejected: {rejections}. {_fewer(short, quotas)}"
            )

    def ways_out(self) -> str:
        """Say which options took videos away from a build that lacks them, and what to do instead."""
        corpus, usable, hints = self.generator.corpus, self.generator.usable, ""
        if self.excluded:
            counts = Counter(exclusion.reject.reason for exclusion in self.excluded.values())
            why = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
            hints += (
                f".\n--exclude took {len(self.excluded)} of the {len(corpus)} videos ({why}). To have videos on both "
                f"sides, divide the corpus before you build:\n"
                f"  videossr corpus split {corpus.path} --out TRAIN TEST --share 0.9\n"
                "or build the other dataset from fewer videos (--videos N), or index more"
            )
        if len(usable) < len(corpus) - len(self.excluded):
            most = self.generator.mixture.recipe.videos
            hints += f".\n--videos {most} leaves {len(usable)} videos to draw from: allow more"
        return hints

    def _worker_error(self, video: int, when: str) -> WorkerError:
        entry = self.generator.corpus.videos[video]
        return WorkerError(
            f"the process was killed twice while {when}: {entry.path} ({entry.content[:12]}). If memory ran out, run "
            "the same command with fewer --workers, which goes on where it was; else leave this video out of the corpus"
        )


def _fewer(possible: Mapping[str, int], categories: Collection[str]) -> str:
    """Say how to get a dataset where some of `categories` could be given this many samples only."""
    if len(possible) == len(categories) and not any(possible.values()):
        return "Add videos"
    lower = " ".join(f"--categories.{name}.count={count}" for name, count in possible.items())
    return f"Add videos, or lower the counts: {lower}"
