"""The ends of an answer are found by what a checkpoint does, not by what its tokens are called."""

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

    def found(
        generation: Any = None, own: str | None = "<|im_end|>", template: str = TEMPLATE, config: Any = None
    ) -> Ends:
        made = tokenizer(template, special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"))
        made.eos_token = own
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": generation}))
        return find_ends(tmp_path, config or {}, made)

    return found


@pytest.fixture
def ids() -> dict[str, int]:
    made = tokenizer(special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"))
    return {token: made.convert_tokens_to_ids(token) for token in ("<|endoftext|>", "<|im_end|>", "<|pad|>")}


def test_all_that_is_named_ends_an_answer(ends: Make, ids: dict[str, int]) -> None:
    text, turn, pad = ids.values()
    assert ends([text], own="<|endoftext|>") == Ends(frozenset([text, turn]), turn)
    assert ends(text, own="<|pad|>") == Ends(frozenset([text, turn, pad]), turn)
    assert ends(own=None) == Ends(frozenset([turn]), turn)
    assert ends(own=None, config={"text_config": {"eos_token_id": text}}) == Ends(frozenset([text, turn]), turn)


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
def test_the_end_of_a_turn_is_what_the_template_writes(template: str, end: str | None, ids: dict[str, int]) -> None:
    made = tokenizer(template, special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"))
    assert turn_end(made) == (None if end is None else ids[end])


def test_what_is_taught_without_an_end_in_the_template(ends: Make, ids: dict[str, int]) -> None:
    text, turn, _ = ids.values()
    plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert ends([text, turn], own="<|im_end|>", template=plain).taught == turn
    assert ends([text, turn], own=None, template=plain).taught == text
    with pytest.raises(
        ValueError, match=r"no token ends an answer.*Write \"eos_token_id\" into generation_config.json"
    ):
        ends([], own=None, template=plain)


@pytest.mark.parametrize("wrong", ["<|im_end|>", ["a"], {"a": 1}])
def test_an_end_that_is_no_number_is_told(ends: Make, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"generation_config.json: eos_token_id is .*neither a token's number"):
        ends(wrong)
