"""Files and folders, local or remote (`s3://`, `hf://`, `https://`), written whole or not at all.

Remote ones are reached through fsspec, with the credentials of the environment. Exercised by
`videossr index DIR --out CORPUS`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

from typing_extensions import TypeIs
from upath import UPath
from upath.registry import available_implementations

from videossr.config import changes
from videossr.errors import ConfigError, MissingExtraError, OutputError

AnyPath: TypeAlias = Path | UPath
"""A file or folder: a `Path` where it is local, else a `UPath`, which is used the same way."""

UNFINISHED = ".unfinished"
_TASK = "task.json"
_PIECE = 1 << 22


def to_path(text: str | AnyPath) -> AnyPath:
    """The place of a path or an address. `file://` and `local://` addresses are local; a local path with `://` in it
    can be given as `./odd:/videos`.

    Raises ValueError for an empty text, for an address that holds credentials, and for one whose file system is unknown
    or not installed.
    """
    if not isinstance(text, str):
        return text
    if not text:
        raise ConfigError("a path is empty: name a file or a folder (the current folder is '.')")
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text)
    scheme = scheme.lower()
    if scheme in ("file", "local"):
        if not rest.startswith("/"):
            raise ConfigError(f"{text}: a {scheme}:// address has three slashes and no server, as {scheme}:///videos")
        return Path(unquote(rest))
    server, _, path = rest.partition("/")
    if "@" in server or (scheme in ("http", "https") and "?" in rest):
        raise ConfigError(
            f"{scheme}://{server.rpartition('@')[2].partition('?')[0]}/{path.partition('?')[0]}: give no credentials "
            "or queries in an address, which is written into manifests; give them by the environment, such as "
            "AWS_ACCESS_KEY_ID"
        )
    if scheme not in available_implementations(fallback=True):
        raise ConfigError(f"{text}: unknown kind of address {scheme}://; give a local path of that name as ./{text}")
    try:
        found = UPath(f"{scheme}://{rest}", use_listings_cache=False)  # a cached listing hides what others write
        _ = found.fs
    except ImportError as error:
        raise MissingExtraError(f"{text}: {error}. Install it with: pip install 'videossr[remote]'") from error
    except ValueError as error:
        raise ConfigError(f"{text}: {error}") from error
    return found


_TRANSPORTS = frozenset(
    [
        *("aiohttp", "botocore", "fsspec", "huggingface_hub", "requests", "urllib3"),
        *("httpcore", "httpcore2", "httpx", "httpx2"),
    ]
)
"""Libraries that reach remote places. Not all of their errors are OSErrors."""


def transport_error(error: Exception) -> str | None:
    """Return what to say of an error of a library that reaches remote places; None for any other error.

    Such a library also raises ImportError, for a SOCKS proxy that it cannot use.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised_in = str(trace.tb_frame.f_globals.get("__name__", "")) if trace is not None else ""
    if isinstance(error, ImportError) and raised_in.partition(".")[0] in _TRANSPORTS:
        return f"{error} The proxy is named by the environment, as ALL_PROXY: unset it, or install what it needs"
    if type(error).__module__.partition(".")[0] not in _TRANSPORTS:
        return None
    try:
        address = str(error.request.url)  # type: ignore[attr-defined]  # httpx keeps it, and raises where it has none
    except (AttributeError, RuntimeError):
        return str(error)
    if getattr(error, "response", None) is not None:  # it was reached, and its own words say what is wrong
        return str(error)
    where = address.partition("?")[0]
    return (
        f"{where} cannot be reached: {error}. See the network and the proxies of the environment; a copy in a local "
        "folder needs neither"
    )


@contextmanager
def reaching(path: AnyPath) -> Iterator[None]:
    """Raise ConnectionError where the block fails because a server does not answer or is out of order.

    fsspec calls any failure of a web server a missing file. Only a file that the server says is not there is one.
    """
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error, FileNotFoundError) else error
        if cause is None or type(cause).__module__.partition(".")[0] != "aiohttp" or isinstance(cause, ValueError):
            raise
        status = getattr(cause, "status", None)
        if status is not None and status < 500 and status != _TOO_MANY:
            raise
        why = str(cause) if status is None else f"it answers with status {status}"
        raise ConnectionError(
            f"{path}: the server cannot be reached ({why}). When it can, the same command goes on where it was"
        ) from error


_TOO_MANY = 429
"""HTTP status: the server wants to be asked later."""


def is_local(path: AnyPath) -> TypeIs[Path]:
    """Whether the system itself can open it."""
    return isinstance(path, Path)


def check_apart(outs: tuple[AnyPath, AnyPath]) -> None:
    """Raise ValueError when two folders are the same, or one is in the other."""
    one, other = (f"{out.resolve()}".rstrip("/") + "/" for out in outs)
    if one.startswith(other) or other.startswith(one):
        raise OutputError(f"{outs[0]} and {outs[1]} are the same folder, or one is in the other: name two with --out")


def make_folder(path: AnyPath) -> None:
    """With all above it; an object store needs none. Raises ValueError where nothing can be written."""
    if is_local(path):
        path.mkdir(parents=True, exist_ok=True)
    elif path.protocol in ("http", "https"):
        raise OutputError(f"{path}: a web server cannot be written to; choose another --out")


def size_and_stamp(path: AnyPath, facts: Mapping[str, Any] | None = None) -> tuple[int, str]:
    """Tell a file apart from what it may become, without reading it.

    Args:
        path: of the file.
        facts: what the listing of a remote store tells of it, if there was one.

    Returns:
        Its size in bytes, and what changes when the file does: the times of its last changes, or its tag in a store.

    Raises:
        FileNotFoundError, PermissionError: it is not there, or must not be looked at.
        ConnectionError: its server cannot be reached.
    """
    if isinstance(path, Path):
        status = path.stat()
        # `cp -p` and `mv` keep the time of the content; the system alone sets the other one.
        return status.st_size, f"{status.st_mtime_ns} {status.st_ctime_ns}"
    if facts is None or facts["size"] is None:  # as on the page of a web server
        with reaching(path):
            facts = path.fs.info(path.path)
    stamp = next((facts[name] for name in ("ETag", "etag", "LastModified", "mtime", "created") if facts.get(name)), "")
    return int(facts["size"] or 0), str(stamp)


def file_hash(path: AnyPath) -> str:
    """SHA-256 of a file, in hex, read piece by piece. Raises OSError."""
    digest = hashlib.sha256()
    with reaching(path), path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


_FULL = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
"""Errors of a write for want of space; the system does not say which file wanted it."""


@contextmanager
def atomic_write(path: AnyPath) -> Iterator[Path]:
    """Yield the temporary path to write to; it becomes `path` when the block ends, and is removed when it fails.

    A remote file is sent in one piece when the block ends.

    Raises:
        OSError: it cannot be written; the error names `path` where the system names no file, as on a full disk.
    """
    if isinstance(path, Path):
        partial = path.with_name(f".{path.name}.partial")
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())  # after a power cut a name must not stand for a file that is not there
            partial.replace(path)
        except OSError as error:
            if error.errno not in _FULL or error.filename is not None:
                raise
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            partial.unlink(missing_ok=True)
    else:
        with tempfile.TemporaryDirectory() as folder:
            partial = Path(folder) / path.name
            yield partial
            path.fs.put_file(str(partial), path.path)


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Write a file."""
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def write_text(path: AnyPath, text: str) -> None:
    """Write a text file in UTF-8."""
    write_bytes(path, text.encode())


def remove_tree(folder: AnyPath) -> None:
    """Remove a folder and all that is in it; one that is not there is no fault. Raises OSError."""
    if is_local(folder):
        if folder.exists():
            shutil.rmtree(folder)
    elif folder.exists():
        folder.fs.rm(folder.path, recursive=True)


@contextmanager
def staging_dir(out: AnyPath, task: Mapping[str, Any], *, ours: bool = False) -> Iterator[Path]:
    """Yield the local directory for unfinished work on `out`, locked against other processes while the block lasts.

    It lies in `out`, or in the user's cache where `out` is remote: a stopped run can then go on only on the same
    machine. What a stopped run leaves in it is used by the next run of the same task.

    Args:
        out: folder of the output. It is created.
        task: what makes the output, as JSON values; `task["verb"]` is its name.
        ours: whether the contents of `out` may be changed although no unfinished work is there.

    Raises:
        ValueError: another process holds the lock, another task was begun there, or `out` holds something else.
    """
    folder = _staging_path(out)
    _refuse_foreign(out, folder, task, ours=ours)
    make_folder(out)
    with _locked(folder, out):
        _refuse_foreign(out, folder, task, ours=ours)
        _sign(folder, out, task)
        yield folder


def remove_staging_dir(out: AnyPath) -> None:
    """Remove the staging directory that a run left when it was killed after its last step."""
    folder = _staging_path(out)
    if folder.exists():
        with _locked(folder, out):
            shutil.rmtree(folder)


def _staging_path(out: AnyPath) -> Path:
    if is_local(out):
        return out / UNFINISHED
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "videossr" / hashlib.sha256(str(out).encode()).hexdigest()[:16]


def _refuse_foreign(out: AnyPath, folder: Path, task: Mapping[str, Any], *, ours: bool) -> None:
    if ours or (folder / _TASK).exists() or not out.exists():
        return
    if not out.is_dir() or any(entry.name != UNFINISHED for entry in out.iterdir()):
        raise OutputError(f"{out} holds something that `videossr {task['verb']}` has not made; choose another --out")


def _sign(folder: Path, out: AnyPath, task: Mapping[str, Any]) -> None:
    signature = folder / _TASK
    if not signature.exists():
        write_text(signature, json.dumps(task))
        return
    begun = json.loads(signature.read_text("utf-8"))
    task = json.loads(json.dumps(task))
    if begun != task:
        differs = "; ".join(changes(begun, task))
        found = f" that was begun otherwise ({differs})" if begun["verb"] == task["verb"] else ""
        raise OutputError(
            f"{out} holds an unfinished `videossr {begun['verb']}`{found}: finish it with its own command, choose "
            f"another --out, or delete {out}"
        )


@contextmanager
def _locked(folder: Path, out: AnyPath) -> Iterator[None]:
    """Raises ValueError when another run has the lock."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(f"{out}: another run is at work there; wait, or choose another --out") from error
            except OSError:
                pass  # this file system has no locks
            try:
                current = (folder / "lock").stat().st_ino == os.fstat(file.fileno()).st_ino
            except FileNotFoundError:
                current = False
            if current:  # and not that of a run which has just removed its staging directory
                yield
                return
