"""Compare batches of our collator with those of a checkpoint's own processor, and what a model makes of both.

Question: {"library", "checkpoint", "dataset", "indices", "layout", "uneven": whether the clips of the last item get an
uneven clock}. Answer: {"version", "names": of our tensors and of the processor's, "equal": of those that both have,
whether they are equal, "pixels": the largest difference of pixels, "logits": the largest difference of the logits that
a model computes from ours and from the processor's, of text and video tokens, "reach": the largest logit}, for padding
on the left and on the right.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torchvision_ops  # noqa: F401  (first)

QUESTION = json.load(sys.stdin)
sys.path.append(QUESTION["library"])

import torch  # noqa: E402
import transformers  # noqa: E402

from videossr.clock import Clock  # noqa: E402
from videossr.dataset.dataset import Item, VideoSSRDataset, collate  # noqa: E402
from videossr.engine.collator import QwenCollator  # noqa: E402
from videossr.engine.vision_tower import optimize_vision_tower  # noqa: E402
from videossr.prompt.qwen2_5_vl import fit  # noqa: E402
from videossr.question import Clip  # noqa: E402

PIXELS = "pixel_values_videos"


def items(family: str) -> list[Item]:
    """Return the items, of a size that the family takes as it is."""
    dataset = VideoSSRDataset(QUESTION["dataset"])
    found = [dataset[index] for index in QUESTION["indices"]]
    if QUESTION["uneven"]:
        last = found[-1]
        slots = len(last.clips[0].clock)
        clocks = [Clock(tuple(k * k + 40 * k + n for k in range(slots)), 10**4) for n in range(len(last.clips))]
        clips = [Clip(clip.frames, clock) for clip, clock in zip(last.clips, clocks, strict=True)]
        found[-1] = replace(last, question=replace(last.question, clocks=tuple(clocks)), clips=clips)
    if family != "qwen2_5_vl":
        return found
    return [replace(item, clips=[Clip(fit(clip.frames, 28), clip.clock) for clip in item.clips]) for item in found]


def processed(processor, shown: list[Item], side: str) -> dict:
    """Return what the processor makes of a batch, as docs/how-to/python.md shows it."""
    batch = collate(shown)
    processor.tokenizer.padding_side = side
    more = {}
    if transformers.__version__.startswith("4.") and "2_5" in type(processor).__name__:
        more["fps"] = [1000 * len(clip.clock) / clip.clock.end_ms for item in shown for clip in item.clips]
    inputs = processor(
        text=processor.apply_chat_template(batch["messages"], tokenize=False, add_generation_prompt=True),
        videos=batch["videos"],
        video_metadata=batch["video_metadata"],
        do_sample_frames=False,
        do_resize=False,
        padding=True,
        return_tensors="pt",
        **more,
    )
    return {name: value for name, value in inputs.items() if name != "video_metadata"}


@torch.no_grad()
def compare(processor, model, shown: list[Item], side: str) -> dict:
    theirs = processed(processor, shown, side)
    ours = QwenCollator(QUESTION["checkpoint"], layout=QUESTION["layout"], padding_side=side).inputs(shown)
    both = sorted(ours.keys() & theirs.keys())
    answer = {
        "names": [sorted(ours), sorted(theirs)],
        "equal": {name: torch.equal(ours[name], theirs[name]) for name in both if name != PIXELS},
        "pixels": (ours[PIXELS] - theirs[PIXELS]).abs().max().item(),
    }
    mask = ours["attention_mask"].bool()
    mine, other = model(**ours).logits[mask], model(**theirs).logits[mask]
    return {**answer, "logits": (mine - other).abs().max().item(), "reach": mine.abs().max().item()}


def main() -> None:
    torch.set_num_threads(1)
    processor = transformers.AutoProcessor.from_pretrained(QUESTION["checkpoint"])
    model = transformers.AutoModelForImageTextToText.from_pretrained(QUESTION["checkpoint"]).eval()
    optimize_vision_tower(model)  # for the time that it takes
    shown = items(model.config.model_type)
    answer = {side: compare(processor, model, shown, side) for side in ("left", "right")}
    Path(sys.argv[1]).write_text(json.dumps({"version": transformers.__version__, **answer}), "utf-8")


main()
