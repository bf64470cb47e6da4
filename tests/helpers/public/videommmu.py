"""VideoMMMU: nested rows, 14 options, options with letters, an open row, one of no type, and a track from the hub."""

from __future__ import annotations

from tests.helpers.public import Folder


def _row(name: str, options: list[str], answer: str, **more: object) -> dict[str, object]:
    return {
        "id": name,
        "link_selected": "https://www.youtube.com/watch?v=bees_AAAA-1",
        "question": "<image 1> Which hive is it?",
        "options": options,
        "answer": answer,
        **more,
    }


def write(folder: Folder) -> None:
    """Write two tracks as on GitHub and one as on the hub."""
    hives = [f"hive {number}" for number in range(1, 15)]
    folder.json(
        "data/perception_video.json",
        {
            "Perception": {
                "0": _row("validation_Math_15", hives, "N"),
                "1": _row("dev_Art_Theory_2", ["A. oak", "B. elm", "C. fir", "D. ash"], "B"),
                "2": _row("new_Astrology_1", hives, "A"),
            }
        },
    )
    folder.parquet(
        "Comprehension/test-00000-of-00001.parquet",
        [_row("validation_Math_15", hives[:4], "C", question_type="comprehension")],
    )
    folder.json(
        "data/adaptation_video.json",
        {
            "Adaptation": {
                "0": _row("test_Clinical_Medicine_9", hives[:10], "J", question_type="multiple-choice"),
                "1": _row("validation_Math_15", [], "3.5", question_type="open"),
                "2": _row("validation_Math_16", hives[:10], "B", question_type="None"),
                "3": _row("validation_Math_17", hives[:10], "B", question_type=None),
            }
        },
    )
    folder.video("Science/validation_Math_15.mp4")
    folder.video("Medicine/test_Clinical_Medicine_9.mp4", 3.0, seed=1)
    folder.video("question_only/test_Clinical_Medicine_9_image.mp4", 3.0, seed=2)
