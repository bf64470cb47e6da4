"""TempCompass: three label styles, several questions of a clip, a missing video, and a question without an answer."""

from __future__ import annotations

from tests.helpers.public import Folder

_MATCHING = "Which one tells what the clip shows?"
_CHOICE = "What does the wheel do?\nA. it turns left\nB. it turns right\nC. it stands still"


def write(folder: Folder) -> None:
    """Write three formats as the authors' repository has them."""
    folder.json(
        "questions/multi-choice.json",
        {
            "41": {
                "direction": [
                    {"question": _CHOICE, "answer": "A. it turns left"},
                    {"question": "Which way is it?\nA. up\nB. down", "answer": "B. down"},
                ],
                "speed": [{"question": _CHOICE}],
            },
            "41_reverse": {"direction": [{"question": _CHOICE, "answer": "B. it turns right"}]},
        },
    )
    folder.json(
        "questions/yes_no.json",
        {
            "41": {"direction": [{"question": "Does the wheel turn left?", "answer": "yes"}]},
            "7_concat_0": {"order": [{"question": "Does it open before it shuts?", "answer": "no"}]},
        },
    )
    folder.json(
        "questions/caption_matching.json",
        {
            "41": {
                "direction": [
                    {
                        "question": f"{_MATCHING}\nOption 1: A wheel turns left.\nOption 2: A wheel turns right.",
                        "answer": "Option 1: A wheel turns left.",
                    },
                    {
                        "question": f"{_MATCHING}\nSentence A: A wheel turns right.\nSentence B: A wheel turns left.",
                        "answer": "Sentence B: A wheel turns left.",
                    },
                    {
                        "question": f"{_MATCHING}\nCaption A: A wheel turns left.\nCaption B: A wheel turns right.",
                        "answer": "Caption A: A wheel turns left.",
                    },
                ]
            }
        },
    )
    folder.video("videos/41.mp4", 3.0)
    folder.video("videos/41_reverse.mp4", 3.0, seed=1)


def write_hub(folder: Folder) -> None:
    """Write one format as the hub has it."""
    folder.parquet(
        "multi-choice/test-00000-of-00001.parquet",
        [
            {"video_id": "41", "question": _CHOICE, "answer": "A. it turns left", "dim": "direction"},
            {"video_id": "41_reverse", "question": _CHOICE, "answer": "B. it turns right", "dim": "direction"},
            {"video_id": "41", "question": "Which way is it?\nA. up\nB. down", "answer": "B. down", "dim": "direction"},
        ],
    )
