"""LVBench: names of the downloader, two types, a number as uid, a missing video, a question without options."""

from __future__ import annotations

from tests.helpers.public import Folder

_OPTIONS = "(A) A tent\n(B) A boat\n(C) A cart\n(D) A barn"


def _row(uid: object, question: str, answer: str, *types: str) -> dict[str, object]:
    return {
        "uid": uid,
        "question": question,
        "answer": answer,
        "question_type": list(types),
        "time_reference": "00:15-00:40",
    }


def write(folder: Folder) -> None:
    """Write three videos, of which one lies by its key and one as the downloader names it."""
    folder.json_lines(
        "video_info.meta.jsonl",
        [
            {
                "key": "boat_AAAA-1",
                "type": "cartoon",
                "video_info": {"duration_minutes": 61},
                "qa": [
                    _row("1", f"What do they build first?\n{_OPTIONS}", "B", "entity recognition"),
                    _row(2, f"What burns?\n{_OPTIONS}", "D", "reasoning", "entity recognition"),
                    _row("3", "What is that?", "A", "reasoning"),
                ],
            },
            {"key": "-boat_BBBB2", "qa": [_row("4", f"Where do they hide?\n{_OPTIONS}", "C", "temporal grounding")]},
            {"key": "boat_CCCC-3", "qa": [_row("5", f"Where do they sleep?\n{_OPTIONS}", "A", "summarization")]},
            {"key": "boat_DDDD-4"},
        ],
    )
    folder.parquet(
        "videos/00000.parquet",
        [
            {"key": "000000001", "url": "https://www.youtube.com/watch?v=-boat_BBBB2&t=3", "status": "success"},
            {"key": "000000002", "url": "https://youtu.be/boat_CCCC-3", "status": "failed_to_download"},
        ],
    )
    folder.video("videos/boat_AAAA-1.mp4")
    folder.video("videos/00000/000000001.mp4", seed=1)
