"""Folders of numbered images as videos, whose frame k is on screen from k / fps to (k + 1) / fps seconds.

`videossr.corpus.sources` finds them: folders that hold images and no video files.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import av
from av.error import FFmpegError
from av.video.frame import VideoFrame

from videossr.errors import NotFoundError
from videossr.storage import limits
from videossr.storage.paths import AnyPath, file_hash, is_local, size_and_stamp
from videossr.video.container import StreamFacts, facts_of
from videossr.video.decoding import Picked, quiet
from videossr.video.full_scan import Log
from videossr.video.picture_size import picture_size
from videossr.video.plan import Chooser, FrameChoice, RejectedError, Timeline
from videossr.video.remote import outage

T = TypeVar("T")

SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"])
"""Endings of the names of images, in upper or lower case."""

_IMAGE_OPTIONS = {
    "format_whitelist": "bmp_pipe,jpeg_pipe,png_pipe,ppm_pipe,tiff_pipe,webp_pipe",
    "max_pixels": str(limits.PICTURE_PIXELS),
}
_OPENING = "videossr images at {} a second\n"


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """A folder whose images are the frames of one video.

    Attributes:
        path: of the folder, as text that can be stored.
        place: the folder itself.
        size: bytes of all images.
        stamp: a hash that changes when an image is added, removed, renamed or written, or `fps` is another.
        fps: images a second.
        count: number of images.
    """

    path: str
    place: AnyPath
    size: int
    stamp: str
    fps: Fraction
    count: int

    @property
    def sample(self) -> AnyPath:
        """One of its files, by which it is checked that another machine reaches the folder."""
        return self.place / min(_listed(self.place))

    def is_same(self) -> bool:
        """Return whether it still has the same images, unchanged since it was found."""
        try:
            return image_folder(self.path, self.place, self.fps) == self
        except (FileNotFoundError, PermissionError, RejectedError):
            return False

    def hash(self) -> str:
        """Return the SHA-256 of its frames a second and of the SHA-256 of each image, in order; names do not count.

        Raises:
            OSError: an image cannot be read.
        """
        digest = hashlib.sha256(_OPENING.format(self.fps).encode())
        for name in in_order(list(_listed(self.place))):
            digest.update(f"{file_hash(self.place / name)}\n".encode())
        return digest.hexdigest()


def image_folder(path: str, place: AnyPath, fps: Fraction) -> ImageFolder:
    """List all images of a folder, without reading them.

    Args:
        path: of the folder, as the corpus stores it.
        place: the folder, which has one image or more.
        fps: images a second.

    Raises:
        RejectedError: ``no_times``: the images are not numbered evenly.
        FileNotFoundError: the folder or an image has gone.
        PermissionError: the folder or an image must not be read.
    """
    size = 0
    stamps = hashlib.sha256(str(fps).encode())
    images = _listed(place)
    if not images:
        raise NotFoundError(f"{place} has no images")
    for name in in_order(list(images)):
        image_size, stamp = size_and_stamp(place / name, images[name])
        size += image_size
        stamps.update(f"\n{image_size} {stamp} ".encode() + os.fsencode(name))
    return ImageFolder(path, place, size, stamps.hexdigest(), fps, len(images))


def is_image(name: str) -> bool:
    """Return whether a file name is that of an image that is not hidden."""
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in SUFFIXES


def in_order(names: Sequence[str]) -> list[str]:
    """Sort file names by the number in which they differ, so that 10 comes after 9.

    Raises:
        RejectedError: ``no_times``: one has no number where the others have theirs, or the numbers do not rise by a
            constant step, so that the times of the images are unknown.
    """
    parts = {name: re.split(r"(\d+)", PurePosixPath(name).stem) for name in names}
    shapes = {name: tuple(part[::2]) for name, part in parts.items()}
    numbers = {name: tuple(map(int, part[1::2])) for name, part in parts.items()}
    ordered = sorted(names, key=lambda name: (numbers[name], name))
    usual = Counter(shapes.values()).most_common(1)[0][0] if names else ()
    other = [name for name in ordered if shapes[name] != usual]
    if other:
        like = next(name for name in ordered if shapes[name] == usual)
        raise RejectedError("no_times", f"{_safe(other[0])} is not numbered as {_safe(like)} is", len(other), 0)
    changing = next((k for k in range(len(usual) - 1) if len({number[k] for number in numbers.values()}) > 1), None)
    if changing is None:
        if len(ordered) > 1:
            raise RejectedError("no_times", f"{_safe(ordered[0])} and {_safe(ordered[1])} have the same number")
        return ordered
    steps = [numbers[after][changing] - numbers[now][changing] for now, after in pairwise(ordered)]
    step = Counter(steps).most_common(1)[0][0]
    uneven = [pair for pair, difference in zip(pairwise(ordered), steps, strict=True) if difference != step]
    if uneven or step <= 0:
        now, after = (uneven or list(pairwise(ordered)))[0]
        raise RejectedError(
            "no_times",
            f"after {_safe(now)} comes {_safe(after)}, where numbers rise by {step}: an image is missing or one too "
            "many; if they are the frames as they followed each other, number them anew",
            len(uneven),
            0,
        )
    return ordered


def image_timeline(images: int, fps: Fraction) -> Timeline:
    """Return the times of so many images, `fps` of which are shown a second."""
    return Timeline(tuple(range(images)), images, 1 / fps)


def pick_images(
    folder: ImageFolder,
    plan: Chooser,
    use: Callable[[StreamFacts, VideoFrame], T],
    begin: Callable[[FrameChoice], None],
) -> Picked[T]:
    """Decode the images that `plan` wants, as `videossr.video.decoding.pick` does for a video file.

    All images are opened, and those that the plan wants are decoded, one at a time.

    Args:
        folder: the folder.
        plan: which images are wanted.
        use: called with the facts of the folder and each different image of the choice.
        begin: called with the choice before the first image is decoded.

    Returns:
        Facts, timeline, choice of frames, and the results of `use`.

    Raises:
        RejectedError: an image cannot be decoded, or not all are of one size.
        OSError: a remote image cannot be reached.
    """
    names = in_order(list(_listed(folder.place)))
    if not names:
        raise RejectedError("no_frames", "its images have gone", 0, 1)
    timeline = image_timeline(len(names), folder.fps)
    choice = plan.choose(timeline)
    begin(choice)
    wanted = set(choice.frames)
    results: list[T] = []
    size: tuple[int, int] | None = None
    known: StreamFacts | None = None
    with quiet() as log:
        for number, name in enumerate(names):
            shape, facts, frame = _open(_read(folder.place / name, name), name, log, decode=number in wanted)
            size = size or shape
            if shape != size:
                raise RejectedError(
                    "unsupported",
                    f"its size changes from {size[0]}x{size[1]} to {shape[0]}x{shape[1]} at {_safe(name)}",
                )
            if facts is None or frame is None:
                continue
            known = known or facts
            if facts.turn != known.turn or facts.mirrored != known.mirrored:
                raise RejectedError("unsupported", f"{_safe(name)} is turned another way than the images before it")
            results.append(use(known, frame))
    assert known is not None, "every plan wants at least one frame"
    return known, timeline, choice, results


def _open(
    data: bytes, name: str, log: Log, *, decode: bool
) -> tuple[tuple[int, int], StreamFacts | None, VideoFrame | None]:
    """Open an image and return its (width, height), and its facts and picture where it is to be decoded."""
    lines = len(log)
    try:
        height, width = picture_size(data) or (1, 1)  # of a TIFF only ffmpeg tells it, which refuses as large a one
        if excess := limits.picture_excess(height, width):
            raise RejectedError("unsupported", f"{_safe(name)}: {excess}", height * width, limits.PICTURE_PIXELS)
        with av.open(io.BytesIO(data), "r", options=_IMAGE_OPTIONS) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            stream.codec_context.options = {"max_pixels": _IMAGE_OPTIONS["max_pixels"]}
            size = stream.codec_context.width, stream.codec_context.height
            if not decode:
                return size, None, None
            frame = next(container.decode(stream))
            facts = replace(facts_of(container, stream, frame), container="image2")
    except (FFmpegError, ValueError, IndexError, StopIteration) as error:
        problem = getattr(error, "strerror", None) or "it holds no picture"
        raise RejectedError("damaged", f"{_safe(name)} cannot be decoded: {problem}", 1, 0) from error
    if frame.is_corrupt or len(log) > lines:
        raise RejectedError("damaged", f"{_safe(name)} is damaged", 1, 0)
    return (frame.width, frame.height), facts, frame


def _read(file: AnyPath, name: str) -> bytes:
    """Read an image. Raises RejectedError, or OSError where a remote one cannot be reached."""
    try:
        size = file.stat().st_size
        if size <= limits.PICTURE_BYTES:
            return file.read_bytes()
    except (FileNotFoundError, PermissionError) as error:
        raise RejectedError("unreadable", f"{_safe(name)} has gone, or the system refuses to read it") from error
    except Exception as error:
        if not is_local(file):
            raise outage(file, error) from error
        raise RejectedError("unreadable", f"{_safe(name)} cannot be read: {type(error).__name__}") from error
    problem = f"{_safe(name)}: {limits.exceeds('bytes of a picture', size, 'PICTURE_BYTES')}"
    raise RejectedError("unsupported", problem, size, limits.PICTURE_BYTES)


def _listed(folder: AnyPath) -> dict[str, Mapping[str, Any] | None]:
    """List the images of a folder by name, with the facts that a remote store lists for each."""
    if isinstance(folder, Path):
        return {file.name: None for file in folder.iterdir() if is_image(file.name)}
    listed = {facts["name"].rstrip("/").rpartition("/")[2]: facts for facts in folder.fs.ls(folder.path, detail=True)}
    return {name: facts for name, facts in listed.items() if is_image(name)}


def _safe(name: str) -> str:
    """Return a file name as text that can be stored."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
