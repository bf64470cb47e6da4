"""CG-Bench: eight choices, equal choices, clues that overlap, a missing video, and a bad letter and clue."""

from __future__ import annotations

from tests.helpers.public import Folder


def _row(
    qid: int, choices: list[str], right: str, clues: list[list[float]], domain: str, task: str
) -> dict[str, object]:
    return {
        "qid": qid,
        "video_uid": "cow_AAAA1" if qid < 30 else "cow_BBBB2",
        "question": f"Which cow eats in scene {qid}?",
        "answer": choices[0],
        "choices": choices,
        "right_answer": right,
        "clue_intervals": clues,
        "domain": domain,
        "sub_category": task,
        "duration": 2741,
    }


def write(folder: Folder) -> None:
    """Write the rows of the subset."""
    cows = ["Ada", "Bea", "Cleo", "Dora", "Elsa", "Flo", "Gina", "Hedy"]
    equal = ["Ada", "Bea", "Ada", "Dora", "Elsa"]
    folder.json(
        "cgbench_mini.json",
        [
            _row(14, cows, "H", [[8, 11]], "Farm", "Event Cognition"),
            _row(15, equal, "C", [[2.5, 3], [0, 1], [0.5, 2]], "Farm", "Text Cognition"),
            _row(31, cows[:6], "B", [[100, 110], [200, 210]], "Town", "Event Cognition"),
            _row(32, equal, "F", [[5, 4]], "Town", "Event Cognition"),
        ],
    )
    folder.video("cg_videos_720p/cow_AAAA1.mp4")
