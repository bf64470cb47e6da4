"""Where a report may look for the questions that a run names. Called by `videossr report RUN --out report.html`."""

from __future__ import annotations

from pathlib import Path

from videossr.errors import DataError
from videossr.storage.paths import AnyPath, is_local, lies_in, to_path


def recorded_place(run: AnyPath, address: str) -> AnyPath:
    """Return the place that a run names, of questions or of a corpus, where a report may look there.

    A run may be made by somebody else, who can name any folder of the user or any server in it, and the page may be
    published. So a report looks in the current folder, in that in which the run's own folder lies, and below them.

    Args:
        run: folder of the run.
        address: what the run names.

    Raises:
        DataError: it is elsewhere.
    """
    place = to_path(address)
    around = run.absolute().parent
    if is_local(place):
        if lies_in(place, Path.cwd()) or (is_local(around) and lies_in(place, around)):
            return place
    elif f"{place}/".startswith(f"{str(around).rstrip('/')}/"):
        return place
    raise DataError(
        f"the run names {address}, which is not opened: a report looks only below the current folder and below that in "
        "which the run lies"
    )
