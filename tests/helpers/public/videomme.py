"""Video-MME: both columns of ids, a video with another ending, one that is missing, and a right letter of no option."""

from __future__ import annotations

from tests.helpers.public import Folder


def _row(number: str, place: int, video: str, length: str, domain: str, task: str, answer: str) -> dict[str, object]:
    return {
        "video_id": number,
        "duration": length,
        "domain": domain,
        "sub_category": "Kites",
        "url": f"https://www.youtube.com/watch?v={video}",
        "videoID": video,
        "question_id": f"{number}-{place}",
        "task_type": task,
        "question": f"Which kite is number {place}?",
        "options": ["A. The red one.", "B. A blue one.", "C. The long one.", "D. None of them."],
        "answer": answer,
    }


def write(folder: Folder) -> None:
    """Write five questions about three videos."""
    folder.parquet(
        "videomme/test-00000-of-00001.parquet",
        [
            _row("001", 1, "kite_AAAA-1", "short", "Knowledge", "Counting Problem", "B"),
            _row("001", 2, "kite_AAAA-1", "short", "Knowledge", "OCR Problems", "C"),
            _row("301", 1, "kite_BBBB-2", "medium", "Sports", "OCR Problems", "A"),
            _row("601", 1, "kite_CCCC-3", "long", "Sports", "OCR Problems", "D"),
            _row("601", 2, "kite_CCCC-3", "long", "Sports", "OCR Problems", "E"),
        ],
    )
    folder.video("data/kite_AAAA-1.mp4")
    folder.video("data/kite_BBBB-2.mkv", seed=1)
