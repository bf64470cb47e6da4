"""MVBench: a bounded part, a folder of images, a single candidate, equal candidates, and a missing NTU video."""

from __future__ import annotations

from tests.helpers.public import Folder


def write(folder: Folder) -> None:
    """Write four of the 20 tasks."""
    folder.json(
        "json/action_sequence.json",
        [
            {
                "video": "AB12C.mp4",
                "question": "What happened before the lamp was lit?",
                "candidates": ["Opened a drawer.", "Closed a window.", "Opened a drawer."],
                "answer": "Opened a drawer.",
                "start": 1.0,
                "end": 99.5,
                "accurate_start": 1.2,
                "accurate_end": 3.0,
            },
            {
                "video": "AB12C.mp4",
                "question": "What happened after that?",
                "candidates": ["Sat down.", "Stood up.", "Left."],
                "answer": "Left.",
                "start": 0.0,
                "end": 2.5,
            },
        ],
    )
    folder.video("video/star/Charades_v1_480/AB12C.mp4")
    folder.json(
        "json/episodic_reasoning.json",
        [
            {
                "video": "show_s01e01_clip_00",
                "question": "Why does she laugh?",
                "candidates": ["A joke", "A dog", "A song", "A hat", "A fall"],
                "answer": "A dog",
                "start": 1.0,
                "end": 3.0,
            }
        ],
    )
    folder.images("video/tvqa/frames_fps3_hq/show_s01e01_clip_00", 12)
    folder.json(
        "json/counterfactual_inference.json",
        [
            {
                "video": "video_10001.mp4",
                "question": "Which of these happens without the cube?",
                "candidates": ["Nothing."],
                "answer": "Nothing.",
            }
        ],
    )
    folder.video("video/clevrer/video_validation/video_10001.mp4", seed=1)
    folder.json(
        "json/fine_grained_pose.json",
        [{"video": "S001.avi", "question": "Which pose?", "candidates": ["Bow", "Clap"], "answer": "Clap"}],
    )
