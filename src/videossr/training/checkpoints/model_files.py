"""Write the files of a checkpoint that transformers and vLLM load: trained weights, and the source's other files.

`videossr.training.checkpoints.checkpoint` calls this.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import torch
import transformers

from videossr.engine.checkpoint import Checkpoint, unbuilt_tensors
from videossr.engine.checkpoint_folder import tensor_files
from videossr.engine.model import VisionLanguageModel
from videossr.prompt.ends import GENERATION, generation_ends
from videossr.storage.parsing import load_json

SHARD = "5GB"
"""The largest file of weights."""

_FOREIGN = re.compile(
    r"\..*|README\.md|.*\.(safetensors|safetensors\.index\.json|bin|bin\.index\.json|pt|pth|gguf|onnx)"
)
"""Files of a source checkpoint that are not copied: they hold its weights, or describe only it."""


def write_model(folder: Path, base: VisionLanguageModel, tensors: dict[str, torch.Tensor], source: Checkpoint) -> None:
    """Write weights under the names that the source's files have, and the source's other files as they are.

    What transformers writes beside the weights is for its own series alone, where the source is read by others too.
    Tensors that the model's class does not build are written as the source has them. `generation_config.json` names
    all ends of an answer, so that whoever loads the checkpoint stops where it was trained to stop.

    Args:
        folder: written to; it exists.
        base: the model of transformers, without adapters around it.
        tensors: its weights, by the names of its `state_dict`.
        source: the checkpoint that it was loaded from.
    """
    transformers.utils.logging.disable_progress_bar()  # it would write across ours
    generation = base.generation_config
    base.generation_config = transformers.GenerationConfig()  # it is checked, as if it were ours to mend
    try:
        base.save_pretrained(
            folder, state_dict={**tensors, **unbuilt_tensors(source.folder, base)}, max_shard_size=SHARD
        )
    finally:
        base.generation_config = generation
    for file in folder.iterdir():
        if file.is_file() and not file.name.endswith((".safetensors", ".safetensors.index.json")):
            file.unlink()
    for file in source.folder.iterdir():
        if file.is_file() and not _FOREIGN.fullmatch(file.name):
            shutil.copyfile(file, folder / file.name)
    named = generation_ends(source.folder, source.config)
    if missing := sorted(source.ends.tokens.difference(named)):
        path = folder / GENERATION
        settings = load_json(path) if path.exists() else {}
        path.write_text(json.dumps({**settings, "eos_token_id": [*named, *missing]}, indent=2) + "\n", "utf-8")


def peculiarities(source: Checkpoint, base: VisionLanguageModel) -> list[str]:
    """Describe what of a checkpoint is saved otherwise than a reader would think, a sentence each."""
    sentences = []
    files = tensor_files(source.folder)
    carried = [name for name in base.unbuilt if name in files]
    lost = [name for name in base.unbuilt if name not in files]
    for names, fate in ((carried, "are saved as they are"), (lost, "are not saved: no file of safetensors has them")):
        if names:
            kind = f"{len(names)} tensors that {type(base).__name__} does not build, such as {names[0]}"
            sentences.append(f"{kind}, {fate}")
    named = generation_ends(source.folder, source.config)
    if missing := sorted(source.ends.tokens.difference(named)):
        tokens = ", ".join(source.tokenizer.convert_ids_to_tokens(missing))
        sentences.append(
            f"answers also end at {tokens}, which the checkpoint's {GENERATION} does not name: saved ones do"
        )
    return sentences
