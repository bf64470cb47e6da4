"""Prompts: patches and token positions compared with slow references, and inputs that are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoTokenizer, Qwen2_5_VLConfig, Qwen3VLConfig

from tests.helpers.small_tokenizers import TEMPLATE, THINKING, config, tokenizer
from videossr.clock import Clock, uniform_clock
from videossr.prompt import builder, checkpoint_config
from videossr.prompt.base import Builder, Prompt
from videossr.prompt.chat import END, PAD, START, set_thinking
from videossr.prompt.qwen3_vl import markers
from videossr.prompt.vision import Vision
from videossr.question import VIDEO, Clip, Frames, Question

DOCS = Path(__file__).parents[2] / "docs/concepts/prompt.md"
SIDE = {"qwen3_vl": 32, "qwen2_5_vl": 28}


@cache
def make_builder(family: str = "qwen3_vl", layout: str | None = None) -> Builder:
    return builder(config(family), tokenizer(), layout)


def make_question(times: Sequence[Clock], text: str | None = None, system: str = "") -> Question:
    return Question("q-17", "videossr/grounding", system, text or f"{VIDEO}\n" * len(times) + "When?", "", (*times,))


def noise_clip(clock: Clock, height: int, width: int, seed: int = 0) -> Clip:
    return Clip(np.random.default_rng(seed).integers(0, 256, (len(clock), height, width, 3), np.uint8), clock)


def slow_patches(frames: Frames, patch: int, merge: int) -> np.ndarray[Any, Any]:
    """Compute the value at every place of every patch by its coordinates."""
    count, height, width = frames.shape[:3]
    frames = frames if count % 2 == 0 else np.concatenate([frames, frames[-1:]])
    side, patches = patch * merge, []
    for pair in range(len(frames) // 2):
        for top in range(0, height, side):
            for left in range(0, width, side):
                for down in range(merge):
                    for across in range(merge):
                        y, x = top + down * patch, left + across * patch
                        window = frames[2 * pair : 2 * pair + 2, y : y + patch, x : x + patch]
                        patches.append([window[..., channel].ravel() for channel in range(3)])
    return np.array(patches).reshape(len(patches), -1)


def slow_positions(prompt: Prompt, runs: Sequence[tuple[int, int, int, float]]) -> tuple[list[list[int]], int]:
    """Compute positions token by token; a run of video tokens has pairs of frames, rows, columns, and a time step.

    Times are products in single precision, as torch has them: that decides which whole number a product falls on.
    """
    places: list[list[int]] = []
    remaining, position = list(runs), 0
    while len(places) < len(prompt.kinds):
        if prompt.kinds[len(places)] == 0:
            places.append([position] * 3)
        else:
            pairs, rows, columns, step = remaining.pop(0)
            for pair in range(pairs):
                time = position + int(np.float32(pair) * np.float32(step))
                for row in range(rows):
                    places += [[time, position + row, position + column] for column in range(columns)]
        position = max(max(place) for place in places) + 1
    assert not remaining
    return np.array(places).T.tolist(), position - len(places)


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.sampled_from([(16, 2), (14, 2), (4, 1), (4, 3)]))
@settings(deadline=None, max_examples=30)
def test_vision_patches_are_in_the_order_of_the_vision_tower(
    count: int, rows: int, columns: int, sizes: tuple[int, int]
) -> None:
    patch, merge = sizes
    tower = Vision(patch, merge, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    frames = noise_clip(uniform_clock(count, 1000), rows * tower.side, columns * tower.side).frames
    patches = tower.patches(frames)
    assert patches.dtype == np.uint8
    assert patches.shape == (np.prod(tower.grid(frames)), 3 * 2 * patch * patch)
    assert (patches == slow_patches(frames, patch, merge)).all()
    assert (tower.patches(frames[:, :, ::-1]) == slow_patches(frames[:, :, ::-1], patch, merge)).all()


def test_prompt_pixels_are_normalised_by_the_checkpoint() -> None:
    clock = uniform_clock(2, 1000)
    clip = noise_clip(clock, 32, 64)
    qwen3 = make_builder()(make_question([clock]), [clip])
    assert qwen3.pixels().dtype == np.float32
    np.testing.assert_allclose(qwen3.pixels(), qwen3.patches / 255 * 2 - 1, atol=1e-6)
    qwen2_5 = make_builder("qwen2_5_vl")(make_question([clock]), [noise_clip(clock, 28, 28)])
    per_channel = qwen2_5.patches.reshape(4, 3, -1) / 255
    for channel, (mean, deviation) in enumerate(zip(qwen2_5.mean, qwen2_5.deviation, strict=True)):
        expected = (per_channel[:, channel] - mean) / deviation
        np.testing.assert_allclose(qwen2_5.pixels().reshape(4, 3, -1)[:, channel], expected, atol=1e-6)


clocks = st.lists(st.integers(1, 5000), min_size=1, max_size=7).map(
    lambda steps: Clock((0, *np.cumsum(steps[:-1]).tolist()), sum(steps))
)


@pytest.mark.slow
@given(
    st.lists(st.tuples(clocks, st.integers(1, 2), st.integers(1, 3)), min_size=1, max_size=3),
    st.sampled_from(["bare", "wrapped"]),
    st.text(max_size=8),
    st.text(max_size=8).filter(lambda text: VIDEO not in text),
)
@settings(deadline=None, max_examples=40)
def test_builder_gives_every_clip_its_own_markers_and_tokens(
    shown: list[tuple[Clock, int, int]], layout: str, system: str, between: str
) -> None:
    times = [clock for clock, _, _ in shown]
    question = make_question(times, between.join(f"[{VIDEO}]" for _ in shown), system)
    prompt = make_builder(layout=layout)(
        question, [noise_clip(clock, 32 * rows, 32 * columns) for clock, rows, columns in shown]
    )

    expected = [
        "".join(f"{marker}{START}{PAD * (rows * columns)}{END}" for marker in markers(clock))
        for clock, rows, columns in shown
    ]
    wrapped = [f"{START}{text}{END}" if layout == "wrapped" else text for text in expected]
    turn = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    assert prompt.text == (
        f"{turn}<|im_start|>user\n{between.join(f'[{text}]' for text in wrapped)}<|im_end|>\n<|im_start|>assistant\n"
    )
    assert prompt.kinds.sum() == 2 * prompt.text.count(PAD) == 2 * len(prompt.patches) // 4
    assert prompt.grids.tolist() == [[(len(clock) + 1) // 2, 2 * rows, 2 * columns] for clock, rows, columns in shown]
    assert len(prompt.ids) == len(prompt.kinds) == prompt.positions.shape[1]

    text = prompt.positions[:, prompt.kinds == 0]
    assert (text == text[0]).all()
    assert all(later > earlier for earlier, later in pairwise(text[0].tolist()))
    assert len(prompt.ids) + prompt.delta == prompt.positions.max() + 1
    runs = [(1, rows, columns, 0.0) for clock, rows, columns in shown for _ in markers(clock)]
    assert (prompt.positions.tolist(), prompt.delta) == slow_positions(prompt, runs)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(200, 60_000), st.integers(1, 3)), min_size=1, max_size=3),
    st.text(max_size=5).filter(lambda text: VIDEO not in text),
)
@example([(9, 3750, 1)], "")
@settings(deadline=None, max_examples=30)
def test_builder_of_qwen2_5_vl_encodes_times_in_positions_alone(
    shown: list[tuple[int, int, int]], between: str
) -> None:
    times = [uniform_clock(slots, span) for slots, span, _ in shown]
    question = make_question(times, between.join(VIDEO for _ in shown) + "?")
    clips = [noise_clip(clock, 28, 28 * columns) for clock, (_, _, columns) in zip(times, shown, strict=True)]
    prompt = make_builder("qwen2_5_vl")(question, clips)
    runs = [(-(-slots // 2), 1, columns, 4 * span / slots / 1000) for slots, span, columns in shown]
    videos = [f"{START}{PAD * (pairs * columns)}{END}" for pairs, _, columns, _ in runs]
    assert f"user\n{between.join(videos)}?<|im_end|>" in prompt.text
    assert (prompt.positions.tolist(), prompt.delta) == slow_positions(prompt, runs)


def test_builder_of_qwen2_5_vl_counts_two_tokens_a_second() -> None:
    """Pairs of 48 frames in 24 s are 1 s apart, and the text continues after the last time of the clip."""
    clock = uniform_clock(48, 24_000)
    prompt = make_builder("qwen2_5_vl")(make_question([clock]), [noise_clip(clock, 28, 28)])
    times = prompt.positions[0, prompt.kinds == 2]
    assert (times - times[0]).tolist() == list(range(0, 48, 2))
    behind = int(np.flatnonzero(prompt.kinds)[-1]) + 1
    assert prompt.positions[:, behind].tolist() == [times[-1] + 1] * 3


def test_builder_of_qwen2_5_vl_stretches_frames_without_cropping() -> None:
    frames = np.zeros((2, 64, 96, 3), np.uint8)
    frames[:, :4, :4], frames[:, -4:, -4:] = 255, 255
    prompt = make_builder("qwen2_5_vl")(make_question([uniform_clock(2, 1000)]), [Clip(frames, uniform_clock(2, 1000))])
    assert prompt.grids.tolist() == [[1, 4, 6]]
    corners = prompt.patches[[0, -1]].reshape(2, 3, 2, 14, 14)
    assert (corners[0, :, :, 0, 0] == 255).all()
    assert (corners[1, :, :, -1, -1] == 255).all()


def test_builder_uses_the_released_layout_by_default() -> None:
    assert (make_builder().layout, make_builder(layout="wrapped").layout, make_builder("qwen2_5_vl").layout) == (
        "bare",
        "wrapped",
        "released",
    )
    clock = uniform_clock(4, 1000)
    question, clips = make_question([clock]), [noise_clip(clock, 32, 32)]
    assert (
        make_builder()(question, clips).text
        == make_builder(layout="bare")(question, clips).text
        != make_builder(layout="wrapped")(question, clips).text
    )
    assert make_builder("qwen3_vl_moe")(question, clips).ids.tolist() == make_builder()(question, clips).ids.tolist()


def test_builder_gives_threads_the_same_prompts() -> None:
    times = [uniform_clock(slots, 4_000) for slots in range(2, 18)]
    cases = [
        (make_question([clock], system="s"), [noise_clip(clock, 32, 64, seed)]) for seed, clock in enumerate(times)
    ] * 4
    build = builder(config("qwen3_vl"), tokenizer())
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda case: build(*case), cases))
    for prompt, case in zip(together, cases, strict=True):
        alone = build(*case)
        assert (prompt.text, prompt.ids.tolist()) == (alone.text, alone.ids.tolist())
        assert (prompt.patches == alone.patches).all()


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
@pytest.mark.parametrize("text", ["<|video_pad|>", "<|vision_end|>", "<|im_end|>", "<|image_pad|>"])
def test_builder_refuses_control_tokens_in_a_question(family: str, text: str) -> None:
    clock, side = uniform_clock(2, 1000), SIDE[family]
    clips = [noise_clip(clock, side, side)]
    message = rf"question q-17: its text holds {re.escape(text)}"
    with pytest.raises(ValueError, match=message):
        make_builder(family)(make_question([clock], f"{VIDEO}a{text}b"), clips)
    with pytest.raises(ValueError, match=message):
        make_builder(family)(make_question([clock], system=text), clips)
    with pytest.raises(ValueError, match="question q-17: its text is no Unicode text"):
        make_builder(family)(make_question([clock], f"{VIDEO}\ud800"), clips)
    assert make_builder(family)(make_question([clock], f"{VIDEO}<|video|> <video_pad> |>"), clips).text.count(PAD) == 1


def test_builder_refuses_a_template_that_does_not_show_every_clip_once() -> None:
    clock = uniform_clock(2, 1000)
    question, clips = make_question([clock]), [noise_clip(clock, 32, 32)]
    for template, count in (("no videos", 0), (TEMPLATE + TEMPLATE, 2), (TEMPLATE.replace(START, ""), 1)):
        build = builder(config("qwen3_vl"), tokenizer(template))
        with pytest.raises(ValueError, match=rf"question q-17: the chat template writes {count} placeholders"):
            build(question, clips)


def test_builder_names_the_question_that_a_family_cannot_express() -> None:
    uneven = Clock((0, 500, 1_100), 1_500)
    with pytest.raises(ValueError, match=r"question q-17: its slots differ in length by up to 200 ms"):
        make_builder("qwen2_5_vl")(make_question([uneven]), [noise_clip(uneven, 28, 28)])
    for height, width in ((48, 32), (32, 33)):
        with pytest.raises(ValueError, match=rf"question q-17: frames of {width}x{height} pixels: .* multiples of 32"):
            make_builder()(make_question([uneven]), [noise_clip(uneven, height, width)])
    other = noise_clip(uniform_clock(3, 1_500), 32, 32)
    for question in (make_question([], "When?"), make_question([uneven])):
        with pytest.raises(ValueError, match="question q-17: it comes without a clip"):
            make_builder()(question, [])
    for clips in ([other], [noise_clip(uneven, 32, 32)] * 2):
        with pytest.raises(ValueError, match=r"question q-17: its \d clips do not have the clocks"):
            make_builder()(make_question([uneven]), clips)


def test_builder_refuses_unknown_families_and_layouts() -> None:
    with pytest.raises(ValueError, match=r"'qwen3vl'; did you mean 'qwen3_vl'\?"):
        builder({**config("qwen3_vl"), "model_type": "qwen3vl"}, tokenizer())
    with pytest.raises(ValueError, match=r"no layout 'wraped'. Known: bare, wrapped"):
        make_builder(layout="wraped")
    with pytest.raises(ValueError, match=r"no layout 'bare'. Known: released"):
        make_builder("qwen2_5_vl", "bare")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_mean": None}, "damaged"),
        ({"image_std": [0.5, 0.5]}, "damaged"),
        ({"vision_config": {}}, "no 'temporal_patch_size'"),
        ({"vision_config": {"patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 4}}, "not known"),
        ({"video_token_id": 5}, "to the tokenizer and 5 to the configuration"),
    ],
)
def test_builder_refuses_a_configuration_that_does_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        builder({**config("qwen3_vl"), **change}, tokenizer())


def test_builder_of_qwen2_5_vl_needs_tokens_per_second() -> None:
    settings_ = config("qwen2_5_vl")
    del settings_["vision_config"]["tokens_per_second"]
    with pytest.raises(ValueError, match="tokens_per_second"):
        builder(settings_, tokenizer())


def test_builder_refuses_a_tokenizer_without_video_tokens() -> None:
    plain = tokenizer(special=["<|im_start|>", "<|im_end|>", START, END])
    with pytest.raises(ValueError, match=r"no special token <\|video_pad\|>: not one of"):
        builder(config("qwen3_vl"), plain)


PIXELS = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]}


@pytest.mark.parametrize(
    "files",
    [
        {"preprocessor_config.json": PIXELS},
        {
            "video_preprocessor_config.json": PIXELS,
            "preprocessor_config.json": {"image_mean": [0] * 3, "image_std": [2] * 3},
        },
        {"processor_config.json": {"video_processor": PIXELS}},
        {"processor_config.json": {"video_processor": None}, "preprocessor_config.json": PIXELS},
        {"processor_config.json": {"processor_class": "x"}, "preprocessor_config.json": PIXELS},
    ],
)
def test_checkpoint_config_finds_the_pixel_statistics_in_any_file(tmp_path: Path, files: dict[str, Any]) -> None:
    for name, table in ({"config.json": {"model_type": "qwen3_vl", "image_mean": 9}} | files).items():
        (tmp_path / name).write_text(json.dumps(table), "utf-8")
    assert checkpoint_config(tmp_path) == {"model_type": "qwen3_vl", **PIXELS}


def test_checkpoint_config_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        checkpoint_config(tmp_path)
    (tmp_path / "config.json").write_text("{", "utf-8")
    with pytest.raises(ValueError, match=r"config\.json is no JSON"):
        checkpoint_config(tmp_path)
    (tmp_path / "config.json").write_text("[]", "utf-8")
    with pytest.raises(ValueError, match=r"config\.json is no JSON object"):
        checkpoint_config(tmp_path)
    (tmp_path / "config.json").write_text("{}", "utf-8")
    with pytest.raises(ValueError, match=r"preprocessor_config\.json gives image_mean and image_std"):
        checkpoint_config(tmp_path)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_builder_accepts_objects_of_transformers(family: str, saved: bool, tmp_path: Path) -> None:
    """The objects come from a saved checkpoint (`AutoConfig`, `AutoTokenizer`) or are created in memory."""
    table, chat = config(family), tokenizer()
    kind = {"qwen3_vl": Qwen3VLConfig, "qwen2_5_vl": Qwen2_5_VLConfig}[family]
    hf_config: Any = kind(video_token_id=table["video_token_id"], vision_config=table["vision_config"])
    if saved:  # and its frames are normalised as the folder says
        table |= {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
        hf_config.save_pretrained(tmp_path)
        chat.save_pretrained(tmp_path)
        pixels = {name: table[name] for name in ("image_mean", "image_std")}
        (tmp_path / "processor_config.json").write_text(json.dumps({"video_processor": pixels}))
        hf_config, chat = AutoConfig.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    clocks = [uniform_clock(4, 2000), uniform_clock(2, 1000)]
    question = make_question(clocks, system="Short.")
    clips = [noise_clip(clock, 56, 84) if family == "qwen2_5_vl" else noise_clip(clock, 64, 96) for clock in clocks]
    expected, prompt = builder(table, tokenizer())(question, clips), builder(hf_config, chat)(question, clips)
    if saved:  # as docs/concepts/prompt.md prints it
        _, code = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
        names: dict[str, Any] = {"checkpoint": tmp_path, "item": SimpleNamespace(question=question, clips=clips)}
        exec(code, names)
        assert names["prompt"].text == expected.text
    assert prompt.text == expected.text
    for name in ("ids", "patches", "grids", "kinds", "positions"):
        assert np.array_equal(getattr(prompt, name), getattr(expected, name)), name
    assert (prompt.mean, prompt.deviation, prompt.delta) == (expected.mean, expected.deviation, expected.delta)


def test_builder_ignores_files_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}')
    monkeypatch.chdir(tmp_path)
    table = config("qwen3_vl")
    hf_config = Qwen3VLConfig(video_token_id=table["video_token_id"], vision_config=table["vision_config"])
    clock = uniform_clock(2, 1000)
    assert builder(hf_config, tokenizer())(make_question([clock]), [noise_clip(clock, 32, 32)]).mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("think", [None, True, False])
def test_set_thinking_sets_what_the_template_reads(think: bool | None) -> None:
    chat = tokenizer(THINKING)
    set_thinking(chat, think, "qwen3_vl")
    text = chat.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True)
    assert text.endswith("</think>") == (think is False)


def test_set_thinking_refuses_a_template_without_the_switch() -> None:
    with pytest.raises(ValueError, match=r"does not read enable_thinking.*Instruct"):
        set_thinking(tokenizer(), think=False, family="qwen3_vl")
