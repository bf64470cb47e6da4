"""Name the settings in which a run that resumes may differ from how it was begun.

Torch-free. Both trainers compare the configuration that they are given with the one in the folder of the run.
"""

from __future__ import annotations

import re
from typing import Any

from videossr.config import flatten, plain
from videossr.training.config import TrainConfig

FREE = (
    "data.threads",
    "data.ahead_mb",
    "run.sharding",
    "run.recompute",
    "run.offload_activations",
    "run.decode_groups",
    "run.rows",
    "run.device",
    "run.memory_gib",
    "run.peak_tflops",
    "log.",
)
"""Settings that may change when a run resumes: how the same is computed, and what is logged."""

PLACES = re.compile(r"data\.(sets\.[^.]+\.)?(path|corpus|anywhere)")
"""Settings that may change too: where files lie. The hash of the questions must be the same."""

LENGTH = {"run.steps", "run.epochs"}
"""Settings that may change too where the learning rate is constant: the run ends sooner or later, no step differs."""


def decisive(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that must be the same for a run to go on, by dotted names."""
    return {
        name: value
        for name, value in flatten(plain(config)).items()
        if not name.startswith(FREE) and not PLACES.fullmatch(name)
    }
