"""A damaged file ends a command with a sentence that names it, never with a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from videossr.cli import main

COMMANDS = {
    "samples-00000.parquet": (
        "gallery SET --out page.html",
        "bench run SET --model chance --out run",
        "dataset merge SET SET --out merged",
        "export lmms-eval SET --out exported",
        "export verl SET --out rows",
    ),
    "videos.parquet": ("dataset merge SET SET --out merged", "dataset split SET --out one two --share 0.5"),
    "gates.parquet": ("dataset info SET --gates",),
    "config.toml": ("dataset info SET --gates",),
    "manifest.json": ("validate SET", "dataset info SET", "gallery SET --out page.html"),
}
"""Commands that read each file of a dataset."""


DAMAGE = [(name, "garbage") for name in COMMANDS] + [
    (name, damage) for name in COMMANDS if name.endswith(".parquet") for damage in ("empty", "other columns")
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_commands_name_a_damaged_file_of_a_dataset(
    name: str,
    damage: str,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "SET"
    shutil.copytree(dataset, copy)
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    manifest["corpus"]["path"] = str((dataset / manifest["corpus"]["path"]).resolve())
    (copy / "manifest.json").write_text(json.dumps(manifest))
    if damage == "other columns":
        pq.write_table(pa.table({"a": [1]}), copy / name)
    else:
        (copy / name).write_bytes(b"\xff\xfe\x00" if damage == "garbage" else b"")
    for command in COMMANDS[name]:
        with pytest.raises(SystemExit) as exit_info:
            main(command.split())
        printed = "".join(capsys.readouterr())
        assert exit_info.value.code == 2, (command, printed)
        assert name in printed, (command, printed)
