"""A small published set: frame folders of real clips, and rows in the exact format of the paper's data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg

from videossr.question import Frames
from videossr.tasks.base import Video

ELSEWHERE = "/data/authors/48frames"
"""The folder of the frames in the rows."""

FPS = 1.7
ORDER = [2, 0, 5, 1, 4, 3]
"""The original piece shown as each clip of the jigsaw."""

Row = dict[str, Any]


def row(source: str, prompt: str, videos: list[Any], answer: str, **extra: object) -> Row:
    return {
        "data_source": source,
        "prompt": [{"role": "system", "content": "Say it at once."}, {"role": "user", "content": prompt}],
        "videos": videos,
        "ability": "video_understanding",
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": {"split": "train", "index": 0, "answer": answer, "question": prompt, **extra},
    }


def entry(names: list[str]) -> dict[str, Any]:
    return {"video": names, "sample_fps": FPS, "max_pixels": 65536, "min_pixels": 16384}


def write_frame(folder: Path, name: str, frame: Frames) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(simplejpeg.encode_jpeg(frame, 95, "RGB", "444"))


@pytest.fixture(scope="session")
def frames(clip: Callable[..., Video]) -> Frames:
    """48 frames of a real clip, of a size that is no multiple of anything."""
    return clip("bikes.mp4").frames[:, :150, :262].copy()


@pytest.fixture(scope="session")
def released(frames: Frames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rows/` with one file for each task, and `48frames/` with their frames. Tests must not change it."""
    root = tmp_path_factory.mktemp("released")
    folder = root / "48frames/academic/v1"
    for number, frame in enumerate(frames):
        write_frame(folder, f"{number}.jpg", frame)
    for number in range(10, 20):
        write_frame(folder, f"{number}_mirror.jpg", frames[number][:, ::-1].copy())
    for name, number in (("circle3", 5), ("circle1", 20), ("square2", 30), ("triangle4", 40)):
        write_frame(folder, f"{number}_{name}.jpg", cv2.circle(frames[number].copy(), (60, 60), 20, (250, 60, 60), -1))

    def frame_path(number: int, suffix: str = "") -> str:
        return f"{ELSEWHERE}/academic/v1/{number}{suffix}.jpg"

    plain = [frame_path(number) for number in range(48)]
    mirrored = [frame_path(number, "_mirror" if 10 <= number < 20 else "") for number in range(48)]
    shuffled = [frame_path(number) for number in (*range(20), 23, 21, 20, 22, *range(24, 48))]
    suffixes = {5: "_circle3", 20: "_circle1", 30: "_square2"}
    pieces = [entry(plain[8 * piece : 8 * piece + 8]) for piece in ORDER]
    shared_fields = {"video_id": "academic/v1", "sampling_fps": FPS}
    grounding_prompt, counting_prompt = "<video>\nWhen is it altered?", "<video>\nHow many?"
    jigsaw_prompt = "\n".join(f"Clip {number}: <video>" for number in range(1, 7)) + "\nWhich order?"
    files = {
        "mirror": [
            row(
                "grounding",
                grounding_prompt,
                [entry(mirrored)],
                "5.9-11.8",
                **shared_fields,
                perturbation_type="Mirror",
            ),
            row("grounding", grounding_prompt, [entry(mirrored)], "5.9-11.8", **shared_fields, perturbation_type=None),
        ],
        "shuffle": [
            row(
                "grounding",
                grounding_prompt,
                [entry(shuffled)],
                "11.8-14.1",
                **shared_fields,
                perturbation_type="StutterHold",
            )
        ],
        "counting": [
            row(
                "counting",
                counting_prompt,
                [entry([frame_path(number, suffixes.get(number, "")) for number in range(48)])],
                "4,2,0",
            ),
            row(
                "counting",
                counting_prompt,
                [entry([frame_path(number, {40: "_triangle4"}.get(number, "")) for number in range(48)])],
                "0,0,4",
            ),
            row("counting", counting_prompt, [entry(plain)], "0,0,0"),
        ],
        "jigsaw6": [row("shuffled", jigsaw_prompt, pieces, "241653", **shared_fields)],
    }
    (root / "rows").mkdir()
    for name, rows in files.items():
        pq.write_table(pa.Table.from_pylist(rows), root / "rows" / f"{name}.parquet")
    return root


def write_json(path: Path, rows: list[Any]) -> Path:
    path.write_text(json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows))
    return path
