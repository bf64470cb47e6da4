"""Charades-STA: gold that ends, and gold that starts, behind the video, a video without length, a damaged line."""

from __future__ import annotations

from tests.helpers.public import Folder


def write(folder: Folder) -> None:
    """Write the text file and the table of lengths."""
    folder.text(
        "charades_sta_test.txt",
        "ABC12 0.5 2.0##a person waters the plants.\n"
        "ABC12 1.0 5.0##person closes the curtain # twice.\n"
        "\n"
        "ABC12 nine 5.0##a person sneezes.\n"
        "ABC12 8.0 9.5##person stands up.\n"
        "XYZ98 0.0 4.0##a person folds a towel.\n"
        "XYZ98 4.0 1.0##a person laughs.\n",
    )
    folder.text(
        "Charades_v1_test.csv",
        'id,subject,scene,script,length\nABC12,S1,Kitchen,"Waters, then closes.",3.00\nOTHER,S2,Hall,None.,10.5\n',
    )
    folder.video("Charades_v1_480/ABC12.mp4", 3.0)
    folder.video("Charades_v1_480/XYZ98.mp4", 4.0, seed=1)
