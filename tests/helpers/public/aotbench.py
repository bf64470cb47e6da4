"""AoTBench: both layouts, a video with another ending, a request for the letter behind the options, a missing video."""

from __future__ import annotations

from tests.helpers.public import Folder

_REQUEST = "\nName the letter of the option that is right."


def write(folder: Folder) -> None:
    """Write four of the five lists, one of them in the layout of the authors' repository."""

    def row(number: int, video: str, question: str, answer: str) -> dict[str, object]:
        return {"qa_idx": number, "video_name": video, "question": question + _REQUEST, "ans": answer}

    order = "Does time run as it should?\nA. It runs forward.\nB. It runs backward."
    folder.json("data_files/ReverseFilm.json", [row(5, "videos/film_1.mp4", order, "B")])
    folder.json(
        "data/data_files/input/UCF101.json",
        [row(0, "videos/v_Dive_g01.mp4", order, "A"), row(1, "videos/lost.mp4", order, "B")],
    )
    folder.json(
        "data_files/Rtime_t2v.json",
        [row(0, "videos/film_1.mp4", "Which clip shows a door that opens?\nA. The first.\nB. The second.", "A")],
    )
    folder.json(
        "data_files/AoTBench_QA.json",
        [
            row(0, "videos/film_1.mp4", "What happens last?\nA. A fall.\nB. A jump.\nC. A turn.", "C"),
            row(1, "videos/film_1.mp4", "What happens first?\nA. A fall.\nB. A jump.", "D"),
        ],
    )
    folder.video("videos/film_1.mp4", 3.0)
    folder.video("videos/v_Dive_g01.avi", 3.0, seed=1)
