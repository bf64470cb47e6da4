"""`videossr bench run`: put every question of a benchmark to a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from videossr.bench.evaluation import STOP_AFTER, Progress, evaluate
from videossr.bench.public.base import BENCHMARKS
from videossr.bench.public.frames import default_folder
from videossr.bench.scoring import score
from videossr.cli.bench.public import PAPER, PublicRun, benchmark_names, frame_counts, run_public, split_settings
from videossr.cli.bench.tables import note, print_failures, print_scores
from videossr.cli.console import Bar, console
from videossr.cli.settings import Setting, parse_settings
from videossr.errors import ConfigError, NothingAnsweredError
from videossr.models.base import MODELS, Decoding, model_spec
from videossr.question_set import open_questions
from videossr.registry import suggest
from videossr.storage.paths import to_path

app = App(
    name="run",
    help_epilogue="Example: videossr bench run demo/viubench --model chance --out demo/runs/chance\n\n"
    "videossr bench run demo/viubench --model constant --out demo/runs/constant\n\n"
    "videossr bench run charades --data demo/charades --model chance --frames 8,16 --out demo/runs/charades\n\n"
    "For all 16 of the paper: bench run paper --data BENCHMARKS --frames 32,48,64 --model hf:CHECKPOINT --out RUN\n\n"
    f"Kinds of models: {', '.join(MODELS.names())}",
)


@app.default
def command(
    bench: str,
    /,
    *settings: Setting,
    model: str,
    out: str,
    corpus: str | None = None,
    source: str | None = None,
    anywhere: Annotated[bool, Parameter(negative="")] = False,
    limit: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    data: str | None = None,
    frames: str | None = None,
    templates: Path | None = None,
    cache: Path | None = None,
    max_tokens: Annotated[int | None, Parameter(validator=Number(gte=1, lte=65536))] = None,
    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**63))] = 0,
    stop_after: Annotated[int, Parameter(validator=Number(gte=0))] = STOP_AFTER,
) -> None:
    """Put every question to a model, with greedy decoding, and store each answer word for word.

    A run that was stopped goes on where it was when the same command is run again; failed questions are asked again.

    Exit status 1 if some questions failed, 2 if no question was answered.

    Args:
        bench: Folder that `videossr build` wrote, or its address, or published rows. With `--data`: names of public
            benchmarks, separated by commas, or `paper` for those of the paper; `videossr bench list` shows all.
        settings: A setting and its value, such as `--model.batch=4`, or of a benchmark `--tempcompass.formats=yes_no`.
        model: Which model: chance, chance:prior, constant, constant:smooth, hf:PATH, vllm:PATH, openai:MODEL@URL,
            or human:FILE, the answers that the page of `videossr gallery --quiz` saved.
        out: Folder of the run.
        corpus: Folder or address of its frame packs, where it is no longer the one that the benchmark names.
        source: How rows with an unknown data_source are scored, such as videossr/choice.
        anywhere: Show files wherever published rows say that they are, not only below their folder or `--corpus`.
        limit: Number of questions to ask, spread evenly over the categories.
        data: Folder of the public benchmark as its authors publish it; of several, a folder with one of each name.
        frames: Numbers of frames of a video, at most, such as 32,48,64: a run of the public benchmark for each. By
            default 64.
        templates: TOML file whose texts replace those by which public benchmarks are asked.
        cache: Folder that keeps decoded frames of public benchmarks; by default videossr/frames in the user's cache.
        max_tokens: Largest number of tokens in an answer; by default 64, or what the public benchmark needs.
        seed: Seed of the model's random draws, where it makes any.
        stop_after: Stop when this many questions failed for the same reason and none was answered; 0 never stops.
    """
    names = benchmark_names(bench)
    if data is not None:
        if names is None:
            known = [*BENCHMARKS.names(), PAPER]
            raise ConfigError(
                f"{bench} is no public benchmark{suggest(bench, known)}. Datasets and rows are asked without --data"
            )
        if corpus is not None or source is not None or anywhere:
            raise ConfigError("--corpus, --source and --anywhere are for datasets and rows, not for public benchmarks")
        words = split_settings(parse_settings(settings, command, "--model.batch=4"), names)
        wanted = PublicRun(
            names=names,
            data=data,
            out=out,
            frames=frame_counts(frames or "64"),
            settings=words,
            templates=templates,
            cache=cache or default_folder(),
            limit=limit,
            max_tokens=max_tokens,
            seed=seed,
            stop_after=stop_after,
        )
        if run_public(wanted, model_spec(model, words["model"])):
            sys.exit(1)
        return
    if names is not None and not to_path(bench).exists():
        raise ConfigError(f"{bench}: name the folder of the public benchmark with --data")
    for option, value in (("--frames", frames), ("--templates", templates), ("--cache", cache)):
        if value is not None:
            raise ConfigError(f"{option} is for public benchmarks, which are run with --data")
    spec = model_spec(model, parse_settings(settings, command, "--model.batch=4", prefix="model."))
    questions = open_questions(bench, corpus=corpus, source=source, anywhere=anywhere)
    with Bar() as bar:

        def show(state: Progress) -> None:
            bar.show("questions", state.done, state.total, note(state))

        decoding = Decoding(max_tokens=max_tokens or Decoding().max_tokens, seed=seed)
        done = evaluate(questions, spec, out, decoding=decoding, limit=limit, stop_after=stop_after, progress=show)
    board = score(done)
    print_scores([(done, board)])
    print_failures(done)
    asked = len(done.predictions)
    console.print(f"{asked} of {done.config.size} questions asked; predictions in {out}")
    if board.overall is None:
        raise NothingAnsweredError(
            f"{out}: no question was answered, so there is no score; what failed is listed above"
        )
    if board.outcomes.failed:
        sys.exit(1)
