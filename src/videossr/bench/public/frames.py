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
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import simplejpeg
from av.video.frame import VideoFrame

from videossr.bench.public.base import Footage
from videossr.clock import Clock
from videossr.corpus.jpeg import encode
from videossr.dataset.published.frames import smart_size
from videossr.errors import DataError
from videossr.question import Clip, Frames
from videossr.storage.paths import AnyPath, atomic_write, size_and_stamp
from videossr.video.container import StreamFacts
from videossr.video.conversion import FrameConverter
from videossr.video.decoding import pick, timeline_of
from videossr.video.image_folder import image_folder, image_timeline, pick_images
from videossr.video.plan import FrameChoice, RejectedError, Timeline
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
_FACTS = "facts.json"
_LOCKS: defaultdict[Path, Lock] = defaultdict(Lock)


def default_folder() -> Path:
    """Return the folder of the packs where none is named: `videossr/frames` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "videossr" / "frames"


@dataclass(frozen=True, slots=True)
class _Shown:
    """The frames that a number of frames shows: their clock, and the number of each in the video."""

    clock: Clock
    frames: tuple[int, ...]


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
            kept = self._kept(path).get(budget)
            if kept is not None:
                clock = kept.clock
            else:
                with _named(place):
                    clock = _window(footage, (budget,)).choice(_timeline(place, footage), budget).clock
            self._clocks[path, budget] = clock
        return clock

    def clip(self, place: AnyPath, footage: Footage, budget: int) -> Clip:
        """Return the frames that are shown of a video; they are decoded where no pack has them.

        Raises as `clock`.
        """
        path = self._pack(place, footage)
        with _LOCKS[path]:
            recent = self._recent.get((path, budget))
            if recent is not None:
                return recent
            if path in self._failed:
                raise DataError(self._failed[path])
            shown = self._kept(path).get(budget)
            if shown is None:
                try:
                    shown = self._decode(path, place, footage)[budget]
                except DataError as error:
                    self._failed[path] = str(error)
                    raise
            clip = _read_clip(path, shown)
            self._recent[path, budget] = clip
            while len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
            return clip

    def _pack(self, place: AnyPath, footage: Footage) -> Path:
        """Return the path of the pack of a part of a video. Another version of the video has another one."""
        if footage.fps is None:
            size, stamp = size_and_stamp(place)
        else:
            with _named(place):
                images = image_folder(str(place), place, Fraction(str(footage.fps)))
            size, stamp = images.size, images.stamp
        part = (place.name, size, stamp, *astuple(footage)[1:], FPS, PIXELS, LEAST_PIXELS, QUALITY, _FORMAT)
        name = hashlib.sha256(json.dumps(part).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.zip"

    def _kept(self, path: Path) -> dict[int, _Shown]:
        """Read what a pack shows, by number of frames; nothing where there is none or it is damaged."""
        try:
            with zipfile.ZipFile(path) as pack:
                return _read_facts(json.loads(pack.read(_FACTS)))
        except (FileNotFoundError, zipfile.BadZipFile, KeyError, ValueError, TypeError):
            return {}

    def _decode(self, path: Path, place: AnyPath, footage: Footage) -> dict[int, _Shown]:
        """Decode what all budgets need, those of an earlier pack too, and write the pack."""
        budgets = tuple(sorted({*self.budgets, *self._kept(path)}))
        window = _window(footage, budgets)
        converter = _Converter()
        jpegs: list[bytes] = []

        def use(facts: StreamFacts, frame: VideoFrame) -> None:
            jpegs.extend(encode(converter(facts, frame)[None], QUALITY))

        def begin(_: FrameChoice) -> None:
            jpegs.clear()

        with _named(place):
            if footage.fps is None:
                _, timeline, choice, _ = pick(place, window, use, begin)
            else:
                images = image_folder(str(place), place, Fraction(str(footage.fps)))
                _, timeline, choice, _ = pick_images(images, window, use, begin)
            choices = {budget: window.choice(timeline, budget) for budget in budgets}
        shown = {budget: _Shown(choice.clock, choice.frames) for budget, choice in choices.items()}
        # A decode may contradict the times that the container declares; it counts for the next question.
        self._clocks |= {(path, budget): part.clock for budget, part in shown.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {
            "video": place.name,
            "budgets": {
                budget: {"times_ms": part.clock.times_ms, "end_ms": part.clock.end_ms, "frames": part.frames}
                for budget, part in shown.items()
            },
        }
        with atomic_write(path) as partial, zipfile.ZipFile(partial, "w") as pack:
            pack.writestr(_FACTS, json.dumps(facts))
            for frame, jpeg in zip(dict.fromkeys(choice.frames), jpegs, strict=True):
                pack.writestr(_jpeg(frame), jpeg)
        return shown


class _Converter(FrameConverter):
    """A converter to pictures of the size that the protocol shows."""

    def __init__(self) -> None:
        super().__init__(PIXELS, "map")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (H, W) of the pictures, in multiples of 32 by the rule of qwen_vl_utils."""
        return smart_size(height, width, LEAST_PIXELS, PIXELS)


def _read_clip(path: Path, shown: _Shown) -> Clip:
    """Read the frames of a clip from a pack. Raises DataError where it is damaged."""
    pictures: dict[int, Frames] = {}
    with zipfile.ZipFile(path) as pack:
        for frame in dict.fromkeys(shown.frames):
            try:
                pictures[frame] = simplejpeg.decode_jpeg(pack.read(_jpeg(frame)), "RGB")
            except (KeyError, ValueError, zipfile.BadZipFile) as error:
                raise DataError(f"{path}: damaged ({error}); delete it, and it is made anew") from error
    return Clip(np.stack([pictures[frame] for frame in shown.frames]), shown.clock)


def _jpeg(frame: int) -> str:
    """Return the name of a frame in a pack."""
    return f"{frame:08d}.jpg"


def _window(footage: Footage, budgets: tuple[int, ...]) -> Window:
    return Window(budgets, FPS, footage.start, footage.end, footage.last)


def _timeline(place: AnyPath, footage: Footage) -> Timeline:
    """Return the times of all frames of a video, or of a folder of images."""
    if footage.fps is None:
        return timeline_of(place)
    fps = Fraction(str(footage.fps))
    return image_timeline(image_folder(str(place), place, fps).count, fps)


def _read_facts(facts: Mapping[str, Any]) -> dict[int, _Shown]:
    """Read the facts of a pack. Raises KeyError, TypeError or ValueError where they are none."""
    return {
        int(budget): _Shown(Clock(tuple(part["times_ms"]), part["end_ms"]), tuple(part["frames"]))
        for budget, part in facts["budgets"].items()
    }


@contextmanager
def _named(place: AnyPath) -> Iterator[None]:
    """Raise a rejection as an error that names the video."""
    try:
        yield
    except RejectedError as error:
        raise DataError(f"{place}: {error}") from error
