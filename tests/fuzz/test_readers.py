"""Damaged inputs neither crash a reader, nor fill the memory, nor take long; each ends with an error of the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harness import fuzz
from tests.fuzz.readers import READERS, make_inputs

SECONDS = 4.0
INPUTS = 200
"""So few that the same ones are tried on every machine that is not very slow."""


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound input of every reader."""
    folder = tmp_path_factory.mktemp("fuzz") / "sound"
    make_inputs(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_reader_refuses_damaged_input(name: str, sound: Path) -> None:
    outcome = fuzz(name, sound, SECONDS, inputs=INPUTS)
    assert not outcome.findings
    assert outcome.inputs
