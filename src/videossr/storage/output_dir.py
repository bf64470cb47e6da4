"""Claim an output folder for a command, lock it, go on after a stop, and complete it.

While a command is at work, its folder holds a staging directory, `.unfinished`, with the claim (`task.json`: which
command, asked for what), the lock, and what is not finished. The next run of the same command goes on from there. The
staging directory is removed when the command is done; each kind of output has its own last file that says that it is
complete, such as `manifest.json`. Where `out` is remote, the staging directory lies in the user's cache, so that a
stopped command can go on only on the same machine.

A folder with a link that leads out of it is refused: where somebody else has made it, a command that goes on there
would write to any file of the user.

Called by `videossr index`, `corpus merge|split`, `build`, `dataset merge|split`, `bench run`, `train` and `export`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from videossr.config import changes
from videossr.errors import OutputError
from videossr.storage.parsing import load_json
from videossr.storage.paths import (
    AnyPath,
    is_local,
    lies_in,
    make_folder,
    own_file,
    to_path,
    unfinished_name,
    write_text,
)

UNFINISHED = ".unfinished"
"""Name of the staging directory in a local output folder."""

_CLAIM = "task.json"
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class OutputDir:
    """A folder that one command fills.

    Attributes:
        path: the folder, local or remote.
        verb: the command, as messages name it, such as "corpus merge".
        kind: what the folder holds in the end, as messages name it, such as "corpus".
    """

    path: AnyPath
    verb: str
    kind: str

    @contextmanager
    def open(
        self, spec: Mapping[str, Any] | None = None, *, reopen: bool = False, replace_claim: bool = False
    ) -> Iterator[Path]:
        """Claim and lock the folder while the block lasts, and yield its staging directory.

        When the block ends, the staging directory is removed. When it fails, the staging directory stays for the next
        run; but nothing stays where the block has written nothing.

        Args:
            spec: what decides the output, as JSON values; a stopped run goes on only where it is the same. None where
                the command records that elsewhere, and compares it itself (`refuse_differences`).
            reopen: the folder is known to hold output of this command, which may be changed.
            replace_claim: the folder is known to hold work of this command, so a claim that is damaged is replaced.

        Raises:
            OutputError: the folder holds something else, an unfinished output of another command or spec, or links
                that lead out of it, or another run is at work there.
            OSError: nothing can be written there.
        """
        staging = self.staging
        new = not self.path.exists()
        if not reopen:
            self.check_free()
        partials = self._check_links()
        make_folder(self.path)
        with _locked(staging, self.path):
            for partial in partials:
                partial.unlink(missing_ok=True)
            if not reopen:
                self.check_free()
            self._claim({"verb": self.verb, **(spec or {})}, replace_damaged=replace_claim)
            try:
                yield staging
            except BaseException:
                if not reopen and self._is_untouched():
                    shutil.rmtree(staging)
                    if new and is_local(self.path):
                        self.path.rmdir()
                raise
            shutil.rmtree(staging)

    def check_free(self) -> None:
        """Raise OutputError if the folder holds anything but unfinished work; one that is empty or missing is free."""
        if (self.staging / _CLAIM).exists() or not self.path.exists():
            return
        if not self.path.is_dir() or any(entry.name != UNFINISHED for entry in self.path.iterdir()):
            raise OutputError(
                f"{self.path} holds something that `videossr {self.verb}` has not made; choose another --out"
            )

    def refuse_differences(self, differences: Sequence[str], *, way_out: str = "", unfinished: bool = False) -> None:
        """Raise OutputError if the output in the folder was made otherwise than it is asked for now.

        Args:
            differences: one phrase each, see `videossr.config.changes`; none where it is the same.
            way_out: what else can be done than to choose another folder, such as "replace it with --rebuild".
            unfinished: the output is not complete, so its own command can finish it.
        """
        if not differences:
            return
        phrases = "; ".join(differences)
        if unfinished:
            raise self._unfinished(self.verb, f" that was begun otherwise: {phrases}. Finish it", way_out)
        more = f", or {way_out}" if way_out else ""
        raise OutputError(
            f"{self.path} holds a {self.kind} that was made otherwise: {phrases}. Choose another --out{more}"
        )

    def refuse_complete(self, name: str = "") -> NoReturn:
        """Raise OutputError that names a complete output, for a command that makes new folders only."""
        named = f" ({name})" if name else ""
        raise OutputError(f"{self.path} is a {self.kind} already{named}; choose another --out")

    def remove_leftovers(self) -> None:
        """Remove the staging directory of a run that was killed after its last file.

        Raises:
            OutputError: another run is at work in the folder, or it has links that lead out of it.
        """
        staging = self.staging
        if staging.exists():
            self._check_links()
            with _locked(staging, self.path):
                shutil.rmtree(staging)

    def _check_links(self) -> list[Path]:
        """Raise OutputError where writing in a local folder could change what lies elsewhere.

        Returns:
            The temporary files that a kill has left in it.
        """
        partials: list[Path] = []
        if not is_local(self.path) or not self.path.is_dir():
            return partials
        folders = [self.path]
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        if unfinished_name(entry.name):
                            partials.append(Path(entry.path))
                    elif entry.name == UNFINISHED or not entry.is_symlink() or not lies_in(Path(entry), self.path):
                        raise OutputError(
                            f"{entry.path} is a link that leads out of {self.path}, or a pipe or device. Nothing is "
                            "written there: put what it leads to in its place, remove it, or choose another --out"
                        )
        return partials

    @property
    def staging(self) -> Path:
        """The staging directory, which is there while a command is at work or stopped."""
        if is_local(self.path):
            return self.path / UNFINISHED
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return caches / "videossr" / hashlib.sha256(str(self.path).encode()).hexdigest()[:16]

    def _claim(self, task: Mapping[str, Any], *, replace_damaged: bool) -> None:
        """Write what is begun into the staging directory, or compare it with what was begun there."""
        claim = self.staging / _CLAIM
        begun = self._read_claim(claim, replace_damaged=replace_damaged)
        if begun is None:
            write_text(claim, json.dumps(task))
            return
        if begun["verb"] != self.verb:
            raise self._unfinished(begun["verb"], ": finish it", "")
        self.refuse_differences(changes(begun, json.loads(json.dumps(task))), unfinished=True)

    def _read_claim(self, claim: Path, *, replace_damaged: bool) -> dict[str, Any] | None:
        """Read what was begun; None where nothing was, or where it is damaged and may be replaced."""
        try:
            begun = load_json(claim)
            if isinstance(begun["verb"], str):
                return dict(begun)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            pass
        if replace_damaged:
            return None
        raise OutputError(f"{claim} is damaged: delete {claim.parent}, and what is unfinished begins anew")

    def _unfinished(self, verb: str, how: str, way_out: str) -> OutputError:
        return OutputError(
            f"{self.path} holds an unfinished `videossr {verb}`{how} with its own command, choose another --out, or "
            f"{way_out or f'delete {self.path}'}"
        )

    def _is_untouched(self) -> bool:
        """Say whether nothing but the claim is in the folder."""
        try:
            names = {entry.name for entry in self.path.iterdir()}
        except (FileNotFoundError, NotADirectoryError):  # an object store knows no empty folder
            names = set()
        return names <= {UNFINISHED} and {entry.name for entry in self.staging.iterdir()} <= {_CLAIM, _LOCK}


def local_folder(out: str | AnyPath) -> Path:
    """Return the folder of a run. Raises OutputError for a remote one."""
    folder = to_path(out)
    if is_local(folder):
        return folder
    raise OutputError(f"{folder}: a run is written line by line, which only a local folder allows; copy it afterwards")


def check_apart(first: AnyPath, second: AnyPath) -> None:
    """Raise OutputError when two output folders are the same, or one is in the other."""
    paths = [f"{out.resolve()}".rstrip("/") + "/" for out in (first, second)]
    if paths[0].startswith(paths[1]) or paths[1].startswith(paths[0]):
        raise OutputError(f"{first} and {second} are the same folder, or one is in the other: name two with --out")


@contextmanager
def _locked(staging: Path, out: AnyPath) -> Iterator[None]:
    """Hold the lock of a staging directory, which is created. Raises OutputError when another run has it."""
    while True:
        staging.mkdir(parents=True, exist_ok=True)
        with open(staging / _LOCK, "w", opener=own_file) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(f"{out}: another run is at work there; wait, or choose another --out") from error
            except OSError:
                pass  # this file system has no locks
            try:
                is_current = (staging / _LOCK).stat().st_ino == os.fstat(file.fileno()).st_ino
            except FileNotFoundError:
                is_current = False
            if is_current:  # and not that of a run which has just removed its staging directory
                yield
                return
