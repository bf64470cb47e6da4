"""The tiny models: real checkpoints that the library's own Auto classes load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from videossr.models.tiny import POSITIONS, SPECIAL, Family, main, make_tiny
from videossr.templates import load_templates


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = AutoModelForImageTextToText.from_pretrained(folder).state_dict()
    return loaded


@pytest.mark.parametrize("family", get_args(Family))
def test_the_library_loads_it_whole(family: Family, tmp_path: Path) -> None:
    main([str(tmp_path), "--family", family, "--seed", "3"])
    model, info = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert model.config.model_type == family
    assert model.config.text_config.rope_parameters["mrope_section"] == [6, 5, 5]
    assert model.config.text_config.max_position_embeddings == POSITIONS
    assert 1_000_000 < sum(each.numel() for each in model.parameters()) < 3_000_000
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for name, token in (("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start")):
        assert getattr(model.config, f"{name}_token_id") == tokenizer.convert_tokens_to_ids(f"<|{token}|>")
    assert tokenizer.eos_token_id in model.generation_config.eos_token_id
    with torch.no_grad():
        assert model(torch.tensor([[9]])).logits.shape == (1, 1, len(tokenizer))


def test_a_seed_makes_the_weights_and_nothing_else_does(tiny: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    first, again, other = weights(tiny), make_tiny(tmp_path / "again"), make_tiny(tmp_path / "other", seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, weights(again)[name]) for name, value in first.items())
    assert not torch.equal(first["lm_head.weight"], weights(other)["lm_head.weight"])
    assert (tiny / "tokenizer.json").read_text("utf-8") == (other / "tokenizer.json").read_text("utf-8")


def test_the_tokenizer_gives_back_any_text_and_sets_digits_apart(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    for text in ("14.5-26.2", "  two\n\nlines ", "naïve 視頻 🎥\x00", "<0.2 seconds><|vision_start|><|video_pad|>"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer("2026")["input_ids"]) == 4
    assert sorted(tokenizer.convert_tokens_to_ids(list(SPECIAL))) == list(range(len(SPECIAL)))
    prompt = load_templates()["jigsaw"]["prompt"]
    assert len(tokenizer(prompt)["input_ids"]) < len(prompt) / 3


def test_the_chat_template_writes_turns_as_qwen_has_them(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)

    def written(messages: list[dict[str, Any]], prompt: bool = False) -> Any:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)

    picture, video = ({"type": kind} for kind in ("image", "video"))
    turns: list[dict[str, Any]] = [
        {"role": "system", "content": " Be brief.\n"},
        {"role": "user", "content": [picture, {"type": "text", "text": "a <b>"}, video]},
        {"role": "assistant", "content": "3"},
    ]
    expected = (
        "<|im_start|>system\n Be brief.\n<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>a <b>"
        "<|vision_start|><|video_pad|><|vision_end|><|im_end|>\n"
        "<|im_start|>assistant\n3<|im_end|>\n"
    )
    assert written(turns) == expected
    assert written(turns[1:2], prompt=True).endswith("<|vision_end|><|im_end|>\n<|im_start|>assistant\n")
    assert (tiny / "chat_template.jinja").exists()


def test_rotary_settings_are_told_as_released_checkpoints_do(tiny: Path) -> None:
    text = json.loads((tiny / "config.json").read_text("utf-8"))["text_config"]
    assert text["rope_theta"] == 1e4
    assert text["rope_scaling"]["mrope_interleaved"]
    assert "rope_parameters" not in text


@pytest.mark.parametrize("sizes", [{"width": 96}, {"layers": 0}, {"vision_layers": 1}])
def test_a_size_that_cannot_be_is_told(sizes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(next(iter(sizes)))):
        make_tiny(tmp_path / "none", **sizes)
    assert not (tmp_path / "none").exists()
