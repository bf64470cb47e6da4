"""Measure the cost of indexing against other decoders and against a usual pipeline.

    python benchmarks/clips.py ../shared/videos/real CLIPS
    make .side/decoders/.done
    python benchmarks/index.py ../shared/videos/real CLIPS [REPEATS]

Each decoder is a fresh process for each set of files, and the decoders take turns at every file, so that other
work on the machine affects all alike. Only one of them works at a time; its user and system time are counted, without
imports. The figure is the least of the repeats (3) for each file. decord, torchcodec and the usual pipeline run in the
side environment `decoders`.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

HERE = Path(__file__).parent
SIDE = HERE.parent / ".side" / "decoders" / "bin" / "python"
METHODS = {  # name -> (python, what is written in the table); the first one chooses the frames
    "videossr-uniform": (sys.executable, "videossr, uniform"),
    "videossr-snap": (sys.executable, "videossr, snap"),
    "pyav": (sys.executable, "PyAV, from the start to the last frame wanted"),
    "decord": (str(SIDE), "decord, default threads"),
    "decord-1": (str(SIDE), "decord, 1 thread"),
    "torchcodec": (str(SIDE), "torchcodec, exact, 1 thread"),
}
CATEGORIES = {
    "channel_swap": 3,
    "mirror": 3,
    "zoom_out": 2,
    "rotate_180": 2,
    "jigsaw": 9,
    "counting": 5,
}
"""Samples of each kind: the paper's shares, one sample a video."""

CONFIG = {"jigsaw": "", "counting": "config = { slots_max = 3, instances_max = 3 }"}
LIMITS = "limits = { picture = 0, palette = 0, texture = 0, contrast = 0 }"
"""Many cuts hide a change, and the gates would leave few of these clips; they are run all the same."""

APART = 8.0
"""Mean difference of two decoders' pictures, in levels of 255, above which they are taken for different frames."""

Costs: TypeAlias = dict[str, dict[str, float]]
"""Method -> file -> least processor seconds."""


def ask(python: str, script: str, *arguments: str, question: object = None) -> Any:
    """Return the answer of a script of this folder, run in a fresh process."""
    done = subprocess.run(
        [python, str(HERE / script), *arguments],
        input=json.dumps(question),
        env={**os.environ, "PYTHONPATH": str(HERE.parent / "src")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def command(*arguments: str) -> float:
    """Return the processor seconds of a videossr command and of all processes that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent / "src")}
    done = subprocess.run(
        [sys.executable, "-c", "from videossr.cli import main; main()", *arguments],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"videossr {' '.join(arguments)}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


class Decoder:
    """A decoder in a process of its own, see benchmarks/decoders.py."""

    def __init__(self, method: str) -> None:
        self._process = subprocess.Popen(
            [METHODS[method][0], str(HERE / "decoders.py"), method],
            env={**os.environ, "PYTHONPATH": str(HERE.parent / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = self._answer()

    def ask(self, path: Path, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Decode the `chosen` frames of a file at their size; return costs and fields, or the error."""
        assert self._process.stdin is not None
        question = {"path": str(path), "indices": chosen["indices"], "size": chosen["size"]}
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def decoders(folder: Path, repeats: int) -> tuple[Costs, dict[str, str], list[str]]:
    """Run each decoder on each file of a folder.

    Returns:
        Least costs by method and file; versions; and the files that were left out, with the reason.
    """
    best: Costs = {method: {} for method in METHODS}
    running = {method: Decoder(method) for method in METHODS}
    versions: dict[str, str] = {}
    for decoder in running.values():
        versions |= decoder.about["versions"]
    left_out: dict[str, str] = {}
    for repeat in range(repeats):
        for path in sorted(folder.iterdir()):
            chosen: dict[str, Any] = {"indices": [], "size": [0, 0]}
            for method, decoder in running.items():
                answer = decoder.ask(path, chosen)
                if "error" in answer:
                    left_out[path.name] = f"{METHODS[method][1]}: {answer['error']}"
                    break
                if method == "videossr-uniform":
                    chosen = answer
                elif method != "videossr-snap" and apart(answer, chosen) > APART:
                    left_out[path.name] = f"{METHODS[method][1]} shows other pictures"
                    break
                best[method][path.name] = min(answer["cpu"], best[method].get(path.name, np.inf))
            say(f"repeat {repeat + 1}: {path.name}: {[round(best[method].get(path.name, 0), 2) for method in METHODS]}")
    for decoder in running.values():
        decoder.close()
    for costs in best.values():
        for name in left_out:
            costs.pop(name, None)
    return best, versions, [f"{name} ({reason})" for name, reason in left_out.items()]


def apart(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """Return the largest mean difference of one frame between two decoders."""
    return float(np.abs(np.array(first["print"]) - np.array(second["print"])).mean(axis=1).max())


def recipe() -> str:
    """Write the TOML recipe of `CATEGORIES`."""
    tables = ['name = "speed"', 'summary = "One sample a video, in the shares of the paper."']
    for category, count in CATEGORIES.items():
        task = category if category in CONFIG else "grounding"
        config = CONFIG.get(category, f'config = {{ perturbation = "{category}", {LIMITS} }}')
        tables.append(f'[categories."{category}"]\ntask = "{task}"\ncount = {count}\n{config}')
    return "\n\n".join(tables) + "\n"


def whole(folder: Path, repeats: int, scratch: Path) -> dict[str, dict[str, float]]:
    """Run both pipelines from videos to samples in memory; return least processor seconds by pipeline and stage."""
    best: dict[str, dict[str, float]] = {"videossr": {}, "usual": {}}

    def note(pipeline: str, stage: str, seconds: float) -> None:
        best[pipeline][stage] = min(seconds, best[pipeline].get(stage, np.inf))

    (scratch / "speed.toml").write_text(recipe(), "utf-8")
    size = [192, 320]
    for repeat in range(repeats):
        corpus, dataset, usual = (scratch / name for name in ("corpus", "dataset", "usual"))
        note("videossr", "index", command("index", str(folder), "--out", str(corpus), "--workers", "1"))
        note(
            "videossr",
            "build",
            command(
                *("build", str(scratch / "speed.toml"), "--corpus", str(corpus), "--out", str(dataset)),
                *("--workers", "1"),
            ),
        )
        rendered = ask(sys.executable, "stages.py", "render", str(dataset))
        assert rendered["samples"] == sum(CATEGORIES.values()), rendered
        note("videossr", "render", rendered["seconds"])
        note("videossr", "bytes", sum(path.stat().st_size for path in corpus.rglob("*") if path.is_file()))
        videos = [str(path) for path in sorted(folder.glob("*.mp4"))]
        question = {"videos": videos, "categories": CATEGORIES, "seed": repeat}
        built = ask(str(SIDE), "usual.py", "build", str(usual), question=question)
        read = ask(str(SIDE), "usual.py", "read", str(usual), question={"size": size})
        for stage, seconds in {**built["seconds"], **read["seconds"]}.items():
            note("usual", stage, seconds)
        note("usual", "start of the process", built["imports"])
        note("usual", "bytes", built["bytes"])
        say(f"repeat {repeat + 1}, end to end: {best}")
        for path in (corpus, dataset, usual):
            shutil.rmtree(path)
    return best


def mean(costs: Mapping[str, float], *parts: str) -> float:
    """Average the seconds of the files whose names have all `parts`."""
    return float(np.mean([cost for path, cost in costs.items() if all(part in path for part in parts)]))


def total(costs: Mapping[str, float], paths: Iterable[str]) -> float:
    """Sum the seconds of some files."""
    return sum(costs[path] for path in paths)


def main(videos: Path, clips: Path, repeats: int = 3) -> None:
    """Print the tables."""
    real, versions, left_out = decoders(videos, repeats)
    long, _, also_left_out = decoders(clips, repeats)
    with tempfile.TemporaryDirectory() as scratch:
        pipelines = whole(clips, repeats, Path(scratch))
    files = [str(path) for path in sorted(clips.glob("*.mp4"))]
    stages = ask(sys.executable, "stages.py", "profile", *files)

    kinds = [("360p", "key2"), ("360p", "key8"), ("720p", "key2"), ("720p", "key8")]
    print(f"{len(real['pyav'])} real and {len(long['pyav'])} long clips; the least of {repeats} repeats.")
    print("Left out: " + "; ".join([*left_out, *also_left_out]) + "\n")
    heads = [f"{size}, {key[3:]}-s keys" for size, key in kinds]
    print("| processor seconds a video | real | " + " | ".join(heads) + " | all long | of decord's default |")
    print("|---" * (len(kinds) + 4) + "|")
    for method, (_, title) in METHODS.items():
        cells = [mean(real[method]), *(mean(long[method], *kind) for kind in kinds), mean(long[method])]
        ratio = mean(long[method]) / mean(long["decord"])
        print(f"| {title} | " + " | ".join(f"{cell:.2f}" for cell in cells) + f" | {ratio:.2f} |")

    samples = sum(CATEGORIES.values())
    print(f"\n| {samples} samples of {samples} long clips | processor seconds |\n|---|---|")
    for pipeline, parts in pipelines.items():
        for stage, seconds in parts.items():
            if stage != "bytes":
                print(f"| {pipeline}: {stage} | {seconds:.1f} |")
    sums = {name: sum(cost for stage, cost in parts.items() if stage != "bytes") for name, parts in pipelines.items()}
    for name, cost in sums.items():
        print(f"| {name}: all, {pipelines[name]['bytes'] / 2**20:.0f} MiB | {cost:.1f} |")

    frames = stages.pop("frames")
    print("\n| stage of indexing the long clips | ms a kept frame |\n|---|---|")
    for stage, seconds in stages.items():
        print(f"| {stage} | {1000 * seconds / frames:.2f} |")
    besides = 1000 * (sum(stages.values()) - stages["decode"]) / frames

    distant = [path for path in long["pyav"] if "key2" in path and "-60s" not in path]
    bars = [
        ("uniform decode, of decord's default", mean(long["videossr-uniform"]) / mean(long["decord"]), "<=", 0.55),
        ("samples a processor second, of the usual pipeline", sums["usual"] / sums["videossr"], ">=", 2.5),
        (
            "uniform of snap, 120 s and more, 2-s keys",
            total(long["videossr-uniform"], distant) / total(long["videossr-snap"], distant),
            ">=",
            3.0,
        ),
        ("not decoding, ms a kept frame", besides, "<=", 4.0),
    ]
    print("\n| bar | measured | wanted | |\n|---|---|---|---|")
    for title, value, sign, wanted in bars:
        met = value <= wanted if sign == "<=" else value >= wanted
        print(f"| {title} | {value:.2f} | {sign} {wanted} | {'met' if met else '**not met**'} |")
    print("\n" + ", ".join(f"{name} {number}" for name, number in versions.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
