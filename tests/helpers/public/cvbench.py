"""CVBench: two to four videos, yes and no in three spellings, and each of the odd kinds of options by its number."""

from __future__ import annotations

from tests.helpers.public import Folder


def _row(number: int, task: str, question: str, options: list[str], answer: str, videos: int = 2) -> dict[str, object]:
    """Make a row; its videos lie in one folder."""
    names = [f"7/{letter}.mp4" for letter in "abcd"[:videos]]
    fields = {f"video_{place}": name for place, name in enumerate([*names, None, None, None][:4], 1)}
    return {"id": number, "task_type": task, **fields, "question": question, "options": options, "answer": answer}


def write(folder: Folder) -> None:
    """Write the rows; the last one has no options."""
    recognition, anomaly, counting = (
        "Cross-video Scene Recognition",
        "Cross-video Anomaly Detection",
        "Joint-video Counting",
    )
    broken = _row(999, counting, "How many sheep?", [], "A")
    del broken["options"]
    folder.json(
        "CVBench.json",
        [
            _row(0, counting, "How many ducks?", ["A. One.", "B. Two.", "C. Three.", "D. Four."], "C", 4),
            _row(1, anomaly, "Does it rain in both?", ["Yes.", "No."], "No", 3),
            _row(2, recognition, "Are both on a beach?", ["Yes ", "No"], "Yes"),
            _row(223, recognition, "Are both in a cave?", ["A. Yes.", "B. No."], "B"),
            _row(322, recognition, "Which one is at night?", ["A. Video 1.", "B. Video 2."], "A"),
            _row(386, anomaly, "Which one breaks off?", ["A. Video 1.", "B. Video 2."], "B"),
            _row(431, anomaly, "What falls?", ["A. A cup.", "B. A vase.", "B. A lamp.", "D. A book."], "D"),
            _row(996, counting, "How many bells?", ["A. Two., B. Six., C. Ten., D. None."], "D"),
            broken,
        ],
    )
    for seed, letter in enumerate("abc"):
        folder.video(f"CVBench/7/{letter}.mp4", 3.0, seed=seed)
