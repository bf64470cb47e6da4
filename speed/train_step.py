"""Prompts a second and peak memory of a GRPO step: ours, ours with sharing off, and TRL's trainer extended to videos.

    make .side/trl/.done
    python speed/train_step.py ../shared/videos/real table
    python speed/train_step.py ../shared/videos/real sweeps

All have the same model with random weights, the same questions about real clips, answers of the same length, no KL, one
prompt a step, float32 and as many threads. Each runs in a process of its own, as a user runs it; it writes a line as
each step ends, and the first step, which warms it up, does not count. They take turns; the figures are medians over all
steps. The tables and the plot are docs/results/train-speed.md. Linux only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import av
import cv2
import matplotlib.pyplot as plt
import numpy as np
import safetensors.torch
import tomli_w
import torch

from videossr.build import recipe
from videossr.build.recipe import Recipe
from videossr.build.run import build
from videossr.models.checkpoint import open_checkpoint
from videossr.models.tiny import make_tiny
from videossr.train.runs import STEPS
from videossr.video.corpus import Corpus
from videossr.video.decode import decode
from videossr.video.index import index
from videossr.video.plan import Plan
from videossr.wording import load_wording

ROOT = Path(__file__).parents[1]
PLOT = ROOT / "docs/results/train-speed.svg"
SIDE = ROOT / ".side/trl/bin/python"

SIDE_PIXELS = 256
SECONDS, RATE = 12, 5
"""Of the clips: at 5 frames a second 48 slots are 48 different frames."""

GROUP, FRAMES, TOKENS = 8, 48, 10
GROUPS, SLOTS, LENGTHS = (2, 4, 8, 16, 32), (8, 16, 32, 48), (6, 10, 24, 64)
ROWS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Way:
    """A contestant: what it is called, and with how many answers in one pass where it takes them row by row."""

    name: str
    rows: int = 1


@dataclass(frozen=True)
class Work:
    """What is to be done: a dataset, answers a prompt, tokens an answer, and optimizer steps behind the first."""

    dataset: Path
    group: int = GROUP
    tokens: int = TOKENS
    steps: int = 2


@dataclass(frozen=True)
class Turn:
    """What one process took: seconds on the wall and of processors for each step, and GiB resident at most."""

    seconds: list[float]
    processor: list[float]
    memory: float


def make_videos(videos: Path, out: Path) -> Path:
    """The middle of real clips, cut square."""
    out.mkdir()
    for path in sorted(videos.iterdir()):
        with av.open(str(path)) as container:
            seconds = (container.duration or 0) / 1e6
        if seconds < 8:
            continue
        frames = decode(path, Plan(frames=SECONDS * RATE, max_pixels=400_000)).frames
        side = min(frames.shape[1:3])
        top, left = ((length - side) // 2 for length in frames.shape[1:3])
        with av.open(str(out / f"{path.stem}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=RATE, options={"crf": "18"})
            stream.width = stream.height = SIDE_PIXELS
            stream.pix_fmt = "yuv420p"
            for frame in frames[:, top : top + side, left : left + side]:
                picture = cv2.resize(np.ascontiguousarray(frame), (SIDE_PIXELS,) * 2, interpolation=cv2.INTER_AREA)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.astype(np.uint8), "rgb24")))
            container.mux(stream.encode())
    return out


def make_questions(clips: Path, out: Path, frames: int) -> Path:
    """A dataset of counting questions."""
    index(clips, out / f"corpus-{frames}", plan=Plan(frames=frames))
    columns: dict[str, Any] = {"counting/easy": {"task": "counting", "count": 8}}
    mixture = recipe.Mixture(Recipe(name="speed", columns=columns), "speed")
    folder = out / f"dataset-{frames}"
    build(mixture, Corpus(out / f"corpus-{frames}"), folder, wording=load_wording())
    return folder


def make_model(folder: Path, tokens: int) -> Path:
    """A model that writes fours and commas, about three fours in so many tokens, and never ends by itself.

    Many such answers name three numbers, some of which are near. From weights that are wholly random all answers would
    be worth nothing, so that a trainer may leave a step out, and those that end early would be less work. Here one
    coordinate of the states is as good as the same wherever the model looks, and the head goes by it.
    """
    make_tiny(folder, width=256, layers=6, vision_layers=4)
    tokenizer = open_checkpoint(str(folder)).tokenizer
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights["model.language_model.embed_tokens.weight"][:, 0] = 300.0
    state = 16.0  # of that coordinate behind the last norm, over 256 of which it is nearly all
    head = weights["lm_head.weight"]
    head *= 0.3
    head[:, 0] = -3.0
    four, comma = tokenizer.convert_tokens_to_ids(["4", ","])
    head[four, 0] = 3.0
    head[comma, 0] = 3.0 + math.log((tokens - 3) / 3) / state
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder
