"""Read and write files and folders, local or remote (`s3://`, `hf://`, `https://`), written whole or not at all.

Remote ones are reached through fsspec, with the credentials of the environment. Exercised by
`videossr index DIR --out CORPUS`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

from typing_extensions import TypeIs
from upath import UPath
from upath.registry import available_implementations

from videossr.errors import ConfigError, DataError, MissingExtraError, OutputError, ServerError
from videossr.untrusted import one_line

AnyPath: TypeAlias = Path | UPath
"""A file or folder: a `Path` where it is local, else a `UPath`, which is used the same way."""

_PIECE = 1 << 22
WEB = ("http", "https")
"""Schemes of web servers, which can be read from and not written to."""


def to_path(text: str | AnyPath) -> AnyPath:
    """Return the path that a text means.

    Args:
        text: a local path, an address such as ``s3://bucket/videos``, or a path already. `file://` and `local://`
            addresses are local; a local path with `://` in it can be given as `./odd:/videos`.

    Raises:
        ConfigError: the text is empty, or an address that holds credentials or whose file system is unknown.
        MissingExtraError: the file system of an address is not installed.
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
    if "@" in server or (scheme in WEB and "?" in rest):
        raise ConfigError(
            f"{scheme}://{server.rpartition('@')[2].partition('?')[0]}/{path.partition('?')[0]}: give no credentials "
            "or queries in an address, which is written into manifests; give them by the environment, such as "
            "AWS_ACCESS_KEY_ID"
        )
    if scheme not in available_implementations(fallback=True):
        raise ConfigError(f"{text}: unknown kind of address {scheme}://; give a local path of that name as ./{text}")
    try:
        options = _web_options() if scheme in WEB else {}
        # A cached listing hides what others write.
        address: UPath = UPath(f"{scheme}://{rest}", use_listings_cache=False, **options)
        _ = address.fs
    except ImportError as error:
        raise MissingExtraError(f"{text}: {error}. Install it with: pip install 'videossr[remote]'") from error
    except ValueError as error:
        raise ConfigError(f"{text}: {error}") from error
    return address


def _web_options() -> dict[str, Any]:
    """Return the options of fsspec for web servers. Raises ImportError where the library for them is missing."""
    from videossr.storage.web import open_session

    return {"get_client": open_session}


def same_host(first: AnyPath, second: AnyPath) -> bool:
    """Say whether two remote paths are on one host, or in one bucket of a store."""
    return _host(first) == _host(second) != ""


def _host(path: AnyPath) -> str:
    """Return the beginning of an address, up to its host or bucket; an empty text for a local path."""
    if isinstance(path, Path):
        return ""
    scheme, _, rest = str(path).partition("://")
    return f"{scheme}://{rest.partition('/')[0]}".lower()


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
        return one_line(str(error), _EXCERPT)
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
        if isinstance(cause, ServerError):
            raise cause from None
        module = type(cause).__module__.partition(".")[0]
        of_web = module == "aiohttp" or (module == "fsspec" and isinstance(cause, TimeoutError))
        if cause is None or not of_web or isinstance(cause, ValueError):
            raise
        status = getattr(cause, "status", None)
        if status is not None and status < 500 and status != _TOO_MANY:
            raise
        said = one_line(str(cause), _EXCERPT) or "it does not answer in time"
        why = said if status is None else f"it answers with status {status}"
        raise ConnectionError(
            f"{path}: the server cannot be reached ({why}). When it can, the same command goes on where it was"
        ) from error


_EXCERPT = 500
"""Characters of what a server says that an error quotes."""

_TOO_MANY = 429
"""HTTP status: the server wants to be asked later."""


def is_local(path: AnyPath) -> TypeIs[Path]:
    """Say whether the system itself can open a path."""
    return isinstance(path, Path)


def make_folder(path: AnyPath) -> None:
    """Make a folder with all above it; an object store needs none. Raises OutputError where nothing can be written."""
    if is_local(path):
        path.mkdir(parents=True, exist_ok=True)
    elif path.protocol in WEB:
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
    """Return the SHA-256 of a file in hex, which is read piece by piece. Raises OSError."""
    digest = hashlib.sha256()
    check_regular(path)
    with reaching(path), path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def check_regular(path: AnyPath) -> None:
    """Raise DataError where a local path is a pipe or a device, from which reading could wait for ever."""
    if isinstance(path, Path) and path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is no ordinary file, but a pipe or a device: remove it")


_FULL = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
"""Errors of a write for want of space; the system does not say which file wanted it."""


PARTIAL = ".partial"
"""End of the names of temporary files, see `atomic_write`; `OutputDir.open` removes those that a kill has left."""

_PARTIAL = re.compile(rf"\.(.+?)(\.[0-9a-f]{{8}})?{re.escape(PARTIAL)}")


def unfinished_name(name: str) -> str | None:
    """Return the name of the file that a temporary file of this name was to become; None for any other name."""
    match = _PARTIAL.fullmatch(name)
    return match[1] if match else None


def own_file(path: str, flags: int) -> int:
    """Open a file without following a link: the `opener` of `open` for what is written in place.

    The folder may be one that somebody else has made, in which a link would lead to any file of the user.

    Raises:
        OutputError: `path` is a link, or a pipe or device.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)  # else a pipe would wait for a reader
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise _foreign(path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _foreign(path)
    return descriptor


def _foreign(path: str) -> OutputError:
    return OutputError(
        f"{path} is a link, pipe or device, which nothing is written to: put the file itself there, or remove it"
    )


def lies_in(file: Path, folder: Path) -> bool:
    """Say whether a file is in a folder or below it once all links are followed.

    What huggingface_hub has downloaded counts as in its folder `snapshots/REVISION`, whose files are links to those
    of the folder `blobs` beside it.
    """
    real, top = Path(os.path.realpath(file)), Path(os.path.realpath(folder))
    if real.is_relative_to(top):
        return True
    revision = next((place for place in (top, *top.parents) if place.parent.name == "snapshots"), None)
    return revision is not None and real.parent == revision.parent.with_name("blobs")


@contextmanager
def atomic_write(path: AnyPath) -> Iterator[Path]:
    """Yield the temporary path to write to; it becomes `path` when the block ends, and is removed when it fails.

    The temporary file is new, under a name that nobody could foresee, and a link at `path` is replaced: nothing is
    written to where a link leads. A remote file is sent in one piece when the block ends.

    Raises:
        OSError: it cannot be written; the error names `path` where the system names no file, as on a full disk.
    """
    if isinstance(path, Path):
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
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
    """Write a file, see `atomic_write`. Raises OSError."""
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def write_text(path: AnyPath, text: str) -> None:
    """Write a text file in UTF-8, see `atomic_write`. Raises OSError."""
    write_bytes(path, text.encode())


def remove_tree(folder: AnyPath) -> None:
    """Remove a folder and all that is in it; one that is not there is no fault. Raises OSError."""
    if is_local(folder):
        if folder.exists():
            shutil.rmtree(folder)
    elif folder.exists():
        folder.fs.rm(folder.path, recursive=True)
