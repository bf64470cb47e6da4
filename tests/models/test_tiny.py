"""The tiny models: real checkpoints that the Auto classes of transformers load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from videossr.models.tiny import POSITIONS, SPECIAL, Family, main, make_tiny
from videossr.prompt.chat import THINKING
from videossr.templates import load_templates


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = AutoModelForImageTextToText.from_pretrained(folder).state_dict()
    return loaded


@pytest.mark.parametrize("family", get_args(Family))
def test_make_tiny_is_loaded_completely_by_transformers(family: Family, tmp_path: Path) -> None:
    main([str(tmp_path), "--family", family, "--seed", "3"])
    model, info = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert model.config.model_type == family
    section = [3, 3, 2] if family in THINKING else [6, 5, 5]
    assert model.config.text_config.rope_parameters["mrope_section"] == section
    assert model.config.text_config.max_position_embeddings == POSITIONS
    assert 1_000_000 < sum(parameter.numel() for parameter in model.parameters()) < 3_000_000
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for name, token in (("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start")):
        assert getattr(model.config, f"{name}_token_id") == tokenizer.convert_tokens_to_ids(f"<|{token}|>")
    assert tokenizer.eos_token_id in model.generation_config.eos_token_id
    with torch.no_grad():
        assert model(torch.tensor([[9]])).logits.shape == (1, 1, len(tokenizer))


def test_make_tiny_weights_depend_on_the_seed_alone(tiny: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    random_state = torch.random.get_rng_state()
    first, same_seed, other_seed = (
        load_weights(tiny),
        make_tiny(tmp_path / "again"),
        make_tiny(tmp_path / "other", seed=1),
    )
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert all(torch.equal(value, load_weights(same_seed)[name]) for name, value in first.items())
    assert not torch.equal(first["lm_head.weight"], load_weights(other_seed)["lm_head.weight"])
    assert (tiny / "tokenizer.json").read_text("utf-8") == (other_seed / "tokenizer.json").read_text("utf-8")


def test_tiny_tokenizer_decodes_any_text_and_splits_digits(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    for text in ("14.5-26.2", "  two\n\nlines ", "naïve 視頻 🎥\x00", "<0.2 seconds><|vision_start|><|video_pad|>"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer("2026")["input_ids"]) == 4
    assert sorted(tokenizer.convert_tokens_to_ids(list(SPECIAL))) == list(range(len(SPECIAL)))
    prompt = load_templates()["jigsaw"]["prompt"]
    assert len(tokenizer(prompt)["input_ids"]) < len(prompt) / 3


def test_tiny_chat_template_writes_turns_like_qwen(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)

    def render(messages: list[dict[str, Any]], prompt: bool = False) -> Any:
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
    assert render(turns) == expected
    assert render(turns[1:2], prompt=True).endswith("<|vision_end|><|im_end|>\n<|im_start|>assistant\n")
    assert (tiny / "chat_template.jinja").exists()


def test_tiny_config_has_rotary_settings_like_released_checkpoints(tiny: Path) -> None:
    text = json.loads((tiny / "config.json").read_text("utf-8"))["text_config"]
    assert text["rope_theta"] == 1e4
    assert text["rope_scaling"]["mrope_interleaved"]
    assert "rope_parameters" not in text


def test_command_line_sets_the_sizes(tmp_path: Path) -> None:
    main([str(tmp_path), "--width", "192", "--layers", "1", "--vision-width", "128", "--vision-layers", "3"])
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["text_config"]["hidden_size"], config["text_config"]["num_hidden_layers"]) == (192, 1)
    assert (config["vision_config"]["hidden_size"], config["vision_config"]["depth"]) == (128, 3)


@pytest.mark.parametrize("sizes", [{"width": 96}, {"layers": 0}, {"vision_width": 32}, {"vision_layers": 1}])
def test_make_tiny_refuses_invalid_sizes(sizes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(next(iter(sizes)))):
        make_tiny(tmp_path / "none", **sizes)
    assert not (tmp_path / "none").exists()
