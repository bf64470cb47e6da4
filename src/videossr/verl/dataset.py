"""verl's dataset with rows that only refer to samples: the class that `data.custom_cls` names.

Exercised by the script that `videossr export verl` writes. It can be imported only where verl is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, from_numpy
from verl.utils.dataset.rl_dataset import RLHFDataset

from videossr.errors import ConfigError
from videossr.references import CACHE_MB, ClipCache, read_references

PATCH = 16
"""Pixels of a patch's side in Qwen3-VL, whose prompts the rows are made for."""

_CACHE = ClipCache()


class SampleRowsDataset(RLHFDataset):  # type: ignore[misc]  # verl is not there when types are checked
    """Rows of samples and any other rows of verl; the clips of a sample are rendered when a rollout asks for them."""

    @classmethod
    def _process_multi_modal_info(
        cls, messages: Sequence[Mapping[str, Any]], image_patch_size: int, config: Mapping[str, Any]
    ) -> tuple[None, list[tuple[Tensor, dict[str, Any]]], None] | Any:
        """Return images, videos and sounds of a conversation, as verl asks for them in its workers' threads.

        Returns:
            No images; for each clip its frames (T, 3, H, W) uint8 and their times, as frame numbers of a video with
            1000 frames a second; no sounds. For a row without samples what verl's own class returns.

        Raises:
            ConfigError: the model is not of the family that the rows are made for.
            DataError: a sample cannot be rendered.
        """
        references = read_references(messages)
        if not references:
            return super()._process_multi_modal_info(messages, image_patch_size, config)
        if image_patch_size != PATCH:
            raise ConfigError(
                f"the rows are made for Qwen3-VL, whose patches are {PATCH} pixels wide, and data.image_patch_size or "
                f"the model's processor says {image_patch_size}"
            )
        room = int((config.get("videossr") or {}).get("cache_mb", CACHE_MB)) * 2**20
        clips = _CACHE.clips(references, room)
        return (
            None,
            [(from_numpy(clip.frames).permute(0, 3, 1, 2), {**clip.video_metadata}) for clip in clips],
            None,
        )
