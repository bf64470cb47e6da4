"""`videossr bench`: put questions to a model, score what it said, compare runs."""

from __future__ import annotations

from cyclopts import App

app = App(
    name="bench",
    help="Put questions to a model, score what it said, compare runs.",
    help_epilogue="Example: videossr bench run demo/viubench --model chance --out demo/runs/chance",
)
for order, (verb, purpose) in enumerate(
    {
        "run": "Ask a model every question of a benchmark.",
        "score": "Score a run as the paper does.",
        "compare": "Say in what runs differ, and whether that is more than noise.",
        "chance": "Say what answers without looking score.",
        "probe": "Find out which questions a model can learn from.",
    }.items()
):
    app.command(f"videossr.cli.bench.{verb}:app", name=verb, help=purpose, sort_key=order)
