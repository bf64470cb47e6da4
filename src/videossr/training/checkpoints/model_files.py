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

from videossr.engine.checkpoint import Checkpoint, unbuilt_files, unbuilt_tensors
from videossr.engine.model import VisionLanguageModel
from videossr.errors import DataError
from videossr.prompt.ends import GENERATION, generation_ends
from videossr.storage.parsing import load_json
from videossr.storage.paths import lies_in

SHARD = "5GB"
"""The largest file of weights."""

_COPIED = re.compile(
    r"(generation_|tokenizer_|(image_|video_)?(pre)?processor_)?config\.json|configuration\.json|chat_template\.(json|jinja)|"
    r"tokenizer\.(json|model)|(special_tokens_map|added_tokens)\.json|vocab\.(json|txt)|merges\.txt|"
    r"(LICENSE|NOTICE)(\.\w+)?"
)
"""Files of a source checkpoint that belong to the saved ones too: settings, tokenizer, processor, terms of use."""

_REPLACED = re.compile(
    r"\..*|README\.md|.*\.(safetensors|safetensors\.index\.json|bin|bin\.index\.json|pt|pth|gguf|onnx)"
)
"""Files of a source checkpoint that nobody misses: they hold its weights, or describe only it."""


def write_model(folder: Path, base: VisionLanguageModel, tensors: dict[str, torch.Tensor], source: Checkpoint) -> None:
    """Write weights under the names that the source's files have, and its settings and tokenizer as they are.

    What transformers writes beside the weights is for its own series alone, where the source is read by others too.
    Tensors that the model's class does not build are written as the source has them. `generation_config.json` names
    all ends of an answer, so that whoever loads the checkpoint stops where it was trained to stop.

    Args:
        folder: written to; it exists.
        base: the model of transformers, without adapters around it.
        tensors: its weights, by the names of its `state_dict`.
        source: the checkpoint that it was loaded from.

    Raises:
        DataError: a file of the source that is copied is a link that leads out of its folder.
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
    for file in copied_files(source.folder):
        shutil.copyfile(file, folder / file.name)
    named = generation_ends(source.folder, source.config)
    if missing := sorted(source.ends.tokens.difference(named)):
        path = folder / GENERATION
        settings = load_json(path) if path.exists() else {}
        path.write_text(json.dumps({**settings, "eos_token_id": [*named, *missing]}, indent=2) + "\n", "utf-8")


def copied_files(source: Path) -> list[Path]:
    """Return the files of a source checkpoint that are copied into the saved ones.

    Raises:
        DataError: one is a link that leads out of the folder: any file of the user would be copied, and published.
    """
    files = [file for file in sorted(source.iterdir()) if file.is_file() and _COPIED.fullmatch(file.name)]
    for file in files:
        if not lies_in(file, source):
            raise DataError(
                f"{file} is a link that leads out of {source}, so that another file of yours would be in every "
                "checkpoint that is saved: copy it there if it belongs to the model"
            )
    return files


def peculiarities(source: Checkpoint, base: VisionLanguageModel) -> list[str]:
    """Describe what of a checkpoint is saved otherwise than a reader would think, a sentence each.

    Raises:
        DataError: it cannot be saved, see `copied_files` and `unbuilt_files`.
    """
    sentences = []
    files = unbuilt_files(source.folder, base)
    carried = list(files)
    lost = [name for name in base.unbuilt if name not in files]
    for names, fate in ((carried, "are saved as they are"), (lost, "are not saved: no file of safetensors has them")):
        if names:
            kind = f"{len(names)} tensors that {type(base).__name__} does not build, such as {names[0]}"
            sentences.append(f"{kind}, {fate}")
    copied = copied_files(source.folder)
    unknown = [
        file.name
        for file in sorted(source.folder.iterdir())
        if file.is_file() and file not in copied and not _REPLACED.fullmatch(file.name)
    ]
    if unknown:
        sentences.append(f"files that no checkpoint needs are not copied: {', '.join(unknown[:4])}"[:300])
    named = generation_ends(source.folder, source.config)
    if missing := sorted(source.ends.tokens.difference(named)):
        tokens = ", ".join(source.tokenizer.convert_ids_to_tokens(missing))
        sentences.append(
            f"answers also end at {tokens}, which the checkpoint's {GENERATION} does not name: saved ones do"
        )
    return sentences
