"""Measure how many questions a second a run of a public benchmark answers, against a plain loop.

    python benchmarks/public.py ../shared/videos/real

Three questions, or as many as `--questions` says, are asked about each of some videos of 40 s: 64 frames of at most
512 x 512 pixels, answers of 8 tokens. The plain loop does what evaluation scripts do, one question after the other:
decode the video, make the prompt, `model.generate`. The run is that of `videossr bench run`, once without packs of
frames and once with those that the first left. Both must give the same answers. All take turns in each round; the
figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from videossr.bench.evaluation import evaluate
from videossr.bench.public.frames import FrameCache
from videossr.bench.public.questions import PublicQuestions
from videossr.models.base import Decoding, SharedModel, model_spec
from videossr.models.tiny import make_tiny
from videossr.models.transformers_model import TransformersModel, TransformersSettings

SECONDS, FPS, WIDTH, HEIGHT = 40, 25, 640, 360
SENTENCES = ("someone opens a door", "the camera turns to the left", "two people talk to each other")


def make_benchmark(clips: list[Path], folder: Path, questions: int) -> Path:
    """Write a folder in the form of Charades-STA, with each clip repeated until it is long enough."""
    (folder / "videos").mkdir(parents=True)
    lines = []
    for clip in clips:
        with av.open(str(clip)) as source, av.open(str(folder / f"videos/{clip.stem}.mp4"), "w") as target:
            options = {"crf": "23", "preset": "veryfast"}
            stream = target.add_stream("libx264", rate=FPS, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            pictures = [frame.reformat(WIDTH, HEIGHT, "rgb24").to_ndarray() for frame in source.decode(video=0)]
            for number in range(SECONDS * FPS):
                picture: NDArray[np.uint8] = np.ascontiguousarray(pictures[number % len(pictures)], dtype=np.uint8)
                target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            target.mux(stream.encode())
        lines += [f"{clip.stem} 1.0 5.0##{sentence}.\n" for sentence in SENTENCES[:questions]]
    (folder / "charades_sta_test.txt").write_text("".join(lines))
    return folder


def opened(data: Path, cache: Path, frames: int) -> PublicQuestions:
    """Open the questions with an own folder of packs."""
    return PublicQuestions("charades", data, frames=frames, cache=FrameCache(cache, (frames,)))


def plain(model: Any, maker: TransformersModel, data: Path, scratch: Path, frames: int, tokens: int) -> list[str]:
    """Answer one question after the other; each decodes its video."""
    texts = []
    for number in range(len(opened(data, scratch / "none", frames))):
        with tempfile.TemporaryDirectory(dir=scratch) as cache:
            questions = opened(data, Path(cache), frames)
            prompt = maker._checkpoint.build(questions.question(number), questions.clips(number))
        with torch.inference_mode():
            out = model.generate(
                input_ids=torch.from_numpy(prompt.ids)[None],
                attention_mask=torch.ones(1, len(prompt.ids), dtype=torch.long),
                mm_token_type_ids=torch.from_numpy(prompt.kinds)[None],
                pixel_values_videos=torch.from_numpy(prompt.pixels()),
                video_grid_thw=torch.from_numpy(prompt.grids),
                max_new_tokens=tokens,
                do_sample=False,
                suppress_tokens=[model.config.image_token_id, model.config.video_token_id],
            )
        texts += maker._checkpoint.tokenizer.batch_decode(out[:, len(prompt.ids) :], skip_special_tokens=True)
    return texts


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Questions a second of a run of a public benchmark.")
    parser.add_argument("videos", type=Path)
    parser.add_argument("--count", type=int, default=4, help="videos")
    parser.add_argument("--questions", type=int, default=3, help="about a video, at most 3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=8)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        clips = sorted(path for path in chosen.videos.iterdir() if path.suffix == ".mp4")[: chosen.count]
        data = make_benchmark(clips, scratch / "data", chosen.questions)
        checkpoint = make_tiny(scratch / "tiny")
        library = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32).eval()
        spec = SharedModel.of(model_spec(f"hf:{checkpoint}", {"device": "cpu"}))
        maker = TransformersModel(str(checkpoint), TransformersSettings(device="cpu"), opened(data, scratch, 4))
        spec.load(opened(data, scratch, 4))
        seconds: dict[str, list[float]] = {"plain loop": [], "run, new packs": [], "run, packs there": []}
        for turn in range(chosen.rounds):
            begun = time.perf_counter()
            texts = plain(library, maker, data, scratch, chosen.frames, chosen.tokens)
            seconds["plain loop"].append(time.perf_counter() - begun)
            for name in ("run, new packs", "run, packs there"):
                begun = time.perf_counter()
                questions = opened(data, scratch / f"cache-{turn}", chosen.frames)
                out = scratch / f"run-{turn}-{name}"
                run = evaluate(
                    questions, spec, out, decoding=Decoding(max_tokens=chosen.tokens), benchmark=questions.config
                )
                seconds[name].append(time.perf_counter() - begun)
                said = [prediction.texts[0] for prediction in run.predictions]
                if said != [text.strip() for text in texts] and said != texts:
                    raise SystemExit(f"{name}: the answers differ")
        print("| method | seconds | relative to the plain loop |\n|---|---|---|")
        baseline = median(seconds["plain loop"])
        for name, measured in seconds.items():
            print(f"| {name} | {median(measured):.2f} | {baseline / median(measured):.2f} |")


if __name__ == "__main__":
    main()
