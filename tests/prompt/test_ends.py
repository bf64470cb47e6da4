"""The end tokens of an answer follow from a checkpoint's settings and template, not from the names of tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.small_tokenizers import TEMPLATE, tokenizer
from videossr.prompt.ends import Ends, find_ends, turn_end

Make = Callable[..., Ends]

THINKING = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{%- if message.role == 'assistant' -%}
{{- '\\n<think>\\n\\n</think>\\n\\n' + message.content.strip('\\n') + '<|im_end|>\\n' -}}
{%- else -%}{%- for part in message.content -%}{{ part.text }}{%- endfor -%}{{ '<|im_end|>\\n' }}{%- endif -%}
{%- endfor -%}
"""
"""An assistant's content is text alone, as in the templates of models that think."""

PARTS = """\
{% for message in messages %}
{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}
<|pad|>{% endfor %}
"""
"""An assistant's content is a list of parts alone, and white space stands before the end."""


@pytest.fixture
def ends(tmp_path: Path) -> Make:
    """The ends of a checkpoint with these generation settings, end of the tokenizer, and chat template."""

    def find(
        generation: Any = None, eos_token: str | None = "<|im_end|>", template: str = TEMPLATE, config: Any = None
    ) -> Ends:
        chat = tokenizer(template, special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"))
        chat.eos_token = eos_token
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": generation}))
        return find_ends(tmp_path, config or {}, chat)

    return find


@pytest.fixture
def ids() -> dict[str, int]:
    chat = tokenizer(special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"))
    return {token: chat.convert_tokens_to_ids(token) for token in ("<|endoftext|>", "<|im_end|>", "<|pad|>")}


def test_find_ends_collects_the_end_tokens_of_all_settings(ends: Make, ids: dict[str, int]) -> None:
    text, turn, pad = ids.values()
    assert ends([text], eos_token="<|endoftext|>") == Ends(frozenset([text, turn]), turn)
    assert ends(text, eos_token="<|pad|>") == Ends(frozenset([text, turn, pad]), turn)
    assert ends(eos_token=None) == Ends(frozenset([turn]), turn)
    assert ends(eos_token=None, config={"text_config": {"eos_token_id": text}}) == Ends(frozenset([text, turn]), turn)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (TEMPLATE, "<|im_end|>"),
        (THINKING, "<|im_end|>"),
        (PARTS, "<|pad|>"),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}", None),
        ("{% for m in messages if m.role == 'user' %}{{ m.content[0].text }}<|im_end|>{% endfor %}", None),
        ("{{ raise_exception('no') }}", None),
        ("{% for m in messages %}{{ m.content }}<|eot_id|>{% endfor %}", None),
    ],
)
def test_turn_end_is_what_the_template_writes(template: str, end: str | None, ids: dict[str, int]) -> None:
    chat = tokenizer(template, special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"))
    assert turn_end(chat) == (None if end is None else ids[end])


def test_find_ends_taught_without_an_end_in_the_template(ends: Make, ids: dict[str, int]) -> None:
    text, turn, _ = ids.values()
    plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert ends([text, turn], eos_token="<|im_end|>", template=plain).taught == turn
    assert ends([text, turn], eos_token=None, template=plain).taught == text
    with pytest.raises(
        ValueError, match=r"no token ends an answer.*Write \"eos_token_id\" into generation_config.json"
    ):
        ends([], eos_token=None, template=plain)


@pytest.mark.parametrize("value", ["<|im_end|>", ["a"], {"a": 1}])
def test_find_ends_refuses_an_end_that_is_no_number(ends: Make, value: Any) -> None:
    with pytest.raises(ValueError, match=r"generation_config.json: eos_token_id is .*neither a token's number"):
        ends(value)
