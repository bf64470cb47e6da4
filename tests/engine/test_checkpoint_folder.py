"""Folders and files that people name as checkpoints: each is told apart, with the way out."""

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

Break = Callable[[Path], object]
"""Spoils a copy of a checkpoint; what it returns is named, if that is a path, or else the copy."""

POINTER = LFS + b"v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", width=64, layers=1)


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "copy")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")


def touched(folder: Path, name: str) -> Path:
    touch(folder, name)
    return folder / name


def removed(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


def sharded(folder: Path) -> Path:
    """Lay the weights out in two files with an index, as large models have them."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"model-0000{1 + k % 2}-of-00002.safetensors" for k, name in enumerate(sorted(tensors))}
    for file in set(places.values()):
        part = {name: tensors[name] for name in tensors if places[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def no_weights(folder: Path, *parts: str) -> None:
    (folder / "model.safetensors").unlink()
    touch(folder, *parts)


def adapter(folder: Path) -> None:
    emptied(folder, "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "Qwen/Qwen3-VL-8B-Instruct"}))


def emptied(folder: Path, *names: str) -> Path:
    removed(folder, "*")
    touch(folder, *names)
    return folder


def configured(folder: Path, table: dict[str, object]) -> None:
    (folder / "config.json").write_text(json.dumps(table))


CASES: dict[str, tuple[Break, str]] = {
    "adapter": (adapter, r"adapter \(LoRA\) for Qwen/Qwen3-VL-8B-Instruct.*merge_and_unload"),
    "adapter beside a model": (
        lambda folder: touch(folder, "adapter_config.json", "adapter_model.safetensors"),
        r"weights of a whole model and beside them an adapter.*folder of their own",
    ),
    "GGUF": (lambda folder: emptied(folder, "model-Q4_K_M.gguf"), r"GGUF, for llama.cpp.*openai:MODEL@URL"),
    "GGUF with config": (lambda folder: no_weights(folder, "model-Q4_K_M.gguf"), r"GGUF, for llama.cpp"),
    "GGUF file": (lambda folder: touched(folder, "m.gguf"), r"this is a GGUF file, for llama.cpp"),
    "file of weights": (lambda folder: folder / "model.safetensors", r"file of a checkpoint; name its folder, .*copy$"),
    "lone file": (
        lambda folder: touched(emptied(folder), "model.safetensors"),
        r"this is a file, and a checkpoint is a folder.*copy what is missing",
    ),
    "verl step": (
        lambda folder: emptied(folder, "actor/model_world_size_8_rank_0.pt", "actor/huggingface/config.json"),
        r"as verl saves them in .*actor\. .*verl.model_merger merge --backend fsdp --local_dir .*actor",
    ),
    "verl run": (
        lambda folder: emptied(folder, "global_step_20/actor/model_world_size_1_rank_0.pt", "latest.txt"),
        r"--local_dir .*global_step_20/actor",
    ),
    "verl configuration": (
        lambda folder: no_weights(folder, "../model_world_size_8_rank_0.pt"),
        r"as verl saves them.*python -m verl.model_merger",
    ),
    "DeepSpeed": (
        lambda folder: no_weights(folder, "zero_to_fp32.py", "global_step9/zero_pp_rank_0_mp_rank_00_model_states.pt"),
        r"as DeepSpeed saves them.*python .*copy/zero_to_fp32.py .*copy NEW --safe_serialization",
    ),
    "FSDP": (
        lambda folder: emptied(folder, "pytorch_model_fsdp_0/__0_0.distcp", "pytorch_model_fsdp_0/.metadata"),
        r"as FSDP of torch saves them.*accelerate merge-weights .*pytorch_model_fsdp_0 NEW",
    ),
    "Megatron": (lambda folder: emptied(folder, "latest_checkpointed_iteration.txt"), r"checkpoint of Megatron"),
    "ONNX": (lambda folder: no_weights(folder, "onnx/model.onnx"), r"another format \(model.onnx\)"),
    "folder above": (
        lambda folder: emptied(folder, "checkpoint-50/config.json"),
        r"no config.json, but a folder in it has one. Name .*checkpoint-50",
    ),
    "cache of the Hub": (
        lambda folder: emptied(folder, "snapshots/0123/config.json", "refs/main"),
        r"Name the checkpoint itself, such as .*snapshots/0123",
    ),
    "training run": (
        lambda folder: emptied(folder, "config.toml", "steps.jsonl", "model/config.json"),
        r"run of `videossr train`. Name its last checkpoint, .*copy/model",
    ),
    "training run at its beginning": (lambda folder: emptied(folder, "config.toml", "steps.jsonl"), r"without a check"),
    "weights alone": (lambda folder: (folder / "config.json").unlink(), r"weights \(model.safetensors\) and no config"),
    "nothing": (emptied, r"no config.json, so it is no checkpoint"),
    "no weights": (no_weights, r"no weights: neither model.safetensors nor"),
    "pointer": (
        lambda f: (f / "model.safetensors").write_bytes(POINTER),
        r"model.safetensors is not .*git lfs",
    ),
    "pointer of the tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_bytes(POINTER),
        r"tokenizer.json is not the file itself.*git lfs pull",
    ),
    "missing shard": (
        lambda folder: (sharded(folder) / "model-00002-of-00002.safetensors").unlink(),
        r"1 of its 2 files of weights are missing, such as model-00002-of-00002.safetensors",
    ),
    "missing index": (
        lambda folder: (sharded(folder) / "model.safetensors.index.json").unlink(),
        r"model-00001-of-00002.safetensors but not model.safetensors.index.json",
    ),
    "cut off": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1000]),
        r"model.safetensors has [\d,]+ bytes and should have [\d,]+\. The download",
    ),
    "empty file": (lambda f: (f / "model.safetensors").write_bytes(b""), r"model.safetensors is not whole"),
    "text alone": (lambda folder: configured(folder, {"model_type": "qwen3"}), r"'qwen3', which sees no videos. Only"),
    "another family": (
        lambda folder: configured(folder, {"model_type": "llava", "vision_config": {}}),
        r"model_type is 'llava'. Only qwen3_vl, .*openai:MODEL@URL",
    ),
    "no tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        r"no tokenizer: none of tokenizer.json.*copy",
    ),
    "no preprocessor": (
        lambda folder: removed(folder, "*preprocessor_config.json"),
        r"none of video_preprocessor_config.json.*copy these files from the model",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_checkpoint_is_told_with_the_way_out(copy: Path, name: str) -> None:
    spoil, said = CASES[name]
    given = spoil(copy)
    named = given if isinstance(given, Path) else copy
    with pytest.raises(ValueError, match=said) as caught:
        open_checkpoint(str(named))
    assert str(caught.value).startswith(str(named))


def test_the_adapter_in_a_checkpoint_of_ours_names_the_checkpoint(copy: Path) -> None:
    touch(copy, "adapter/adapter_config.json", "adapter/adapter_model.safetensors")
    with pytest.raises(ValueError, match=rf"has it merged: name {copy}$"):
        open_checkpoint(str(copy / "adapter"))
    assert open_checkpoint(str(copy)).folder == copy


def test_whole_checkpoints_pass(tiny: Path, copy: Path) -> None:
    check_folder(tiny)
    assert set(tensor_files(tiny).values()) == {tiny / "model.safetensors"}
    sharded(copy)
    check_folder(copy)
    assert tensor_files(copy).keys() == tensor_files(tiny).keys()
    assert {path.name for path in tensor_files(copy).values()} == {
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    }


def test_weights_that_are_not_finite_are_told(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["lm_head.weight"][3, 5] = torch.inf
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 of \d+ weights hold values that are not finite.*such as lm_head.weight"):
        open_checkpoint(str(copy)).load(torch.device("cpu"), "auto", "sdpa")
