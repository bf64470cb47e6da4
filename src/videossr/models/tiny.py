"""A tiny vision language model with random weights, for demonstrations, tests and training from nothing on a CPU.

    python -m videossr.models.tiny FOLDER [--family qwen2_5_vl] [--seed 1] [--width 768 --layers 10]

The result is a checkpoint like any other, with tokenizer and processor files, of some 1.3 million parameters, or more
where it is made wider or deeper. It reads videos and can be trained, but its answers are noise. It is made with
transformers 5, and 4.57 reads it as well.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
import transformers

from videossr.errors import ConfigError
from videossr.prompt.chat import THINKING
from videossr.templates import load_templates

Family: TypeAlias = Literal["qwen3_vl", "qwen3_vl_moe", "qwen2_5_vl", "qwen3_5", "qwen3_5_moe"]

PATCH: dict[Family, int] = {"qwen3_vl": 16, "qwen3_vl_moe": 16, "qwen2_5_vl": 14, "qwen3_5": 16, "qwen3_5_moe": 16}
"""Pixels of a patch's side, as in the released models: frames for one family may not fit the other."""

POSITIONS = 16384
"""Enough for 48 frames of 512 x 512, which are 6144 tokens, and text."""

HEAD = 32
"""Width of an attention head, which the rotary positions in time, height and width share as 12, 10 and 10."""

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

CHAT = """\
{%- for message in messages -%}
{{- '<|im_start|>' ~ message.role ~ '\\n' -}}
{%- set items = [{'type': 'text', 'text': message.content}] if message.content is string else message.content -%}
{%- for item in items -%}
{%- if item.type in ('image', 'image_url') -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif item.type in ('video', 'video_url') -%}{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
{%- else -%}{{- item.text -}}{%- endif -%}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""Chat template with the turns of the Qwen models. Without a system message there is no system turn."""

THINKS = """\
{%- if add_generation_prompt -%}
{{- '<think>\\n' if enable_thinking | default(true) else '<think>\\n\\n</think>\\n\\n' -}}
{%- endif -%}
"""
"""End of the chat template of the Qwen3.5 models, which think before they answer unless they are told not to."""


def make_tiny(
    folder: Path,
    *,
    seed: int = 0,
    family: Family = "qwen3_vl",
    width: int = 128,
    layers: int = 4,
    vision_width: int = 64,
    vision_layers: int = 2,
) -> Path:
    """Write a tiny model to a folder. The same arguments give the same weights.

    Args:
        folder: made if it does not exist; files of the same names are replaced.
        seed: of the random weights.
        family: the architecture.
        width: of the language model, a multiple of 64.
        layers: of the language model.
        vision_width: of the vision tower, a multiple of 64.
        vision_layers: of the vision tower, at least 2.

    Returns:
        The folder.

    Raises:
        ConfigError: width or depth is out of range.
    """
    if min(width, vision_width) < 64 or width % 64 or vision_width % 64 or layers < 1 or vision_layers < 2:
        raise ConfigError(
            f"width and vision_width must be multiples of 64, layers at least 1, vision_layers at least 2: "
            f"got {width}, {vision_width}, {layers}, {vision_layers}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    transformers.utils.logging.disable_progress_bar()
    tokenizer = _tokenizer()
    if family in THINKING:
        tokenizer.chat_template += THINKS
    tokenizer.save_pretrained(folder)
    model = _model(tokenizer, family, seed, width, layers, vision_width, vision_layers)
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id], pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    if family not in THINKING:  # which came with transformers 5
        _rewrite(folder / "config.json", _older_rotary)
    _rewrite(folder / "tokenizer_config.json", _older_special)
    for name, table in _processor(family).items():
        (folder / name).write_text(json.dumps(table, indent=2) + "\n", "utf-8")
    return folder


def _texts() -> Iterator[str]:
    """Yield the texts on which the tokenizer is trained: the package's prompt templates, so that prompts are short."""

    def strings(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        else:
            for inner in value.values():
                yield from strings(inner)

    for _ in range(2):  # what occurs once is not merged
        yield from strings(load_templates())
        yield "system\nuser\nassistant\nClip 1: <0.5 seconds>"


def _tokenizer() -> Any:
    """Train a tokenizer with the pipeline of Qwen's, which splits numbers into digits."""
    empty = transformers.Qwen2TokenizerFast(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer = empty.train_new_from_iterator(
        _texts(), vocab_size=1024, new_special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.padding_side = "left"
    tokenizer.model_max_length = POSITIONS
    tokenizer.chat_template = CHAT
    return tokenizer


def _model(
    tokenizer: Any, family: Family, seed: int, width: int, layers: int, vision_width: int, vision_layers: int
) -> Any:
    """Make the model with random weights."""
    spread = min(0.1, 25.6 / width)  # at the usual 0.02, the answers of a narrow model hardly depend on its input
    rotary = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [6, 5, 5]}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // HEAD,
        "num_key_value_heads": width // HEAD // 2,
        "max_position_embeddings": POSITIONS,
        "initializer_range": spread,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "rope_parameters": rotary,
    }
    vision: dict[str, Any] = {
        "depth": vision_layers,
        "hidden_size": vision_width,
        "intermediate_size": 3 * vision_width,
        "num_heads": vision_width // HEAD,
        "out_hidden_size": width,
        "patch_size": PATCH[family],
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "initializer_range": spread,
    }
    if family in THINKING:
        config, kind = _qwen3_5(family, text, rotary, width, layers)
        vision |= {"num_position_embeddings": 16 * 16}
    elif family == "qwen2_5_vl":
        vision |= {"window_size": 112, "fullatt_block_indexes": [vision_layers - 1], "tokens_per_second": 2}
        config, kind = transformers.Qwen2_5_VLConfig, transformers.Qwen2_5_VLForConditionalGeneration
    else:
        text |= {"head_dim": HEAD, "rope_parameters": rotary | {"mrope_interleaved": True}}
        vision |= {"num_position_embeddings": 16 * 16, "deepstack_visual_indexes": [0]}
        config, kind = transformers.Qwen3VLConfig, transformers.Qwen3VLForConditionalGeneration
        if family == "qwen3_vl_moe":
            text |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": width}
            config, kind = transformers.Qwen3VLMoeConfig, transformers.Qwen3VLMoeForConditionalGeneration
    numbers = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        )
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config(text_config=text, vision_config=vision, tie_word_embeddings=False, **numbers)).eval()
    _remember(model)
    return model


def _qwen3_5(family: Family, text: dict[str, Any], rotary: dict[str, Any], width: int, layers: int) -> tuple[Any, Any]:
    """Add to `text` what this family has: Gated DeltaNet in three of four layers, attention in the others and the last.

    Half of a head is rotated, in positions of time, height and width as 6, 6 and 4.
    """
    heads = width // HEAD
    text |= {
        "head_dim": HEAD,
        "layer_types": [
            "linear_attention" if place % 4 and place < layers else "full_attention" for place in range(1, layers + 1)
        ],
        "linear_num_key_heads": heads // 2,
        "linear_num_value_heads": heads,
        "linear_key_head_dim": HEAD,
        "linear_value_head_dim": HEAD,
        "linear_conv_kernel_dim": 4,
        "rope_parameters": rotary
        | {"mrope_section": [3, 3, 2], "mrope_interleaved": True, "partial_rotary_factor": 0.5},
    }
    if family == "qwen3_5":
        return transformers.Qwen3_5Config, transformers.Qwen3_5ForConditionalGeneration
    text |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": width}
    text |= {"shared_expert_intermediate_size": width}
    return transformers.Qwen3_5MoeConfig, transformers.Qwen3_5MoeForConditionalGeneration


def _remember(model: Any) -> None:
    """Let the heads of Gated DeltaNet layers decay slowly; as transformers starts them, most forget within a token."""
    for name, weight in model.named_parameters():
        if name.endswith("A_log"):
            weight.data = torch.linspace(0.02, 2, len(weight)).log()
        elif name.endswith("dt_bias"):
            weight.data = torch.linspace(-4, 0, len(weight))


def _rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite a file of settings in the form of released checkpoints, which transformers 4 and 5 both read."""
    table = json.loads(path.read_text("utf-8"))
    change(table)
    path.write_text(json.dumps(table, indent=2) + "\n", "utf-8")


def _older_rotary(config: dict[str, Any]) -> None:
    rotary = config["text_config"].pop("rope_parameters")
    config["text_config"] |= {"rope_theta": rotary.pop("rope_theta"), "rope_scaling": rotary}
    config["vision_config"].pop("rope_parameters", None)


def _older_special(config: dict[str, Any]) -> None:
    config["additional_special_tokens"] = config.pop("extra_special_tokens")


def _processor(family: Family) -> dict[str, dict[str, Any]]:
    """Write the processor's files by hand, because making a processor needs torchvision."""
    qwen3 = family != "qwen2_5_vl"
    side = 2 * PATCH[family]
    shared = {
        "processor_class": "Qwen3VLProcessor" if qwen3 else "Qwen2_5_VLProcessor",
        "patch_size": PATCH[family],
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5] * 3 if qwen3 else [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.5] * 3 if qwen3 else [0.26862954, 0.26130258, 0.27577711],
    }
    image = {"image_processor_type": "Qwen2VLImageProcessorFast", "size": _size(side * side, 1024 * side * side)}
    video: dict[str, Any] = {
        "video_processor_type": "Qwen3VLVideoProcessor" if qwen3 else "Qwen2VLVideoProcessor",
        "size": _size(side * side, 48 * 512 * 512 if qwen3 else 512 * 512),
        "do_sample_frames": False,
        "cap_pixels_per_frame": False,
    }
    return {"preprocessor_config.json": shared | image, "video_preprocessor_config.json": shared | video}


def _size(least: int, most: int) -> dict[str, int]:
    """Give the pixels between which nothing is resized: of all frames for Qwen3-VL, of one frame for Qwen2.5-VL."""
    return {"shortest_edge": least, "longest_edge": most}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, or `arguments`, and make the model."""
    parser = argparse.ArgumentParser(description="Write a tiny vision language model with random weights.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--family", choices=get_args(Family), default="qwen3_vl")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vision-width", type=int, default=64)
    parser.add_argument("--vision-layers", type=int, default=2)
    chosen = vars(parser.parse_args(arguments))
    make_tiny(chosen.pop("folder"), **chosen)


if __name__ == "__main__":
    main()
