"""Video-TT: options inside the question, five options, an open row, a missing video, and a row without options."""

from __future__ import annotations

from tests.helpers.public import Folder

_CHOICES = "\nA. A moth\nB. A bat\nC. A leaf\nD. A hat"
_ASK = "Choose the letter that fits."


def _row(qid: str, video: str, capability: str, question: str, answer: str) -> dict[str, object]:
    return {
        "qid": qid,
        "video_id": video,
        "question_type": "Multiple Choice" if len(answer) == 1 else "Open-ended",
        "capability": capability,
        "question": question,
        "duration": "41.5",
        "question_prompt": _ASK if len(answer) == 1 else "Say it in a sentence.",
        "answer": answer,
        "youtube_url": f"https://www.youtube.com/shorts/{video}",
    }


def write(folder: Folder) -> None:
    """Write three questions of multiple choice, an open one and a damaged one."""
    folder.parquet(
        "data/test-00000-of-00001.parquet",
        [
            _row("0001-1", "moth_AAAA-1", "Element Counting", f"What flies by?{_CHOICES}", "B"),
            _row("0001-2", "moth_AAAA-1", "Element Counting", "What flies by?", "A bat does."),
            _row("0002-1", "moth_BBBB-2", "Plot Attribute", f"What falls down?{_CHOICES}\nE. A lamp", "E"),
            _row("0003-1", "moth_CCCC-3", "Plot Attribute", f"What sits there?{_CHOICES}", "A"),
            _row("0004-1", "moth_CCCC-3", "Plot Attribute", "What sits there?", "A"),
        ],
    )
    folder.video("Benchmark-AllVideos-LQ/moth_AAAA-1.mp4")
    folder.video("Benchmark-AllVideos-LQ/moth_BBBB-2.mp4", seed=1)
