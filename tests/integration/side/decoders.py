"""Decode frames with torchcodec and decord, at full size.

Question: {"library", "files": {path: {"indices", "seconds", "whole"}}}; torchcodec is asked for the frames on screen at
`seconds`, decord for the frames of those `indices`. Answer: for each path {"times", "hashes", "whole"}, the last being
a file with the pixels of number `whole` of them, or {"error"}.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def torchcodec(path: str, wanted: dict[str, Any]) -> tuple[list[float], list[np.ndarray]]:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
    batch = decoder.get_frames_played_at(wanted["seconds"])
    return batch.pts_seconds.tolist(), list(batch.data.numpy())


def decord(path: str, wanted: dict[str, Any]) -> tuple[list[float], list[np.ndarray]]:
    from decord import VideoReader

    reader = VideoReader(path, num_threads=1)
    times = reader.get_frame_timestamp(wanted["indices"])[:, 0].tolist()
    return times, list(reader.get_batch(wanted["indices"]).asnumpy())


def main() -> None:
    question = json.load(sys.stdin)
    read = {"torchcodec": torchcodec, "decord": decord}[question["library"]]
    out = Path(sys.argv[1])
    answers = {}
    for path, wanted in question["files"].items():
        try:
            times, pictures = read(path, wanted)
        except Exception as error:
            answers[path] = {"error": f"{type(error).__name__}: {error}"}
            continue
        hashes = [hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest() for picture in pictures]
        whole = out.with_name(f"{len(answers)}.npy")
        np.save(whole, pictures[wanted["whole"]])
        answers[path] = {"times": times, "hashes": hashes, "whole": str(whole)}
    out.write_text(json.dumps(answers), "utf-8")


main()
