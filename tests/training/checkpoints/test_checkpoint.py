"""Checkpoints: transformers and a resumed run load what was saved, and killing a run loses no checkpoint."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import peft
import pytest
import torch
import transformers
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from videossr.engine.checkpoint import PROBE, PROBE_CLIP, Checkpoint, open_checkpoint, prompt_inputs
from videossr.engine.model import base_model
from videossr.errors import DataError
from videossr.models.tiny import Family, make_tiny
from videossr.training.checkpoints.checkpoint import WEIGHTS, latest, model_card, restore, save, step_of
from videossr.training.checkpoints.model_files import peculiarities
from videossr.training.config import Lora, ModelConfig, RunSettings, TrainConfig, as_table, load_config
from videossr.training.policy import Policy, load_policy
from videossr.training.runs.records import Rollouts, Step

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks for it

LORA = Lora(rank=4, alpha=8)


@pytest.fixture(scope="module", params=get_args(Family))
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    family: Family = request.param
    return open_checkpoint(str(make_tiny(tmp_path_factory.mktemp("tiny") / family, family=family, layers=2)))


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(str(make_tiny(tmp_path_factory.mktemp("tiny") / "model", layers=1)))


def policy_of(source: Checkpoint, lora: Lora | None = None, dtype: torch.dtype = torch.float32) -> Policy:
    return load_policy(source, ModelConfig(lora=lora), device=CPU, dtype=dtype, needs_reference=lora is None)


def change_weights(model: Any, seed: int = 1) -> None:
    """Change all trained weights, so that none is as it was loaded."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


@torch.no_grad()
def logits(checkpoint: Checkpoint, model: Any) -> torch.Tensor:
    result: torch.Tensor = model(**prompt_inputs(checkpoint.build(PROBE, [PROBE_CLIP]), CPU, model.dtype)).logits
    return result


def exact_logits(checkpoint: Checkpoint, model: Any) -> torch.Tensor:
    """Return logits in float64, with equal rounding on all processors; grouped products of experts have no float64."""
    double = copy.deepcopy(model).double()
    double.set_experts_implementation("eager")
    return logits(checkpoint, double)


def tensor_names(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return set(file.keys())


def copy_in_bfloat16(source: Checkpoint, folder: Path) -> Checkpoint:
    """Copy a checkpoint with weights in bfloat16, as released ones have."""
    shutil.copytree(source.folder, folder)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype="bfloat16")
    model.save_pretrained(folder)
    text = (source.folder / "config.json").read_text("utf-8").replace('"dtype": "float32"', '"dtype": "bfloat16"')
    (folder / "config.json").write_text(text, "utf-8")
    return open_checkpoint(str(folder))


def test_save_writes_all_weights_as_transformers_loads_them(source: Checkpoint, tmp_path: Path) -> None:
    policy = policy_of(source)
    before = logits(source, policy.model)
    change_weights(policy.model)
    expected = logits(source, policy.model)
    assert (expected - before).abs().max() > 1e-2

    folder = save(tmp_path, 7, policy.model, source, {}, "card")

    assert folder == tmp_path / "checkpoints" / "step-000007"
    loaded = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
    assert type(loaded.model.visual.patch_embed.proj) is torch.nn.Conv3d
    torch.testing.assert_close(exact_logits(source, loaded), exact_logits(source, policy.model), rtol=0, atol=1e-5)
    reopened = open_checkpoint(str(tmp_path / "model"))
    assert torch.equal(logits(reopened, reopened.load(CPU, "auto", "sdpa")), expected)
    assert torch.equal(logits(source, policy.model), expected)
    # Names, settings, tokenizer and processor are the source's to the byte, so what reads the one reads the other.
    assert tensor_names(folder) == tensor_names(source.folder)
    for file in source.folder.iterdir():
        if file.name != "model.safetensors":
            assert (folder / file.name).read_bytes() == file.read_bytes()
    extra = {path.name for path in folder.iterdir()} - {path.name for path in source.folder.iterdir()}
    assert extra == {"README.md", "trainer"}
    assert not (folder / WEIGHTS).exists()


def test_save_writes_lora_merged_and_as_peft_writes_it(source: Checkpoint, tmp_path: Path) -> None:
    policy = policy_of(source, LORA)
    change_weights(policy.model)
    expected = logits(source, policy.model)
    with policy.reference() as reference:
        assert (expected - logits(source, reference)).abs().max() > 1e-2

    folder = save(tmp_path, 1, policy.model, source, {}, "card")

    assert tensor_names(folder) == tensor_names(source.folder)
    reopened = open_checkpoint(str(folder))
    merged = reopened.load(CPU, "auto", "sdpa")
    torch.testing.assert_close(logits(reopened, merged), expected, rtol=0, atol=1e-4)
    plain: Any = source.load(CPU, "auto", "sdpa")
    adapted = peft.PeftModel.from_pretrained(plain, str(folder / "adapter")).eval()
    torch.testing.assert_close(logits(source, adapted), expected, rtol=0, atol=1e-6)
    peft_merged = adapted.merge_and_unload().state_dict()
    for name, tensor in merged.state_dict().items():
        torch.testing.assert_close(tensor, peft_merged[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_restore_gives_exactly_the_saved_weights_and_state(
    qwen3: Checkpoint, tmp_path: Path, lora: Lora | None, dtype: torch.dtype
) -> None:
    """The files are bfloat16, where a step of 1e-6 would be lost; weights that are trained in float32 stay exact."""
    source = copy_in_bfloat16(qwen3, tmp_path / "source")
    first = policy_of(source, lora, dtype)
    change_weights(first.model)
    momentum: dict[str, Any] = {"exp_avg": torch.randn(3, 4), "step": 5, "betas": [0.9, 0.999]}
    generator = torch.Generator().manual_seed(4)
    state: dict[str, Any] = {
        "optimizer": {"state": {0: momentum}},
        "generator": generator.get_state(),
        "numpy": 2**127 + 1,
    }
    rng_state = torch.get_rng_state()
    folder = save(tmp_path / "run", 3, first.model, source, state, "card")
    expected = torch.randn(4)

    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.bfloat16}  # noqa: SIM118
    assert (folder / WEIGHTS).exists() is (lora is not None or dtype == torch.float32)
    second = policy_of(source, lora, dtype)
    addresses = {name: parameter.data_ptr() for name, parameter in second.model.named_parameters()}
    restored_state = restore(second.model, folder)

    after = dict(first.model.named_parameters())
    for name, parameter in second.model.named_parameters():
        assert torch.equal(parameter, after[name]), name
        assert parameter.data_ptr() == addresses[name], name  # an optimizer may hold it
        assert parameter.requires_grad is after[name].requires_grad
    assert restored_state["step"] == 3
    assert torch.equal(restored_state["optimizer"]["state"][0]["exp_avg"], momentum["exp_avg"])
    assert restored_state["optimizer"]["state"][0]["betas"] == [0.9, 0.999]
    assert restored_state["numpy"] == 2**127 + 1
    assert torch.equal(restored_state["generator"], generator.get_state())
    assert torch.equal(torch.randn(4), expected)
    assert not torch.equal(torch.get_rng_state(), rng_state)


def test_save_keeps_tensors_that_the_model_class_does_not_build(
    qwen3: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers for speculative decoding are such tensors; transformers leaves them out, mostly without a warning."""
    folder = shutil.copytree(qwen3.folder, tmp_path / "source")
    extra = {"mtp.fc.weight": torch.rand(3, 2, dtype=torch.float16), "head.bias": torch.arange(4)}
    save_file({**load_file(folder / "model.safetensors"), **extra}, folder / "model.safetensors", {"format": "pt"})
    kind = transformers.Qwen3VLForConditionalGeneration
    monkeypatch.setattr(kind, "_keys_to_ignore_on_load_unexpected", [r"^mtp.*"])
    source = open_checkpoint(str(folder))
    for lora in (None, LORA):
        policy = policy_of(source, lora)
        assert peculiarities(source, base_model(policy.model)) == [
            "2 tensors that Qwen3VLForConditionalGeneration does not build, such as head.bias, are saved as they are"
        ]
        change_weights(policy.model)
        saved = save(tmp_path / str(lora), 1, policy.model, source, {}, "card")
        assert tensor_names(saved) == tensor_names(folder)
        written = load_file(saved / "model.safetensors")
        assert all(
            torch.equal(written[name], tensor) and written[name].dtype == tensor.dtype for name, tensor in extra.items()
        )
        restore(policy_of(source, lora).model, saved)
    assert peculiarities(qwen3, policy_of(qwen3).model) == []


def test_save_writes_tied_weights_once(qwen3: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "tied"
    shutil.copytree(qwen3.folder, folder)
    table = json.loads((folder / "config.json").read_text("utf-8"))
    table["tie_word_embeddings"] = table["text_config"]["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(table), "utf-8")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    source = open_checkpoint(str(folder))

    policy = policy_of(source)
    change_weights(policy.model)
    saved = save(tmp_path / "run", 1, policy.model, source, {}, "card")

    assert tensor_names(saved) == tensor_names(folder)
    reopened = open_checkpoint(str(saved))
    assert torch.equal(logits(reopened, reopened.load(CPU, "auto", "sdpa")), logits(source, policy.model))
    fresh = policy_of(source)
    restore(fresh.model, saved)
    assert torch.equal(logits(source, fresh.model), logits(source, policy.model))


def test_save_keeps_the_newest_checkpoints_and_updates_the_link(qwen3: Checkpoint, tmp_path: Path) -> None:
    model = policy_of(qwen3).model
    assert latest(tmp_path) is None
    for step in (1, 2, 10):
        assert save(tmp_path, step, model, qwen3, {"at": step}, "card", keep=2) == latest(tmp_path)
        assert (tmp_path / "model").readlink() == Path(f"checkpoints/step-{step:06d}")
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000002", "step-000010"]
    assert [step_of(path) for path in sorted((tmp_path / "checkpoints").iterdir())] == [2, 10]


def test_latest_skips_damaged_checkpoints_and_save_replaces_them(qwen3: Checkpoint, tmp_path: Path) -> None:
    model = policy_of(qwen3).model
    first, second = (save(tmp_path, step, model, qwen3, {}, "card", keep=2) for step in (1, 2))
    with (second / "model.safetensors").open("rb+") as file:
        file.truncate(1000)
    assert latest(tmp_path) == first
    change_weights(model)
    save(tmp_path, 2, model, qwen3, {}, "card", keep=2)
    assert latest(tmp_path) == second
    assert torch.equal(logits(qwen3, open_checkpoint(str(second)).load(CPU, "auto", "sdpa")), logits(qwen3, model))

    (second / "tokenizer.json").unlink()
    save(tmp_path, 3, model, qwen3, {}, "card", keep=2)  # damaged checkpoints do not count for `keep`
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000001", "step-000003"]
    for name in ("step-000001", "step-000003"):
        (tmp_path / "checkpoints" / name / "config.json").unlink()
    with pytest.raises(ValueError, match="step-000003: files are missing or cut off"):
        latest(tmp_path)


def test_save_does_not_overwrite_the_checkpoint_of_the_same_step(qwen3: Checkpoint, tmp_path: Path) -> None:
    model = policy_of(qwen3).model
    folder = save(tmp_path, 1, model, qwen3, {}, "first")
    save(tmp_path, 1, model, qwen3, {}, "second")
    assert (folder / "README.md").read_text("utf-8") == "first"


def test_restore_refuses_a_checkpoint_of_another_model(qwen3: Checkpoint, tmp_path: Path) -> None:
    folder = save(tmp_path / "run", 1, policy_of(qwen3).model, qwen3, {}, "card")
    other = open_checkpoint(str(make_tiny(tmp_path / "other", layers=2)))
    with pytest.raises(ValueError, match=r"lacks 11 of the \d+ trained weights, such as .*layers\.1"):
        restore(policy_of(other).model, folder)
    with pytest.raises(ValueError, match=r"trained weights, such as .*lora_A.* other adapters"):
        restore(policy_of(qwen3, LORA).model, folder)
    adapters = save(tmp_path / "lora", 1, policy_of(qwen3, LORA).model, qwen3, {}, "card")
    with pytest.raises(ValueError, match="trained weights"):
        restore(policy_of(qwen3, Lora(rank=8)).model, adapters)


def test_restore_refuses_to_unpickle_objects(qwen3: Checkpoint, tmp_path: Path) -> None:
    """Loading a checkpoint of somebody else must not run code that it contains."""
    folder = save(tmp_path, 1, policy_of(qwen3).model, qwen3, {"bad": np.random.default_rng()}, "card")
    with pytest.raises(Exception, match="Weights only load failed"):
        restore(policy_of(qwen3).model, folder)


def test_model_card_names_the_model_the_data_and_the_settings() -> None:
    overrides = {"model.path": "Qwen/Qwen3-VL-8B-Instruct", "data.path": "videos/dataset"}
    config = load_config("train-paper", overrides)
    rollouts = Rollouts(*range(11))
    last = Step(step=50, batches=50, epoch=0.1, loss=0.25, lr=1e-6, grad_norm=1.0, changed=0.5, all=rollouts)
    text = model_card(config, "abc123", last)
    header, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(header)["base_model"] == "Qwen/Qwen3-VL-8B-Instruct"
    assert "# Qwen3-VL-8B-Instruct, trained by videossr" in body
    assert "| trained on | `videos/dataset`, hash `abc123` |" in body
    assert "| method | GRPO, all weights |" in body
    assert "| steps | 50 |" in body
    settings = re.search(r"```toml\n(.*)\n```", body, re.DOTALL)
    assert settings is not None
    assert tomllib.loads(settings[1]) == as_table(config)

    further = replace(config, model=replace(config.model, path="runs/sft/model"))
    assert "# sft, trained by videossr" in model_card(further, "abc123", last)
    adapted = TrainConfig(model=ModelConfig(path="/", lora=LORA), run=RunSettings(method="sft"))
    text = model_card(adapted, "abc123", None)
    assert "base_model:" not in text  # a folder of this machine is no model on the Hub
    assert "| method | supervised, LoRA of rank 4, merged |" in text


# Saving is killed, in a process of its own, at each of the calls that change a file or a folder, one after the other.
# After each kill, the newest checkpoint is restored and compared.
KILLED = """
import json, os, signal, sys
from pathlib import Path
import torch
from videossr.engine.checkpoint import open_checkpoint
from videossr.training.checkpoints.checkpoint import latest, restore, save, step_of

torch.set_num_threads(1)
run, source = Path(sys.argv[1]), open_checkpoint(sys.argv[2])
model = source.load(torch.device("cpu"), "auto", "sdpa")
weight = model.lm_head.weight

def save_step(step):
    with torch.no_grad():
        weight.fill_(step)
    save(run, step, model, source, {"at": step}, "card", keep=1)

CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.symlink", "os.rmdir", "shutil.rmtree", "shutil.copyfile"}

def killed_at(step, place):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    count = 0
    def hook(event, arguments):
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or (writes and str(run) in str(arguments[0])):
            count += 1
            if count == place:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    save_step(step)
    os._exit(0)

save_step(1)
outcomes, place, step = [], 1, 2
while True:
    status = killed_at(step, place)
    newest = latest(run)
    with torch.no_grad():
        weight.fill_(0)
    state = restore(model, newest)
    linked = (run / "model").resolve()
    assert (linked / "model.safetensors").exists() and (linked / "trainer/files.json").exists()
    saved = step_of(newest)
    outcomes.append([status, step - saved, state["at"] - saved, weight.unique().tolist(), state["at"]])
    if not os.WIFSIGNALED(status):
        break
    place += 1
    if step_of(newest) == step:
        step += 1
remaining = sorted(path.name for path in (run / "checkpoints").iterdir())
print(json.dumps({"outcomes": outcomes, "remaining": remaining, "last": step}))
"""


def test_save_killed_at_any_moment_leaves_a_good_checkpoint(qwen3: Checkpoint, tmp_path: Path) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(qwen3.folder)], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr[-3000:]
    report = json.loads(completed.stdout)
    killed = [os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL for status, *_ in report["outcomes"]]
    assert killed == [True] * (len(killed) - 1) + [False]
    assert len(killed) > 20
    for _, behind, state_difference, weights, state_step in report["outcomes"]:
        assert behind in (0, 1)
        assert state_difference == 0
        assert weights == [state_step]
    before = [behind for _, behind, *_ in report["outcomes"]]
    assert before == sorted(before, reverse=True)  # from the renaming on, it is the new checkpoint
    assert {*before} == {0, 1}
    assert report["remaining"] == [f"step-{report['last']:06d}"]


FULL = """
import json, os, resource, signal, sys
from pathlib import Path
import torch
from videossr.engine.checkpoint import open_checkpoint
from videossr.training.checkpoints.checkpoint import latest, save

run, source, outcomes = Path(sys.argv[1]), open_checkpoint(sys.argv[2]), []
model = source.load(torch.device("cpu"), "auto", "sdpa")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (100_000, 8_000_000, resource.RLIM_INFINITY):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        save(run, 2, model, source, {"moments": torch.zeros(3_000_000)}, "card", keep=1)
    except OSError as error:
        outcomes.append([str(error), str(latest(run)), os.listdir(run / "checkpoints")])
save(run, 3, model, source, {}, "card", keep=1)
print(json.dumps([outcomes, os.listdir(run / "checkpoints")]))
"""


def test_save_on_a_full_disk_keeps_the_old_checkpoint(qwen3: Checkpoint, tmp_path: Path) -> None:
    """File sizes are limited to less than the weights, or to less than the optimizer's state."""
    assert 100_000 < (qwen3.folder / "model.safetensors").stat().st_size < 8_000_000
    first = save(tmp_path, 1, policy_of(qwen3).model, qwen3, {}, "card")
    command = [sys.executable, "-c", FULL, str(tmp_path), str(qwen3.folder)]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    outcomes, remaining = json.loads(completed.stdout)
    assert len(outcomes) == 2
    for error, newest, checkpoints in outcomes:
        assert re.search(r"step-000002 could not be written: .*step-000001 is intact", error, re.DOTALL)
        assert newest == str(first)
        assert checkpoints == ["step-000001"]
    assert remaining == ["step-000003"]


def test_no_file_of_the_user_gets_into_a_checkpoint(qwen3: Checkpoint, tmp_path: Path) -> None:
    """What is copied from the source is known by its name, and lies in its folder."""
    (tmp_path / "key").write_text("secret")
    folder = shutil.copytree(qwen3.folder, tmp_path / "source")
    (folder / "notes.txt").symlink_to("../key")
    (folder / "modeling_mine.py").write_text("raise SystemExit")
    (folder / "LICENSE").write_text("free")
    source = open_checkpoint(str(folder))
    model = policy_of(source).model
    assert peculiarities(source, base_model(model)) == [
        "files that no checkpoint needs are not copied: modeling_mine.py, notes.txt"
    ]
    saved = save(tmp_path / "run", 1, model, source, {}, "card")
    assert (saved / "LICENSE").read_text() == "free"
    assert not any("secret" in path.read_text("latin-1") for path in saved.rglob("*") if path.is_file())
    assert not {"notes.txt", "modeling_mine.py"} & {path.name for path in saved.iterdir()}

    (folder / "added_tokens.json").symlink_to("../key")
    for use in (peculiarities, lambda source, model: save(tmp_path / "run", 2, model, source, {}, "card")):
        with pytest.raises((DataError, OSError), match=r"added_tokens.json is a link that leads out of"):
            use(source, base_model(model))
    assert {path.name for path in (tmp_path / "run/checkpoints").iterdir()} == {"step-000001"}


def test_a_snapshot_of_huggingface_hub_is_saved_like_a_folder(qwen3: Checkpoint, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b/snapshots/0123"
    snapshot.mkdir(parents=True)
    shutil.copytree(qwen3.folder, tmp_path / "models--a--b/blobs")
    for file in qwen3.folder.iterdir():
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    source = open_checkpoint(str(snapshot))
    model = policy_of(source).model
    assert peculiarities(source, base_model(model)) == []
    saved = save(tmp_path / "run", 1, model, source, {}, "card")
    assert not any(path.is_symlink() for path in saved.rglob("*"))
    assert (saved / "tokenizer.json").read_bytes() == (qwen3.folder / "tokenizer.json").read_bytes()


def test_tensors_of_other_files_of_the_user_are_not_saved(
    qwen3: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that the class does not build are saved as they are: from the checkpoint's own files alone."""
    monkeypatch.setattr(transformers.Qwen3VLForConditionalGeneration, "_keys_to_ignore_on_load_unexpected", [r"^mtp.*"])
    folder = shutil.copytree(qwen3.folder, tmp_path / "source")
    save_file({"mtp.weight": torch.rand(3)}, tmp_path / "private.safetensors", {"format": "pt"})
    weights = dict.fromkeys(tensor_names(folder), "model.safetensors")
    index = folder / "model.safetensors.index.json"
    for name in ("../private.safetensors", str(tmp_path / "private.safetensors")):
        index.write_text(json.dumps({"weight_map": {**weights, "mtp.weight": name}}))
        with pytest.raises(DataError, match=r"private.safetensors' is no name of a file in that folder"):
            open_checkpoint(str(folder))
    (folder / "more.safetensors").symlink_to("../private.safetensors")
    index.write_text(json.dumps({"weight_map": {**weights, "mtp.weight": "more.safetensors"}}))
    source = open_checkpoint(str(folder))
    with pytest.raises(DataError, match=r"more.safetensors is a link that leads out of"):
        peculiarities(source, base_model(policy_of(source).model))
