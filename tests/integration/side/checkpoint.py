"""Read a checkpoint that was written elsewhere with this version of transformers, and write another one.

Question: {"library", "checkpoint", "source", "run", "lora"}; for `library` see local.py. Answer: {"version", "read",
"written", "restored", "shared", "full"}: scores of the last token of our probe by the model in `checkpoint`, by one
that was changed and saved in the folder `run`, and by a fresh one that was given those weights again; log-probabilities
of two answers of the changed model, behind a shared prefix whose layers are recomputed, and by full passes.
"""

import json
import sys
from pathlib import Path

import torchvision_ops  # noqa: F401  (first)

QUESTION = json.load(sys.stdin)
sys.path.append(QUESTION["library"])

import torch  # noqa: E402
import transformers  # noqa: E402

from videossr.engine.checkpoint import PROBE, PROBE_CLIP, open_checkpoint, prompt_inputs  # noqa: E402
from videossr.engine.recomputation import gradient_checkpointing  # noqa: E402
from videossr.engine.shared_prefix import answer_scores, full_scores, read_prefix  # noqa: E402
from videossr.training.checkpoints.checkpoint import latest, restore, save  # noqa: E402
from videossr.training.config import Lora, ModelConfig  # noqa: E402
from videossr.training.policy import load_policy  # noqa: E402

CPU = torch.device("cpu")
ANSWERS = ([40, 51, 60], [45, 70])  # of ordinary text: a placeholder would ask for pixels


@torch.no_grad()
def scores(source, model) -> list[float]:
    inputs = prompt_inputs(source.build(PROBE, [PROBE_CLIP]), CPU, torch.float32)
    return model(**inputs).logits[0, -1].tolist()


def answer_logprobs(source, model) -> tuple[list, list]:
    """Return the log-probabilities of ANSWERS behind a shared prefix with gradient, and by full passes."""
    inputs = prompt_inputs(source.build(PROBE, [PROBE_CLIP]), CPU, torch.float32)
    with gradient_checkpointing(model):
        shared = answer_scores(model, read_prefix(model, inputs), ANSWERS)
        shared.logprobs.sum().backward()
    with torch.no_grad():
        full = next(full_scores(model, inputs, ANSWERS, rows=2))
    return shared.logprobs.tolist(), full.logprobs.tolist()


def main() -> None:
    torch.set_num_threads(1)
    transformers.AutoProcessor.from_pretrained(QUESTION["checkpoint"])
    read = transformers.AutoModelForImageTextToText.from_pretrained(QUESTION["checkpoint"]).eval()
    source = open_checkpoint(QUESTION["source"])
    config = ModelConfig(lora=Lora(rank=4, alpha=8) if QUESTION["lora"] else None)
    changed, fresh = (load_policy(source, config, device=CPU).model for _ in range(2))
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in changed.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn_like(parameter)
    save(Path(QUESTION["run"]), 1, changed, source, {}, "card")
    restore(fresh, latest(Path(QUESTION["run"])))
    shared, full = answer_logprobs(source, changed)
    answer = {
        "version": transformers.__version__,
        "read": scores(source, read),
        "written": scores(source, changed),
        "restored": scores(source, fresh),
        "shared": shared,
        "full": full,
    }
    Path(sys.argv[1]).write_text(json.dumps(answer), "utf-8")


main()
