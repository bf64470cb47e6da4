"""TACoS: frame numbers, a row that repeats another, an end behind the video, a video without frame rate."""

from __future__ import annotations

from tests.helpers.public import Folder


def write(folder: Folder) -> None:
    """Write the copy in frame numbers; `write_seconds` writes the other one."""
    folder.json(
        "test.json",
        {
            "s90-d01.avi": {
                "timestamps": [[20, 50], [20, 50], [70, 130]],
                "sentences": ["He peels an onion.", "He peels an onion.", " The  person rinses the knife."],
                "fps": 20.0,
                "num_frames": 80,
            },
            "s91-d02.avi": {"timestamps": [[1, 2]], "sentences": ["She opens a drawer."], "num_frames": 60},
            "s92-d03.avi": {"timestamps": [[1, 2]], "sentences": ["She opens a jar."], "num_frames": 60, "fps": 0},
        },
    )
    folder.video("videos/s90-d01.avi", 4.0)


def write_seconds(folder: Folder) -> None:
    """Write the copy in seconds, without the other one."""
    folder.json_lines(
        "tacos_test_release.jsonl",
        [
            {
                "qid": f"s90-d01_{number}",
                "query": query,
                "duration": 4.0,
                "vid": "s90-d01",
                "relevant_windows": [window],
            }
            for number, (query, window) in enumerate(
                [("He peels an onion.", [1.0, 2.5]), ("He peels an onion.", [1.0, 2.5])]
            )
        ],
    )
    folder.video("videos/s90-d01-cam-002.mp4", 4.0)
