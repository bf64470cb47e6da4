"""Group the videos that must stay on one side of a split.

Exercised by `videossr corpus split CORPUS --out TRAIN TEST --share 0.9`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class DisjointSets:
    """Disjoint sets of videos, by their content hashes; a set is named after the least hash in it."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._parent)

    def of(self, content: str) -> str:
        """Return the name of the set that holds a video; one that was not known becomes a set of its own."""
        root = content
        while (above := self._parent.setdefault(root, root)) != root:
            root = above
        while content != root:  # the next time the way is short
            self._parent[content], content = root, self._parent[content]
        return root

    def join(self, content: str, other: str) -> None:
        """Make one set of the sets of two videos."""
        low, high = sorted((self.of(content), self.of(other)))
        self._parent[high] = low


def choose_groups(sizes: Mapping[str, int], count: int) -> set[str]:
    """Choose groups of `count` things in all, or of as many fewer as the sizes of the groups allow.

    They are tried in the order of their names, which are hashes: as good as chance, and always the same.
    """
    chosen: set[str] = set()
    left = count
    for group, size in sorted(sizes.items()):
        if size <= left:
            chosen.add(group)
            left -= size
    return chosen


def share_count(share: float, total: int) -> int:
    """Count the things that are a share of `total`, and leave at least one for each side of a split.

    Args:
        share: part of the things for the first side, above 0 and below 1.
        total: number of things, at least 2.
    """
    return max(1, min(round(share * total), total - 1))
