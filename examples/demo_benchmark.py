"""Make a small public benchmark of the videos of `make demo`: the files of Charades-STA, with sentences of our own.

python examples/demo_benchmark.py demo/videos demo/charades
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import av

MOMENTS = (
    ("bikes", 0.0, 4.0, "people ride bicycles through the picture"),
    ("bikes", 4.0, 10.0, "the street is crossed"),
    ("carphone_pristine", 2.0, 6.5, "a man in a car talks into the camera"),
)
"""Name of a video, start and end in seconds, and what happens there."""


def main(videos: Path, folder: Path) -> None:
    """Write the annotations into `folder`, and copy the videos that they are about below it."""
    if not videos.is_dir():
        raise SystemExit(f"{videos} is no folder: make the videos with examples/demo_videos.py")
    moments = [moment for moment in MOMENTS if (videos / f"{moment[0]}.mp4").exists()]
    if not moments:
        raise SystemExit(f"{videos} has none of the videos of the demo: make them with examples/demo_videos.py")
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(moment[0] for moment in moments):
        shutil.copyfile(videos / f"{name}.mp4", folder / "videos" / f"{name}.mp4")
    lines = [f"{name} {start} {end}##{sentence}.\n" for name, start, end, sentence in moments]
    lengths = "".join(f"{path.stem},{length(path)}\n" for path in sorted((folder / "videos").iterdir()))
    (folder / "Charades_v1_test.csv").write_text(f"id,length\n{lengths}", "utf-8")
    (folder / "charades_sta_test.txt").write_text("".join(lines), "utf-8")


def length(video: Path) -> float:
    """Return the length of a video in seconds."""
    with av.open(str(video)) as container:
        return round((container.duration or 0) / av.time_base, 2)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
