"""TVBench: a bounded part, tasks of unequal size, a missing video, and a row whose answer is no candidate."""

from __future__ import annotations

from tests.helpers.public import Folder


def write(folder: Folder) -> None:
    """Write three of the 10 tasks."""
    folder.json(
        "json/action_sequence.json",
        [
            {
                "video": "QX7.mp4",
                "question": "What does the person do first?",
                "candidates": ["Folds a towel.", "Rings a bell."],
                "answer": "Rings a bell.",
                "start": 0.5,
                "end": 2.5,
            }
        ],
    )
    folder.video("video/action_sequence/QX7.mp4", 3.0)
    folder.json(
        "json/moving_direction.json",
        [
            {
                "video": "v1.mp4",
                "question": "Where does the green ball roll?",
                "candidates": ["Up.", "Down.", "Left.", "Right."],
                "answer": "Left.",
            },
            {
                "video": "v1.mp4",
                "question": "Where does the gray cube slide?",
                "candidates": ["Up.", "Down.", "Left.", "Right."],
                "answer": "Up.",
            },
            {
                "video": "v1.mp4",
                "question": "Where does the red ring go?",
                "candidates": ["Up.", "Down."],
                "answer": "Away.",
            },
        ],
    )
    folder.video("video/moving_direction/v1.mp4", 3.0, seed=1)
    folder.json(
        "json/unexpected_action.json",
        [
            {
                "video": "H_1.mp4",
                "question": "When is it funny?",
                "candidates": ["In the beginning.", "In the end."],
                "answer": "In the end.",
            }
        ],
    )
