"""ActivityNet Captions: leading blanks, ends behind the video, a sentence twice, three file types, an inverted span."""

from __future__ import annotations

from tests.helpers.public import Folder


def write(folder: Folder) -> None:
    """Write both validation files; the videos are `.mp4` and `.mkv`, and one is missing."""
    folder.json(
        "val_1.json",
        {
            "v_aaaaaaaaaa1": {
                "duration": 3.5,
                "timestamps": [[0.5, 2], [1.25, 3.52], [0, 3.5]],
                "sentences": ["A potter wets the clay.", " She turns the wheel. ", " She turns the wheel."],
            },
            "v_bbbbbbbbbb2": {"duration": 82.73, "timestamps": [[40, 12.5]], "sentences": [" He kneels down."]},
            "v_cccccccccc3": {"duration": 20.0, "timestamps": [[0, 5], [5, 9]], "sentences": ["Snow falls."]},
            "v_dddddddddd4": {"duration": 9.0},
        },
    )
    folder.json(
        "val_2.json", {"v_eeeeeeeeee5": {"duration": 4.0, "timestamps": [[1, 2]], "sentences": [" A kite climbs."]}}
    )
    folder.video("videos/v_aaaaaaaaaa1.mp4", 3.5)
    folder.video("videos/eeeeeeeeee5.mp4", 4.0, seed=1)
