"""Video-MME-v2: a group of each form, one that lacks a question, and a chain of an unknown form."""

from __future__ import annotations

from tests.helpers.public import Folder

_OPTIONS = "\n".join(f"{letter}. Door {number}" for number, letter in enumerate("ABCDEFGH", 1))


def _row(video: str, place: int, kind: str, structure: str, level: int, head: str) -> dict[str, object]:
    return {
        "video_id": video,
        "url": f"https://www.youtube.com/watch?v=door_{video}_AA",
        "group_type": kind,
        "group_structure": structure,
        "question_id": f"{video}-{place}",
        "question": f"Which door opens as number {place}?",
        "options": _OPTIONS,
        "answer": "H",
        "level": level,
        "second_head": head,
        "third_head": "Doors",
    }


def write(folder: Folder) -> None:
    """Write four complete groups, one that lacks its second question, and one row of an unknown form."""
    rows = []
    for video, kind, structure, level in (
        ("001", "relevance", "[1,2,3,4]", 1),
        ("002", "logic", "[1,2,3,4]", 2),
        ("003", "logic", "[1,[2,3],4]", 3),
        ("004", "logic", "[[1,2],3,4]", 3),
    ):
        # The last question of a group is of another level than the others.
        rows += [_row(video, place, kind, structure, level if place == 4 else 1, "Time") for place in (2, 1, 3, 4)]
    rows += [_row("005", place, "relevance", "[1,2,3,4]", 2, "Space") for place in (1, 3, 4)]
    rows.append(_row("006", 1, "logic", "[1,2,[3,4]]", 2, "Space"))
    folder.parquet("test.parquet", rows)
    folder.video("001.mp4")
    folder.video("002.mp4", seed=1)
