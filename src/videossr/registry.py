"""Plug-ins by name: this package and others declare them as entry points.

`examples/custom_task` declares a task: `[project.entry-points."videossr.tasks"] tiles = "videossr_tiles.task:Tiles"`.
"""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Generic, TypeVar

from videossr.errors import ConfigError

T = TypeVar("T")


def find_entry_points(group: str) -> EntryPoints:
    """Return the entry points of a group.

    To read the metadata of all installed packages takes milliseconds, and a build asks thousands of times: so they are
    read once, and again where `sys.path` has changed.
    """
    return _entry_points(group, tuple(sys.path))


@lru_cache(maxsize=64)
def _entry_points(group: str, _path: tuple[str, ...]) -> EntryPoints:
    """Read the entry points of a group of all packages on the search path."""
    return entry_points(group=group)


class Registry(Generic[T]):
    """The items of one entry-point group, by name. An item is loaded when it is first asked for."""

    def __init__(self, group: str) -> None:
        self.group = group
        self._items: dict[str, T] = {}

    @property
    def thing(self) -> str:
        """Return what an item is called in messages: `model` for the group ``videossr.models``."""
        return self.group.rpartition(".")[2].removesuffix("s")

    def names(self) -> list[str]:
        """List the names that installed packages declare, sorted."""
        return sorted({point.name for point in find_entry_points(self.group)})

    def get(self, name: str) -> T:
        """Return the item of that name.

        Raises:
            ConfigError: no package or more than one declares the name, or the item cannot be loaded.
        """
        if name not in self._items:
            point = self._point(name)
            try:
                self._items[name] = point.load()
            except Exception as error:
                owner = f", of the package {point.dist.name}" if point.dist else ""
                raise ConfigError(
                    f"{self.group}: {name!r} ({point.value}{owner}) cannot be loaded: {type(error).__name__}: {error}"
                ) from error
        return self._items[name]

    def module(self, name: str) -> str:
        """Return the full name of the module that holds the item of that name; it is not loaded.

        Raises:
            ConfigError: as for `get`.
        """
        return self._point(name).module

    def _point(self, name: str) -> EntryPoint:
        """Find the entry point of that name."""
        points = list(find_entry_points(self.group).select(name=name))
        if not points:
            raise ConfigError(f"there is no {self.thing} {name!r}{suggest(name, self.names())}")
        if len(points) > 1:
            owners = " and ".join(f"{point.dist.name if point.dist else '?'} ({point.value})" for point in points)
            raise ConfigError(f"{self.group}: {name!r} is declared by {owners}; uninstall one of them")
        return points[0]


def suggest(name: str, known: Iterable[str]) -> str:
    """Write the end of an error message about an unknown name: ``; did you mean 'x'? Known: ...``."""
    names = sorted(known)

    near = difflib.get_close_matches(name, names, n=1)
    return (f"; did you mean {near[0]!r}?" if near else ".") + f" Known: {', '.join(names) or 'none'}"


def describe_failure(what: str, name: str, kind: type, call: str, error: Exception) -> str:
    """Say that the code of a plug-in has failed: name, class, method, error, and the line of the failing code.

    Args:
        what: a task, a perturbation or a model.
        name: its registered name.
        kind: its class.
        call: the method, and what it was called for.
        error: that it raised, with a traceback that begins in the caller.
    """
    steps = traceback.extract_tb(error.__traceback__)[1:]
    own_steps = [step for step in steps if step.filename == getattr(sys.modules[kind.__module__], "__file__", None)]
    line = "".join(f" ({Path(step.filename).name}, line {step.lineno})" for step in (own_steps or steps)[-1:])
    return (
        f"{what} {name!r} ({kind.__module__}.{kind.__qualname__}) failed in {call}: "
        f"{type(error).__name__}: {error}{line}"
    )
