"""Measure how many questions a second a local back end answers, against a plain loop; see docs/results/bench-speed.md.

    python benchmarks/bench.py ../shared/videos/real

The plain loop does what evaluation scripts do: render, make the prompt, `model.generate`, one question after the other.
It has the same prompts, and the library's own model. Both must give the same answers. All take turns in each round, on
the same questions; the figures are medians over the rounds. Processor time of all threads stands beside wall time: a
busy machine distorts it less, but only wall time shows the gain of prefetching.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers

from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset.dataset import VideoSSRDataset
from videossr.models.base import Decoding, Request
from videossr.models.tiny import make_tiny
from videossr.models.transformers_model import TransformersModel, TransformersSettings
from videossr.templates import load_templates
from videossr.video.plan import Plan

CATEGORIES: dict[str, dict[str, Any]] = {
    "grounding/zoom_out": {"task": "grounding", "config": {"perturbation": "zoom_out"}},
    "grounding/mirror": {"task": "grounding", "config": {"perturbation": "mirror"}},
    "counting/easy": {"task": "counting"},
    "jigsaw/6": {"task": "jigsaw"},
}
BATCHES = (1, 4, 8, 16)


@dataclass(frozen=True)
class Turn:
    """The answers of one pass over all questions, with its wall, processor and waiting seconds."""

    texts: list[tuple[str, ...]]
    seconds: float
    processor: float
    waited: float


def make_questions(videos: Path, out: Path, pixels: int, count: int) -> VideoSSRDataset:
    """Build `count` questions about real clips, whose frames have at most `max_pixels` pixels."""
    index_videos(videos, out / f"corpus-{pixels}", plan=Plan(max_pixels=pixels))
    categories = {name: {**category, "count": count // len(CATEGORIES)} for name, category in CATEGORIES.items()}
    mixture = recipe.ResolvedRecipe(Recipe(name="speed", categories=categories), "speed")
    folder = out / f"dataset-{pixels}"
    build_dataset(mixture, Corpus(out / f"corpus-{pixels}"), folder, templates=load_templates())
    return VideoSSRDataset(folder)


def plain(model: Any, maker: TransformersModel, questions: VideoSSRDataset, decoding: Decoding) -> Turn:
    """Answer one question after the other; the model waits while frames are rendered."""
    texts = []
    waited = 0.0
    begun, worked = time.perf_counter(), time.process_time()
    for number in range(len(questions)):
        before = time.perf_counter()
        prompt = maker._checkpoint.build(questions.question(number), questions.clips(number))
        pixels = torch.from_numpy(prompt.pixels())
        waited += time.perf_counter() - before
        with torch.inference_mode():
            out = model.generate(
                input_ids=torch.from_numpy(prompt.ids)[None],
                attention_mask=torch.ones(1, len(prompt.ids), dtype=torch.long),
                mm_token_type_ids=torch.from_numpy(prompt.kinds)[None],
                pixel_values_videos=pixels,
                video_grid_thw=torch.from_numpy(prompt.grids),
                max_new_tokens=decoding.max_tokens,
                do_sample=decoding.temperature > 0,
                num_return_sequences=decoding.n,
                suppress_tokens=[model.config.image_token_id, model.config.video_token_id],
            )
        texts.append(
            tuple(maker._checkpoint.tokenizer.batch_decode(out[:, len(prompt.ids) :], skip_special_tokens=True))
        )
    return Turn(texts, time.perf_counter() - begun, time.process_time() - worked, waited)


def ours(model: TransformersModel, questions: VideoSSRDataset, decoding: Decoding) -> Turn:
    """Answer with the back end, as a benchmark run uses it."""

    def clips(number: int) -> Callable[[], Any]:
        return lambda: questions.clips(number)

    asks = [Request(k, questions.question(k), questions.category(k), clips(k)) for k in range(len(questions))]
    waited = model.waited
    begun = time.perf_counter()
    worked = time.process_time()
    replies = sorted(model.answer(asks, decoding), key=lambda reply: reply.index)
    seconds = time.perf_counter() - begun
    processor = time.process_time() - worked
    failed = [reply.error for reply in replies if reply.error]
    if failed:
        raise SystemExit(f"{len(failed)} questions failed: {failed[0]}")
    return Turn([reply.texts for reply in replies], seconds, processor, model.waited - waited)


def compare(name: str, checkpoint: Path, questions: VideoSSRDataset, decoding: Decoding, rounds: int) -> None:
    """Print a row of the table for the plain loop, and one for each batch size."""
    library = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32).eval()
    models = {
        batch: TransformersModel(str(checkpoint), TransformersSettings(batch=batch, device="cpu"), questions)
        for batch in BATCHES
    }
    turns: dict[str, list[Turn]] = {}
    for _ in range(rounds):
        turns.setdefault("plain loop", []).append(plain(library, models[1], questions, decoding))
        for batch, model in models.items():
            turns.setdefault(f"batch {batch}", []).append(ours(model, questions, decoding))
    if decoding.temperature == 0:
        said = {tuple(turn.texts) for passes in turns.values() for turn in passes}
        if len(said) != 1:
            raise SystemExit(f"{name}: the answers differ")
    baseline = median(turn.seconds for turn in turns["plain loop"])
    for way, passes in turns.items():
        seconds = median(turn.seconds for turn in passes)
        worked = median(turn.processor for turn in passes) / len(questions)
        waited = median(turn.waited / turn.seconds for turn in passes)
        rate = len(questions) / seconds
        gain = baseline / seconds
        print(f"| {name} | {way} | {rate:.2f} | {gain:.2f} | {worked:.2f} | {waited:.0%} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Questions a second of the local back end.")
    parser.add_argument("videos", type=Path)
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="of torch; on a busy machine more wait for each other")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    transformers.utils.logging.set_verbosity_error()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; transformers {transformers.__version__}\n")
    print(
        "| questions | method | questions a second | relative to the plain loop | processor seconds each "
        "| waiting for frames |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        checkpoint = make_tiny(out / "tiny")
        small = make_questions(chosen.videos, out, 65536, chosen.questions)
        greedy = Decoding(max_tokens=chosen.tokens)
        compare("65,536 pixels", checkpoint, small, greedy, chosen.rounds)
        compare("the same, 8 tokens", checkpoint, small, Decoding(max_tokens=8), chosen.rounds)
        sampled = Decoding(n=8, temperature=1.0, max_tokens=chosen.tokens)
        compare("the same, 8 samples each", checkpoint, small, sampled, 1)
        large = make_questions(chosen.videos, out, 512 * 512, chosen.questions // 2)
        compare("262,144 pixels", checkpoint, large, greedy, chosen.rounds)


if __name__ == "__main__":
    main()
