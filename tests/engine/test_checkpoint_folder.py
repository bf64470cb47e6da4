"""Folders and files that are given as checkpoints: each mistake has its own error, which names the way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from videossr.engine.checkpoint import open_checkpoint
from videossr.engine.checkpoint_folder import LFS, check_folder, tensor_files
from videossr.models.tiny import make_tiny

Change = Callable[[Path], object]
"""Changes a copy of a checkpoint; the test opens the path that it returns, or else the copy."""

POINTER = LFS + b"v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", width=64, layers=1)


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "copy")


def create_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")


def create_file(folder: Path, name: str) -> Path:
    create_files(folder, name)
    return folder / name


def remove_files(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


def shard_weights(folder: Path) -> Path:
    """Lay the weights out in two files with an index, as large models have them."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(sorted(tensors))}
    for file in set(files.values()):
        shard = {name: tensors[name] for name in tensors if files[name] == file}
        save_file(shard, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return folder


def remove_weights(folder: Path, *parts: str) -> None:
    (folder / "model.safetensors").unlink()
    create_files(folder, *parts)


def make_adapter(folder: Path) -> None:
    empty_folder(folder, "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "Qwen/Qwen3-VL-8B-Instruct"}))


def empty_folder(folder: Path, *names: str) -> Path:
    remove_files(folder, "*")
    create_files(folder, *names)
    return folder


def write_config(folder: Path, table: dict[str, object]) -> None:
    (folder / "config.json").write_text(json.dumps(table))


CASES: dict[str, tuple[Change, str]] = {
    "adapter": (make_adapter, r"adapter \(LoRA\) for Qwen/Qwen3-VL-8B-Instruct.*merge_and_unload"),
    "adapter beside a model": (
        lambda folder: create_files(folder, "adapter_config.json", "adapter_model.safetensors"),
        r"weights of a whole model and beside them an adapter.*folder of their own",
    ),
    "GGUF": (lambda folder: empty_folder(folder, "model-Q4_K_M.gguf"), r"GGUF, for llama.cpp.*openai:MODEL@URL"),
    "GGUF with config": (lambda folder: remove_weights(folder, "model-Q4_K_M.gguf"), r"GGUF, for llama.cpp"),
    "GGUF file": (lambda folder: create_file(folder, "m.gguf"), r"this is a GGUF file, for llama.cpp"),
    "file of weights": (lambda folder: folder / "model.safetensors", r"file of a checkpoint; name its folder, .*copy$"),
    "lone file": (
        lambda folder: create_file(empty_folder(folder), "model.safetensors"),
        r"this is a file, and a checkpoint is a folder.*copy what is missing",
    ),
    "verl step": (
        lambda folder: empty_folder(folder, "actor/model_world_size_8_rank_0.pt", "actor/huggingface/config.json"),
        r"as verl saves them in .*actor\. .*verl.model_merger merge --backend fsdp --local_dir .*actor",
    ),
    "verl run": (
        lambda folder: empty_folder(folder, "global_step_20/actor/model_world_size_1_rank_0.pt", "latest.txt"),
        r"--local_dir .*global_step_20/actor",
    ),
    "verl configuration": (
        lambda folder: remove_weights(folder, "../model_world_size_8_rank_0.pt"),
        r"as verl saves them.*python -m verl.model_merger",
    ),
    "DeepSpeed": (
        lambda folder: remove_weights(
            folder, "zero_to_fp32.py", "global_step9/zero_pp_rank_0_mp_rank_00_model_states.pt"
        ),
        r"as DeepSpeed saves them.*python .*copy/zero_to_fp32.py .*copy NEW --safe_serialization",
    ),
    "FSDP": (
        lambda folder: empty_folder(folder, "pytorch_model_fsdp_0/__0_0.distcp", "pytorch_model_fsdp_0/.metadata"),
        r"as FSDP of torch saves them.*accelerate merge-weights .*pytorch_model_fsdp_0 NEW",
    ),
    "Megatron": (lambda folder: empty_folder(folder, "latest_checkpointed_iteration.txt"), r"checkpoint of Megatron"),
    "ONNX": (lambda folder: remove_weights(folder, "onnx/model.onnx"), r"another format \(model.onnx\)"),
    "folder above": (
        lambda folder: empty_folder(folder, "checkpoint-50/config.json"),
        r"no config.json, but a folder in it has one. Name .*checkpoint-50",
    ),
    "cache of the Hub": (
        lambda folder: empty_folder(folder, "snapshots/0123/config.json", "refs/main"),
        r"Name the checkpoint itself, such as .*snapshots/0123",
    ),
    "training run": (
        lambda folder: empty_folder(folder, "config.toml", "steps.jsonl", "model/config.json"),
        r"run of `videossr train`. Name its last checkpoint, .*copy/model",
    ),
    "training run at its beginning": (
        lambda folder: empty_folder(folder, "config.toml", "steps.jsonl"),
        r"without a check",
    ),
    "weights alone": (lambda folder: (folder / "config.json").unlink(), r"weights \(model.safetensors\) and no config"),
    "nothing": (empty_folder, r"no config.json, so it is no checkpoint"),
    "no weights": (remove_weights, r"no weights: neither model.safetensors nor"),
    "pointer": (
        lambda f: (f / "model.safetensors").write_bytes(POINTER),
        r"model.safetensors is not .*git lfs",
    ),
    "pointer of the tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_bytes(POINTER),
        r"tokenizer.json is not the file itself.*git lfs pull",
    ),
    "missing shard": (
        lambda folder: (shard_weights(folder) / "model-00002-of-00002.safetensors").unlink(),
        r"1 of its 2 files of weights are missing, such as model-00002-of-00002.safetensors",
    ),
    "missing index": (
        lambda folder: (shard_weights(folder) / "model.safetensors.index.json").unlink(),
        r"model-00001-of-00002.safetensors but not model.safetensors.index.json",
    ),
    "cut off": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1000]),
        r"model.safetensors has [\d,]+ bytes and should have [\d,]+\. The download",
    ),
    "empty file": (lambda f: (f / "model.safetensors").write_bytes(b""), r"model.safetensors is not whole"),
    "text alone": (
        lambda folder: write_config(folder, {"model_type": "qwen3"}),
        r"'qwen3', which sees no videos. Only",
    ),
    "another family": (
        lambda folder: write_config(folder, {"model_type": "llava", "vision_config": {}}),
        r"model_type is 'llava'. Only qwen3_vl, .*openai:MODEL@URL",
    ),
    "no tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        r"no tokenizer: none of tokenizer.json.*copy",
    ),
    "no preprocessor": (
        lambda folder: remove_files(folder, "*preprocessor_config.json"),
        r"none of video_preprocessor_config.json.*copy these files from the model",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_open_checkpoint_explains_what_a_folder_or_file_is(copy: Path, name: str) -> None:
    change, message = CASES[name]
    result = change(copy)
    path = result if isinstance(result, Path) else copy
    with pytest.raises(ValueError, match=message) as error:
        open_checkpoint(str(path))
    assert str(error.value).startswith(str(path))


def test_open_checkpoint_of_a_merged_adapter_names_its_checkpoint(copy: Path) -> None:
    create_files(copy, "adapter/adapter_config.json", "adapter/adapter_model.safetensors")
    with pytest.raises(ValueError, match=rf"has it merged: name {copy}$"):
        open_checkpoint(str(copy / "adapter"))
    assert open_checkpoint(str(copy)).folder == copy


def test_check_folder_accepts_complete_checkpoints(tiny: Path, copy: Path) -> None:
    check_folder(tiny)
    assert set(tensor_files(tiny).values()) == {tiny / "model.safetensors"}
    shard_weights(copy)
    check_folder(copy)
    assert tensor_files(copy).keys() == tensor_files(tiny).keys()
    assert {path.name for path in tensor_files(copy).values()} == {
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    }


def test_checkpoint_load_refuses_weights_that_are_not_finite(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["lm_head.weight"][3, 5] = torch.inf
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 of \d+ weights hold values that are not finite.*such as lm_head.weight"):
        open_checkpoint(str(copy)).load(torch.device("cpu"), "auto", "sdpa")
