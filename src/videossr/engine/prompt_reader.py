"""Read prompts one after the other, and a video that several of them show in a row only once.

Public benchmarks ask several questions about one video. Their prompts begin alike, with the frames, and differ in the
text behind them. What the beginning of a prompt is for a causal model depends on nothing that follows, so the states of
the last prompt are those of the next one up to where they differ.
"""

from __future__ import annotations

import numpy as np
import torch

from videossr.engine.checkpoint import prompt_inputs, text_inputs
from videossr.engine.model import VisionLanguageModel, has_delta_nets
from videossr.engine.shared_prefix import SHARED, SharedPrefix, continue_prefix, read_prefix
from videossr.prompt.base import Prompt


class PromptReader:
    """Reads prompts for one model.

    Attributes:
        continued: number of prompts of which the frames were not read again.
    """

    def __init__(self, model: VisionLanguageModel, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._can_continue = model.config.model_type in SHARED and not has_delta_nets(model)
        self._last: tuple[Prompt, SharedPrefix] | None = None
        self.continued = 0

    def read(self, prompt: Prompt) -> SharedPrefix:
        """Read a prompt. It is the same as reading it alone, up to rounding."""
        shared = common_length(self._last[0], prompt) if self._last else 0
        if self._last and shared:
            prefix = continue_prefix(self._model, text_inputs(prompt, self._device), self._last[1], shared)
            self.continued += 1
        else:
            self.forget()  # before the next one is read: two long prompts may not fit side by side
            prefix = read_prefix(self._model, prompt_inputs(prompt, self._device, self._model.dtype))
        self._last = (prompt, prefix) if self._can_continue else None
        return prefix

    def forget(self) -> bool:
        """Free what the last prompt left; return whether there was anything."""
        had = self._last is not None
        self._last = None
        return had


def common_length(first: Prompt, second: Prompt) -> int:
    """Return how many tokens two prompts have in common at their beginning; 0 where frames are behind these tokens.

    At least one token of the second prompt is left to be read, since its scores are those of the answer.
    """
    length = min(len(first.ids), len(second.ids) - 1)
    differs = np.flatnonzero(first.ids[:length] != second.ids[:length])
    shared = int(differs[0]) if len(differs) else length
    if not shared or first.kinds[shared:].any() or second.kinds[shared:].any():
        return 0
    same_grids = np.array_equal(first.grids, second.grids)
    same_places = np.array_equal(first.positions[:, :shared], second.positions[:, :shared])
    return shared if same_grids and same_places and np.array_equal(first.patches, second.patches) else 0
