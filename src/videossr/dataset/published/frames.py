"""The clip and clock of an entry of a row's `videos`: frames that lie in a folder, or a video file.

Frames are shown as the row says: `sample_fps` of them a second, each scaled once to the size that qwen_vl_utils would
choose for its `max_pixels` and `min_pixels`. (qwen_vl_utils 0.0.14 scales the frames of a list twice, first to
multiples of 64; that is not repeated.) `videossr.dataset.published.dataset` calls it.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, cast

import cv2
import numpy as np
import simplejpeg
from pydantic import ValidationError

from videossr.clock import Clock
from videossr.errors import DataError, NotFoundError
from videossr.question import Clip, Frames
from videossr.storage import limits
from videossr.storage.paths import AnyPath, is_local, lies_in, to_path
from videossr.video.conversion import FrameConverter
from videossr.video.decoding import pick, planned
from videossr.video.picture_size import picture_size
from videossr.video.plan import Plan, RejectedError
from videossr.video.scaling import resize

Entry: TypeAlias = Mapping[str, Any]
Find: TypeAlias = Callable[[str], AnyPath]
"""Finds a file by its name in a row, see `FrameFinder`. Raises NotFoundError."""

SAMPLE_FPS = 2.0
"""Frames a second that qwen_vl_utils assumes, of a list without `sample_fps` and of a video file."""

_TOKEN = 32 * 32
"""Pixels of a frame that become one token."""

_LEAST = 128 * _TOKEN
_MOST = 768 * _TOKEN
_ALL = int(128_000 * 0.9) * _TOKEN
"""Bounds of qwen_vl_utils: of a frame's pixels where an entry has none, and of the pixels of all frames."""

_SMALLEST = 1e-6
_LARGEST = 1e9
"""Bounds of sizes and rates; numbers beyond them would overflow."""

_SIZES = ("max_pixels", "min_pixels", "total_pixels", "resized_height", "resized_width")
_LONGEST = 4096
"""Characters of a path, at most."""

_OF_FRAMES = {"video", "type", "sample_fps", *_SIZES}
_OF_FILES = {"video", "type", "fps", "nframes", "max_frames", *_SIZES}


def smart_size(height: int, width: int, least: float, most: float) -> tuple[int, int]:
    """Choose a size in multiples of 32 near to another one, by the rule of qwen_vl_utils.

    Each side is rounded. Where that makes too many pixels, both are scaled down by the same factor and rounded down to
    multiples; where it makes too few, both are scaled up and rounded up.

    Args:
        height: in pixels.
        width: in pixels.
        least: pixels of the result, at least.
        most: pixels of the result, at most.

    Returns:
        (H, W).
    """
    high, wide = (max(32, round(side / 32) * 32) for side in (height, width))
    if high * wide > most:
        factor = math.sqrt(height * width / most)
        return max(32, math.floor(height / factor / 32) * 32), max(32, math.floor(width / factor / 32) * 32)
    if high * wide < least:
        factor = math.sqrt(least / (height * width))
        return math.ceil(height * factor / 32) * 32, math.ceil(width * factor / 32) * 32
    return high, wide


def clock_of(entry: Entry, find: Find) -> Clock:
    """Return the clock of an entry; slot k of a list of frames is at k / `sample_fps` seconds, the last for one step.

    Args:
        entry: of a row's `videos`.
        find: finds files.

    Raises:
        DataError: the entry or its video file cannot be used.
        OSError: a file is missing or cannot be read.
    """
    video = entry.get("video")
    if isinstance(video, str):
        return planned_of(find(video), _plan(entry))
    frames = _listed(entry)
    rate = _number(entry, "sample_fps", SAMPLE_FPS)
    return Clock(tuple(round(1000 * k / rate) for k in range(len(frames))), round(1000 * len(frames) / rate))


def clip_of(entry: Entry, find: Find, most: int = limits.CLIP_PIXELS) -> Clip:
    """Decode the frames of an entry and scale them to its size.

    Args:
        entry: of a row's `videos`.
        find: finds files.
        most: pixels of all frames together.

    Raises:
        DataError: the entry cannot be used, asks for more than `most`, or a file is damaged or too large.
        OSError: a file is missing or cannot be read.
    """
    clock = clock_of(entry, find)
    video = entry.get("video")
    if isinstance(video, str):
        return _from_file(entry, find(video), clock, most)
    frames: list[Frames] = []
    first = ""
    old: tuple[int, ...] = ()
    new = (0, 0)
    for name in _listed(entry):
        picture = _picture(name, find)
        if not frames:
            first = name
            old = picture.shape
            new = _size(entry, picture.shape[0], picture.shape[1], len(clock), most)
        elif picture.shape != old:
            raise DataError(
                f"{name[:200]} has {picture.shape[1]} x {picture.shape[0]} pixels, but {first[:200]} has "
                f"{old[1]} x {old[0]}"
            )
        frames.append(resize(picture[None], *new)[0])
    return Clip(np.stack(frames), clock)


def _listed(entry: Entry) -> Sequence[str]:
    """Return the names of the frames of an entry. Raises DataError."""
    names = entry.get("video")
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise DataError("an entry of videos must have the path of a video as its video, or a list of frames' paths")
    _refuse_unknown(entry, _OF_FRAMES | {"fps", "raw_fps"})  # qwen_vl_utils ignores these two for lists
    return names


def _refuse_unknown(entry: Entry, known: set[str]) -> None:
    """Raise DataError where an entry has a field that this version does not know."""
    unknown = [name for name, value in entry.items() if name not in known and value is not None]
    if unknown:
        raise DataError(f"an entry of videos has {', '.join(unknown)}, which is not known to this version")


def _number(entry: Entry, name: str, default: float) -> float:
    """Return a number above 0 of an entry. Null counts as absent, as where rows of several files were joined."""
    value = entry.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not _SMALLEST <= value <= _LARGEST:
        raise DataError(
            f"{name} of an entry of videos is {value!r:.60}, not a number above 0 ({_SMALLEST:g} to {_LARGEST:g})"
        )
    return value


def _size(entry: Entry, height: int, width: int, slots: int, most: int) -> tuple[int, int]:
    """Choose the (H, W) at which an entry shows frames of `height` x `width`.

    Raises DataError where all `slots` together have more than `most` pixels.
    """
    high, wide = _asked_size(entry, height, width, slots)
    if slots * high * wide > most:
        what = f"pixels ({slots} frames of {wide} x {high}, with the entries of its row before it)"
        raise DataError(limits.exceeds(what, limits.CLIP_PIXELS - most + slots * high * wide, "CLIP_PIXELS"))
    return high, wide


def _asked_size(entry: Entry, height: int, width: int, slots: int) -> tuple[int, int]:
    """Choose the same (H, W), by the rules of qwen_vl_utils alone."""
    if entry.get("resized_height") is not None and entry.get("resized_width") is not None:
        height, width = (max(1, round(_number(entry, name, 1))) for name in ("resized_height", "resized_width"))
        _refuse_long(height, width)
        return smart_size(height, width, least=4 * _TOKEN, most=16384 * _TOKEN)
    _refuse_long(height, width)
    least = _number(entry, "min_pixels", _LEAST)
    cap = max(min(_MOST, _number(entry, "total_pixels", _ALL) / slots * 2), int(1.05 * least))
    most = min(_number(entry, "max_pixels", cap), cap)
    if most < least:
        raise DataError(f"max_pixels {most:g} of an entry of videos is below its min_pixels {least:g}")
    return smart_size(height, width, least, most)


def _refuse_long(height: int, width: int) -> None:
    """Raise DataError for a picture that qwen_vl_utils refuses."""
    if max(height, width) > 200 * min(height, width):
        raise DataError(f"a picture of {width} x {height} is too long to be shown")


def _picture(name: str, find: Find) -> Frames:
    """Decode a frame (H, W, 3)."""
    if name.startswith("data:image"):
        label = f"{name[:40]}..."
        data = base64.b64decode(name.partition("base64,")[2])
    else:
        file = find(name)
        label = str(file)
        if (size := file.stat().st_size) > limits.PICTURE_BYTES:
            raise DataError(f"{label}: {limits.exceeds('bytes of a picture', size, 'PICTURE_BYTES')}")
        data = file.read_bytes()
    try:
        shape = picture_size(data)
        if shape is None:
            raise DataError(f"{label} is no picture of a kind that is read: JPEG, PNG, WebP, BMP or PNM")
        if excess := limits.picture_excess(*shape):
            raise DataError(f"{label}: {excess}")
        if data.startswith(b"\xff\xd8"):
            return cast(Frames, simplejpeg.decode_jpeg(data, "RGB"))
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except DataError:
        raise
    except (ValueError, cv2.error) as error:
        raise DataError(f"{label}: damaged: {error}") from error
    if picture is None:
        raise DataError(f"{label} is no picture")
    return cast(Frames, picture)


def _plan(entry: Entry) -> Plan:
    """Make the plan of a video file from the fields of an entry. Raises DataError."""
    _refuse_unknown(entry, _OF_FILES | {"min_frames"})
    exact = entry.get("nframes")
    if exact is not None and entry.get("fps") is not None:
        raise DataError("an entry of videos has both fps and nframes")
    frames = round(_number(entry, "max_frames" if exact is None else "nframes", 768))
    try:
        return Plan(kind="fps", frames=frames, fps=_number(entry, "fps", SAMPLE_FPS) if exact is None else 240)
    except ValidationError as error:
        problem = error.errors()[0]
        raise DataError(f"{problem['loc'][0]} of an entry of videos: {problem['msg']}") from error


@lru_cache(maxsize=4096)
def planned_of(file: AnyPath, plan: Plan) -> Clock:
    """Return the clock of the slots that `plan` takes from a video file. Raises DataError where it cannot be used."""
    try:
        return planned(file, plan)
    except RejectedError as error:
        raise DataError(f"{file}: {error}") from error


class _Fit(FrameConverter):
    """A converter to pictures of the size that the entry asks for."""

    def __init__(self, entry: Entry, slots: int, most: int) -> None:
        super().__init__(0, "keep")
        self._entry = entry
        self._slots = slots
        self._most = most

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (H, W) of the pictures, see `FrameConverter.size`."""
        return _size(self._entry, height, width, self._slots, self._most)


def _from_file(entry: Entry, file: AnyPath, clock: Clock, most: int) -> Clip:
    """Decode the clip of a video file. Raises DataError."""
    try:
        _, _, choice, pictures = pick(file, _plan(entry), _Fit(entry, len(clock), most))
    except RejectedError as error:
        raise DataError(f"{file}: {error}") from error
    if choice.clock != clock:
        raise DataError(f"{file}: its frames are not shown at the times that the file says")
    shown = dict(zip(dict.fromkeys(choice.frames), pictures, strict=True))
    return Clip(np.stack([shown[frame] for frame in choice.frames]), clock)


class FrameFinder:
    """Finds the files that rows name by paths of another machine.

    Args:
        root: the folder below which they are searched.
        anywhere: whether an absolute path is used wherever it leads, and a link that leads out of `root`. Rows could
            name any file of the user, and what they show may be published.
    """

    def __init__(self, root: AnyPath, *, anywhere: bool = False) -> None:
        self.root = root
        self._anywhere = anywhere
        self._inside: dict[AnyPath, bool] = {}

    def __call__(self, name: str) -> AnyPath:
        """Find the file that an absolute path names, else the longest end of the path that exists below the root.

        Raises:
            NotFoundError: no end of the path exists there.
            DataError: `name` is an address or too long, or there is a link at its place that leads out of the root.
        """
        if len(name) > _LONGEST:
            raise DataError(f"{name[:60]}… has {len(name)} characters, too many for the name of a file")
        path = name.removeprefix("file://")
        if "://" in path:
            raise DataError(
                f"{name} is an address; download it, and name its folder with --corpus (train: --data.corpus)"
            )
        if path.startswith("/"):
            file = to_path(path)
            if (self._anywhere or self._is_inside(file)) and file.exists():
                return file
        parts = [part for part in path.split("/") if part not in ("", ".")]
        above = max((k + 1 for k, part in enumerate(parts) if part == ".."), default=0)
        for start in range(above, len(parts)):
            file = self.root.joinpath(*parts[start:])
            if file.exists():
                if self._anywhere or self._is_inside(file):
                    return file
                raise DataError(
                    f"{file} is a link that leads out of {self.root}; --anywhere follows it (train: "
                    "--data.anywhere=true)"
                )
        raise NotFoundError(
            f"{name} does not exist below {self.root}, nor does any end of that path: name the folder where the frames "
            "or videos lie with --corpus (train: --data.corpus), or let absolute paths lead anywhere with --anywhere"
        )

    def _is_inside(self, file: AnyPath) -> bool:
        """Say whether a file is below the root once links are followed, of which an object store has none."""
        if not is_local(file) or not is_local(self.root):
            return not is_local(file)
        folder = file.parent
        if folder not in self._inside:  # frames lie side by side
            self._inside[folder] = lies_in(folder, self.root)
        return self._inside[folder] and (not file.is_symlink() or lies_in(file, self.root))
