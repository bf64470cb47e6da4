"""Decode the frames that public benchmarks show, once, and keep them for the next model and number of frames.

Each part of a video has a pack: a ZIP file, not compressed, with the frames as JPEGs, and with the clock of each number
of frames that was asked for. Exercised by `videossr bench run NAME --data DIR --model chance --out RUN`.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Annotated

import numpy as np
import simplejpeg
from av.video.frame import VideoFrame
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from videossr.bench.public.base import Footage
from videossr.clock import Clock
from videossr.corpus.jpeg import encode
from videossr.dataset.published.frames import smart_size
from videossr.errors import DataError
from videossr.question import Clip
from videossr.storage import limits
from videossr.storage.identifiers import Count
from videossr.storage.parsing import parse_json
from videossr.storage.paths import AnyPath, atomic_write, size_and_stamp
from videossr.video.container import StreamFacts
from videossr.video.conversion import FrameConverter
from videossr.video.decoding import pick, timeline_of
from videossr.video.image_folder import ImageFolder, image_folder, image_timeline, pick_images
from videossr.video.plan import MOST_FRAMES, FrameChoice, RejectedError, Timeline
from videossr.video.window import Window

FPS = 2.0
"""Frames a second (paper, appendix A.2)."""

PIXELS = 512 * 512
"""Height times width of a frame, at most (paper, appendix A.2)."""

LEAST_PIXELS = 128 * 128
"""Height times width of a frame, at least (the released scripts)."""

QUALITY = 95
"""Of the JPEGs: frames are stored at the size at which they are shown."""

_FORMAT = 1
_RECENT = 4
"""Clips that are kept in memory, for the next question about their video: 200 MB at 64 frames of 512 x 512."""
_FACTS_NAME = "facts.json"
_LOCKS: defaultdict[Path, Lock] = defaultdict(Lock)
_MEMORY = Lock()
_DAMAGE = (zipfile.BadZipFile, KeyError, ValueError, RuntimeError)
"""What reading a damaged pack raises: no ZIP, a file that is missing, one that is no JPEG or JSON, or is encrypted."""


def default_folder() -> Path:
    """Return the folder of the packs where none is named: `videossr/frames` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "videossr" / "frames"


class _Shown(TypedDict):
    """What a number of frames shows: times in milliseconds, and the number of each frame in the video."""

    times_ms: tuple[Count, ...]
    end_ms: Count
    frames: tuple[Count, ...]


class _Facts(TypedDict):
    """What a pack says of itself: the name of its video, and what it shows by number of frames."""

    video: str
    budgets: dict[Annotated[int, Field(ge=2, le=MOST_FRAMES)], _Shown]


_FACTS = TypeAdapter(_Facts)


class FrameCache:
    """The packs of a folder.

    Args:
        folder: the folder, which is made when the first pack is written.
        budgets: numbers of frames that will be asked for, at most each; all of them are decoded at once.
    """

    def __init__(self, folder: Path, budgets: tuple[int, ...]) -> None:
        self.folder = folder
        self.budgets = budgets
        # Several questions are about one video, which need be neither tried nor read again.
        self._failed: dict[Path, str] = {}
        self._clocks: dict[tuple[Path, int], Clock] = {}
        self._recent: OrderedDict[tuple[Path, int], Clip] = OrderedDict()

    def clock(self, place: AnyPath, footage: Footage, budget: int) -> Clock:
        """Return the clock of the frames that are shown of a video, without a decode where its container declares it.

        Args:
            place: the video, or a folder of images.
            footage: which part of it.
            budget: number of frames, at most; one of `budgets`.

        Raises:
            DataError: the video cannot be used.
            OSError: it cannot be read.
        """
        path = self._pack(place, footage)
        clock = self._clocks.get((path, budget))
        if clock is None:
            kept = _read_facts(path).get(budget)
            if kept is not None:
                clock = Clock(tuple(kept["times_ms"]), kept["end_ms"])
            else:
                with _named(place):
                    clock = _window(footage, (budget,)).choice(timeline(place, footage), budget).clock
            self._clocks[path, budget] = clock
        return clock

    def clip(self, place: AnyPath, footage: Footage, budget: int) -> Clip:
        """Return the frames that are shown of a video; they are decoded where no pack has them.

        Raises as `clock`.
        """
        path = self._pack(place, footage)
        with _LOCKS[path]:
            clip = self._recall(path, budget)
            if clip is None:
                if path in self._failed:
                    raise DataError(self._failed[path])
                clip = _read_clip(path, budget)
            if clip is None:
                try:
                    clip = self._decode(path, place, footage, budget)
                except DataError as error:
                    self._failed[path] = str(error)
                    raise
            self._remember(path, budget, clip)
            return clip

    def _recall(self, path: Path, budget: int) -> Clip | None:
        """Return a clip that is still in memory."""
        with _MEMORY:
            if (path, budget) in self._recent:
                self._recent.move_to_end((path, budget))
            return self._recent.get((path, budget))

    def _remember(self, path: Path, budget: int, clip: Clip) -> None:
        """Keep a clip in memory, and forget the one that was not asked for the longest."""
        with _MEMORY:
            self._recent[path, budget] = clip
            self._recent.move_to_end((path, budget))
            while len(self._recent) > _RECENT:
                self._recent.popitem(last=False)

    def _pack(self, place: AnyPath, footage: Footage) -> Path:
        """Return the path of the pack of a part of a video. Another version of the video has another one."""
        if footage.fps is None:
            size, stamp = size_and_stamp(place)
        else:
            with _named(place):
                images = _images(place, footage.fps)
            size, stamp = images.size, images.stamp
        part = (place.name, size, stamp, *astuple(footage)[1:], FPS, PIXELS, LEAST_PIXELS, QUALITY, _FORMAT)
        name = hashlib.sha256(json.dumps(part).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.zip"

    def _decode(self, path: Path, place: AnyPath, footage: Footage, budget: int) -> Clip:
        """Decode what all budgets need, those of an earlier pack too, write the pack, and return one clip of it."""
        budgets = tuple(sorted({*self.budgets, budget, *_read_facts(path)}))
        window = _window(footage, budgets)
        converter = _Converter()
        jpegs: list[bytes] = []

        def use(facts: StreamFacts, frame: VideoFrame) -> None:
            jpegs.extend(encode(converter(facts, frame)[None], QUALITY))

        def begin(_: FrameChoice) -> None:
            jpegs.clear()

        with _named(place):
            if footage.fps is None:
                _, timeline, union, _ = pick(place, window, use, begin)
            else:
                images = _images(place, footage.fps)
                _, timeline, union, _ = pick_images(images, window, use, begin)
            choices = {number: window.choice(timeline, number) for number in budgets}
        # A decode may contradict the times that the container declares; it counts for the next question.
        self._clocks |= {(path, number): choice.clock for number, choice in choices.items()}
        by_frame = dict(zip(dict.fromkeys(union.frames), jpegs, strict=True))
        shown = {
            number: _Shown(times_ms=choice.clock.times_ms, end_ms=choice.clock.end_ms, frames=choice.frames)
            for number, choice in choices.items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial, zipfile.ZipFile(partial, "w") as pack:
            pack.writestr(_FACTS_NAME, json.dumps(_Facts(video=place.name, budgets=shown)))
            for frame, jpeg in by_frame.items():
                pack.writestr(_jpeg(frame), jpeg)
        return _clip(shown[budget], by_frame)


class _Converter(FrameConverter):
    """A converter to pictures of the size that the protocol shows."""

    def __init__(self) -> None:
        super().__init__(PIXELS, "map")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (H, W) of the pictures, in multiples of 32 by the rule of qwen_vl_utils."""
        return smart_size(height, width, LEAST_PIXELS, PIXELS)


def _read_facts(path: Path) -> dict[int, _Shown]:
    """Read what a pack shows, by number of frames; nothing where there is none or it is damaged: it is made anew."""
    try:
        with zipfile.ZipFile(path) as pack:
            return _facts(pack)
    except (FileNotFoundError, *_DAMAGE):
        return {}


def _read_clip(path: Path, budget: int) -> Clip | None:
    """Read a clip from a pack; None where there is none or it is damaged: it is made anew."""
    try:
        with zipfile.ZipFile(path) as pack:  # opened once: another process may replace it
            shown = _facts(pack)[budget]
            return _clip(shown, {frame: pack.read(_jpeg(frame)) for frame in dict.fromkeys(shown["frames"])})
    except (FileNotFoundError, *_DAMAGE):
        return None


def _facts(pack: zipfile.ZipFile) -> dict[int, _Shown]:
    """Read what a pack shows. Raises one of `_DAMAGE`."""
    if pack.getinfo(_FACTS_NAME).file_size > limits.JSON_BYTES:
        raise ValueError("the facts of a pack are too long")
    return _FACTS.validate_python(parse_json(pack.read(_FACTS_NAME)), strict=False)["budgets"]


def _clip(shown: _Shown, jpegs: Mapping[int, bytes]) -> Clip:
    """Decode the frames of a clip. Raises ValueError where one is damaged."""
    pictures = {frame: simplejpeg.decode_jpeg(jpegs[frame], "RGB") for frame in dict.fromkeys(shown["frames"])}
    frames = np.stack([pictures[frame] for frame in shown["frames"]])
    return Clip(frames, Clock(tuple(shown["times_ms"]), shown["end_ms"]))


def _jpeg(frame: int) -> str:
    """Return the name of a frame in a pack."""
    return f"{frame:08d}.jpg"


def _window(footage: Footage, budgets: tuple[int, ...]) -> Window:
    return Window(budgets, FPS, footage.start, footage.end, footage.last)


def timeline(place: AnyPath, footage: Footage) -> Timeline:
    """Return the times of all frames of a video, or of a folder of images.

    Raises:
        RejectedError: it cannot be used.
        OSError: it cannot be read.
    """
    if footage.fps is None:
        return timeline_of(place)
    images = _images(place, footage.fps)
    return image_timeline(images.count, images.fps)


def _images(place: AnyPath, fps: float) -> ImageFolder:
    return image_folder(str(place), place, Fraction(str(fps)))


@contextmanager
def _named(place: AnyPath) -> Iterator[None]:
    """Raise a rejection as an error that names the video."""
    try:
        yield
    except RejectedError as error:
        raise DataError(f"{place}: {error}") from error
