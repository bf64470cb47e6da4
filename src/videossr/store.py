"""Files and folders, local or remote (`s3://`, `hf://`, `https://`), written whole or not at all.

Remote ones are reached through fsspec, with the credentials of the environment. Exercised by
`videossr index DIR --out CORPUS`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias
from urllib.parse import unquote

from typing_extensions import TypeIs
from upath import UPath
from upath.registry import available_implementations

Place: TypeAlias = Path | UPath
"""A file or folder: a `Path` where it is local, else a `UPath`, which is used the same way."""

UNFINISHED = ".unfinished"


def place(text: str | Place) -> Place:
    """The place of a path or an address. `file://` and `local://` addresses are local; a local path with `://` in it
    can be given as `./odd:/videos`.

    Raises ValueError for an address that holds credentials, and for one whose file system is unknown or not installed.
    """
    if not isinstance(text, str):
        return text
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text)
    scheme = scheme.lower()
    if scheme in ("file", "local"):
        if not rest.startswith("/"):
            raise ValueError(f"{text}: a {scheme}:// address has three slashes and no server, as {scheme}:///videos")
        return Path(unquote(rest))
    server, _, path = rest.partition("/")
    if "@" in server or (scheme in ("http", "https") and "?" in rest):
        raise ValueError(
            f"{scheme}://{server.rpartition('@')[2].partition('?')[0]}/{path.partition('?')[0]}: give no credentials "
            "or queries in an address, which is written into manifests; give them by the environment, such as "
            "AWS_ACCESS_KEY_ID"
        )
    if scheme not in available_implementations(fallback=True):
        raise ValueError(f"{text}: unknown kind of address {scheme}://; give a local path of that name as ./{text}")
    try:
        found = UPath(f"{scheme}://{rest}", use_listings_cache=False)  # a cached listing hides what others write
        _ = found.fs
    except ImportError as error:
        raise ValueError(f"{text}: {error}. Install it with: pip install 'videossr[remote]'") from error
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
    return found


def is_local(path: Place) -> TypeIs[Path]:
    """Whether the system itself can open it."""
    return isinstance(path, Path)


def make_folder(path: Place) -> None:
    """With all above it; an object store needs none. Raises ValueError where nothing can be written."""
    if is_local(path):
        path.mkdir(parents=True, exist_ok=True)
    elif path.protocol in ("http", "https"):
        raise ValueError(f"{path}: a web server cannot be written to; choose another --out")


@contextmanager
def replacing(path: Place) -> Iterator[Path]:
    """Yield the temporary path to write to; it becomes `path` when the block ends, and is removed when it fails.

    A remote file is sent in one piece when the block ends.
    """
    if isinstance(path, Path):
        partial = path.with_name(f".{path.name}.partial")
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())  # after a power cut a name must not stand for a file that is not there
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    else:
        with tempfile.TemporaryDirectory() as folder:
            partial = Path(folder) / path.name
            yield partial
            path.fs.put_file(str(partial), path.path)


def write_bytes(path: Place, data: bytes) -> None:
    """Write a file."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: Place, text: str) -> None:
    """Write a text file in UTF-8."""
    write_bytes(path, text.encode())


@contextmanager
def workshop(out: Place) -> Iterator[Path]:
    """The local folder for unfinished work on `out`, kept from other runs while the block lasts.

    It lies in `out`; that of a remote `out` in the user's cache, so a stopped run goes on only on the same machine.
    What is left in it is for the next run. Raises ValueError when another run is at work there.
    """
    if isinstance(out, Path):
        folder = out / UNFINISHED
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = caches / "videossr" / hashlib.sha256(str(out).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        _lock(file, out)
        yield folder


def _lock(file: IO[str], out: Place) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(f"{out}: another run is at work there; wait for it, or choose another --out") from error
    except OSError:
        return  # this file system has no locks
