"""Where a dataset is made: nothing else may lie there, but what an unfinished run has left is gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videossr.store import UNFINISHED, Place, is_local, make_folder, workshop

_BEGUN = "begun"
"""Lies in the workshop of a remote dataset, as a sign that what is in its folder is ours."""


@contextmanager
def room_for(out: Place) -> Iterator[Path]:
    """The workshop of the dataset `out`, which is made. Raises ValueError where something else lies there."""
    if is_local(out) and _holds_anything(out) and not (out / UNFINISHED).exists():
        raise _foreign(out)
    make_folder(out)
    with workshop(out) as folder:
        if not is_local(out) and not (folder / _BEGUN).exists() and _holds_anything(out):
            raise _foreign(out)
        (folder / _BEGUN).touch()
        yield folder


def _holds_anything(out: Place) -> bool:
    return out.exists() and any(out.iterdir())


def _foreign(out: Place) -> ValueError:
    return ValueError(f"{out} holds something that is not a dataset; choose another --out")
