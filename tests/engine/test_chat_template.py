"""Chat templates that never end, or fill the memory, are told when a checkpoint is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.small_tokenizers import TEMPLATE, tokenizer
from videossr.engine import chat_template
from videossr.engine.chat_template import check_chat_template
from videossr.engine.checkpoint import open_checkpoint
from videossr.errors import DataError
from videossr.models.tiny import make_tiny

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}" + "{% endfor %}" * 3
OF_SIX_CLIPS = "{% if (messages | tojson | length) > 300 %}" + ENDLESS + "{% endif %}" + TEMPLATE


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(TEMPLATE, id="usual"),
        pytest.param("{{ raise_exception('no system turn') }}", id="raises"),
        pytest.param("{% if", id="broken"),
        pytest.param(None, id="absent"),
    ],
)
def test_a_template_that_ends_is_let_through(template: str) -> None:
    check_chat_template(Path("checkpoint"), tokenizer(template))


@pytest.mark.parametrize(
    ("template", "told"),
    [
        pytest.param("{{ 'x' * 10 ** 10 }}", "wants more than 2 GiB of memory", id="memory"),
        pytest.param("{{ 'x' * 10 ** 7 }}", "writes 10000000 characters for a short question", id="text"),
    ],
)
def test_a_template_that_fills_the_memory_is_named(template: str, told: str) -> None:
    with pytest.raises(DataError, match=f"^checkpoint: its chat template {told}"):
        check_chat_template(Path("checkpoint"), tokenizer(template))


@pytest.mark.parametrize("template", [ENDLESS, OF_SIX_CLIPS, "{{ 10 ** (10 ** 10) }}"])
def test_a_template_without_end_is_named(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "_SECONDS", 3)
    with pytest.raises(DataError, match=r"^checkpoint: its chat template (has not ended after 3 s|wants more)"):
        check_chat_template(Path("checkpoint"), tokenizer(template))


def test_a_checkpoint_is_opened_with_its_template_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_tiny(tmp_path / "model", width=64, layers=1)
    (folder / "chat_template.jinja").write_text("{{ 'x' * 10 ** 10 }}")
    with pytest.raises(DataError, match=f"^{folder}: its chat template wants more than 2 GiB"):
        open_checkpoint(str(folder))
