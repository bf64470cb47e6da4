"""TVBench (Cores et al., 2024): 10 tasks of multiple choice that single frames and texts do not solve.

Its files have the form of those of MVBench, with the videos of each task in a folder of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from videossr.bench.public.base import Facts
from videossr.bench.public.general.mvbench import MVBench

TASKS = (
    "action_count",
    "object_count",
    "action_sequence",
    "object_shuffle",
    "scene_transition",
    "action_localization",
    "action_antonym",
    "unexpected_action",
    "egocentric_sequence",
    "moving_direction",
)


class TVBench(MVBench):
    """TVBench; clips of action_sequence and action_localization are cut by `start` and `end`."""

    roots: ClassVar[Mapping[str, str]] = {task: task for task in TASKS}
    facts = Facts(
        title="TVBench",
        domain="general",
        questions=None,
        videos=None,
        metric="mean accuracy of the 10 tasks",
        licence="CC BY 4.0",
        source="https://huggingface.co/datasets/FunAILab/TVBench",
        layout="json/<task>.json\nvideo/<task>/<video>, with the zip files unpacked in place",
    )
