"""LongVideoBench: 3 and 5 options, an id with `@`, files longer than the part asked about, and a bad place."""

from __future__ import annotations

from tests.helpers.public import Folder


def _row(name: str, video: str, candidates: list[str], right: int, group: int, category: str) -> dict[str, object]:
    return {
        "video_id": video,
        "question": "When a hand holds up a spoon, what lies on the table?",
        "question_wo_referring_query": "What lies on the table?",
        "candidates": candidates,
        "correct_choice": right,
        "position": [12, 34],
        "topic_category": "KC-Knowledge-Cooking",
        "question_category": category,
        "level": "L2-Relation",
        "id": name,
        "video_path": f"{video}.mp4",
        "subtitle_path": f"{video}_en.json",
        "duration_group": group,
        "starting_timestamp_for_subtitles": 0,
        "duration": 2.5,
        "view_count": 7,
    }


def rows() -> list[dict[str, object]]:
    """Return the rows of the JSON file."""
    three, five = ["a cup", "a plate", "a fork"], ["a pan", "a pot", "a jug", "a bowl", "an egg"]
    return [
        _row("spoon_AAAA1_0", "spoon_AAAA1", five, 4, 15, "TOS"),
        _row("spoon_AAAA1_1", "spoon_AAAA1", three, 0, 15, "S2E"),
        _row("@cook-7300000000000000001_0", "@cook-7300000000000000001", five, 1, 3600, "TOS"),
        _row("spoon_BBBB2_0", "spoon_BBBB2", three, 3, 600, "TOS"),
    ]


def write(folder: Folder) -> None:
    """Write four questions about three videos, one of which is missing."""
    folder.json("lvb_val.json", rows())
    folder.video("videos/spoon_AAAA1.mp4")
    folder.video("videos/7300000000000000001.mp4", seed=1)
