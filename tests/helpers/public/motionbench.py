"""MotionBench: hidden answers, a single option, brackets, a missing video, a line without questions, a wrong letter."""

from __future__ import annotations

from tests.helpers.public import Folder


def write(folder: Folder) -> None:
    """Write five videos."""

    def line(key: str, kind: str, *questions: dict[str, object], path: str = "") -> dict[str, object]:
        return {
            "key": key,
            "video_path": path or f"{key}.mp4",
            "video_type": "public",
            "question_type": kind,
            "video_info": {"fps": 10.0, "duration": 3.0},
            "qa": list(questions),
        }

    folder.json_lines(
        "video_info.meta.jsonl",
        [
            line(
                "m1",
                "Action Order",
                {"uid": "u1", "question": "What comes first?\nA. a nod\nB. a jump\nC. a bow", "answer": "B"},
                {"uid": "u2", "question": "What comes last?\nA. a nod\nB. a jump", "answer": "NA"},
            ),
            line("m2", "Repetition Count", {"uid": 33, "question": "How often?\n(A) once\n(B) twice", "answer": "A"}),
            line("ha_58_59", "Camera Motion", {"uid": "u4", "question": "What moves?\nA. the camera", "answer": "A"}),
            line("m4", "Camera Motion", {"uid": "u5", "question": "Where to?\nA. left\nB. right", "answer": "C"}),
            {"key": "m5", "video_path": "m5.mp4", "question_type": "Camera Motion"},
        ],
        end="",
    )
    folder.video("MotionBench/self-collected/m1.mp4", 3.0)
    folder.video("MotionBench/public-dataset/ha_58_59.mp4", 3.0, seed=1)
