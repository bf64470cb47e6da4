"""The tokens that end an answer, found in the same way for evaluation and for training.

`videossr.engine` and `videossr.models.vllm_model` call `find_ends`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from videossr.errors import DataError
from videossr.prompt.base import Tokenizer
from videossr.storage.parsing import load_json

GENERATION = "generation_config.json"

_CONTENT = "videossr"
"""Content of the assistant turn that is rendered: only letters, so that no template trims or escapes it."""


class EndingTokenizer(Tokenizer, Protocol):
    """A tokenizer of transformers that may have an end token."""

    @property
    def eos_token_id(self) -> int | None:
        """The token that ends a text; None where the tokenizer has none."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The tokens that end an answer.

    Attributes:
        tokens: sampling stops behind each of these: the ends that the generation settings, the tokenizer and the chat
            template name.
        taught: the end that supervised training writes behind a gold answer: the chat template's, or else the
            tokenizer's, or else the first of the generation settings.
    """

    tokens: frozenset[int]
    taught: int


def find_ends(folder: Path, config: Mapping[str, Any], tokenizer: EndingTokenizer) -> Ends:
    """Find the tokens that end an answer of the checkpoint in a folder.

    Args:
        folder: of the checkpoint; its generation settings are read.
        config: its `config.json`, which names the end where there are no generation settings.
        tokenizer: its tokenizer, with the chat template.

    Raises:
        DataError: nothing names an end, or the generation settings cannot be read.
    """
    named = [turn_end(tokenizer), tokenizer.eos_token_id, *generation_ends(folder, config)]
    ends = [token for token in named if token is not None]
    if not ends:
        raise DataError(
            f"{folder}: no token ends an answer: {GENERATION}, the tokenizer and the chat template name none. Write "
            f'"eos_token_id" into {GENERATION}'
        )
    return Ends(frozenset(ends), ends[0])


def generation_ends(folder: Path, config: Mapping[str, Any]) -> list[int]:
    """List the tokens at which generation by transformers stops.

    They are read from `generation_config.json` or else from `config.json`, as transformers does.

    Args:
        folder: of the checkpoint.
        config: its `config.json`.

    Returns:
        Token ids; empty where none is named.

    Raises:
        DataError: a file is damaged.
    """
    tables = [config, config.get("text_config") or {}]
    path = folder / GENERATION
    if path.is_file():
        try:
            tables.insert(0, load_json(path))
        except ValueError as error:
            raise DataError(f"{path} is no JSON: {error}") from None
    named: Any = next((table["eos_token_id"] for table in tables if table.get("eos_token_id") is not None), [])
    ends = named if isinstance(named, list) else [named]
    if not all(isinstance(token, int) for token in ends):
        raise DataError(f"{path}: eos_token_id is {named!r}, neither a token's number nor a list of them")
    return ends


def turn_end(tokenizer: Tokenizer) -> int | None:
    """Return the token with which the chat template ends an assistant's turn; None where it ends with no token.

    The template is rendered, and the end is the first token behind the content of the turn, whatever its name.
    """
    tail = _behind_content(tokenizer).lstrip()
    known = tokenizer.get_added_vocab()
    first = max((token for token in known if token and tail.startswith(token)), key=len, default=None)
    return None if first is None else known[first]


def _behind_content(tokenizer: Tokenizer) -> str:
    """Render an assistant's turn and return the text behind its content; empty where the template fails."""
    user: Mapping[str, Any] = {"role": "user", "content": [{"type": "text", "text": "?"}]}
    for content in (_CONTENT, [{"type": "text", "text": _CONTENT}]):
        turns: list[Mapping[str, Any]] = [user, {"role": "assistant", "content": content}]
        try:
            text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
        except Exception:  # a template may take one of the two forms alone, and raise what it likes for the other
            continue
        before, _, behind = text.rpartition(_CONTENT)
        if before:
            return behind
    return ""
