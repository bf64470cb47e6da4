"""`videossr export`: questions in the form that other programs read."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from videossr.cli.console import Bar, console
from videossr.dataset.dataset import VideoSSRDataset
from videossr.export.lmms_eval import export_lmms_eval
from videossr.question_set import QuestionSet, open_questions

app = App(
    name="export",
    help="Questions in the form that other programs read.",
    help_epilogue="Example: videossr export lmms-eval demo/dataset --out demo/lmms-eval",
)


@app.command(name="lmms-eval", help_epilogue="Example: videossr export lmms-eval demo/dataset --out demo/lmms-eval")
def lmms_eval(
    bench: str,
    /,
    *,
    out: Path,
    name: str | None = None,
    corpus: str | None = None,
    source: str | None = None,
) -> None:
    """Write a task for lmms-eval, which asks it with any of its models and scores it as `videossr bench score` does.

    Args:
        bench: Folder that `videossr build` wrote, or rows that others have published.
        out: Folder of the task.
        name: Of the task; by default that of the recipe, or of the file of the rows.
        corpus: Folder of the frames, where they are no longer where `bench` says.
        source: How rows are scored whose data_source is not known, such as videossr/choice.
    """
    questions = open_questions(bench, corpus=corpus, source=source)
    with Bar() as bar:
        task = export_lmms_eval(
            questions,
            out,
            name or _name(questions),
            progress=lambda done: bar.show("questions", done, len(questions)),
        )
    console.print(f"{len(questions)} questions in {out}")
    console.print(f"lmms-eval --include_path {out} --tasks {task.stem} --model MODEL")


def _name(questions: QuestionSet) -> str:
    if isinstance(questions, VideoSSRDataset):
        return questions.manifest["recipe"]["name"]
    return questions.path.stem.lower()
