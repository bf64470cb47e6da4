"""`videossr bench run`: put every question of a benchmark to a model."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from videossr.bench.evaluation import STOP_AFTER, Progress, evaluate
from videossr.bench.scoring import score
from videossr.cli.bench.tables import note, print_failures, print_scores
from videossr.cli.console import Bar, console
from videossr.cli.settings import Setting, parse_settings
from videossr.errors import NothingAnsweredError
from videossr.models.base import MODELS, Decoding, model_spec
from videossr.question_set import open_questions

app = App(
    name="run",
    help_epilogue="Example: videossr bench run demo/viubench --model chance --out demo/runs/chance\n\n"
    "videossr bench run demo/viubench --model constant --out demo/runs/constant\n\n"
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
    max_tokens: Annotated[int, Parameter(validator=Number(gte=1, lte=65536))] = Decoding().max_tokens,
    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**63))] = 0,
    stop_after: Annotated[int, Parameter(validator=Number(gte=0))] = STOP_AFTER,
) -> None:
    """Put every question to a model, with greedy decoding, and store each answer word for word.

    A run that was stopped goes on where it was when the same command is run again; failed questions are asked again.

    Exit status 1 if some questions failed, 2 if no question was answered.

    Args:
        bench: Folder that `videossr build` wrote, or its address, or published rows.
        settings: A setting of the model and its value, such as `--model.batch=4`.
        model: Which model: chance, chance:prior, constant, constant:smooth, hf:PATH, vllm:PATH, openai:MODEL@URL,
            or human:FILE, the answers that the page of `videossr gallery --quiz` saved.
        out: Folder of the run.
        corpus: Folder or address of its frame packs, where it is no longer the one that the benchmark names.
        source: How rows with an unknown data_source are scored, such as videossr/choice.
        anywhere: Show files wherever published rows say that they are, not only below their folder or `--corpus`.
        limit: Number of questions to ask, spread evenly over the categories.
        max_tokens: Largest number of tokens in an answer.
        seed: Seed of the model's random draws, where it makes any.
        stop_after: Stop when this many questions failed for the same reason and none was answered; 0 never stops.
    """
    spec = model_spec(model, parse_settings(settings, command, "--model.batch=4", prefix="model."))
    questions = open_questions(bench, corpus=corpus, source=source, anywhere=anywhere)
    with Bar() as bar:

        def show(state: Progress) -> None:
            bar.show("questions", state.done, state.total, note(state))

        decoding = Decoding(max_tokens=max_tokens, seed=seed)
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
