"""Load an exported folder with datasets, and decode its clips with torchcodec.

Question: {"folder", "split", "out", "block"}: the folder, the split that it has, a folder for frames, and the code of
its card. Answer: the features of the loaded dataset, the number of rows that `load_dataset(folder)` finds, for each row
its columns with `clips`, the times of all frames of each file in seconds, and what the code of the card makes of the
first row. The frames of clip c of row r are in `out/r-c.npy`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np

MODULE = "videofolder"


def main() -> None:
    question = json.load(sys.stdin)
    out = Path(question["out"])
    rows = datasets.load_dataset(MODULE, data_dir=question["folder"], split=question["split"])
    answers: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        clips = []
        for clip, decoder in enumerate(row.pop("videos")):
            frames = decoder.get_frames_in_range(0, decoder.metadata.num_frames)
            np.save(out / f"{number}-{clip}.npy", frames.data.permute(0, 2, 3, 1).numpy())
            clips.append(frames.pts_seconds.tolist())
        answers.append({**row, "clips": clips})
    found = datasets.load_dataset(question["folder"])
    os.chdir(question["folder"])
    names: dict[str, Any] = {}
    exec(question["block"], names)
    answer = {
        "features": {name: str(feature) for name, feature in rows.features.items()},
        "found": {split: len(part) for split, part in found.items()},
        "rows": answers,
        "card": {
            "clips": [list(clip.shape) for clip in names["clips"]],
            "types": sorted({str(clip.dtype) for clip in names["clips"]}),
            "metadata": names["metadata"],
        },
    }
    Path(sys.argv[1]).write_text(json.dumps(answer), "utf-8")


main()
