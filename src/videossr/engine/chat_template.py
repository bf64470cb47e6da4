"""Check the chat template of a checkpoint, which is a program: whether it writes a prompt at all, and in bounds.

transformers keeps a template from files and from Python. It does not keep it from looping for ever or from filling the
memory, and nothing can stop that within this process. `videossr.engine.checkpoint` and `videossr.models.vllm_model`
call `check_chat_template` when they open a checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from videossr.clock import Clock
from videossr.errors import DataError
from videossr.question import VIDEO, Question
from videossr.runners.deadline import OverrunError, run_within

_SECONDS = 60
"""For all conversations, of which a usual template writes thousands in a second, and to load transformers."""

_LONGEST = 1 << 20
"""Characters of what a template writes for a short question; usual ones write some hundred."""


def check_chat_template(folder: Path, tokenizer: Any) -> None:
    """Write some conversations by the chat template of a tokenizer, in a process of its own.

    They are a question with one clip and with six, with and without a system turn, and one with an answer. A template
    that fails is not told here, but where it is used.

    Args:
        folder: of the checkpoint.
        tokenizer: of transformers, as it will be used.

    Raises:
        DataError: the template does not end, or wants far more memory or characters than a prompt takes.
    """
    try:
        template = tokenizer.get_chat_template()
        variables = json.dumps({name: str(token) for name, token in tokenizer.special_tokens_map.items()})
    except (AttributeError, ValueError):  # it has none, which is told where one is needed
        return
    if problem := _problem(template, variables):
        raise DataError(
            f"{folder}: its chat template {problem}. Take the one of the model that it was trained from: "
            "chat_template.jinja, or chat_template in tokenizer_config.json"
        )


@lru_cache(maxsize=16)
def _problem(template: str, variables: str) -> str:
    """Say what is wrong with a template; empty where nothing is."""
    clock = Clock((0,), 1000)
    questions = [
        Question("probe", "videossr/interval", system, f"{VIDEO}\n" * clips + "When?", "1.0-2.0", (clock,) * clips)
        for system in ("", "Answer.")
        for clips in (1, 6)
    ]
    conversations = [question.messages() for question in questions]
    answered = [*conversations[0], {"role": "assistant", "content": [{"type": "text", "text": "1.0-2.0"}]}]
    try:
        written = run_within(_SECONDS, f"{__name__}:longest", [template, variables, [*conversations, answered]])
    except OverrunError as error:
        return str(error)
    return f"writes {written} characters for a short question" if written > _LONGEST else ""


def longest(call: tuple[str, str, list[list[Mapping[str, Any]]]]) -> int:
    """Write conversations, in the process of its own, and return the number of characters of the longest."""
    from transformers.utils.chat_template_utils import render_jinja_template

    template, variables, conversations = call
    lengths = [0]
    for conversation in conversations:
        try:
            rendered, _ = render_jinja_template(
                [conversation],
                chat_template=template,
                add_generation_prompt=conversation[-1]["role"] == "user",
                **json.loads(variables),
            )
        except MemoryError:
            raise
        except Exception:  # a template may raise what it likes
            continue
        lengths.append(len(rendered[0]))
    return max(lengths)
