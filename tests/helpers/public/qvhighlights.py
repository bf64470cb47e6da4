"""QVHighlights: three windows, a short one first, no final newline, a clip below 150 s, a row without windows."""

from __future__ import annotations

from tests.helpers.public import Folder


def _row(qid: int, query: str, windows: list[list[int]], duration: int = 150) -> dict[str, object]:
    """Make a row; its clips are of two seconds."""
    clips = [clip for start, end in windows for clip in range(start // 2, end // 2)]
    return {
        "qid": qid,
        "query": query,
        "duration": duration,
        "vid": "harbour_210.0_360.0" if duration == 150 else "market_0.0_126.0",
        "relevant_windows": windows,
        "relevant_clip_ids": clips,
        "saliency_scores": [[1, 2, 3] for _ in clips],
    }


def write(folder: Folder) -> None:
    """Write the validation split, and a test split of one row."""
    broken = _row(14, "A lighthouse at night", [[0, 2]])
    del broken["relevant_windows"]
    folder.json_lines(
        "highlight_val_release.jsonl",
        [
            _row(11, "A crane lifts a red box. ", [[100, 108], [20, 40], [50, 90]]),
            _row(12, "Gulls circle over a ship", [[0, 20]]),
            _row(13, "A baker shows her bread", [[6, 16]], 126),
            broken,
        ],
        end="",
    )
    folder.json_lines("highlight_test_with_gt.jsonl", [_row(21, "A sailor waves", [[2, 8]])], end="")
    folder.video("videos/harbour_210.0_360.0.mp4", 3.0)
    folder.video("videos/market_0.0_126.0.mp4", 3.0, seed=1)
