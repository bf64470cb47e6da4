"""`videossr export`: write questions in the formats of other programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from videossr.cli.console import Bar, console
from videossr.cli.settings import Setting, parse_settings
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import is_benchmark
from videossr.export.easyvideor1 import export_easyvideor1, shown_alone
from videossr.export.folder import Progress
from videossr.export.hf import REPOSITORY_FILES, export_hf, number_of_files, split_of, uploaded
from videossr.export.hub import check_access, upload
from videossr.export.llamafactory import export_llamafactory
from videossr.export.lmms_eval import export_lmms_eval
from videossr.export.swift import export_swift
from videossr.export.trainer import Cluster
from videossr.export.verl import export_verl
from videossr.export.vlmevalkit import export_vlmevalkit
from videossr.question_set import QuestionSet, open_questions
from videossr.training.config import load_config
from videossr.training.mixture import open_data

app = App(
    name="export",
    help="Write questions in the formats of other programs.",
    help_epilogue="Example: videossr export lmms-eval demo/dataset --out demo/lmms-eval",
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Opening:
    """How the questions of an export are opened."""

    corpus: str | None = None
    """Folder of the frames, where they are no longer where the dataset or the rows say."""

    source: str | None = None
    """How rows with an unknown data_source are scored, such as videossr/choice."""

    anywhere: Annotated[bool, Parameter(negative="")] = False
    """Show files wherever published rows say that they are, not only below their folder or `--corpus`."""

    def open(self, place: str) -> QuestionSet:
        """Open a dataset or rows."""
        return open_questions(place, corpus=self.corpus, source=self.source, anywhere=self.anywhere)


@app.command(name="lmms-eval", help_epilogue="Example: videossr export lmms-eval demo/dataset --out demo/lmms-eval")
def lmms_eval(
    bench: str,
    /,
    *,
    out: Path,
    name: str | None = None,
    opening: Opening = Opening(),
) -> None:
    """Write a task for lmms-eval, which can put it to any of its models and scores it as `videossr bench score` does.

    Args:
        bench: Folder that `videossr build` wrote, or a file of published rows.
        out: Folder of the task.
        name: Name of the task; by default that of the recipe, or of the file of rows.
        opening: How the questions are opened.
    """
    questions = opening.open(bench)
    task = _written(export_lmms_eval, questions, out, name or _name(questions))
    console.print(f"lmms-eval --include_path {out} --tasks {task.stem} --model MODEL")


@app.command(help_epilogue="Example: videossr export vlmevalkit demo/viubench --out demo/vlmevalkit")
def vlmevalkit(
    bench: str,
    /,
    *,
    out: Path,
    name: str | None = None,
    opening: Opening = Opening(),
) -> None:
    """Write a dataset class for the tree of VLMEvalKit, with its table and videos; it scores as `videossr bench score`.

    Args:
        bench: Folder that `videossr build` wrote, or a file of published rows.
        out: Folder to write; its README.md says where the files go.
        name: Name of the dataset; by default that of the recipe, or of the file of rows, and VIUBench for viubench.
        opening: How the questions are opened.
    """
    questions = opening.open(bench)
    chosen = name or _name(questions)
    _written(export_vlmevalkit, questions, out, "VIUBench" if chosen == "viubench" else chosen)
    console.print(f"{out / 'README.md'} says where the files go", soft_wrap=True)


@app.command(help_epilogue="Example: videossr export verl demo/dataset --out demo/verl --gpus 1 --batch 8")
def verl(
    dataset: str,
    /,
    *settings: Setting,
    out: Path,
    config: str = "train-paper",
    nodes: int = 1,
    gpus: int = 8,
    batch: int | None = None,
    corpus: str | None = None,
    anywhere: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write rows for verl, which refer to questions, and the command that trains on them by a configuration.

    Args:
        dataset: Folder that `videossr build` wrote, or a file of published rows, at the same path on every node.
        settings: A key of the configuration and its value, such as `--grpo.kl=0`: those of `videossr train`.
        out: Folder to write; train.sh in it is the command.
        config: Name of a recipe of `videossr train`, or the path of a TOML file; by default the paper's run.
        nodes: Machines to train on.
        gpus: GPUs of each machine.
        batch: Questions a step, the same as --run.batch; by default the paper's 64.
        corpus: Folder of the frames, where they are no longer where `dataset` says.
        anywhere: Show files wherever published rows say that they are, not only below their folder or `--corpus`.
    """
    given = {"data.path": dataset, "data.anywhere": anywhere, **parse_settings(settings, verl, "--grpo.kl=0")}
    given |= {name: value for name, value in (("run.batch", batch), ("data.corpus", corpus)) if value is not None}
    asked = load_config(config, given)
    questions = open_data(asked.data)
    with Bar() as bar:
        script = export_verl(
            questions, out, asked, Cluster(nodes, gpus), lambda done, total: bar.show("questions", done, total)
        )
    console.print(f"rows in {out}; train with: sh {script}", soft_wrap=True)


@app.command(help_epilogue="Example: videossr export swift demo/dataset --out demo/swift --gpus 1 --batch 8")
def swift(
    dataset: str,
    /,
    *,
    out: Path,
    gpus: int = 8,
    batch: int | None = None,
    name: str | None = None,
    opening: Opening = Opening(),
) -> None:
    """Write rows and video files for ms-swift, the reward, and the commands for GRPO (the paper's settings) and SFT.

    Args:
        dataset: Folder that `videossr build` wrote, or a file of published rows.
        out: Folder to write; train.sh in it is the command for GRPO, sft.sh that for SFT.
        gpus: GPUs to train on.
        batch: Questions a step; by default the paper's 64.
        name: Name of the run in trackers; by default that of the recipe, or of the file of rows.
        opening: How the questions are opened.
    """
    questions = opening.open(dataset)
    _mention_benchmark(questions)
    script = _written(partial(export_swift, gpus=gpus, batch=batch), questions, out, name or _name(questions))
    console.print(f"train with: sh {script}", soft_wrap=True)


@app.command(help_epilogue="Example: videossr export llamafactory demo/dataset --out demo/llamafactory")
def llamafactory(
    dataset: str,
    /,
    *,
    out: Path,
    name: str | None = None,
    opening: Opening = Opening(),
) -> None:
    """Write rows and video files for SFT with LLaMA-Factory, and the configuration that trains on them.

    Args:
        dataset: Folder that `videossr build` wrote, or a file of published rows.
        out: Folder to write; train.yaml in it is the configuration.
        name: Name of the dataset; by default that of the recipe, or of the file of rows.
        opening: How the questions are opened.
    """
    questions = opening.open(dataset)
    _mention_benchmark(questions)
    _written(export_llamafactory, questions, out, name or _name(questions))
    console.print(f"train with: cd {out} && llamafactory-cli train train.yaml", soft_wrap=True)


@app.command(
    help_epilogue="Example: videossr export easyvideor1 demo/dataset --out demo/easyvideor1 --gpus 1 --batch 4"
)
def easyvideor1(
    dataset: str,
    /,
    *,
    out: Path,
    name: str | None = None,
    nodes: int = 1,
    gpus: int = 8,
    batch: int | None = None,
    opening: Opening = Opening(),
) -> None:
    """Write the questions about one clip for EasyVideoR1, with stored frames, and the command that trains on them.

    Args:
        dataset: Folder that `videossr build` wrote, or a file of published rows.
        out: Folder to write; train.sh in it is the command.
        name: Name of the run; by default that of the recipe, or of the file of rows.
        nodes: Machines to train on.
        gpus: GPUs of each machine.
        batch: Questions a step; by default the paper's 64.
        opening: How the questions are opened.
    """
    questions = opening.open(dataset)
    _mention_benchmark(questions)
    shown = len(shown_alone(questions))
    if shown < len(questions):
        console.print(f"{len(questions) - shown} questions about several clips are left out: it shows one video a row")
    export = partial(export_easyvideor1, cluster=Cluster(nodes, gpus), batch=batch)
    script = _written(export, questions, out, name or _name(questions), shown)
    console.print(f"train with: EASYVIDEOR1=REPOSITORY sh {script}", soft_wrap=True)


@app.command(help_epilogue="Example: videossr export hf demo/dataset --out demo/hf")
def hf(
    dataset: str,
    /,
    *,
    out: Path,
    push: str | None = None,
    name: str | None = None,
    opening: Opening = Opening(),
) -> None:
    """Write a dataset for the Hugging Face hub, with a video file a clip: `datasets.load_dataset` and browsers read it.

    Args:
        dataset: Folder that `videossr build` wrote, or a file of published rows.
        out: Folder to write, with a card, README.md.
        push: Dataset of the hub to upload it to, as ORGANIZATION/NAME; a new one is private.
        name: Name on the card; by default that of the recipe, or of the file of rows.
        opening: How the questions are opened.
    """
    if push is not None:
        check_access(push)
    questions = opening.open(dataset)
    _written(export_hf, questions, out, name or _name(questions))
    if (clips := number_of_files(questions)) > REPOSITORY_FILES:
        console.print(
            f"{clips:,} video files: the hub advises at most {REPOSITORY_FILES:,} a repository. `videossr dataset "
            "split` makes several datasets of one"
        )
    if push is not None:
        console.print(f"uploaded to {upload(out, push, uploaded(questions))}")
    else:
        console.print(f'datasets.load_dataset("videofolder", data_dir="{out}", split="{split_of(questions)}")')


def _mention_benchmark(questions: QuestionSet) -> None:
    """Say so where questions that a model will be trained on are a benchmark."""
    if isinstance(questions, VideoSSRDataset) and is_benchmark(questions.manifest):
        console.print(f"{questions.path} is a benchmark: it cannot measure a model that was trained on it")


def _written(
    export: Callable[[QuestionSet, Path, str, Progress], Path],
    questions: QuestionSet,
    out: Path,
    name: str,
    count: int | None = None,
) -> Path:
    """Export the questions, of which it may write only `count`, and show how far it is."""
    total = len(questions) if count is None else count
    with Bar() as bar:
        file = export(questions, out, name, lambda done: bar.show("questions", done, total))
    console.print(f"{total} questions in {out}", soft_wrap=True)
    return file


def _name(questions: QuestionSet) -> str:
    """Return the name of a dataset's recipe, or of a file of published rows."""
    if isinstance(questions, VideoSSRDataset):
        return questions.manifest["recipe"]["name"]
    return questions.path.stem.lower()
