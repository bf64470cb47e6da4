"""Print digests of all that must not change when code is only rearranged: frames, questions, answers and losses.

    python -m benchmarks.digest FOLDER > before.json

It makes videos, a corpus, two datasets and a benchmark in FOLDER, evaluates a tiny random model and trains it for some
steps. The output does not depend on the names of modules, fields or settings, so two versions of the package can be
compared even if these differ. It takes some minutes on one CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import simplejpeg

from videossr import Item, VideoSSRDataset

ROWS = 12
RECIPES = ("smoke", "ladder")
COMPUTED = ("loss", "grad_norm", "smooth", "entropy", "kl")


def run(*words: str | Path) -> str:
    """Run a command with one thread, so that sums have one order; return what it prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VIDEOSSR_THREADS": "1"}
    return subprocess.run([*map(str, words)], env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def videossr(*words: str | Path) -> str:
    """Run the command `videossr`."""
    return run(sys.executable, "-m", "videossr.cli", *words)


def digest(parts: Iterable[bytes]) -> str:
    """Return the SHA-256 of some byte strings, in hex."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little") + part)
    return hasher.hexdigest()


def content(item: Item) -> str:
    """Digest the pixels, times, words and gold answer of a sample."""
    question = item.question
    texts = (question.data_source, question.system, question.prompt, question.answer)
    clips = [part for clip in item.clips for part in (clip.frames.tobytes(), repr(clip.clock.times_ms).encode())]
    return digest([*(text.encode() for text in texts), *clips])


def write_rows(dataset: VideoSSRDataset, folder: Path) -> Path:
    """Write samples as published rows, in an order that depends on their content alone."""
    chosen = sorted((dataset[index] for index in range(len(dataset))), key=content)[:ROWS]
    lines = []
    for at, item in enumerate(chosen):
        videos = []
        for number, clip in enumerate(item.clips):
            place = folder / "frames" / f"{at}-{number}"
            place.mkdir(parents=True, exist_ok=True)
            names = [place / f"{slot}.jpg" for slot in range(len(clip.frames))]
            for name, frame in zip(names, clip.frames, strict=True):
                name.write_bytes(simplejpeg.encode_jpeg(frame, 90, "RGB", "444"))
            videos.append(
                {
                    "video": [str(name.resolve()) for name in names],
                    "sample_fps": 2.0,
                    "min_pixels": 1024,
                    "max_pixels": 4096,
                }
            )
        question = item.question
        prompt = [{"role": "system", "content": question.system}, {"role": "user", "content": question.prompt}]
        source = question.data_source
        answer = {"ground_truth": question.answer}
        lines.append({"data_source": source, "prompt": prompt, "videos": videos, "reward_model": answer})
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def answers(folder: Path) -> list[Sequence[str]]:
    """Return what a run's model wrote, by question."""
    (path,) = folder.glob("*.jsonl")
    return [line["texts"] for line in sorted(json_lines(path), key=lambda line: str(line["index"]).zfill(9))]


def steps(folder: Path) -> list[dict[str, object]]:
    """Return what a run of training computed in each step, times left out."""
    lines = json_lines(folder / "steps.jsonl")
    return [{name: {**line, **(line["all"] or {})}.get(name) for name in COMPUTED} for line in lines]


def main() -> None:
    """Print the digests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).parents[1]
    maker = next(path for path in root.rglob("demo_videos.py") if "node_modules" not in path.parts)
    run(sys.executable, maker, folder / "videos")
    videossr("index", folder / "videos", "--out", folder / "corpus")
    digests: dict[str, object] = {}
    for recipe in RECIPES:
        videossr("build", recipe, "--corpus", folder / "corpus", "--out", folder / recipe, "--limit", "200")
        dataset = VideoSSRDataset(folder / recipe)
        contents = sorted(content(dataset[index]) for index in range(len(dataset)))
        digests[recipe] = {"samples": len(contents), "contents": digest(text.encode() for text in contents)}
    rows = write_rows(VideoSSRDataset(folder / "smoke"), folder)
    run(sys.executable, "-m", "videossr.models.tiny", folder / "tiny")
    for model in ("chance", "constant:smooth", f"hf:{folder / 'tiny'}"):
        out = folder / model.partition(":")[0]
        videossr("bench", "run", rows, "--model", model, "--out", out, "--max-tokens", "12")
        digests[out.name] = answers(out)
    start = folder / "tiny"
    for recipe, count in (("train-nano-sft", 24), ("train-nano", 3)):
        out = folder / recipe
        settings = (f"--model.path={start}", f"--data.path={rows}", "--run.batch=4", f"--run.steps={count}")
        videossr("train", recipe, *settings, "--out", out)
        digests[recipe] = steps(out)
        start = out / "model"
    print(json.dumps(digests, indent=1))


if __name__ == "__main__":
    main()
