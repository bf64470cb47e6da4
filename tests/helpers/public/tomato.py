"""TOMATO: answers from 0, files with `&` in their names, a missing video, and an answer beyond the options."""

from __future__ import annotations

from tests.helpers.public import Folder


def write(folder: Folder) -> None:
    """Write three of the six files."""

    def row(question: str, options: list[str], answer: int, key: str, shown_by: str) -> dict[str, object]:
        return {
            "question": question,
            "demonstration_type": shown_by,
            "variation": {"composite": 0, "counterfactual": 0, "first_person": 0, "zoom": 0},
            "motion_type": "hand",
            "answer": answer,
            "options": options,
            "key": key,
            "note": "",
        }

    folder.json(
        "data/count.json",
        {
            "0": row("How often does the hand wave?", ["1", "2", "3"], 0, "0101-01", "human"),
            "7": row("How often does the lamp blink?", ["0", "2", "4", "5", "6", "8", "9"], 6, "0102-01", "object"),
            "9": row("How often does the bell ring?", ["1", "2"], 2, "0102-01", "object"),
        },
    )
    folder.json(
        "data/shape&trend.json",
        {"0": row("Which shape is drawn?", ["Circle", "Square", "Star"], 1, "0101-01", "human")},
    )
    folder.json(
        "data/visual_cues.json",
        {"3": row("Who speaks last?", ["Left", "Right", "Nobody"], 2, "0501", "simulated")},
    )
    folder.video("videos/human/0101-01.mp4", 3.0)
    folder.video("videos/object/0102-01.mp4", 3.0, seed=1)
