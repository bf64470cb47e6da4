"""Save and restore checkpoints: what transformers and vLLM load, and beside it what the run resumes from.

    RUN/checkpoints/step-000050/    model.safetensors, and the other files as they are in the source checkpoint
        README.md                   the model card
        adapter/                    of LoRA, as peft writes it; the model is merged all the same
        trainer/state.pt            optimizer, random states, and what else the loop needs to go on
        trainer/weights.safetensors what is trained, where the model's own files do not hold it exactly
        trainer/files.json          the size of every file
    RUN/model                       a link to the last one

A checkpoint is written under another name, forced to the disk, and renamed: under its own name it is complete. Older
ones are removed only behind that, so whenever a run is killed, its newest good checkpoint is there. Exercised by
`videossr train CONFIG --out RUN`, which goes on from the newest one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import tomli_w
import torch
import transformers
import yaml
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict

from videossr.engine.checkpoint import Checkpoint, without_report
from videossr.engine.model import VisionLanguageModel, as_module, base_model
from videossr.errors import DataError
from videossr.storage.parsing import load_json
from videossr.training.checkpoints.model_files import write_model
from videossr.training.config import TrainConfig, as_table
from videossr.training.runs.records import CHECKPOINTS, MODEL, Step
from videossr.untrusted import markdown_cell, markdown_code

CARD = "README.md"
ADAPTER = "adapter"
TRAINER = "trainer"
STATE = f"{TRAINER}/state.pt"
WEIGHTS = f"{TRAINER}/weights.safetensors"
FILES = f"{TRAINER}/files.json"

_NAME = re.compile(r"step-(\d{6,})")
_PARTIAL = re.compile(r"\.step-\d{6,}\.partial")
_PREFIX = "base_model.model."
"""The prefix that peft puts before the names of the model that it wraps."""

Tensors = Mapping[str, torch.Tensor]


def save(
    run: Path,
    step: int,
    model: VisionLanguageModel,
    source: Checkpoint,
    state: Mapping[str, Any],
    card: str,
    *,
    keep: int = 2,
) -> Path:
    """Write the checkpoint of a step and remove all but the `keep` newest. Every process of a run must call it.

    Only the first process writes. One of this step that is there already and complete stays as it is.

    Args:
        run: folder of the run.
        step: that was made last.
        model: of transformers, or of peft around one. It is not changed.
        source: what it was loaded from: its other files are copied, its weights' precision is kept.
        state: what is handed back by `restore`: tensors, numbers, strings, and lists and mappings of them.
        card: the text of the model card.
        keep: checkpoints, at least one.

    Raises:
        OSError: it cannot be written; those that are there are then untouched.
    """
    target = run / CHECKPOINTS / f"step-{step:06d}"
    tensors = _whole(base_model(model))
    if _rank():
        return target
    if _complete(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        remove_partial(run)
        _write(partial, model, tensors, source, {**state, "step": step, "random": _random_states()}, card)
    except Exception as error:  # what writes has exceptions of its own for a disk that is full
        shutil.rmtree(partial, ignore_errors=True)
        newest = next(filter(_complete, _all(run)), None)
        kept = f"{newest} is intact, and the same command goes on from it" if newest else "there is none before it"
        raise OSError(f"{target} could not be written: {type(error).__name__}: {error}. {kept}") from error
    if target.exists():
        shutil.rmtree(target)  # incomplete: damaged by others
    partial.rename(target)
    _sync(target.parent)
    link(run, target)
    good = [checkpoint for checkpoint in _all(run) if _complete(checkpoint)]
    if target not in good:
        raise OSError(f"{target}: its files are not as they were written. All older checkpoints are kept")
    for old in set(_all(run)) - {target, *good[:keep]}:
        _remove(old)
    return target


def remove_partial(run: Path) -> None:
    """Remove checkpoints that a killed run had written or removed in part."""
    folder = run / CHECKPOINTS
    for left in folder.iterdir() if folder.is_dir() else ():
        if _PARTIAL.fullmatch(left.name):
            shutil.rmtree(left)


def latest(run: Path, *, before: int | None = None) -> Path | None:
    """Return the newest complete checkpoint of a run, if asked for of a step `before` another; None where none exists.

    Raises:
        DataError: there are some, but not one is complete: what was learned would silently be lost.
    """
    checkpoints = [path for path in _all(run) if before is None or step_of(path) < before]
    complete = next(filter(_complete, checkpoints), None)
    if checkpoints and complete is None:
        raise DataError(f"{checkpoints[0]}: files are missing or cut off, as in all checkpoints beside it; delete them")
    return complete


def step_of(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written. Raises DataError for a folder that is none."""
    match = _NAME.fullmatch(checkpoint.name)
    if match is None:
        raise DataError(f"{checkpoint}: no checkpoint of a run; they are called step-000050")
    return int(match[1])


def restore(model: VisionLanguageModel, checkpoint: Path) -> dict[str, Any]:
    """Restore the weights of a model and torch's random states; return the `state` that was saved.

    Every process must call it. Their number need not be that of the run which saved. The numbers of the weights are
    replaced in place, whatever holds on to them.

    Args:
        model: as it was loaded from the source checkpoint, adapters in place.
        checkpoint: folder of a complete one.

    Raises:
        DataError: its weights are not those of this model, or it is damaged.
    """
    base = base_model(model)
    trained = {name for name, weight in base.named_parameters() if weight.requires_grad}
    shapes = {name: tuple(tensor.shape) for name, tensor in base.state_dict().items()}
    try:
        tensors = _tensors(checkpoint, base.dtype)
        state: dict[str, Any] = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
    except Exception as error:  # readers of weights have exceptions of their own
        raise DataError(
            f"{checkpoint} is damaged: {type(error).__name__}: {str(error).partition(chr(10))[0]}. Delete it, and the "
            "same command goes on from the one before it"
        ) from error
    wrong = sorted(name for name in trained if name not in tensors or tuple(tensors[name].shape) != shapes[name])
    if wrong:
        raise DataError(
            f"{checkpoint}: lacks {len(wrong)} of the {len(trained)} trained weights, such as {wrong[0]}: it was "
            "written with another model or other adapters"
        )
    weights: dict[str, Any] = {name: tensors[name] for name in sorted(trained)}
    set_model_state_dict(as_module(base), weights, options=StateDictOptions(full_state_dict=True, strict=False))
    _set_random_states(state.pop("random"))
    return state


def _tensors(checkpoint: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the weights as exactly as they are kept, without those that the files lack."""
    if (checkpoint / WEIGHTS).exists():
        exact: dict[str, torch.Tensor] = load_file(checkpoint / WEIGHTS)
        return exact
    transformers.utils.logging.disable_progress_bar()
    kind = transformers.AutoModelForImageTextToText
    with without_report():
        model, info = kind.from_pretrained(checkpoint, dtype=dtype, local_files_only=True, output_loading_info=True)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in info["missing_keys"]}


def model_card(config: TrainConfig, dataset: str, last: Step | None) -> str:
    """Return the Markdown of a model card, with the header that the Hugging Face Hub reads.

    Args:
        config: of the run.
        dataset: the content hash of what it was trained on.
        last: the last step that was made.
    """
    source = config.model.path
    path = Path(source)
    name = path.parent.name if path.name == MODEL else path.name  # what an earlier run has made bears that run's name
    how = "all weights" if config.model.lora is None else f"LoRA of rank {config.model.lora.rank}, merged"
    method = {"grpo": "GRPO", "sft": "supervised"}[config.run.method]
    header: dict[str, str | list[str]] = {} if path.expanduser().exists() else {"base_model": source}
    header |= {"library_name": "transformers", "pipeline_tag": "video-text-to-text", "tags": ["video", "videossr"]}
    lines = [
        *("---", yaml.safe_dump(header, sort_keys=False).rstrip(), "---", ""),
        f"# {markdown_cell(name)}, trained by videossr",
        "",
        "A checkpoint of a run on questions about videos whose answers are known by construction.",
        "",
        "| | |",
        "|---|---|",
        f"| base model | {markdown_code(source)} |",
        f"| trained on | {markdown_code(config.data.paths)}, hash {markdown_code(dataset)} |",
        f"| method | {method}, {how} |",
    ]
    if last is not None:
        lines += [f"| {name} | {value} |" for name, value in _figures(last).items()]
    settings = tomli_w.dumps(as_table(config))
    return "\n".join([*lines, "", "## Configuration", "", "```toml", settings.rstrip(), "```", ""])


def _figures(last: Step) -> dict[str, str]:
    """Return the figures of a step that a model card shows."""
    figures = {"steps": str(last.step), "epochs": f"{last.epoch:.3g}", "loss": f"{last.loss:.4g}"}
    if last.all is not None:
        figures |= {
            "smooth reward, last step": f"{last.all.smooth:.3f}",
            "strict reward, last step": f"{last.all.strict:.3f}",
            "answers that parse, last step": f"{last.all.parsed:.3f}",
        }
        if last.all.kl is not None:
            figures["KL to the base model, last step"] = f"{last.all.kl:.3g}"
    return figures


def _write(
    folder: Path, model: VisionLanguageModel, tensors: Tensors, source: Checkpoint, state: Mapping[str, Any], card: str
) -> None:
    base = base_model(model)
    (folder / TRAINER).mkdir(parents=True)
    dtype = _saved_dtype(source, base)
    write_model(folder, base, _merged(base, tensors, dtype), source)
    trained = {name for name, weight in base.named_parameters() if weight.requires_grad}
    if base is not model:
        named = {_PREFIX + name: tensor for name, tensor in tensors.items()}
        model.save_pretrained(folder / ADAPTER, state_dict=named, save_embedding_layers=False)
    if base is not model or any(tensors[name].dtype != dtype for name in trained):
        save_file({name: tensors[name].contiguous() for name in sorted(trained)}, folder / WEIGHTS)
    torch.save(dict(state), folder / STATE)
    (folder / CARD).write_text(card, "utf-8")
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in _files(folder)}
    (folder / FILES).write_text(json.dumps(sizes, indent=1, sort_keys=True) + "\n", "utf-8")
    for inner in (*_files(folder), *(path for path in folder.rglob("*") if path.is_dir()), folder):
        _sync(inner)


def _merged(base: VisionLanguageModel, tensors: Tensors, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Merge adapters into the weights, under the names of a model without them, in the files' precision.

    The model itself is left alone: weights that were merged and taken apart again are not the same in half precision.
    """
    merged: dict[str, torch.Tensor] = {}
    converted: dict[int, torch.Tensor] = {}  # tied weights stay one, or they would be written twice
    for name, tensor in tensors.items():
        if ".lora_" in name:
            continue
        inner, is_wrapped, kind = name.partition(".base_layer.")
        if is_wrapped and kind == "weight":
            down, up = (tensors[f"{inner}.{part}.default.weight"].float() for part in ("lora_A", "lora_B"))
            scaling = cast(Mapping[str, float], base.get_submodule(inner).scaling)
            added = scaling["default"] * (up @ down)
            merged[f"{inner}.{kind}"] = (tensor.float() + added).to(dtype)
        else:
            converted.setdefault(tensor.data_ptr(), tensor.to(dtype) if tensor.is_floating_point() else tensor)
            merged[name.replace(".base_layer.", ".")] = converted[tensor.data_ptr()]
    return merged


def _whole(base: VisionLanguageModel) -> dict[str, torch.Tensor]:
    """Gather all weights in this machine's memory; of several processes, in the first alone."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    tensors: dict[str, Any] = get_model_state_dict(as_module(base), options=options)
    return tensors


def _saved_dtype(source: Checkpoint, base: VisionLanguageModel) -> torch.dtype:
    """Return the precision of the source's weights: what its configuration says is what loads it by itself."""
    text = source.config.get("text_config", {})
    for table in (source.config, text):
        for name in ("dtype", "torch_dtype"):
            dtype = getattr(torch, str(table.get(name)), None)
            if isinstance(dtype, torch.dtype):
                return dtype
    result: torch.dtype = base.dtype
    return result


def _random_states() -> dict[str, Any]:
    """Return the states of torch's random generators."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "devices": devices}


def _set_random_states(states: Mapping[str, Any]) -> None:
    """Set the states of torch's random generators."""
    torch.set_rng_state(states["cpu"])
    if len(states["devices"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["devices"])


def _rank() -> int:
    """Return the rank of this process."""
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if ready else 0


def _all(run: Path) -> list[Path]:
    """Return the checkpoints of a run, the newest first."""
    folder = run / CHECKPOINTS
    checkpoints = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(checkpoints, key=step_of, reverse=True)


def _complete(checkpoint: Path) -> bool:
    """Tell whether every file is there, with the size that it had."""
    try:
        sizes = load_json(checkpoint / FILES)
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def link(run: Path, target: Path) -> None:
    """Let `RUN/model` stand for a checkpoint, from one moment to the next."""
    new = run / f".{MODEL}.partial"
    new.unlink(missing_ok=True)
    new.symlink_to(target.relative_to(run), target_is_directory=True)
    new.replace(run / MODEL)
    _sync(run)


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint; it is renamed first, so that what is half removed is not taken for one."""
    doomed = checkpoint.with_name(f".{checkpoint.name}.partial")
    checkpoint.rename(doomed)
    shutil.rmtree(doomed)


def _files(folder: Path) -> list[Path]:
    """Return all files in a folder and below it."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sync(path: Path) -> None:
    """Force a file or folder to the disk: after a power cut, a name must not stand for what is not there."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
            os.fsync(descriptor)  # some network file systems cannot do it for a folder
    finally:
        os.close(descriptor)
