"""`TransformersModel`: a local checkpoint gives the same answers however the questions are batched."""

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
from videossr.engine.vision_tower import LinearPatches
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
    """The upper left corners of the clips, to save time."""
    return [
        [Clip(clip.frames[:, :96, :128], clip.clock) for clip in questions.clips(index)]
        for index in range(len(questions))
    ]


@pytest.fixture(scope="module")
def requests(questions: VideoSSRDataset, clips: list[list[Clip]]) -> list[Request]:
    return [
        Request(index, questions.question(index), questions.category(index), lambda shown=shown: shown)  # type: ignore[misc]
        for index, shown in enumerate(clips)
    ]


Make = Callable[..., TransformersModel]


@pytest.fixture(scope="module")
def make(tiny: Path, questions: VideoSSRDataset) -> Make:
    def build_model(folder: Path = tiny, **settings: Any) -> TransformersModel:
        return TransformersModel(str(folder), TransformersSettings(**{"device": "cpu", **settings}), questions)

    return build_model


def answer_all(
    model: TransformersModel, requests: Sequence[Request], decoding: Decoding = SHORT
) -> dict[int, Response]:
    responses = list(model.answer(requests, decoding))
    assert len({response.index for response in responses}) == len(responses) == len(requests)
    return {response.index: response for response in responses}


def model_of(model: TransformersModel) -> Any:
    """Return the model of transformers, which is not typed."""
    return model._model


def texts_of(responses: dict[int, Response]) -> dict[int, tuple[str, ...]]:
    assert not [response.error for response in responses.values() if response.error]
    return {index: response.texts for index, response in responses.items()}


@pytest.fixture(scope="module")
def answered_alone(make: Make, requests: list[Request]) -> dict[int, Response]:
    """The response to each question when it is asked alone."""
    return answer_all(make(batch=1), requests)


@pytest.mark.parametrize("settings", [{"batch": 4}, {"batch": 5, "threads": 1}, {"batch": 32, "ahead_mb": 1}])
def test_answer_is_the_same_in_every_batch(
    make: Make, requests: list[Request], answered_alone: dict[int, Response], settings: dict[str, int]
) -> None:
    model = make(**settings)
    assert answer_all(model, requests) == answered_alone
    assert len(set(texts_of(answered_alone).values())) > len(requests) // 2
    assert all(response.prompt_tokens and response.prompt_tokens > 300 for response in answered_alone.values())
    assert model.waited > 0


def test_answer_counts_the_tokens_of_thoughts(make: Make, tmp_path: Path, requests: list[Request]) -> None:
    """A model with random weights does not end its thoughts, so nothing is left of an answer but their number."""
    model = make(make_tiny(tmp_path / "model", family="qwen3_5"), thinking=True)
    (response,) = answer_all(model, requests[:1], replace(SHORT, n=2)).values()
    assert response.texts == ("", "")
    assert all(response.thoughts)
    assert response.answer_tokens == (SHORT.max_tokens,) * 2
    assert response.finish == ("length", "length")


def test_answer_is_that_of_transformers_generate(
    make: Make, requests: list[Request], answered_alone: dict[int, Response]
) -> None:
    """`generate` computes positions and decodes on its own."""
    model = make()
    for request in (requests[0], requests[-1]):
        prompt = model._prompt(request, SHORT.max_tokens)
        assert torch.equal(
            prompt_inputs(prompt, model._device, torch.float32)["pixel_values_videos"],
            torch.from_numpy(prompt.pixels()),
        )
        output = model_of(model).generate(
            input_ids=torch.from_numpy(prompt.ids)[None],
            attention_mask=torch.ones(1, len(prompt.ids), dtype=torch.long),
            mm_token_type_ids=torch.from_numpy(prompt.kinds)[None],
            pixel_values_videos=torch.from_numpy(prompt.pixels()),
            video_grid_thw=torch.from_numpy(prompt.grids),
            max_new_tokens=SHORT.max_tokens,
            do_sample=False,
            suppress_tokens=model._checkpoint.placeholders,
        )
        answer = model._checkpoint.tokenizer.decode(output[0, len(prompt.ids) :], skip_special_tokens=True)
        assert answered_alone[request.index].texts == (answer,)


def test_linear_patches_equal_the_convolution() -> None:
    convolution = torch.nn.Conv3d(3, 8, (2, 16, 16), stride=(2, 16, 16))
    patches = torch.rand(7, 3, 2, 16, 16)
    torch.testing.assert_close(LinearPatches(convolution)(patches), convolution(patches).flatten(1))


def test_answer_samples_depend_on_seed_and_question_alone(make: Make, requests: list[Request]) -> None:
    together = texts_of(answer_all(make(batch=32), requests, SAMPLED))
    apart = texts_of(answer_all(make(batch=1), requests[::-1], SAMPLED))
    assert together == apart
    assert all(len(set(answer)) > 1 for answer in together.values())
    other = texts_of(answer_all(make(batch=32), requests, replace(SAMPLED, seed=1)))
    assert not {answer for index in other for answer in other[index]} & {
        answer for index in together for answer in together[index]
    }


def test_answer_restricted_to_the_most_probable_token_is_greedy(
    make: Make, requests: list[Request], answered_alone: dict[int, Response]
) -> None:
    for narrow in (replace(SAMPLED, top_k=1), replace(SAMPLED, top_p=1e-6), replace(SAMPLED, temperature=1e-30)):
        sampled = texts_of(answer_all(make(), requests[:2], narrow))
        assert sampled == {index: answered_alone[index].texts * SAMPLED.n for index in sampled}


def test_answer_reads_a_prompt_once_for_all_samples(make: Make, requests: list[Request]) -> None:
    model = make(batch=4)
    batch_sizes: list[int] = []
    model_of(model).model.visual.register_forward_hook(
        lambda module, inputs, output: batch_sizes.append(len(inputs[0]))
    )
    answer_all(model, requests, SAMPLED)
    assert len(batch_sizes) == len(requests)


def test_answer_never_contains_a_placeholder_for_pixels(make: Make, requests: list[Request]) -> None:
    model = make()
    with torch.no_grad():  # one of the two placeholders is the most probable token
        model_of(model).lm_head.weight.zero_()
        model_of(model).lm_head.weight[model._checkpoint.placeholders[0]] = 100.0
        model_of(model).lm_head.weight[model._checkpoint.placeholders[1]] = -100.0
    tokens: list[int] = []
    embeddings = model_of(model).get_input_embeddings()
    embeddings.register_forward_hook(lambda module, inputs, output: tokens.extend(inputs[0][:, -1].tolist()))
    texts_of(answer_all(model, requests[:1], replace(SAMPLED, n=16)))
    assert len(set(tokens)) > 50
    assert not set(tokens) & set(model._checkpoint.placeholders)


def test_answer_finish_tells_stop_from_length(make: Make, requests: list[Request]) -> None:
    model = make()
    ends = sorted(model._ends)
    assert set(ends) == {model._checkpoint.tokenizer.eos_token_id, model._checkpoint.tokenizer.pad_token_id}
    with torch.no_grad():  # so that any token is likely, also the end tokens
        model_of(model).lm_head.weight.mul_(0.3)
    responses = answer_all(model, requests[:1], Decoding(n=32, temperature=3.0, max_tokens=60))
    finish = [reason for response in responses.values() for reason in response.finish]
    assert set(finish) == {"stop", "length"}
    counts: dict[str, list[int]] = {"stop": [], "length": []}
    for response in responses.values():
        for text, kind in zip(response.texts, response.finish, strict=True):
            counts[kind].append(len(text))
    assert np.mean(counts["stop"]) < np.mean(counts["length"])


def test_answer_reports_failed_questions_and_answers_the_others(
    make: Make, requests: list[Request], clips: list[list[Clip]], answered_alone: dict[int, Response]
) -> None:
    def raise_error() -> list[Clip]:
        raise OSError("pack 7 is damaged")

    def odd_height() -> list[Clip]:
        return [Clip(clip.frames[:, :-1], clip.clock) for clip in clips[2]]

    def no_clips() -> list[Clip]:
        return []

    requests_with_faults = [
        replace(requests[0], clips=raise_error),
        requests[1],
        replace(requests[2], clips=odd_height),
        requests[3],
        replace(requests[4], clips=no_clips),
    ]
    responses = answer_all(make(batch=3), requests_with_faults)
    assert responses[0].error == "OSError: pack 7 is damaged"
    assert "multiples of 32" in responses[2].error
    assert requests[2].question.id in responses[2].error
    assert requests[4].question.id in responses[4].error
    assert {index: responses[index] for index in (1, 3)} == {index: answered_alone[index] for index in (1, 3)}
    assert not any(responses[index].texts for index in (0, 2, 4))


def test_answer_reports_a_prompt_that_is_too_long(
    tiny: Path, tmp_path: Path, make: Make, requests: list[Request], answered_alone: dict[int, Response]
) -> None:
    lengths = [response.prompt_tokens or 0 for response in answered_alone.values()]
    limit = int(np.median(lengths)) + SHORT.max_tokens
    short = shutil.copytree(tiny, tmp_path / "short")
    config = json.loads((short / "config.json").read_text("utf-8"))
    config["text_config"]["max_position_embeddings"] = limit
    (short / "config.json").write_text(json.dumps(config), "utf-8")
    responses = answer_all(make(short), requests)
    assert (
        {index for index, response in responses.items() if response.error}
        == {index for index, length in enumerate(lengths) if length + SHORT.max_tokens > limit}
        != set()
    )
    assert all(f"more than the model's {limit}" in response.error for response in responses.values() if response.error)
    assert {
        index: response for index, response in responses.items() if not response.error
    }.items() <= answered_alone.items()


def test_answer_halves_the_batch_when_memory_runs_out(
    make: Make, requests: list[Request], answered_alone: dict[int, Response]
) -> None:
    model = make(batch=8)

    def run_out_of_memory(module: torch.nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        if len(named["input_ids"]) > 2:
            raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")

    model_of(model).register_forward_pre_hook(run_out_of_memory, with_kwargs=True)
    responses = answer_all(model, requests)
    assert texts_of(responses) == texts_of(answered_alone)
    assert {response.tries for response in responses.values()} == {2, 3}  # the second half is a smaller batch
    assert model.describe()["batch"] == 2


def test_answer_reports_a_question_that_never_fits_in_memory(make: Make, requests: list[Request]) -> None:
    model = make(batch=2)

    def run_out_of_memory(module: torch.nn.Module, inputs: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    model_of(model).model.visual.register_forward_pre_hook(run_out_of_memory)
    responses = answer_all(model, requests[:3])
    assert all("can't allocate" in response.error for response in responses.values())
    assert model.describe()["batch"] == 1


def test_answer_renders_frames_while_the_model_works(make: Make, requests: list[Request]) -> None:
    """The model waits at each question until the next one is rendered, so that it only ends if both overlap."""
    rendered: set[int] = set()
    needed = itertools.count(2)

    def with_slow_clips(request: Request) -> Request:
        def clips() -> list[Clip]:
            time.sleep(0.05)
            rendered.add(request.index)
            return request.clips()

        return replace(request, clips=clips)

    def wait_for_rendering(module: torch.nn.Module, inputs: Any) -> None:
        count, deadline = min(next(needed), len(requests)), time.monotonic() + 60
        while len(rendered) < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    model = make(batch=1, threads=1)
    model_of(model).model.visual.register_forward_pre_hook(wait_for_rendering)
    assert not any(
        response.error for response in answer_all(model, [with_slow_clips(request) for request in requests]).values()
    )
    assert model.waited > 0  # for the first question, which could not be rendered ahead


def test_answer_leaves_no_thread_when_closed(make: Make, requests: list[Request]) -> None:
    def repeat_requests() -> Iterator[Request]:
        while True:
            yield from requests

    responses = make(batch=2).answer(repeat_requests(), SHORT)
    next(responses)
    responses.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_describe_names_versions_and_settings(make: Make, tiny: Path, tmp_path: Path) -> None:
    description = make(batch=3).describe()
    assert description["transformers"] == __import__("transformers").__version__
    assert (description["family"], description["layout"], description["dtype"], description["device"]) == (
        "qwen3_vl",
        "bare",
        "float32",
        "cpu",
    )
    assert json.loads(json.dumps(description)) == description
    assert make(layout="wrapped").describe()["prompt"] != description["prompt"] == make().describe()["prompt"]
    assert make(dtype="bfloat16").describe()["dtype"] == "bfloat16"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_answer_works_in_half_precision(make: Make, requests: list[Request], dtype: str) -> None:
    assert texts_of(answer_all(make(dtype=dtype), requests[:3]))


def test_answer_works_for_qwen2_5_vl(make: Make, requests: list[Request], tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "other", family="qwen2_5_vl")
    assert answer_all(make(folder, batch=1), requests) == answer_all(make(folder, batch=4), requests)


class TestBadCheckpoints:
    """Each one is refused, with its name, before any question is asked."""

    @pytest.fixture
    def copy(self, tiny: Path, tmp_path: Path) -> Path:
        return shutil.copytree(tiny, tmp_path / "copy")

    def assert_refused(self, make: Make, folder: Path, *parts: str, **settings: Any) -> None:
        with pytest.raises((ValueError, OSError)) as error:
            make(folder, **settings)
        for part in parts:
            assert part in str(error.value), error.value

    def test_missing_folder_is_refused(self, make: Make, tmp_path: Path) -> None:
        self.assert_refused(make, tmp_path / "gone", "gone", "no such folder")
        self.assert_refused(make, Path(), "config.json")

    def test_missing_configuration_is_refused(self, make: Make, tmp_path: Path) -> None:
        self.assert_refused(make, tmp_path, str(tmp_path), "config.json")

    def test_another_kind_of_model_is_refused(self, make: Make, copy: Path) -> None:
        (copy / "config.json").write_text('{"model_type": "llama"}', "utf-8")
        self.assert_refused(make, copy, "llama", "qwen3_vl")

    def test_damaged_configuration_is_refused(self, make: Make, copy: Path) -> None:
        (copy / "config.json").write_text("{", "utf-8")
        self.assert_refused(make, copy, "config.json")

    def test_missing_weights_are_refused(self, make: Make, copy: Path) -> None:
        (copy / "model.safetensors").unlink()
        self.assert_refused(make, copy, str(copy), "model.safetensors")

    def test_truncated_weights_are_refused(self, make: Make, copy: Path) -> None:
        whole = (copy / "model.safetensors").read_bytes()
        (copy / "model.safetensors").write_bytes(whole[:-1000])
        self.assert_refused(make, copy, str(copy))

    def test_weights_of_another_model_are_refused(self, make: Make, copy: Path, tmp_path: Path) -> None:
        shutil.copy(make_tiny(tmp_path / "small", layers=1) / "model.safetensors", copy)
        self.assert_refused(make, copy, str(copy), "layers.1")

    def test_damaged_tokenizer_is_refused(self, make: Make, copy: Path) -> None:
        (copy / "tokenizer.json").write_text("[]", "utf-8")
        self.assert_refused(make, copy, str(copy))

    def test_chat_template_without_videos_is_refused(self, make: Make, copy: Path) -> None:
        (copy / "chat_template.jinja").write_text("{{ messages[0].role }}", "utf-8")
        self.assert_refused(make, copy, "placeholder")

    @pytest.mark.parametrize("template", ["{% for", "{{ raise_exception('no') }}", "{{ messages[0].content.a.b }}"])
    def test_failing_chat_template_is_refused(self, make: Make, copy: Path, template: str) -> None:
        (copy / "chat_template.jinja").write_text(template, "utf-8")
        self.assert_refused(make, copy, str(copy))

    def test_invalid_settings_are_refused(self, make: Make, tiny: Path) -> None:
        self.assert_refused(make, tiny, "device=gpu", device="gpu")
        self.assert_refused(make, tiny, "layout", layout="diagonal")
        self.assert_refused(make, tiny, str(tiny), attention="telepathy")


@pytest.mark.parametrize("verb", ["run", "probe"])
def test_bench_command_stops_if_the_scores_are_no_numbers(
    tiny: Path, dataset: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights are finite, but the last layer overflows, as it may in half precision."""
    shutil.copytree(tiny, tmp_path / "model")
    file = tmp_path / "model/model.safetensors"
    weights = load_file(file)
    (norm,) = [name for name in weights if name.endswith("language_model.norm.weight")]
    weights[norm] = torch.full_like(weights[norm], torch.finfo(weights[norm].dtype).max)
    save_file(weights, file, {"format": "pt"})
    out = tmp_path / "run"
    arguments = ("bench", verb, str(dataset), "--model", f"hf:{tmp_path / 'model'}", "--out", str(out))
    with pytest.raises(SystemExit) as exit_info:
        main([*arguments, "--stop-after", "2", "--model.batch=2"])
    assert exit_info.value.code == 2
    captured = capsys.readouterr()
    assert "2 questions failed for the same reason, and none was answered" in captured.err
    assert "the model's scores are no numbers in torch.float32" in captured.err
    assert "0.0" not in captured.out
    assert len(read_run(out).predictions) == 2


def test_thinking_setting_is_refused_if_the_template_lacks_it(tiny: Path) -> None:
    with pytest.raises(ValueError, match="does not read enable_thinking"):
        TransformersModel(str(tiny), TransformersSettings(thinking=False), None)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("proxy", ["", "socks5://127.0.0.1:9"])
def test_open_checkpoint_by_name_explains_an_unreachable_hub(proxy: str) -> None:
    """The command runs in a process of its own, for the Hub's client reads its environment once."""
    code = "from videossr.engine.checkpoint import open_checkpoint; open_checkpoint('o/n')"
    env = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "ALL_PROXY": proxy}
    process = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    error = process.stderr[process.stderr.rindex("\nOSError: ") :]
    assert "o/n: no such folder: name one that holds a checkpoint. Nor does the Hub give it: " in error
    assert error.startswith("\nOSError: o/n")
