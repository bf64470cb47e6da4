"""Probe whether traces of codecs and filters tell which frames were altered, trained on other videos.

A model could answer without looking at the scene, if altered frames differed from their neighbors in the grid of a
JPEG, in sharpness or in noise. The probes see nothing but such traces, each relative to the other frames of its clip.
They use none of the code of the gates. Exercised by `videossr validate DATASET --probes`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.optimize import minimize

from videossr.answers.checks import Check
from videossr.dataset.dataset import VideoSSRDataset
from videossr.perturb.base import Perturbation, perturbation_of
from videossr.question import Frames
from videossr.rendering import unaltered

Floats = NDArray[np.float64]

BOUND = (0.45, 0.55)
"""AUC that a probe may reach, from and to."""

PLAIN = "the probes measure the change itself, which is seen, so that traces give nothing away beyond it"

MOST = 150
"""Samples of a category that are looked at, spread evenly."""

OUTSIDE = 16
"""Frames of a clip outside its span that are looked at."""

FEW_SAMPLES = 20
"""Number of samples below which there is no verdict."""

FEW_VIDEOS = 10
"""Number of videos below which there is no verdict."""

WIDE = 0.2
"""Width of the interval above which there is no verdict."""

FOLDS = 5
RESAMPLES = 1000

_SUM = np.add.outer(np.arange(8), np.arange(8))
_BANDS = tuple((low <= _SUM) & (high >= _SUM) for low, high in ((1, 2), (3, 5), (6, 8), (9, 14)))
"""Masks (8, 8) of the coefficients of a block, from the lowest frequencies to the highest."""

_SMALL = (0.25, 0.75, 2.0)
"""Levels below which a coefficient counts as small."""

_FINE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 4


def traces(frame: Frames) -> Floats:
    """Measure the traces in a frame (H, W, 3); none is an average of brightness or color.

    The chroma planes are red minus green and blue minus green, taken together: a swap of red and blue keeps them.

    Returns:
        (F,): the gradients of luma at each of the 8 places of a column, and of a row, in a grid of 8 x 8 pixels; the
        shares of small coefficients of luma in 4 bands; the slope of its spectrum, and how it differs on a shifted
        grid; the slope of the spectrum of chroma, and that relative to luma; the noise; and the shares of pixels at
        the ends of the range.
    """
    red, green, blue = np.moveaxis(frame.astype(np.float32), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    values: list[float] = []
    for axis in (0, 1):
        steps = np.abs(np.diff(luma, axis=axis)).mean(axis=1 - axis)
        places = np.array([steps[place::8].mean() for place in range(8)]) + 0.05
        values += list(np.log(places / places.mean()))
    blocks = _blocks(luma)
    values += [float((np.abs(blocks[:, band]) < least).mean()) for band in _BANDS for least in _SMALL]
    spectrum = _spectrum([blocks])
    shifted = _spectrum([_blocks(luma[4:-4, 4:-4])])
    chroma = _spectrum([_blocks(red - green), _blocks(blue - green)])
    values += [*np.diff(spectrum), *(spectrum - shifted), *np.diff(chroma), *np.diff(chroma - spectrum)]
    fine = np.abs(cv2.filter2D(luma, -1, _FINE))
    values += list(np.log(np.percentile(fine, [25, 50]) + 0.05))
    values += [float((luma <= 2).mean()), float((luma >= 253).mean())]
    values += [float((frame <= 1).any(axis=-1).mean()), float((frame >= 254).any(axis=-1).mean())]
    return np.array(values)


def _blocks(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the DCT of all blocks of 8 x 8 pixels of a plane (H, W), as (N, 8, 8)."""
    height, width = (side // 8 * 8 for side in plane.shape)
    cut = plane[:height, :width].reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2)
    return np.asarray(dctn(cut, axes=(2, 3), norm="ortho"), np.float32).reshape(-1, 8, 8)


def _spectrum(planes: Sequence[NDArray[np.float32]]) -> Floats:
    """Return the logarithm of the mean energy in each band, (4,)."""
    return np.log([sum(float((blocks[:, band] ** 2).mean()) for blocks in planes) + 0.01 for band in _BANDS])


@dataclass
class Probed:
    """The traces of the samples of a category, with and without the change.

    Attributes:
        videos: that each sample shows.
        inside: for each sample, which of its frames are in the span, (T,).
        altered: the traces of these frames as they are shown, (T, F), relative to each other.
        plain: the same where nothing was altered.
        odd: samples left out, because black bars show that the picture was turned.
    """

    videos: list[str] = field(default_factory=list)
    inside: list[NDArray[np.bool_]] = field(default_factory=list)
    altered: list[Floats] = field(default_factory=list)
    plain: list[Floats] = field(default_factory=list)
    odd: int = 0

    def finding(self, category: str, perturbation: Perturbation | None) -> Check:
        """Judge a category by how well its probes tell the altered frames of videos that they were not trained on.

        Args:
            category: its name.
            perturbation: of its samples. There is a verdict only where it must leave no traces.
        """
        left_out = f"; {self.odd} turned pictures lie on black and are left out" if self.odd else ""
        if len(self.videos) < FEW_SAMPLES or len(set(self.videos)) < FEW_VIDEOS:
            text = (
                f"{len(self.videos)} samples of {len(set(self.videos))} videos are too few, need {FEW_SAMPLES} of "
                f"{FEW_VIDEOS}"
            )
            return Check("traces", None, text + left_out, category)
        altered, plain = (separability(of, self.inside, self.videos) for of in (self.altered, self.plain))
        low, high = interval(altered)
        text = (
            f"AUC {altered.mean():.3f} ({low:.3f} to {high:.3f}), with nothing altered {plain.mean():.3f}; "
            f"{len(self.videos)} samples of {len(set(self.videos))} videos{left_out}"
        )
        if perturbation is None or not perturbation.leaves_no_traces:
            return Check("traces", None, f"{text}; {PLAIN}", category)
        text += f", allowed {BOUND[0]} to {BOUND[1]}"
        if high - low > WIDE:
            return Check("traces", None, f"{text}; too few to tell, the interval is wider than {WIDE}", category)
        if BOUND[0] <= altered.mean() <= BOUND[1]:
            return Check("traces", True, text, category)
        if low <= BOUND[1] and high >= BOUND[0]:
            return Check(
                "traces", None, f"{text}; too few to tell, the interval reaches into what is allowed", category
            )
        less, more = interval(altered - plain)
        if less <= 0 <= more:
            return Check("traces", None, f"{text}; it does not come from the change, but from these spans", category)
        return Check("traces", False, text, category)


def probes(dataset: VideoSSRDataset, *, progress: Callable[[int, int], None] = lambda *_: None) -> Iterator[Check]:
    """Yield a finding for each category of anomaly grounding. `progress` is called with (looked at, to look at)."""
    categories: dict[str, list[int]] = defaultdict(list)
    for index, task in enumerate(dataset["task"]):
        if task == "grounding":
            categories[dataset.category(index)].append(index)
    chosen = {
        category: [members[at] for at in np.linspace(0, len(members) - 1, min(MOST, len(members))).round().astype(int)]
        for category, members in sorted(categories.items())
    }
    if not chosen:
        yield Check("traces", None, "no category of anomaly grounding to probe")
    total, done = sum(map(len, chosen.values())), 0
    for category, members in chosen.items():
        probed = Probed()
        for index in members:
            _look(dataset, index, probed)
            done += 1
            progress(done, total)
        yield probed.finding(category, perturbation_of(dataset.sample(members[0])))


def _look(dataset: VideoSSRDataset, index: int, probed: Probed) -> None:
    """Measure the traces of one sample, and those of the same frames unaltered."""
    item = dataset[index]
    sample, frames = item.sample, item.clips[0].frames
    perturbation = perturbation_of(sample)
    if perturbation is not None and perturbation.pads_unless_square and sample.size[0] != sample.size[1]:
        probed.odd += 1
        return
    first, last = item.truth.spans[0]
    slots = np.arange(len(frames))
    inside = (slots >= first) & (slots <= last)
    around = slots[~inside]
    around = around[np.linspace(0, len(around) - 1, min(OUTSIDE, len(around))).round().astype(int)]
    kept = np.sort(np.concatenate([slots[inside], around]))
    due = dataset.due(sample) or sample.slots[first : last + 1]
    plain = frames.copy()
    plain[first : last + 1] = unaltered(dataset.corpus, sample, dict(enumerate(due, start=first)))
    probed.videos.append(sample.sources[0].content)
    probed.inside.append(inside[kept])
    probed.altered.append(relative(frames[kept]))
    probed.plain.append(relative(plain[kept]))


def relative(frames: Frames) -> Floats:
    """Measure the traces of frames (T, H, W, 3) in deviations from the median of their clip, (T, F)."""
    values = np.stack([traces(frame) for frame in frames])
    return np.asarray(np.clip((values - np.median(values, axis=0)) / (values.std(axis=0) + 1e-3), -4, 4), np.float64)


def separability(measured: Sequence[Floats], inside: Sequence[NDArray[np.bool_]], videos: Sequence[str]) -> Floats:
    """Measure how often a probe puts a frame inside a span above one outside, in videos that it was not trained on.

    Two probes are tried: a logistic regression on all traces, and the one trace that tells most by itself. That which
    is further from 1/2 counts.

    Args:
        measured: for each sample, the traces of its frames, (T, F).
        inside: for each sample, which of these frames are in the span, (T,).
        videos: that each sample shows.

    Returns:
        The AUC of each video, (V,), in the order of their names.
    """
    rng = np.random.default_rng(0)
    names = sorted(set(videos))
    fold = {name: place % FOLDS for place, name in enumerate(rng.permutation(names).tolist())}
    scored: tuple[dict[str, list[float]], ...] = (defaultdict(list), defaultdict(list))
    alone = np.stack([auc(traces, mask) for traces, mask in zip(measured, inside, strict=True)])
    for part in range(FOLDS):
        others = [at for at, video in enumerate(videos) if fold[video] != part]
        weights = fit(np.concatenate([measured[at] for at in others]), np.concatenate([inside[at] for at in others]))
        best = int(np.abs(alone[others].mean(axis=0) - 0.5).argmax())
        rising = alone[others, best].mean() >= 0.5
        for at, video in enumerate(videos):
            if fold[video] == part:
                scored[0][video].append(float(auc(measured[at] @ weights[:, None], inside[at])[0]))
                scored[1][video].append(float(alone[at, best] if rising else 1 - alone[at, best]))
    means = [np.array([np.mean(aucs[name]) for name in names]) for aucs in scored]
    furthest = int(np.argmax([abs(values.mean() - 0.5) for values in means]))
    return np.asarray(means[furthest], np.float64)


def interval(values: Floats) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the mean of `values`, by resampling them."""
    rng = np.random.default_rng(0)
    drawn = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def auc(values: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Return the share of pairs whose frame inside has the higher value, for each column of (T, F); ties are halves."""
    gaps = values[inside][:, None] - values[~inside][None]
    return np.asarray(((gaps > 0) + 0.5 * (gaps == 0)).mean(axis=(0, 1)), np.float64)


def fit(found: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Fit a logistic regression with a ridge to traces (N, F), both classes weighing the same; the weights (F,)."""
    signs = np.where(inside, 1.0, -1.0)
    share = np.where(inside, 0.5 / inside.sum(), 0.5 / (~inside).sum())

    def loss(weights: Floats) -> tuple[float, Floats]:
        margins = signs * (found @ weights[:-1] + weights[-1])
        pull = -signs * share / (1 + np.exp(np.clip(margins, -50, 50)))
        value = float((share * np.logaddexp(0, -margins)).sum() + 1e-3 * (weights[:-1] ** 2).sum())
        return value, np.append(found.T @ pull + 2e-3 * weights[:-1], pull.sum())

    return np.asarray(minimize(loss, np.zeros(found.shape[1] + 1), jac=True, method="L-BFGS-B").x[:-1], np.float64)
