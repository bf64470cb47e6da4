"""TimeLens-Bench: three sets, one of which has two queries of a video, and a query without a span."""

from __future__ import annotations

from tests.helpers.public import Folder


def write(folder: Folder) -> None:
    """Write the three sets; the video of one is missing."""
    folder.json(
        "charades-timelens.json",
        {
            "PQR77": {
                "duration": 4.0,
                "spans": [[0.5, 2.5], [2, 4]],
                "queries": ["A person  lifts a lid..", "A person leaves the room."],
            },
            "PQR78": {"duration": 4.0, "spans": [], "queries": ["A person hums."]},
        },
    )
    folder.json(
        "activitynet-timelens.json",
        {"v_ffffffffff6": {"duration": 40.0, "spans": [[10.0, 20.0]], "queries": ["When does the skater fall?"]}},
    )
    folder.json(
        "qvhighlights-timelens.json",
        {"harbour_210.0_360.0": {"duration": 150, "spans": [[60, 90]], "queries": ["A ship leaves the harbour"]}},
    )
    folder.video("videos/charades/PQR77.mp4", 4.0)
    folder.video("videos/activitynet/v_ffffffffff6.mp4", 4.0, seed=1)
