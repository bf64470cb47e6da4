"""Check that a folder is a whole checkpoint of transformers; if not, say what it is instead, and the way out.

Exercised by `videossr bench run BENCH --model hf:CHECKPOINT --out RUN` and `videossr train CONFIG --out RUN`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from videossr.errors import DataError
from videossr.prompt import FAMILIES, read_table
from videossr.storage.parsing import parse_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
"""Names under which transformers looks for weights: in one file, or an index of several."""

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
"""Files of which one must be there: the vocabulary."""

LFS = b"version https://git-lfs.github.com/spec/"
"""The first bytes of the pointer that git-lfs leaves in the place of a large file."""

_COPY = (
    "copy what is missing (config.json, generation_config.json, tokenizer*, chat_template*, *preprocessor_config.json) "
    "from the model that it was trained from"
)
_AGAIN = "The download or copy was not completed: make it again (hf download NAME --local-dir FOLDER goes on)"
_GGUF = (
    "for llama.cpp. Name the folder of the original weights, or serve it with llama.cpp and name it as openai:MODEL@URL"
)

Look = Callable[[Path], str | None]
"""A check that says what a folder is, and the way out; None where it is not that."""


def check_folder(folder: Path) -> None:
    """Check that a folder holds all files of a checkpoint, by their names, sizes and headers alone.

    Args:
        folder: what was named as a checkpoint; a file is refused as well.

    Raises ValueError that names the folder, what it is instead or what it lacks, and the way out.
    """
    looks: list[Look] = [_file]
    if not folder.is_file():
        looks = [_run, _adapter]
        looks += [] if _has_weights(folder) else _PARTS
        looks += _LACKS if (folder / "config.json").exists() else [_outer, _bare]
    for look in looks:
        if problem := look(folder):
            raise DataError(f"{folder}: {problem}")


def tensor_files(folder: Path) -> dict[str, Path]:
    """Map the name of each tensor in a checkpoint's safetensors to the file that has it; empty where there are none.

    Raises ValueError that names the file which cannot be read.
    """
    if (folder / INDEX).is_file():
        return {name: folder / file for name, file in _shards(folder / INDEX).items()}
    if (folder / SINGLE).is_file():
        return dict.fromkeys(read_header(folder / SINGLE)[0], folder / SINGLE)
    return {}


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Read what a safetensors file says of each tensor by its name, and how many bytes the file must have.

    Raises ValueError that names the file where it has no such header.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        text = file.read(size) if size <= 2**27 else b""
    try:
        table = {name: entry for name, entry in parse_json(text).items() if name != "__metadata__"}
        return table, 8 + size + max((entry["data_offsets"][1] for entry in table.values()), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError):
        raise DataError(f"{path} is not whole, or no file of safetensors. {_AGAIN}") from None


def _shards(index: Path) -> dict[str, str]:
    shards = read_table(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise DataError(f"{index} has no weight_map. {_AGAIN}")
    if elsewhere := [shard for shard in shards.values() if Path(shard).name != shard]:
        raise DataError(f"{index}: {elsewhere[0][:200]!r} is no name of a file in that folder")
    return shards


def _has_weights(folder: Path) -> bool:
    return any((folder / name).exists() for name in (SINGLE, INDEX, PICKLED, PICKLED_INDEX))


def _first(folder: Path, *patterns: str) -> Path | None:
    return next((path for pattern in patterns for path in sorted(folder.glob(pattern))), None)


def _file(path: Path) -> str | None:
    if path.suffix == ".gguf":
        return f"this is a GGUF file, {_GGUF}"
    if (path.parent / "config.json").exists():
        return f"this is a file of a checkpoint; name its folder, {path.parent}"
    return f"this is a file, and a checkpoint is a folder. If it holds weights, {_COPY} into its folder, and name that"


def _run(folder: Path) -> str | None:
    if not (folder / "config.toml").is_file() or not _first(folder, "steps.jsonl", "checkpoints"):
        return None
    if (folder / "model").is_dir():
        return f"this is a run of `videossr train`. Name its last checkpoint, {folder / 'model'}"
    return "this is a run of `videossr train` without a checkpoint yet. Run the command that began it once more"


def _adapter(folder: Path) -> str | None:
    if not (folder / "adapter_config.json").is_file():
        return None
    if _has_weights(folder):
        return (
            "it has weights of a whole model and beside them an adapter (adapter_config.json), so that transformers "
            "would load another model. Move the adapter's files into a folder of their own"
        )
    whole = folder.resolve().parent
    if (whole / "config.json").is_file() and _has_weights(whole):
        return f"this is an adapter (LoRA), not a model. The checkpoint around it has it merged: name {whole}"
    base = read_table(folder / "adapter_config.json").get("base_model_name_or_path") or "its base model"
    return (
        f"this is an adapter (LoRA) for {base}, not a model. Merge it by peft: PeftModel.from_pretrained(base, FOLDER)"
        f".merge_and_unload().save_pretrained(NEW); then {_COPY} into NEW, and name NEW"
    )


def _verl(folder: Path) -> str | None:
    places = (folder, folder / "actor", folder.parent, *sorted(folder.glob("global_step_*/actor"), reverse=True))
    found = next((place for place in places if _first(place, "model_world_size_*_rank_*.pt")), None)
    if not found:
        return None
    return (
        f"the weights are in parts, as verl saves them in {found}. Merge them: python -m verl.model_merger merge "
        f"--backend fsdp --local_dir {found} --target_dir NEW; and name NEW"
    )


def _deepspeed(folder: Path) -> str | None:
    parts = _first(folder, "*mp_rank_*_model_states.pt", "global_step*/*mp_rank_*_model_states.pt")
    if not parts:
        return None
    home = parts.parent if (parts.parent / "zero_to_fp32.py").exists() else parts.parent.parent
    return (
        f"the weights are in parts, as DeepSpeed saves them. Merge them: python {home / 'zero_to_fp32.py'} {home} NEW "
        f"--safe_serialization; then {_COPY} into NEW, and name NEW"
    )


def _distributed(folder: Path) -> str | None:
    parts = _first(folder, "*.distcp", "pytorch_model_fsdp_*/*.distcp")
    if not parts:
        return None
    return (
        f"the weights are in parts, as FSDP of torch saves them. Merge them: accelerate merge-weights {parts.parent} "
        f"NEW; then {_COPY} into NEW, and name NEW"
    )


def _megatron(folder: Path) -> str | None:
    if not _first(folder, "latest_checkpointed_iteration.txt", "mp_rank_*/*.pt", "iter_*/mp_rank_*"):
        return None
    return "this is a checkpoint of Megatron. Convert it to the format of transformers, and name what that gives"


def _other_format(folder: Path) -> str | None:
    if _first(folder, "*.gguf"):
        return f"its weights are GGUF, {_GGUF}"
    if found := _first(folder, "model_index.json", "*.onnx", "onnx/*.onnx", "*.h5", "*.msgpack"):
        return f"its weights are of another format ({found.name}). Name the folder of the original weights"
    return None


def _outer(folder: Path) -> str | None:
    inner = {path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/config.json")}
    inner |= {path.parent for path in folder.glob("*/adapter_config.json")}
    if not inner:
        return None
    last = max(inner, key=lambda folder: (folder.stat().st_mtime, folder.name))
    count = "a folder in it has one" if len(inner) == 1 else f"{len(inner)} folders in it have one"
    return f"it has no config.json, but {count}. Name the checkpoint itself, such as {last}"


def _bare(folder: Path) -> str | None:
    if weights := _first(folder, "*.safetensors", "*.bin", "*.pt", "*.pth"):
        return f"it has weights ({weights.name}) and no config.json. To make it a checkpoint, {_COPY}"
    return "it has no config.json, so it is no checkpoint of transformers"


def _pointer(folder: Path) -> str | None:
    for path in sorted(folder.glob("*")):
        if path.is_file() and path.stat().st_size < 1024 and path.read_bytes().startswith(LFS):
            return (
                f"{path.name} is not the file itself but what git-lfs puts in its place. Run `git lfs pull` there, or "
                "hf download"
            )
    return None


def _family(folder: Path) -> str | None:
    config = read_table(folder / "config.json")
    family = config.get("model_type")
    if family in FAMILIES:
        return None
    known = f"Only {', '.join(FAMILIES)} can be run here"
    if "vision_config" in config:
        return f"its model_type is {family!r}. {known}; serve others and name them as openai:MODEL@URL"
    return f"its model_type is {family!r}, which sees no videos. {known}"


def _weights(folder: Path) -> str | None:
    for name in (INDEX, PICKLED_INDEX):
        if (folder / name).is_file():
            files = sorted(set(_shards(folder / name).values()))
            break
    else:
        files = [name for name in (SINGLE, PICKLED) if (folder / name).exists()][:1]
    if not files:
        if shard := _first(folder, "model-*-of-*.safetensors"):
            return f"it has {shard.name} but not {INDEX}, which says what is in which file. {_AGAIN}"
        return f"it has no weights: neither {SINGLE} nor {INDEX}. {_AGAIN}"
    if missing := [name for name in files if not (folder / name).is_file()]:
        return f"{len(missing)} of its {len(files)} files of weights are missing, such as {missing[0]}. {_AGAIN}"
    for path in (folder / name for name in files if name.endswith(".safetensors")):
        size, declared = path.stat().st_size, read_header(path)[1]
        if size != declared:
            return f"{path.name} has {size:,} bytes and should have {declared:,}. {_AGAIN}"
    return None


def _tokenizer(folder: Path) -> str | None:
    if any((folder / name).is_file() for name in TOKENIZERS):
        return None
    return f"it has no tokenizer: none of {', '.join(TOKENIZERS)}. To make it whole, {_COPY}"


_PARTS: Sequence[Look] = (_verl, _deepspeed, _distributed, _megatron, _other_format)
"""Explanations of a folder that has no weights for transformers."""

_LACKS: Sequence[Look] = (_pointer, _family, _weights, _tokenizer)
"""Explanations of a folder that is no complete checkpoint of transformers."""
