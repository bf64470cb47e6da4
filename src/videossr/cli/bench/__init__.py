"""`videossr bench`: evaluate models, score their answers, compare runs."""

from __future__ import annotations

from cyclopts import App

app = App(
    name="bench",
    help="Evaluate models, score their answers, compare runs.",
    help_epilogue="Example: videossr bench run demo/viubench --model chance --out demo/runs/chance",
)
for order, (verb, purpose) in enumerate(
    {
        "list": "Show the public benchmarks that can be run.",
        "check": "Check the files of a public benchmark before a long run.",
        "run": "Put every question of a benchmark to a model.",
        "score": "Score a run with the paper's metrics.",
        "compare": "Show where runs differ, and whether the difference is larger than noise.",
        "chance": "Score guesses and constant answers, which need no video.",
        "probe": "Measure pass rates, to find questions that a model can learn from.",
    }.items()
):
    app.command(f"videossr.cli.bench.{verb}:app", name=verb, help=purpose, sort_key=order)
