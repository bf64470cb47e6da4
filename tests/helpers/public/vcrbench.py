"""VCRBench: orders that count from 0, of three and four clips, of two goals, and one that is no order."""

from __future__ import annotations

from tests.helpers.public import Folder


def write(folder: Folder) -> None:
    """Write the rows; one video is missing."""
    folder.json(
        "data.json",
        [
            {"qid": "1", "goal": "Mend a Sock", "video_file": "video_1.mp4", "ground_truth": [2, 0, 1]},
            {"qid": "2", "goal": "Mend a Sock", "video_file": "video_2.mp4", "ground_truth": [0, 1, 3, 2]},
            {"qid": "3", "goal": "Plant a Bulb", "video_file": "video_3.mp4", "ground_truth": [1, 2, 0]},
            {"qid": "4", "goal": "Plant a Bulb", "video_file": "video_3.mp4", "ground_truth": [1, 2, 3]},
        ],
    )
    folder.video("videos/video_1.mp4", 3.0)
    folder.video("videos/video_2.mp4", 4.0, seed=1)
