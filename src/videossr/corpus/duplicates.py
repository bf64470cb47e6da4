"""Find near-duplicates among many videos: the same footage re-encoded, mirrored, cropped, on bars, or cut in time.

The time grows with the number of videos, not with its square: only videos that share entries of an index are compared.
Exercised by `videossr corpus merge CORPUS OTHER_CORPUS --out BOTH`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from videossr.corpus.entry import Entry
from videossr.corpus.fingerprint import WAVES, Fingerprints, frequency, unpack
from videossr.corpus.groups import DisjointSets

NEAR = 0.75
"""Two frames are near when their low frequencies correlate at least so much; measured in docs/results/indexing.md."""

NEAR_SHARE = 0.3
"""Two videos are near-duplicates when at least this share of one's frames is near to a frame of the other."""

_KEPT = 8
"""Frequencies that are compared, down and across; the rest of a fingerprint serves to compute those of a crop."""

_KEY_BITS = 24
"""Signs of the lowest frequencies that make the key of a frame in the index."""

_KEY = np.uint64((1 << _KEY_BITS) - 1)

_PROBES = 4
"""Of the key of a frame that is looked up, so many of the weakest signs are tried both ways."""

_SIGN_BITS = 14
"""Frames that share a key are compared if at most this many of 63 signs differ."""

_BUCKET = 100
"""Videos that are looked at for one key; where more share it, so many at even distances stand for all."""

_OTHERS = 64
"""Videos that one is compared with, at most: those that share most of its keys."""

_HITS = 6
"""Pairs of frames of two videos from which a crop is measured."""

_AT_ONCE = 1000
"""Frames that are looked up at once, which bounds the memory."""

Window: TypeAlias = tuple[float, float]
"""Where a crop starts in a side, and its length, as parts of the side."""

_VIEWS: tuple[tuple[Window, Window], ...] = (
    ((0, 1), (0, 1)),
    ((0.05, 0.9), (0.05, 0.9)),
    ((0.09, 0.82), (0.09, 0.82)),
    *product(((0, 0.86), (0.14, 0.86)), ((0, 0.86), (0.14, 0.86))),
    *(((a, 0.86), (b, 0.86)) for a, b in ((0, 0.07), (0.14, 0.07), (0.07, 0), (0.07, 0.14))),
)
"""Crops, down and across, under which frames are in the index."""

_WINDOWS: tuple[Window, ...] = tuple(
    (start / 40, size / 40) for size in (40, 38, 36, 34, 32, 30) for start in range(40 - size + 1)
)
"""Crops of one side among which that of a copy is measured."""

_MIRROR = np.where(np.arange(WAVES) % 2, -1, 1).astype(np.int8)
"""Factors of the frequencies across, in a picture that is mirrored left to right."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two videos that are near-duplicates.

    Attributes:
        video: index of the later one.
        other: index of the earlier one.
        share: of the frames of one, how many are near to a frame of the other; the larger of both ways.
    """

    video: int
    other: int
    share: float


class Footage(NamedTuple):
    """A video to be compared with others; `source_id` names what it was cut from, where that is known."""

    content: str
    path: str
    source_id: str | None
    fingerprints: Fingerprints


def footage_of(entry: Entry) -> Footage:
    """Return a video of a corpus, to be compared with others."""
    return Footage(entry.content, entry.path, entry.source_id, unpack(entry.fingerprints))


class DuplicatePair(NamedTuple):
    """A video, the other that it looks like, both as paths, and the share of frames that are near."""

    path: str
    twin: str
    share: float


def near_duplicates(
    videos: Sequence[Fingerprints],
    sets: Sequence[int] | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Iterator[Duplicate]:
    """Find the near-duplicates among videos, in the order of the later one of each pair.

    A pair is left out where pairs before it connect its videos already. So each video that has a twin before it is in
    one pair at the least, and all that hang together do so by the pairs.

    Args:
        videos: their fingerprints.
        sets: for each, the number of the set it belongs to; videos of one set are not compared. By default each is a
            set of its own. They are ascending.
        progress: called with the comparisons that are done, and how many there are.
    """
    numbers = np.arange(len(videos)) if sets is None else np.asarray(sets, np.int64)
    pairs = _FrameIndex(videos, numbers, apart=sets is not None).pairs()
    joined = DisjointSets()
    for done, (later, earlier, hits) in enumerate(pairs, start=1):
        if joined.of(str(later)) != joined.of(str(earlier)):
            share = _share(videos, hits)
            if share >= NEAR_SHARE:
                joined.join(str(later), str(earlier))
                yield Duplicate(later, earlier, share)
        progress(done, len(pairs))


def find_twins(
    sets: Iterable[Iterable[Footage]], progress: Callable[[int, int], None] = lambda *_: None
) -> dict[str, DuplicatePair]:
    """Find the videos of each set that are near-duplicates of a video of a set before it.

    Args:
        sets: such as the videos of several corpora, in the order in which the corpora count. A video of the same
            content hash as one before it is not compared.
        progress: called with the comparisons that are done, and how many there are.

    Returns:
        Content hash of each such video, with the first video that it looks like.
    """
    videos: dict[str, Footage] = {}
    numbers: list[int] = []
    for number, members in enumerate(sets):
        for video in members:
            if video.content not in videos:
                videos[video.content] = video
                numbers.append(number)
    footage = list(videos.values())
    twins: dict[str, DuplicatePair] = {}
    for pair in near_duplicates([video.fingerprints for video in footage], numbers, progress):
        video, other = footage[pair.video], footage[pair.other]
        twins.setdefault(video.content, DuplicatePair(video.path, other.path, pair.share))
    return twins


def alike(
    videos: Iterable[Footage], progress: Callable[[int, int], None] = lambda *_: None
) -> Iterator[tuple[str, str]]:
    """Find the pairs of videos that share a source, and those that are near-duplicates.

    Args:
        videos: of one set, each of another content.
        progress: called with the comparisons that are done, and how many there are.

    Yields:
        Pairs of content hashes; of three that are alike perhaps only two pairs.
    """
    footage = list(videos)
    sources: dict[str, str] = {}
    for video in footage:
        if video.source_id is not None:
            yield video.content, sources.setdefault(video.source_id, video.content)
    for pair in near_duplicates([video.fingerprints for video in footage], progress=progress):
        yield footage[pair.video].content, footage[pair.other].content


@dataclass(frozen=True, slots=True)
class _Hit:
    """Two frames that look alike in the index: one as it is or mirrored, the other perhaps cropped."""

    whole: int
    whole_frame: int
    cropped: int
    cropped_frame: int
    mirrored: bool


class _FrameIndex:
    """Index the frames of many videos by the keys of what they show.

    Args:
        videos: fingerprints of each.
        sets: the set of each; ascending.
        apart: whether one key may bring up `_BUCKET` videos of each set, not of all together.
    """

    def __init__(self, videos: Sequence[Fingerprints], sets: NDArray[np.int64], *, apart: bool) -> None:
        self._sets = sets
        lengths = [len(video) for video in videos]
        frames = np.concatenate([*videos, np.zeros((0, WAVES, WAVES), np.int8)])
        shows = frames.any(axis=(1, 2))
        self._frames = frames[shows]
        self._video = np.repeat(np.arange(len(videos)), lengths)[shows]
        self._frame = np.concatenate([np.zeros(0, np.int64), *map(np.arange, lengths)])[shows]
        self._index(apart=apart)

    def _index(self, *, apart: bool) -> None:
        count = len(self._frames)
        signs = np.empty((len(_VIEWS), count), np.uint64)
        maps = [_whole_numbers(*view) for view in _VIEWS]
        for start in range(0, count, _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            values = self._frames[some].reshape(-1, WAVES * WAVES).astype(np.float32)
            for number, view in enumerate(maps):
                signs[number, some] = _signs(values @ view)
        keys = signs.ravel() & _KEY
        video = np.tile(self._video, len(_VIEWS))
        order = np.argsort(keys << np.uint64(32) | video.astype(np.uint64), kind="stable")
        place, _ = _runs(keys[order], video[order])
        order = order[place == 0]  # a video once for each key
        shared = (keys[order], self._sets[video[order]]) if apart else (keys[order],)
        place, size = _runs(*shared)
        order = order[(size <= _BUCKET) | (place * _BUCKET // size != (place - 1) * _BUCKET // size)]
        self._keys, self._signs = keys[order], signs.ravel()[order]
        self._posted = np.tile(np.arange(count), len(_VIEWS))[order]

    def pairs(self) -> list[tuple[int, int, list[_Hit]]]:
        """Return the pairs to compare: later video, earlier video, and frames of them that look alike.

        They are in the order of the later video, and for each those of most such frames come first.
        """
        batches = [self._look_up(slice(start, start + _AT_ONCE)) for start in range(0, len(self._frames), _AT_ONCE)]
        hits = np.concatenate([np.zeros((0, 4), np.int64), *batches])
        one, other = self._video[hits[:, 0]], self._video[hits[:, 1]]
        later, earlier = np.maximum(one, other), np.minimum(one, other)
        order = np.lexsort((hits[:, 3], earlier, later))
        hits, later, earlier = hits[order], later[order], earlier[order]
        place, size = _runs(later, earlier)
        starts = np.flatnonzero(place == 0)
        pairs = []
        for start in starts[np.lexsort((-size[starts], later[starts]))].tolist():
            pair_hits = [
                _Hit(int(self._video[a]), int(self._frame[a]), int(self._video[b]), int(self._frame[b]), bool(mirrored))
                for a, b, mirrored, _ in hits[start : start + min(size[start], 2 * _HITS)].tolist()
            ]
            pairs.append((int(later[start]), int(earlier[start]), pair_hits))
        return pairs

    def _look_up(self, some: slice) -> NDArray[np.int64]:
        """Return rows of: frame, frame of another set that looks like it, whether one is mirrored, signs that differ.

        They are the best of each pair of videos, and those of the `_OTHERS` videos that have most of them.
        """
        values = self._frames[some].reshape(-1, WAVES * WAVES).astype(np.float32) @ _whole_numbers(*_VIEWS[0])
        both = [self._like(values * factors, some.start, mirrored) for mirrored, factors in enumerate(_MIRRORED)]
        rows: NDArray[np.int64] = np.concatenate(both)
        one, other = self._video[rows[:, 0]], self._video[rows[:, 1]]
        order = np.lexsort((rows[:, 3], other, one))
        rows, one, other = rows[order], one[order], other[order]
        place, size = _runs(one, other)
        order = np.lexsort((other, -size, one))
        rows, one, place = rows[order], one[order], place[order]
        pair = np.cumsum(place == 0)  # counts the pairs, those of most frames first
        _, size = _runs(one)
        first = np.flatnonzero(np.diff(one, prepend=-1))
        rank = pair - np.repeat(pair[first], size[first])
        best: NDArray[np.int64] = rows[(place < 2 * _HITS) & (rank < _OTHERS)]
        return best

    def _like(self, values: NDArray[np.float32], start: int, mirrored: int) -> NDArray[np.int64]:
        signs = _signs(values)
        tried = [signs & _KEY]
        weak = np.argsort(np.abs(values[:, :_KEY_BITS]), axis=1, kind="stable")[:, :_PROBES]
        for bit in np.uint64(1) << weak.T.astype(np.uint64):
            tried += [keys ^ bit for keys in tried]
        keys, frame = np.concatenate(tried), np.tile(np.arange(len(signs)), len(tried))
        order = np.argsort(keys, kind="stable")  # the index is read from its start to its end
        keys, frame = keys[order], frame[order]
        low, high = np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")
        sizes = high - low
        posts = np.repeat(low - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        frame = np.repeat(frame, sizes)
        away = np.bitwise_count(signs[frame] ^ self._signs[posts])
        frames, others = frame + start, self._posted[posts]
        kept = (away <= _SIGN_BITS) & (self._sets[self._video[frames]] != self._sets[self._video[others]])
        rows = frames[kept], others[kept], np.full(kept.sum(), mirrored), away[kept].astype(np.int64)
        return np.asarray(np.stack(rows, axis=1), np.int64)


def _runs(*keys: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for items in order, the place of each in its run of equal keys, and the length of that run."""
    new = np.zeros(len(keys[0]), np.bool_)
    new[:1] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    starts = np.flatnonzero(new)
    sizes = np.diff(starts, append=len(new))
    place: NDArray[np.int64] = np.arange(len(new)) - np.repeat(starts, sizes)
    return place, np.repeat(sizes, sizes)


def _crop(window: Window) -> NDArray[np.float64]:
    """Return the map (_KEPT, WAVES) from the waves along a side to those along a part of it."""
    start, size = window
    place = (np.arange(512) + 0.5) / 512
    waves = np.cos(np.pi * np.outer(np.arange(WAVES), start + size * place))
    kept = np.cos(np.pi * np.outer(np.arange(_KEPT), place))
    waves[1:] *= 2**0.5
    kept[1:] *= 2**0.5
    return kept @ waves.T / 512


_FREQUENCY = frequency()
_COMPARED = _FREQUENCY[:_KEPT, :_KEPT] * (np.hypot(*np.mgrid[:_KEPT, :_KEPT]) > 0)
"""Weights of the frequencies that are compared; zero says how bright a picture is, which copies change."""

_ORDER = np.argsort(np.where(_COMPARED > 0, _COMPARED + 0.01 * np.arange(_KEPT)[:, None], 99).ravel(), kind="stable")
"""The frequencies that are compared, the lowest first and zero last."""

_MIRRORED = np.stack([np.ones(_KEPT**2), np.tile(_MIRROR[:_KEPT], _KEPT)[_ORDER]]).astype(np.float32)
"""Factors of these frequencies in a picture as it is, and mirrored."""


def _whole_numbers(down: Window, across: Window) -> NDArray[np.float32]:
    """Return the map (WAVES * WAVES, 64) from a fingerprint to the frequencies of a crop, in 256ths.

    Products of whole numbers below 2**24 are exact in float32, so that keys are the same on every machine.
    """
    both = np.kron(_crop(down), _crop(across)) * _COMPARED.reshape(-1, 1) / _FREQUENCY.reshape(1, -1)
    return np.asarray(np.rint(256 * both[_ORDER].T), np.float32)


def _signs(values: NDArray[np.float32]) -> NDArray[np.uint64]:
    packed: NDArray[np.uint64] = np.packbits(values > 0, axis=1, bitorder="little").view(np.uint64).ravel()
    return packed


_CROPS = np.stack([_crop(window) for window in _WINDOWS])


def _share(videos: Sequence[Fingerprints], hits: Sequence[_Hit]) -> float:
    """Measure the crop between two videos from frames that look alike, then the share of frames that are near."""
    kinds = [(hit.whole, hit.mirrored) for hit in hits]
    kind = max(sorted(set(kinds)), key=kinds.count)
    hits = [hit for hit, hit_kind in zip(hits, kinds, strict=True) if hit_kind == kind][:_HITS]
    whole = videos[hits[0].whole].astype(np.float64)
    if kind[1]:
        whole = whole * _MIRROR
    cropped = videos[hits[0].cropped] / _FREQUENCY
    ours = _unit(whole[:, :_KEPT, :_KEPT] * (_COMPARED > 0))
    down, across = _measure(ours[[hit.whole_frame for hit in hits]], cropped[[hit.cropped_frame for hit in hits]])
    theirs = _unit(_CROPS[down] @ cropped @ _CROPS[across].T * _COMPARED)
    near = ours[ours.any(axis=1)] @ theirs[theirs.any(axis=1)].T >= NEAR
    return float(max(near.any(axis=1).mean(), near.any(axis=0).mean()))


def _measure(ours: NDArray[np.float64], cropped: NDArray[np.float64]) -> tuple[int, int]:
    """Return the crops, down and across, under which pairs of frames are most alike on average."""
    rows = _CROPS.reshape(-1, WAVES) @ cropped @ _CROPS.reshape(-1, WAVES).T
    count = len(_WINDOWS)
    crops = rows.reshape(len(ours), count, _KEPT, count, _KEPT) * _COMPARED[:, None]
    dots = np.einsum("hdiaj,hij->hda", crops, ours.reshape(-1, _KEPT, _KEPT))
    sizes = np.sqrt(np.einsum("hdiaj,hdiaj->hda", crops, crops))
    best = int((dots / np.maximum(sizes, 1e-9)).mean(axis=0).argmax())
    return best // count, best % count


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = values.reshape(len(values), -1)
    unit: NDArray[np.float64] = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    return unit
