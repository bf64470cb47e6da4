"""Small versions of what prompts need from a checkpoint: a tokenizer with its chat template, and its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

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

TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string -%}{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
"""Turns and placeholders as in the templates of the released models."""

THINKING = (
    TEMPLATE
    + "{%- if add_generation_prompt and enable_thinking is defined and not enable_thinking -%}"
    + "<think>\n\n</think>\n\n{%- endif -%}"
)
"""A template that ends in closed thoughts where thinking is switched off, as Qwen3.5's does."""

TEXTS = ("Between which seconds was the video altered? Give <start>-<end>.", "user assistant system", "<0.3 seconds>")


def raw_tokenizer(special: Sequence[str] = SPECIAL) -> Tokenizer:
    """Learn merges of bytes from a few texts; digits stay single, as in Qwen's tokenizer."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+\n*|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        [*TEXTS, *TEXTS], trainers.BpeTrainer(vocab_size=400, initial_alphabet=letters, show_progress=False)
    )
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return raw


def tokenizer(template: str = TEMPLATE, special: Sequence[str] = SPECIAL) -> Any:
    """Return the transformers tokenizer of a tiny checkpoint."""
    raw = raw_tokenizer(special)
    fast: Any = PreTrainedTokenizerFast  # it has no types
    result = fast(tokenizer_object=raw, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    result.chat_template = template
    return result


def config(family: str) -> dict[str, Any]:
    """Return the config that `checkpoint_config` reads."""
    vision = {"spatial_merge_size": 2, "temporal_patch_size": 2}
    numbers = {"model_type": family, "video_token_id": raw_tokenizer().token_to_id("<|video_pad|>")}
    if family == "qwen2_5_vl":
        clip = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
        return {**numbers, **clip, "vision_config": {**vision, "patch_size": 14, "tokens_per_second": 2}}
    return {**numbers, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "vision_config": {**vision, "patch_size": 16}}
