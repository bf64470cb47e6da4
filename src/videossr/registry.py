"""Things found by name: built in ones, and those that installed packages declare as entry points.

`examples/custom_task` declares a task: `[project.entry-points."videossr.tasks"] tiles = "videossr_tiles.task:Tiles"`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of one kind (tasks, exports, ...). Entry points are loaded when asked for, not before."""

    def __init__(self, group: str) -> None:
        self.group = group
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator. Raises ValueError when the name is taken."""

        def add(item: T) -> T:
            if name in self._items:
                raise ValueError(f"{self.group}: {name!r} is registered twice")
            self._items[name] = item
            return item

        return add

    def names(self) -> list[str]:
        return sorted({*self._items, *(point.name for point in entry_points(group=self.group))})

    def get(self, name: str) -> T:
        """The item of that name. Raises KeyError that lists the known names, ValueError when two packages have it."""
        if name not in self._items:
            points = list(entry_points(group=self.group, name=name))
            if not points:
                raise KeyError(f"{self.group} has no {name!r}{suggest(name, self.names())}")
            if len(points) > 1:
                owners = " and ".join(f"{point.dist.name if point.dist else '?'} ({point.value})" for point in points)
                raise ValueError(f"{self.group}: {name!r} is declared by {owners}; uninstall one of them")
            self._items[name] = points[0].load()
        return self._items[name]


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'? Known: ...` for an error message."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return (f"; did you mean {near[0]!r}?" if near else ".") + f" Known: {', '.join(names)}"
