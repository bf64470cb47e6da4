"""Measure the claims about the counting task on real clips; the table is docs/results/counting.md.

    python -m benchmarks.counting 10000 --draws 1000 --videos ../shared/videos/real

from the repository's root. The first argument is how many painted frames are counted again from their pixels.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
from scipy import stats

from tests.helpers.shape_recount import read_clip, recount
from videossr.answers.counts import count_distribution
from videossr.perturb.contrast import disk, near, to_lab
from videossr.perturb.shapes import SHAPES
from videossr.sample import Rejection, Sample
from videossr.tasks.base import Video
from videossr.tasks.counting import EIGHTHS, Counting, CountingConfig, lay_out, shapes_of

TASK = Counting()
EASY = CountingConfig()
HARD = CountingConfig(slots_max=4, instances_max=4)
BLIND = CountingConfig(slots_max=4, instances_max=4)
object.__setattr__(BLIND, "tries", 1)  # fewer than the setting allows: measured to show why
FIVE = CountingConfig(shapes=SHAPES, slots_max=4, instances_max=4)
SIZES = ((160, 288), (256, 256), (288, 160), (160, 192))


def generator(*key: int) -> np.random.Generator:
    """Return a random generator of its own for each key."""
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(key)))


def read(folder: Path) -> dict[tuple[int, int], dict[str, Video]]:
    """Read every clip that is long enough, at every size."""
    clips: dict[tuple[int, int], dict[str, Video]] = defaultdict(dict)
    for path in sorted(folder.iterdir()):
        for size in SIZES:
            if (video := read_clip(path, size, steps=(6, 4, 2, 1))) is not None:
                clips[size][path.stem] = video
    return clips


def count_again(clips: dict[tuple[int, int], dict[str, Video]], wanted: int) -> None:
    """Compare counts from the pixels with those of the recipe, frame by frame."""
    frames = 0
    shapes = 0
    mismatches = 0
    rejected = 0
    rounds: Iterator[tuple[int, Video, CountingConfig]] = cycle(
        (number, video, config)
        for number, video in enumerate(video for at_size in clips.values() for video in at_size.values())
        for config in (EASY, HARD, FIVE)
    )
    seed = 0
    while frames < wanted:
        number, video, config = next(rounds)
        seed += 1
        sample = TASK.draw(video, "counting/proof", config, generator(1, number, seed), ())
        if isinstance(sample, Rejection):
            rejected += 1
            continue
        seen = recount(video.frames, TASK.render(video.frames, sample)[0].frames)
        true: list[Counter[str]] = [Counter() for _ in seen]
        for shape in shapes_of(sample):
            true[shape.slot][shape.name] += 1
        mismatches += sum(a != b for a, b in zip(seen, true, strict=True))
        frames += sum(bool(count) for count in true)
        shapes += sum(sum(count.values()) for count in true)
    print(f"recount: {frames} painted frames of {seed - rejected} samples, {shapes} shapes: {mismatches} wrong")


def gate(clips: dict[tuple[int, int], dict[str, Video]]) -> None:
    """Print how far the contrast gate is from rejecting a real clip."""
    shares = {
        (name, size): measure.value
        for size, at_size in clips.items()
        for name, video in at_size.items()
        for measure in TASK.gates(video, EASY)
        if measure.gate == "no_contrast"
    }
    name, least = min(shares.items(), key=lambda item: item[1])
    print(f"gate: least open share {least:.2f} ({name[0]} at {name[1]}); refused below {EASY.open_share}")


def contrasts(clips: dict[str, Video], tries: int) -> None:
    """Print the share of random places and colors that keep a contrast, over all clips and on the worst clip."""
    for contrast in (20, 30, 40):
        kept: dict[float, list[float]] = defaultdict(list)
        for number, video in enumerate(clips.values()):
            rng = generator(5, number)
            height, width = video.size
            alike = []
            for _ in range(tries):
                radius = int(min(video.size) * rng.uniform(EASY.size_min, EASY.size_max) / 2 + 5)
                x, y = rng.integers(radius, width - radius), rng.integers(radius, height - radius)
                behind = disk(to_lab(video.frames[rng.integers(48)]), int(x), int(y), radius)
                color = to_lab(rng.integers(50, 255, size=3, endpoint=True, dtype=np.uint8))
                alike.append(near(behind, color, contrast).mean())
            for share in (0.0, 0.01, 0.05):
                kept[share].append(float(np.mean(np.array(alike) <= share)))
        categories = (f"{share:.0%} alike {np.mean(of):.2f} (worst {min(of):.2f})" for share, of in kept.items())
        print(f"contrast {contrast}: " + ", ".join(categories))


def check_distributions(clips: dict[str, Video], label: str, config: CountingConfig, draws: int) -> None:
    """Test counts against their exact distribution, and their correlation with size and color; print rejections."""
    samples: list[Sample] = []
    worst = (0.0, "none")
    for number, (name, video) in enumerate(clips.items()):
        outcomes = [TASK.draw(video, "counting/draws", config, generator(2, number, k), ()) for k in range(draws)]
        kept = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
        worst = max(worst, (1 - len(kept) / draws, name))
        samples += kept
    print(
        f"{label}: {len(samples)} samples of {len(clips) * draws} draws; worst clip rejects {worst[0]:.4f} ({worst[1]})"
    )
    probabilities = count_distribution(config.slots_max, config.instances_max)
    for place, shape in enumerate(config.shapes):
        seen = Counter(int(sample.answer.split(",")[place]) for sample in samples)
        test = stats.chisquare(
            [seen[n] for n in probabilities], [len(samples) * share for share in probabilities.values()]
        )
        print(f"  {shape}: chi-square {test.statistic:.1f} ({len(probabilities) - 1} degrees), p = {test.pvalue:.2f}")
    rows = []
    for sample in samples:
        drawn = shapes_of(sample)
        totals = dict(zip(config.shapes, map(int, sample.answer.split(",")), strict=True))
        in_slot = Counter(shape.slot for shape in drawn)
        in_group = Counter(shape.slot // config.merge for shape in drawn)
        short = min(sample.size)
        rows += [
            (
                totals[shape.name], in_slot[shape.slot], in_group[shape.slot // config.merge],
                shape.size / short, float(np.mean(shape.color)), max(shape.color) - min(shape.color),
                min(shape.x, sample.size[1] - shape.x, shape.y, sample.size[0] - shape.y) / short,
            )
            for shape in drawn
        ]  # fmt: skip
    table = np.array(rows)
    for column, count in enumerate(("total of the shape", "shapes in the slot", "shapes in the pair")):
        values = [stats.spearmanr(table[:, column], table[:, k]).statistic for k in range(3, 7)]
        against = zip(("size", "level", "saturation", "border"), values, strict=True)
        print(
            f"  Spearman with {count}: " + " ".join(f"{property_name} {value:+.3f}" for property_name, value in against)
        )
    for k in sorted(set(table[:, 2])):
        group = table[table[:, 2] == k]
        size, level, saturation, border = group[:, 3:].mean(axis=0)
        print(
            f"  {k:.0f} in the pair ({len(group)} shapes): size {size:.4f} of the short side, level {level:.1f}, "
            f"saturation {saturation:.1f}, border {border:.3f}"
        )


def acceptance(clips: dict[str, Video], label: str, layouts: int) -> None:
    """Print the share of groups that find room with one try for each shape, and with all tries."""
    for most in (False, True):
        sizes_are = "all of the largest size" if most else "sizes as drawn"
        print(f"acceptance, {label}, {sizes_are} (one try / all tries):")
        for count in range(1, 9):
            once = 0
            final = 0
            total = 0
            for number, video in enumerate(clips.values()):
                short = min(video.size)
                for k in range(layouts):
                    rng = generator(3, number, count, k)
                    slot = 2 * int(rng.integers(24))
                    low, high = round(HARD.size_min * short * EIGHTHS), int(HARD.size_max * short * EIGHTHS)
                    sizes = [high if most else int(rng.integers(low, high, endpoint=True)) for _ in range(count)]
                    wanted = [("circle", slot + (n >= 4), size) for n, size in enumerate(sizes)]
                    lab = {s: to_lab(video.frames[s]) for s in {slot for _, slot, _ in wanted}}
                    once += lay_out(rng, wanted, lab, BLIND) is not None
                    final += lay_out(rng, wanted, lab, HARD) is not None
                    total += 1
            print(f"  {count}: {once / total:.3f} / {final / total:.4f} of {total}")


def times(video: Video) -> None:
    """Print milliseconds of each step, and of copying the frames, which every render must do."""
    for label, config in (("easy", EASY), ("hard", HARD), ("five shapes", FIVE)):
        spent: dict[str, list[float]] = defaultdict(list)
        for k in range(100):
            marks = [time.perf_counter()]
            list(TASK.gates(video, config))
            marks.append(time.perf_counter())
            sample = TASK.draw(video, "counting/time", config, generator(4, k), ())
            marks.append(time.perf_counter())
            assert isinstance(sample, Sample)
            TASK.render(video.frames, sample)
            marks.append(time.perf_counter())
            video.frames.copy()
            marks.append(time.perf_counter())
            for step, passed in zip(("gates", "draw", "render", "copy alone"), np.diff(marks), strict=True):
                spent[step].append(passed)
        print(f"{label}: " + ", ".join(f"{step} {1000 * np.median(of):.1f} ms" for step, of in spent.items()))


def main() -> None:
    """Run every measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=int, help="painted frames to count again")
    parser.add_argument("--draws", type=int, default=100, help="draws on each clip to test the distribution of counts")
    parser.add_argument("--videos", type=Path, default=Path("../shared/videos/real"), help="folder of videos")
    arguments = parser.parse_args()
    clips = read(arguments.videos)
    print(f"{len(clips[SIZES[0]])} clips of 48 frames at {', '.join(f'{w}x{h}' for h, w in SIZES)}")
    times(clips[SIZES[0]]["carphone"])
    gate(clips)
    contrasts(clips[160, 288], max(1, arguments.draws // 5))
    count_again(clips, arguments.frames)
    acceptance(clips[256, 256], "256x256", max(1, arguments.draws // 20))
    acceptance(clips[160, 288], "288x160", max(1, arguments.draws // 20))
    check_distributions(clips[160, 288], "easy, 288x160", EASY, arguments.draws)
    check_distributions(clips[256, 256], "hard, 256x256", HARD, arguments.draws)


if __name__ == "__main__":
    main()
