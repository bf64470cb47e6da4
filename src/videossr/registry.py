"""Things found by name: built in ones, and those that installed packages declare as entry points.

    [project.entry-points."videossr.tasks"]
    reversal = "videossr_reversal:Reversal"
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
        """The item of that name. Raises KeyError that lists the known names."""
        if name not in self._items:
            for point in entry_points(group=self.group, name=name):
                self._items[name] = point.load()
                break
            else:
                raise KeyError(f"{self.group} has no {name!r}{suggest(name, self.names())}")
        return self._items[name]


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'? Known: ...` for an error message."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return (f"; did you mean {near[0]!r}?" if near else ".") + f" Known: {', '.join(names)}"
