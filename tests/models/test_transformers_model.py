"""A local checkpoint answers real questions: what it says does not depend on how it is asked."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from videossr.bench.records import read_run
from videossr.cli import main
from videossr.dataset.dataset import VideoSSRDataset
from videossr.engine.checkpoint import prompt_inputs
from videossr.engine.model import LinearPatches
from videossr.models.base import Decoding, Request, Response
from videossr.models.tiny import make_tiny
from videossr.models.transformers_model import TransformersModel, TransformersSettings
from videossr.question import Clip

SHORT = Decoding(max_tokens=12)
SAMPLED = Decoding(n=4, temperature=1.0, max_tokens=12)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def questions(dataset: Path) -> VideoSSRDataset:
    return VideoSSRDataset(dataset)


@pytest.fixture(scope="module")
def clips(questions: VideoSSRDataset) -> list[list[Clip]]:
    """Their upper left corners, to save time."""
    return [
        [Clip(clip.frames[:, :96, :128], clip.clock) for clip in questions.clips(index)]
        for index in range(len(questions))
    ]


@pytest.fixture(scope="module")
def asks(questions: VideoSSRDataset, clips: list[list[Clip]]) -> list[Request]:
    return [
        Request(index, questions.question(index), questions.category(index), lambda shown=shown: shown)  # type: ignore[misc]
        for index, shown in enumerate(clips)
    ]


Make = Callable[..., TransformersModel]


@pytest.fixture(scope="module")
def make(tiny: Path, questions: VideoSSRDataset) -> Make:
    def made(folder: Path = tiny, **settings: Any) -> TransformersModel:
        return TransformersModel(str(folder), TransformersSettings(**{"device": "cpu", **settings}), questions)

    return made


def answered(model: TransformersModel, asks: Sequence[Request], decoding: Decoding = SHORT) -> dict[int, Response]:
    replies = list(model.answer(asks, decoding))
    assert len({reply.index for reply in replies}) == len(replies) == len(asks)
    return {reply.index: reply for reply in replies}


def inner(model: TransformersModel) -> Any:
    """The model of transformers, which is not typed."""
    return model._model


def texts(replies: dict[int, Response]) -> dict[int, tuple[str, ...]]:
    assert not [reply.error for reply in replies.values() if reply.error]
    return {index: reply.texts for index, reply in replies.items()}


@pytest.fixture(scope="module")
def alone(make: Make, asks: list[Request]) -> dict[int, Response]:
    """What the model says to each question when it is asked nothing else."""
    return answered(make(batch=1), asks)


@pytest.mark.parametrize("settings", [{"batch": 4}, {"batch": 5, "threads": 1}, {"batch": 32, "ahead_mb": 1}])
def test_the_greedy_answer_is_the_same_in_every_batch(
    make: Make, asks: list[Request], alone: dict[int, Response], settings: dict[str, int]
) -> None:
    model = make(**settings)
    assert answered(model, asks) == alone
    assert len(set(texts(alone).values())) > len(asks) // 2
    assert all(reply.prompt_tokens and reply.prompt_tokens > 300 for reply in alone.values())
    assert model.waited > 0


def test_it_is_what_the_library_generates(make: Make, asks: list[Request], alone: dict[int, Response]) -> None:
    """The same prompts through `generate`, which finds positions and decodes in its own way."""
    model = make()
    for ask in (asks[0], asks[-1]):
        prompt = model._prompt(ask, SHORT.max_tokens)
        assert torch.equal(
            prompt_inputs(prompt, model._device, torch.float32)["pixel_values_videos"],
            torch.from_numpy(prompt.pixels()),
        )
        out = inner(model).generate(
            input_ids=torch.from_numpy(prompt.ids)[None],
            attention_mask=torch.ones(1, len(prompt.ids), dtype=torch.long),
            mm_token_type_ids=torch.from_numpy(prompt.kinds)[None],
            pixel_values_videos=torch.from_numpy(prompt.pixels()),
            video_grid_thw=torch.from_numpy(prompt.grids),
            max_new_tokens=SHORT.max_tokens,
            do_sample=False,
            suppress_tokens=model._checkpoint.placeholders,
        )
        said = model._checkpoint.tokenizer.decode(out[0, len(prompt.ids) :], skip_special_tokens=True)
        assert alone[ask.index].texts == (said,)


def test_patches_are_embedded_as_the_convolution_does() -> None:
    convolution = torch.nn.Conv3d(3, 8, (2, 16, 16), stride=(2, 16, 16))
    patches = torch.rand(7, 3, 2, 16, 16)
    torch.testing.assert_close(LinearPatches(convolution)(patches), convolution(patches).flatten(1))


def test_samples_depend_on_the_seed_and_the_question_alone(make: Make, asks: list[Request]) -> None:
    together = texts(answered(make(batch=32), asks, SAMPLED))
    apart = texts(answered(make(batch=1), asks[::-1], SAMPLED))
    assert together == apart
    assert all(len(set(each)) > 1 for each in together.values())
    other = texts(answered(make(batch=32), asks, replace(SAMPLED, seed=1)))
    assert not {each for index in other for each in other[index]} & {
        each for index in together for each in together[index]
    }


def test_the_most_probable_token_alone_is_the_greedy_one(
    make: Make, asks: list[Request], alone: dict[int, Response]
) -> None:
    for narrow in (replace(SAMPLED, top_k=1), replace(SAMPLED, top_p=1e-6), replace(SAMPLED, temperature=1e-30)):
        sampled = texts(answered(make(), asks[:2], narrow))
        assert sampled == {index: alone[index].texts * SAMPLED.n for index in sampled}


def test_a_prompt_is_read_once_for_all_its_answers(make: Make, asks: list[Request]) -> None:
    model = make(batch=4)
    seen: list[int] = []
    inner(model).model.visual.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    answered(model, asks, SAMPLED)
    assert len(seen) == len(asks)


def test_a_placeholder_for_pixels_is_never_written(make: Make, asks: list[Request]) -> None:
    model = make()
    with torch.no_grad():  # the two placeholders are as probable as all others are not
        inner(model).lm_head.weight.zero_()
        inner(model).lm_head.weight[model._checkpoint.placeholders[0]] = 100.0
        inner(model).lm_head.weight[model._checkpoint.placeholders[1]] = -100.0
    read: list[int] = []
    embeddings = inner(model).get_input_embeddings()
    embeddings.register_forward_hook(lambda module, inputs, output: read.extend(inputs[0][:, -1].tolist()))
    texts(answered(model, asks[:1], replace(SAMPLED, n=16)))
    assert len(set(read)) > 50
    assert not set(read) & set(model._checkpoint.placeholders)


def test_what_ends_is_told_from_what_is_cut_off(make: Make, asks: list[Request]) -> None:
    model = make()
    ends = sorted(model._ends)
    assert set(ends) == {model._checkpoint.tokenizer.eos_token_id, model._checkpoint.tokenizer.pad_token_id}
    with torch.no_grad():  # so that any token is likely, the ends too
        inner(model).lm_head.weight.mul_(0.3)
    replies = answered(model, asks[:1], Decoding(n=32, temperature=3.0, max_tokens=60))
    finish = [each for reply in replies.values() for each in reply.finish]
    assert set(finish) == {"stop", "length"}
    counts: dict[str, list[int]] = {"stop": [], "length": []}
    for reply in replies.values():
        for text, kind in zip(reply.texts, reply.finish, strict=True):
            counts[kind].append(len(text))
    assert np.mean(counts["stop"]) < np.mean(counts["length"])


def test_a_question_that_fails_is_told_and_the_others_are_answered(
    make: Make, asks: list[Request], clips: list[list[Clip]], alone: dict[int, Response]
) -> None:
    def broken() -> list[Clip]:
        raise OSError("pack 7 is damaged")

    def odd() -> list[Clip]:
        return [Clip(clip.frames[:, :-1], clip.clock) for clip in clips[2]]

    def none() -> list[Clip]:
        return []

    bad = [replace(asks[0], clips=broken), asks[1], replace(asks[2], clips=odd), asks[3], replace(asks[4], clips=none)]
    replies = answered(make(batch=3), bad)
    assert replies[0].error == "OSError: pack 7 is damaged"
    assert "multiples of 32" in replies[2].error
    assert asks[2].question.id in replies[2].error
    assert asks[4].question.id in replies[4].error
    assert {index: replies[index] for index in (1, 3)} == {index: alone[index] for index in (1, 3)}
    assert not any(replies[index].texts for index in (0, 2, 4))


def test_a_prompt_that_is_too_long_is_told(
    tiny: Path, tmp_path: Path, make: Make, asks: list[Request], alone: dict[int, Response]
) -> None:
    lengths = [reply.prompt_tokens or 0 for reply in alone.values()]
    limit = int(np.median(lengths)) + SHORT.max_tokens
    short = shutil.copytree(tiny, tmp_path / "short")
    config = json.loads((short / "config.json").read_text("utf-8"))
    config["text_config"]["max_position_embeddings"] = limit
    (short / "config.json").write_text(json.dumps(config), "utf-8")
    replies = answered(make(short), asks)
    assert (
        {index for index, reply in replies.items() if reply.error}
        == {index for index, length in enumerate(lengths) if length + SHORT.max_tokens > limit}
        != set()
    )
    assert all(f"more than the model's {limit}" in reply.error for reply in replies.values() if reply.error)
    assert {index: reply for index, reply in replies.items() if not reply.error}.items() <= alone.items()


def test_where_memory_ends_the_batch_is_halved_and_nothing_is_lost(
    make: Make, asks: list[Request], alone: dict[int, Response]
) -> None:
    model = make(batch=8)

    def full(module: torch.nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        if len(named["input_ids"]) > 2:
            raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")

    inner(model).register_forward_pre_hook(full, with_kwargs=True)
    replies = answered(model, asks)
    assert texts(replies) == texts(alone)
    assert {reply.tries for reply in replies.values()} == {3}
    assert model.describe()["batch"] == 2


def test_what_never_fits_is_told(make: Make, asks: list[Request]) -> None:
    model = make(batch=2)

    def full(module: torch.nn.Module, inputs: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    inner(model).model.visual.register_forward_pre_hook(full)
    replies = answered(model, asks[:3])
    assert all("can't allocate" in reply.error for reply in replies.values())
    assert model.describe()["batch"] == 1


def test_rendering_goes_on_while_the_model_works(make: Make, asks: list[Request]) -> None:
    """At work on a question, the model holds until the one behind it is rendered, which would never be otherwise."""
    rendered: set[int] = set()
    begun = itertools.count(2)

    def slow(ask: Request) -> Request:
        def clips() -> list[Clip]:
            time.sleep(0.05)
            rendered.add(ask.index)
            return ask.clips()

        return replace(ask, clips=clips)

    def hold(module: torch.nn.Module, inputs: Any) -> None:
        enough, end = min(next(begun), len(asks)), time.monotonic() + 60
        while len(rendered) < enough:
            assert time.monotonic() < end
            time.sleep(0.005)

    model = make(batch=1, threads=1)
    inner(model).model.visual.register_forward_pre_hook(hold)
    assert not any(reply.error for reply in answered(model, [slow(ask) for ask in asks]).values())
    assert model.waited > 0  # for the first, behind which nothing could hide


def test_whoever_stops_listening_leaves_no_thread(make: Make, asks: list[Request]) -> None:
    def endless() -> Iterator[Request]:
        while True:
            yield from asks

    replies = make(batch=2).answer(endless(), SHORT)
    next(replies)
    replies.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_it_tells_what_it_is(make: Make, tiny: Path, tmp_path: Path) -> None:
    told = make(batch=3).describe()
    assert told["transformers"] == __import__("transformers").__version__
    assert (told["family"], told["layout"], told["dtype"], told["device"]) == ("qwen3_vl", "bare", "float32", "cpu")
    assert json.loads(json.dumps(told)) == told
    assert make(layout="wrapped").describe()["prompt"] != told["prompt"] == make().describe()["prompt"]
    assert make(dtype="bfloat16").describe()["dtype"] == "bfloat16"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_it_answers_in_half_precision(make: Make, asks: list[Request], dtype: str) -> None:
    assert texts(answered(make(dtype=dtype), asks[:3]))


def test_the_other_family_answers_too(make: Make, asks: list[Request], tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "other", family="qwen2_5_vl")
    assert answered(make(folder, batch=1), asks) == answered(make(folder, batch=4), asks)


class TestBadCheckpoints:
    """Each is told before any question is asked, with its name."""

    @pytest.fixture
    def copy(self, tiny: Path, tmp_path: Path) -> Path:
        return shutil.copytree(tiny, tmp_path / "copy")

    def refused(self, make: Make, folder: Path, *said: str, **settings: Any) -> None:
        with pytest.raises((ValueError, OSError)) as caught:
            make(folder, **settings)
        for each in said:
            assert each in str(caught.value), caught.value

    def test_no_folder(self, make: Make, tmp_path: Path) -> None:
        self.refused(make, tmp_path / "gone", "gone", "no such folder")
        self.refused(make, Path(), "config.json")

    def test_no_configuration(self, make: Make, tmp_path: Path) -> None:
        self.refused(make, tmp_path, str(tmp_path), "config.json")

    def test_another_kind_of_model(self, make: Make, copy: Path) -> None:
        (copy / "config.json").write_text('{"model_type": "llama"}', "utf-8")
        self.refused(make, copy, "llama", "qwen3_vl")

    def test_a_damaged_configuration(self, make: Make, copy: Path) -> None:
        (copy / "config.json").write_text("{", "utf-8")
        self.refused(make, copy, "config.json")

    def test_no_weights(self, make: Make, copy: Path) -> None:
        (copy / "model.safetensors").unlink()
        self.refused(make, copy, str(copy), "model.safetensors")

    def test_weights_cut_off(self, make: Make, copy: Path) -> None:
        whole = (copy / "model.safetensors").read_bytes()
        (copy / "model.safetensors").write_bytes(whole[:-1000])
        self.refused(make, copy, str(copy))

    def test_weights_of_another_model(self, make: Make, copy: Path, tmp_path: Path) -> None:
        shutil.copy(make_tiny(tmp_path / "small", layers=1) / "model.safetensors", copy)
        self.refused(make, copy, str(copy), "layers.1")

    def test_a_damaged_tokenizer(self, make: Make, copy: Path) -> None:
        (copy / "tokenizer.json").write_text("[]", "utf-8")
        self.refused(make, copy, str(copy))

    def test_a_chat_template_without_videos(self, make: Make, copy: Path) -> None:
        (copy / "chat_template.jinja").write_text("{{ messages[0].role }}", "utf-8")
        self.refused(make, copy, "placeholder")

    @pytest.mark.parametrize("template", ["{% for", "{{ raise_exception('no') }}", "{{ messages[0].content.a.b }}"])
    def test_a_chat_template_that_fails(self, make: Make, copy: Path, template: str) -> None:
        (copy / "chat_template.jinja").write_text(template, "utf-8")
        self.refused(make, copy, str(copy))

    def test_settings_that_cannot_be(self, make: Make, tiny: Path) -> None:
        self.refused(make, tiny, "device=gpu", device="gpu")
        self.refused(make, tiny, "layout", layout="diagonal")
        self.refused(make, tiny, str(tiny), attention="telepathy")


@pytest.mark.parametrize("verb", ["run", "probe"])
def test_a_model_whose_scores_are_no_numbers_ends_the_run(
    tiny: Path, dataset: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its weights are finite, and what they make of the last layer is not, as where half precision overflows."""
    shutil.copytree(tiny, tmp_path / "model")
    file = tmp_path / "model/model.safetensors"
    weights = load_file(file)
    (norm,) = [name for name in weights if name.endswith("language_model.norm.weight")]
    weights[norm] = torch.full_like(weights[norm], torch.finfo(weights[norm].dtype).max)
    save_file(weights, file, {"format": "pt"})
    out = tmp_path / "run"
    words = ("bench", verb, str(dataset), "--model", f"hf:{tmp_path / 'model'}", "--out", str(out))
    with pytest.raises(SystemExit) as ended:
        main([*words, "--stop-after", "2", "--model.batch=2"])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert "2 questions failed for the same reason, and none was answered" in told.err
    assert "the model's scores are no numbers in torch.float32" in told.err
    assert "0.0" not in told.out
    assert len(read_run(out).predictions) == 2


def test_thinking_that_cannot_be_switched_is_told(tiny: Path) -> None:
    with pytest.raises(ValueError, match="does not read enable_thinking"):
        TransformersModel(str(tiny), TransformersSettings(thinking=False), None)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("proxy", ["", "socks5://127.0.0.1:9"])
def test_a_checkpoint_by_name_is_told_in_a_line_where_there_is_no_hub(proxy: str) -> None:
    """In a process of its own, for the Hub's client reads its environment once."""
    code = "from videossr.engine.checkpoint import open_checkpoint; open_checkpoint('o/n')"
    env = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "ALL_PROXY": proxy}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    last = done.stderr[done.stderr.rindex("\nOSError: ") :]
    assert "o/n: no such folder: name one that holds a checkpoint. Nor does the Hub give it: " in last
    assert last.rstrip().endswith("name a folder that holds the checkpoint")
