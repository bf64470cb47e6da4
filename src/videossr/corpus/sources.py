"""Find what `videossr index` is to read: files, and folders searched through for videos and for folders of images."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from upath import UPath

from videossr.corpus.entry import RejectedFile
from videossr.errors import ConfigError, CorpusError, DataError, NotFoundError, ServerError
from videossr.storage.paths import WEB, AnyPath, file_hash, reaching, size_and_stamp, to_path
from videossr.video.image_folder import SUFFIXES, ImageFolder, image_folder, is_image
from videossr.video.plan import RejectedError

_ENDINGS = """
.3g2 .3gp .asf .avi .divx .dv .f4v .flv .gif .m1v .m2p .m2ts .m2v .m4v .mjpeg .mjpg .mk3d .mkv .mov .mp4 .mpe .mpeg .mpg
.mpv .mts .mxf .nut .ogg .ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .y4m
"""
EXTENSIONS = frozenset(_ENDINGS.split())
"""File names that end so, in upper or lower case, are taken for videos."""

DEEPEST = 16
"""Folders within each other on a web server, at most."""

MOST_PAGES = 10_000
"""Pages that list folders of a web server, at most."""

MOST_FILES = 1_000_000
"""Files in a folder of a web server and all below it, at most."""

Listed: TypeAlias = Callable[[int, int], None]
"""Is called with the number of pages of a web server that were read, and of those that are known."""

_Facts: TypeAlias = Mapping[str, object] | None
"""The entry of a file in the listing of a remote store; None for a local file."""


@dataclass(frozen=True, slots=True)
class File:
    """A file to read.

    Attributes:
        path: relative to the folder that is indexed, as text that can be stored.
        place: where it is.
        size: bytes.
        stamp: what changes when the file does: the times of its last changes, or its tag in an object store.
    """

    path: str
    place: AnyPath
    size: int
    stamp: str

    @property
    def sample(self) -> AnyPath:
        """The file, by which another machine can show that it reaches it."""
        return self.place

    def is_same(self) -> bool:
        """Say whether it is there still, unchanged since it was found."""
        try:
            return _seen(self.path, self.place, None) == self
        except (FileNotFoundError, PermissionError):
            return False

    def hash(self) -> str:
        """Return the SHA-256 of its bytes in hex. Raises OSError."""
        return file_hash(self.place)


Input: TypeAlias = File | ImageFolder
"""One video to be."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A file or a folder of images that may be a video.

    Attributes:
        place: where it is.
        facts: of a file.
        images: whether it is a folder of images.
        hidden: whether its name, or that of a folder on the way to it, starts with a dot.
    """

    place: AnyPath
    facts: _Facts = None
    images: bool = False
    hidden: bool = False


def find(
    sources: Sequence[AnyPath],
    out: AnyPath,
    image_fps: Fraction | None = None,
    progress: Listed = lambda done, total: None,
) -> tuple[list[Input], list[RejectedFile]]:
    """Look for videos, without reading them.

    A folder is searched through all its folders; links are followed, each folder is entered once. A file that is named
    itself is taken whatever it is called. A folder that holds images and no video files is one video.

    Args:
        sources: files and folders.
        out: folder of the corpus, which is not searched.
        image_fps: images a second of folders of images; without it these are rejected.
        progress: called for each page of a web server.

    Returns:
        What is to be read, in the order of the paths under which it will be known, and what is rejected unread. Paths
        are relative to the one folder that is searched, or else to the innermost folder that holds all sources.

    Raises:
        NotFoundError: a folder is missing, or there is no video at all.
        CorpusError: `out` is one of `sources`.
        ValueError: an image is named instead of its folder, or the frames a second of images are missing or not needed.
    """
    folders = {source: _is_folder(source) for source in sources}
    name = _naming(folders)
    inputs: dict[str, Input] = {}
    rejected: dict[str, RejectedFile] = {}
    missing: list[AnyPath] = []
    without_fps = 0
    with_images = False

    def refuse(place: AnyPath, why: str) -> None:
        rejected[name(place)] = RejectedFile(name(place), None, "unreadable", why)

    for source, is_folder in folders.items():
        if is_folder:
            _refuse_output(source, out)
            candidates = _search(source, out, refuse, progress)
        elif isinstance(source, Path) and not os.path.lexists(source):
            if source.suffix.lower() not in EXTENSIONS:
                raise NotFoundError(f"{source}: there is no such file or folder")
            missing.append(source)
            refuse(source, "there is no such file")
            continue
        elif source.suffix.lower() in SUFFIXES:
            raise ConfigError(f"{source} is an image: name its folder, all images of which are one video")
        else:
            candidates = iter([_Candidate(source)])
        for candidate in candidates:
            path = name(candidate.place)
            with_images |= candidate.images
            if candidate.images and image_fps is None and not candidate.hidden:
                without_fps += 1
                why = "a folder of images: how many there are a second was not said (--image-fps)"
                rejected[path] = RejectedFile(path, None, "no_times", why)
                continue
            taken = _take(path, candidate, image_fps)
            if isinstance(taken, RejectedFile):
                rejected[path] = taken
            else:
                inputs[path] = taken
    names = ", ".join(map(str, sources[:2])) + (f" and {len(sources) - 2} more" if len(sources) > 2 else "")
    if not inputs:
        raise _nothing(names, missing, without_fps, list(rejected.values()))
    if image_fps is not None and not with_images:
        raise DataError(
            f"{names}: there are no folders of images, but {float(image_fps):g} images a second were given "
            "(--image-fps); to take so many frames a second of videos, use --plan fps"
        )
    return [inputs[path] for path in sorted(inputs)], [rejected[path] for path in rejected.keys() - inputs.keys()]


def read_list(path: str | AnyPath) -> list[str]:
    """Read a text file of paths and addresses, one a line; empty lines do not count.

    Raises:
        NotFoundError: it is not there.
        ValueError: it has none, or is no text.
    """
    try:
        data = to_path(path).read_bytes().removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} is not there: --list takes a text file with a path on each line") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder: name it without --list") from error
    if b"\0" in data:
        raise DataError(f"{path} is not a text file with a path on each line: name a video without --list")
    lines = [line.rstrip("\r") for line in data.decode("utf-8", "surrogateescape").split("\n")]
    if not any(lines):
        raise DataError(f"{path} is empty: it must have the path of a video on each line")
    return [line for line in lines if line]


def _nothing(names: str, missing: Sequence[AnyPath], without_fps: int, rejected: Sequence[RejectedFile]) -> Exception:
    """Return the error that says why there is nothing to index."""
    if missing:
        more = f", nor are {len(missing) - 1} others that were named" if len(missing) > 1 else ""
        return NotFoundError(f"{missing[0]} is not there{more}; relative paths start at the current folder")
    if without_fps:
        return DataError(
            f"{names} has no videos but {without_fps} folder{'s' * (without_fps > 1)} of images: say how many images a "
            "second these have, as --image-fps 25"
        )
    seen = f"; {len(rejected)} cannot be used, as {rejected[0].path}: {rejected[0].detail}" if rejected else ""
    return NotFoundError(f"{names} has no videos (mp4, mov, mkv, webm, avi, ts, mpg, flv, …){seen}")


def _refuse_output(source: AnyPath, out: AnyPath) -> None:
    if str(out).rstrip("/") == str(source).rstrip("/") or (
        isinstance(out, Path) and isinstance(source, Path) and out.resolve() == source.resolve()
    ):
        raise CorpusError(f"{out} is the folder of the videos: name another folder for the corpus with --out")


def _is_folder(source: AnyPath) -> bool:
    """Say whether a source is to be searched. What a remote store does not know counts as a folder without files."""
    if isinstance(source, Path):
        return source.is_dir()
    named = source.suffix.lower() in EXTENSIONS | SUFFIXES
    if source.protocol in WEB:  # to which a page and a file are the same
        return not named
    return bool(source.fs.isdir(source.path)) if named else not source.fs.isfile(source.path)


def _naming(folders: Mapping[AnyPath, bool]) -> Callable[[AnyPath], str]:
    """Return the function that names what is found, from the sources, of which the folders are marked.

    Where some sources are on this machine and others in a store, those in a store keep their whole address.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for source, is_folder in folders.items():
        whole = _whole(source)
        kinds[_kind(source)].append(whole if is_folder else whole.rpartition("/")[0])
    bases = {kind: _common(texts) for kind, texts in kinds.items()}

    def name(place: AnyPath) -> str:
        whole, kind = _whole(place), _kind(place)
        if kind and len(bases) > 1:
            return _text(str(place))
        inner = whole.removeprefix(bases[kind]).strip("/")
        return _text(inner or whole.rpartition("/")[2])

    return name


def _kind(place: AnyPath) -> str:
    return "" if isinstance(place, Path) else place.protocol


def _whole(place: AnyPath) -> str:
    """Return the whole path, without `..`, but with the links that it goes through."""
    return os.path.abspath(place) if isinstance(place, Path) else place.path.rstrip("/")  # noqa: PTH100


def _common(folders: Iterable[str]) -> str:
    """Return the innermost folder that holds all of them."""
    levels = zip(*(folder.split("/") for folder in folders), strict=False)
    return "/".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))


def _search(
    source: AnyPath, out: AnyPath, locked: Callable[[AnyPath, str], None], progress: Listed
) -> Iterator[_Candidate]:
    """Yield what may be a video under a folder; `locked` is called for each folder that cannot be listed."""
    listed = _walk(source, out, locked) if isinstance(source, Path) else _list(source, out, progress)
    for folder, inner, files in listed:
        hidden = any(part.startswith(".") for part in inner.parts)
        videos = [file for file in files if PurePosixPath(file).suffix.lower() in EXTENSIONS]
        for file in videos:
            yield _Candidate(folder / file, files[file], hidden=hidden or file.startswith("."))
        if not videos and any(map(is_image, files)):
            yield _Candidate(folder, images=True, hidden=hidden)


def _walk(
    source: Path, out: AnyPath, locked: Callable[[AnyPath, str], None]
) -> Iterator[tuple[Path, PurePosixPath, dict[str, _Facts]]]:
    """Yield every local folder but `out`: where it is, that below `source`, and its files."""
    entered = {source.resolve()} | ({out.resolve()} if isinstance(out, Path) else set())

    def refused(error: OSError) -> None:
        locked(Path(error.filename), "the system refuses to list this folder")

    for folder, folders, names in os.walk(source, onerror=refused, followlinks=True):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if (here / name).resolve() not in entered)
        entered.update((here / name).resolve() for name in folders)
        yield here, PurePosixPath(here.relative_to(source)), dict.fromkeys(sorted(names))


def _list(source: UPath, out: AnyPath, progress: Listed) -> Iterator[tuple[UPath, PurePosixPath, dict[str, _Facts]]]:
    """Yield the same of a remote folder."""
    root = source.path.rstrip("/") + "/"
    skipped = None if isinstance(out, Path) or out.protocol != source.protocol else out.path.rstrip("/") + "/"
    folders: dict[str, dict[str, _Facts]] = defaultdict(dict)
    listing = _pages(source, progress) if source.protocol in WEB else source.fs.find(source.path, detail=True)
    for name, facts in listing.items():
        if name.startswith(root) and (skipped is None or not name.startswith(skipped)):
            folder, _, file = name.removeprefix(root).rpartition("/")
            folders[folder][file] = facts
    for folder, files in folders.items():
        yield source / folder if folder else source, PurePosixPath(folder), files


def _pages(source: UPath, progress: Listed) -> dict[str, _Facts]:
    """Return the files that the pages of a web server link to, below a page; a page that is not there has none.

    Raises:
        ConnectionError: the server cannot be reached.
        DataError: there is no end of pages.
    """
    files: dict[str, _Facts] = {}
    root = source.path.rstrip("/") + "/"
    waiting, seen = [source.path], {source.path}
    while waiting:
        page = waiting.pop()
        try:
            with reaching(source):
                listing = source.fs.ls(page, detail=True)
        except FileNotFoundError:
            continue
        for facts in listing:
            if facts["type"] != "directory":
                files[facts["name"]] = facts
            elif facts["name"] not in seen and "?" not in facts["name"]:  # a query sorts the same page otherwise
                seen.add(facts["name"])
                waiting.append(facts["name"])
        deep = any(name.removeprefix(root).count("/") > DEEPEST for name in waiting[-len(listing) :])
        if deep or len(seen) > MOST_PAGES or len(files) > MOST_FILES:
            raise DataError(
                f"{source} has more than {MOST_PAGES:,} folders, {MOST_FILES:,} files or {DEEPEST} folders in each "
                "other: name folders further down, or list the videos in a file for --list"
            )
        progress(len(seen) - len(waiting), len(seen))
    return dict(sorted(files.items()))


def _take(path: str, candidate: _Candidate, image_fps: Fraction | None) -> Input | RejectedFile:
    """Return what is to be read, or why it is not."""
    place = candidate.place
    if candidate.hidden:
        return RejectedFile(path, None, "hidden", "its name or a folder's starts with a dot")
    try:
        if candidate.images:
            assert image_fps is not None
            return image_folder(path, place, image_fps)
        if isinstance(place, Path) and not place.is_file():
            raise FileNotFoundError
        file = _seen(path, place, candidate.facts)
    except FileNotFoundError:
        return RejectedFile(path, None, "unreadable", "it is not a file, or a link that leads nowhere")
    except PermissionError:
        return RejectedFile(path, None, "unreadable", "the system refuses access to it")
    except ServerError as error:
        return RejectedFile(path, None, "unreadable", str(error))
    except RejectedError as error:
        return RejectedFile(path, None, error.reason, error.detail, error.value, error.threshold)
    return file if file.size else RejectedFile(path, None, "unreadable", "it is empty", 0, 1)


def _seen(path: str, file: AnyPath, facts: _Facts) -> File:
    """Return a file as it is now, or as the listing of its store has it. Raises FileNotFoundError, PermissionError."""
    return File(path, file, *size_and_stamp(file, facts))


def _text(path: str) -> str:
    """Write a path as text that can be stored: bytes that are no UTF-8 are escaped, and backslashes doubled before."""
    return os.fsencode(path.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")
