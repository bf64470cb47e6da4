"""Patches of frames as Qwen's vision towers read them, and the settings of a checkpoint that determine them.

The builders of the model families call it.
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
    """The way in which a checkpoint's vision tower divides a clip into patches.

    Attributes:
        patch: side of a patch, in pixels.
        merge: patches a side that become one token.
        mean: of the three channels in [0, 1], which is subtracted from its input.
        deviation: of the three channels in [0, 1], by which the difference is divided.
    """

    patch: int
    merge: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    @property
    def side(self) -> int:
        """Pixels a side of one token; both sides of a frame are multiples of it."""
        return self.patch * self.merge

    def grid(self, frames: Frames) -> tuple[int, int, int]:
        """Count the patches of a clip in time, height and width. An odd last frame is paired with itself."""
        count, height, width = frames.shape[:3]
        return -(-count // PAIR), height // self.patch, width // self.patch

    def all_patches(self, clips: Sequence[Frames]) -> NDArray[np.uint8]:
        """Divide one or more clips into patches, one clip after the other, see `patches`."""
        by_clip = [self.patches(frames) for frames in clips]
        return by_clip[0] if len(by_clip) == 1 else np.concatenate(by_clip)  # a single clip is not copied

    def patches(self, frames: Frames) -> NDArray[np.uint8]:
        """Divide frames into patches.

        They are ordered by pair of frames, then by token in rows, then within the token in rows. Within a patch the
        channel comes first, then the frame of the pair, then the rows of pixels.

        Args:
            frames: (T, H, W, 3), whose sides are multiples of `side`.

        Returns:
            (N, 3 * 2 * patch * patch) uint8.

        Raises:
            DataError: the frames have another size.
        """
        height, width = frames.shape[1:3]
        if height % self.side or width % self.side:
            raise DataError(f"frames of {width}x{height} pixels: both sides must be multiples of {self.side}")
        pairs, rows, columns = self.grid(frames)
        size = self.patch
        merge = self.merge
        blocks = np.empty((pairs, rows // merge, columns // merge, merge, merge, 3, PAIR, size, size), np.uint8)
        # One row of pixels of a patch is moved as one item: this takes a third of the time of a transpose by bytes.
        item = np.dtype((np.void, size))
        lines = blocks.view(item)[..., 0]
        for slot in range(pairs * PAIR):
            frame = frames[min(slot, len(frames) - 1)]
            for channel, plane in enumerate(cv2.split(frame)):
                tiles = plane.view(item).reshape(rows // merge, merge, size, columns // merge, merge)
                lines[slot // PAIR, ..., channel, slot % PAIR, :] = tiles.transpose(0, 3, 1, 4, 2)
        return blocks.reshape(-1, 3 * PAIR * size * size)


def vision(config: Mapping[str, Any]) -> Vision:
    """Read the settings of the vision tower from a configuration.

    Args:
        config: as `videossr.prompt.checkpoint_config` reads it.

    Raises:
        DataError: a setting is missing or not supported.
    """
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
