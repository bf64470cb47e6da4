"""MVTamperBench: an original clip and three tampered ones, bounds that do not apply, and a row without its kind."""

from __future__ import annotations

from tests.helpers.public import Folder

_QUESTION = "Was anything in this clip changed after it was filmed?"


def write(folder: Folder) -> None:
    """Write two of the 19 tasks."""

    def row(video: str, answer: str, **more: object) -> dict[str, object]:
        return {"video": video, "question": _QUESTION, "candidates": ["Yes", "No"], "answer": answer, **more}

    folder.json(
        "json/action_sequence.json",
        [
            row("PL3.mp4", "No", tamper_type="original", start=2.0, end=9.0),
            row("PL3_dropping.mp4", "Yes", tamper_type="dropping", start=2.0, end=9.0),
            row("PL3_masking.mp4", "Yes", tamper_type="masking", start=None, end=None),
            row("PL3_rotation.mp4", "Yes"),
        ],
    )
    folder.json(
        "json/episodic_reasoning.json",
        [
            row("show_s01e02_clip_01.mp4", "No", tamper_type="original"),
            row("show_s01e02_clip_01_dropping.mp4", "Yes", tamper_type="dropping"),
        ],
    )
    folder.video("video/star/Charades_v1_480/PL3.mp4", 3.0)
    folder.video("video/star/Charades_v1_480/PL3_dropping.mp4", 3.0, seed=1)
    folder.video("video/tvqa/frames_fps3/show_s01e02_clip_01.mp4", 3.0, seed=2)
