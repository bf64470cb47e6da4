"""From frames to the patches that Qwen's vision towers read, and the numbers of a checkpoint that decide them.

Exercised by `videossr bench run BENCH --model hf:CHECKPOINT --out RUN`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.errors import DataError
from videossr.question import Frames

PAIR = 2
"""Frames that the vision tower merges into one (temporal patch size)."""


@dataclass(frozen=True, slots=True)
class Vision:
    """How a checkpoint's vision tower cuts a clip up.

    Attributes:
        patch: side of a patch, in pixels.
        merge: patches a side that become one token.
        mean, deviation: of the three channels in [0, 1], by which its input is normalised.
    """

    patch: int
    merge: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    @property
    def side(self) -> int:
        """Pixels a side of one token: both sides of a frame are multiples of it."""
        return self.patch * self.merge

    def grid(self, frames: Frames) -> tuple[int, int, int]:
        """Patches of a clip in time, height and width. An odd last frame is paired with itself."""
        count, height, width = frames.shape[:3]
        return -(-count // PAIR), height // self.patch, width // self.patch

    def all_patches(self, clips: Sequence[Frames]) -> NDArray[np.uint8]:
        """The patches of one or more clips, one after the other."""
        found = [self.patches(frames) for frames in clips]
        return found[0] if len(found) == 1 else np.concatenate(found)  # a clip is not copied for nothing

    def patches(self, frames: Frames) -> NDArray[np.uint8]:
        """The patches (N, 3 * 2 * patch * patch) of frames whose sides are multiples of `side`.

        They are ordered by pair of frames, then by token in rows, then within the token in rows. Within a patch the
        channel comes first, then the frame of the pair, then the rows of pixels.

        Raises ValueError for other sizes.
        """
        height, width = frames.shape[1:3]
        if height % self.side or width % self.side:
            raise DataError(f"frames of {width}x{height} pixels: both sides must be multiples of {self.side}")
        pairs, rows, columns = self.grid(frames)
        size, merge = self.patch, self.merge
        blocks = np.empty((pairs, rows // merge, columns // merge, merge, merge, 3, PAIR, size, size), np.uint8)
        # One row of pixels of a patch is moved as one item: this takes a third of the time of a transpose by bytes.
        item = np.dtype((np.void, size))
        lines = blocks.view(item)[..., 0]
        for slot in range(pairs * PAIR):
            frame = frames[min(slot, len(frames) - 1)]
            for channel, plane in enumerate(cv2.split(frame)):
                cut = plane.view(item).reshape(rows // merge, merge, size, columns // merge, merge)
                lines[slot // PAIR, ..., channel, slot % PAIR, :] = cut.transpose(0, 3, 1, 4, 2)
        return blocks.reshape(-1, 3 * PAIR * size * size)


def vision(config: Mapping[str, Any]) -> Vision:
    """What a configuration, as `videossr.prompt.builder` takes it, tells of the tower. Raises ValueError."""
    try:
        tower = config["vision_config"]
        pair, patch, merge = (int(tower[k]) for k in ("temporal_patch_size", "patch_size", "spatial_merge_size"))
        mean, deviation = (_channels(config[name]) for name in ("image_mean", "image_std"))
    except KeyError as error:
        raise DataError(f"the checkpoint's configuration has no {error}") from None
    except (TypeError, ValueError) as error:
        raise DataError(f"the checkpoint's configuration is damaged: {error}") from None
    if pair != PAIR or patch < 1 or merge < 1:
        raise DataError(f"a vision tower with patches of {pair} frames, {patch} pixels, merged by {merge}: not known")
    return Vision(patch, merge, mean, deviation)


def _channels(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
