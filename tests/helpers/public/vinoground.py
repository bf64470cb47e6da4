"""VinoGround: pairs that are not side by side, both places of a list, no minor category, two of them, a bad index."""

from __future__ import annotations

from tests.helpers.public import Folder


def write(folder: Folder) -> None:
    """Write three pairs; one question of the third cannot be used."""

    def row(name: str, question: str, answer: str, where: str = "vinoground_videos") -> dict[str, object]:
        return {"idx": name, "video_name": f"{where}/{name}.mp4", "question": question, "GT": answer}

    captions = "Which caption fits?\nA. the cup falls before the bell rings\nB. the bell rings before the cup falls"
    clips = "Of which clip is this true: the cup falls before the bell rings?\nA. the first clip\nB. the second clip"
    folder.text(
        "vinoground.csv", "index, major, minor\n0, object, interaction;cyclical\n17, action,\n18, action, contextual\n"
    )
    folder.json(
        "vinoground_textscore.json",
        [
            row("0_pos", captions, "A"),
            row("17_neg", captions, "B"),
            row("0_neg", captions, "B"),
            row("17_pos", captions, "A"),
            row("18_pos", captions, "A"),
            row("18", captions, "B"),
        ],
    )
    concated = "vinoground_videos_concated"
    folder.json(
        f"{concated}/vinoground_videoscore.json",
        [
            row(f"{pair}_{side}", clips, letter, concated)
            for pair in (0, 17)
            for side, letter in (("pos", "A"), ("neg", "B"))
        ],
    )
    folder.video("vinoground_videos/0_pos.mp4", 3.0)
    folder.video("vinoground_videos/0_neg.mp4", 3.0, seed=1)
    folder.video(f"{concated}/0_pos.mp4", 4.0, seed=2)
