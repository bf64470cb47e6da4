"""Decide what `videossr build` does with a dataset that is in its folder already: keep, replace or refuse it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from videossr.builder import journal
from videossr.builder.bundle import BUNDLED, bundle_fault
from videossr.corpus.corpus import Corpus
from videossr.dataset import gate_table
from videossr.dataset.manifest import NAME, BuildSpec, Manifest, altered_files, differences, is_benchmark, read_manifest
from videossr.errors import DataError, OutputError
from videossr.storage.output_dir import UNFINISHED, OutputDir
from videossr.storage.parsing import load_toml
from videossr.storage.paths import AnyPath, remove_tree, unfinished_name

_CARD = "README.md"

_FIXED = frozenset(["videos.parquet", "rejected.parquet", gate_table.NAME, "config.toml", "templates.toml"])
_SAMPLES = re.compile(r"samples-\d{5}\.parquet")
"""Names of the files of a dataset, besides its card and its manifest."""

_SURE = frozenset(["samples-00000.parquet", "videos.parquet"])
"""Files by which a folder is recognized as a dataset. The others have names that other programs use too."""


@dataclass(frozen=True, slots=True)
class OldDataset:
    """A dataset that is in the folder of a build.

    Attributes:
        manifest: None where it cannot be read.
        files: names of its files, besides its card and its manifest.
        benchmark: whether it has frame packs of its own.
    """

    manifest: Manifest | None
    files: Sequence[str]
    benchmark: bool

    def remove(self, out: AnyPath) -> None:
        """Remove the dataset from its folder `out`, so that another can be written there. Nothing else there goes.

        The frame packs of a benchmark go first and the manifest last: what is left by a kill is still a damaged
        dataset.
        """
        if self.benchmark:
            remove_tree(out / BUNDLED)
        for name in (*self.files, _CARD, NAME):
            (out / name).unlink(missing_ok=True)


def find_old(output: OutputDir, *, rebuild: bool) -> OldDataset | None:
    """Return the dataset that is in the folder, None where there is no manifest.

    Raises OutputError where the manifest cannot be read, unless it is one of a dataset that may be replaced.
    """
    if not (output.path / NAME).exists():
        return None
    try:
        manifest = read_manifest(output.path)
    except DataError as error:
        old = recognized(output)
        if old is None:
            raise OutputError(
                f"{error}. Choose another --out, or delete {output.path} if it is a damaged dataset"
            ) from error
        if not rebuild:
            raise OutputError(f"{error}. Replace the dataset with --rebuild, or delete {output.path}") from error
        return old
    return OldDataset(manifest, [*manifest["files"]], is_benchmark(manifest))


def recognized(output: OutputDir) -> OldDataset | None:
    """Return what is in a folder of which neither manifest nor claim can be read; None unless a build has filled it.

    It has, where nothing is in the folder but what a build writes there, and either samples or a journal are among it.
    """
    try:
        names = {entry.name for entry in output.path.iterdir()}
    except (FileNotFoundError, NotADirectoryError):  # an object store knows no empty folder
        names = set()
    benchmark = _says_benchmark(output.path)
    written = {name: unfinished_name(name) or name for name in names}
    files = [name for name, whole in written.items() if whole in _FIXED or _SAMPLES.fullmatch(whole)]
    others = {whole for name, whole in written.items() if name not in files}
    is_known = others <= {_CARD, NAME, UNFINISHED, *([BUNDLED] if benchmark else [])}
    is_sure = names >= _SURE or (output.staging / journal.NAME).is_file()
    return OldDataset(None, sorted(files), benchmark) if is_known and is_sure else None


def _says_benchmark(out: AnyPath) -> bool:
    """Say whether the recipe of a dataset says that it is a benchmark."""
    try:
        return load_toml(out / "config.toml").get("benchmark") is True
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False


def current_manifest(
    old: OldDataset, spec: BuildSpec, output: OutputDir, corpus: Corpus, *, rebuild: bool
) -> Manifest | None:
    """Return the manifest of a dataset that is whole and has this spec; None where it is to be replaced.

    Raises OutputError where it may not be replaced.
    """
    if old.manifest is not None:
        differs = differences(old.manifest, spec)
        damage = None if differs else _damage(output.path, old.manifest)
        if not differs and damage is None:
            return old.manifest
        if not rebuild:
            output.refuse_differences(differs, way_out="replace it with --rebuild")
            raise OutputError(
                f"{output.path} holds a dataset {damage}. Choose another --out, or replace it with --rebuild"
            )
    if f"{corpus.path}/".startswith(f"{output.path.resolve()}/"):
        raise OutputError(f"{output.path} cannot be replaced: the corpus {corpus.path} is in it. Choose another --out")
    return None


def _damage(out: AnyPath, manifest: Manifest) -> str | None:
    """Say what is wrong with the files of the dataset `out`; None where all are as they were written."""
    if altered := altered_files(out, manifest):
        return f"of which {', '.join(altered)} is missing or altered since it was built"
    if is_benchmark(manifest) and (fault := bundle_fault(out)):
        return f"whose frame packs are not whole: {fault}"
    return None
