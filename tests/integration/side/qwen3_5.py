"""Share a prompt through the Gated DeltaNet layers of a tiny Qwen3.5, with another release of transformers.

Question: {"library", "model": folder}; for `library` see local.py.
Answer: {"version", "error": why the model is not loaded}, or {"version", "logprobs", "gradients": the largest gaps to
separate full passes with and without recomputation, those of gradients relative to the norm of each, "sampled": the
largest gaps by layout}.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import torchvision_ops  # noqa: F401  (first)

QUESTION = json.load(sys.stdin)
sys.path.append(QUESTION["library"])

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from videossr.clock import uniform_clock  # noqa: E402
from videossr.engine.checkpoint import open_checkpoint, prompt_inputs  # noqa: E402
from videossr.engine.generation import generate  # noqa: E402
from videossr.engine.recomputation import gradient_checkpointing  # noqa: E402
from videossr.engine.shared_prefix import answer_scores, full_scores, read_prefix  # noqa: E402
from videossr.errors import VideoSSRError  # noqa: E402
from videossr.question import VIDEO, Clip, Question  # noqa: E402

ANSWERS = ([20], [21, 22, 23, 24, 25, 26], [30, 31, 32], [40, 41])


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return found


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.detach() - other.detach()).abs().max())


def main() -> None:
    answer = {"version": transformers.__version__}
    out = Path(sys.argv[1])
    try:
        checkpoint = open_checkpoint(QUESTION["model"])
        model = checkpoint.load(torch.device("cpu"), "float32", "sdpa")
    except VideoSSRError as error:
        out.write_text(json.dumps(answer | {"error": str(error)}), "utf-8")
        return
    clock = uniform_clock(8, 4000)
    frames = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    question = Question("q", "videossr/grounding", "Look.", f"{VIDEO}\nWhen?", "1.0-2.0", (clock,))
    inputs = prompt_inputs(checkpoint.build(question, [Clip(frames, clock)]), torch.device("cpu"), torch.float32)
    full = list(full_scores(model, inputs, ANSWERS))
    torch.stack([scores.logprobs.sum() for scores in full]).sum().backward()
    expected = gradients(model)
    largest = max(float(gradient.norm()) for gradient in expected.values())
    answer |= {"logprobs": [], "gradients": [], "sampled": {}}
    for within in (nullcontext(), gradient_checkpointing(model)):
        with within:
            scores = answer_scores(model, read_prefix(model, inputs), ANSWERS)
            scores.logprobs.sum().backward()
        rows = zip(scores.logprobs, scores.mask, full, strict=True)
        answer["logprobs"].append(max(gap(row[mask], alone.logprobs[0]) for row, mask, alone in rows))
        found = gradients(model)
        gaps = [(found[name] - one).norm() / max(float(one.norm()), 1e-3 * largest) for name, one in expected.items()]
        answer["gradients"].append(float(max(gaps)))
    with torch.no_grad():
        prefix = read_prefix(model, inputs)
    for layout in ("packed", "rows"):
        options = {"ends": frozenset(), "layout": layout, "banned": checkpoint.placeholders}
        (drawn,) = generate(model, [prefix], 3, max_tokens=6, seeds=[(0,)], **options)
        alone = full_scores(model, inputs, [one.ids for one in drawn], banned=checkpoint.placeholders)
        pairs = zip(drawn, alone, strict=True)
        answer["sampled"][layout] = max(gap(torch.tensor(one.logprobs), two.logprobs[0]) for one, two in pairs)
    out.write_text(json.dumps(answer), "utf-8")


if __name__ == "__main__":
    main()
