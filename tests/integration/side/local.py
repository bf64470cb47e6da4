"""Answer our questions with transformers itself, and with our back end under this version of it.

Question: {"library", "checkpoint", "dataset", "layout", "tokens"}. `library` is a folder with the packages that
`videossr` needs and this environment lacks; they are only looked for where nothing here has the name. Answer:
{"version", "ids", "scores", "texts", "ours"}: of each question the ids of its prompt and the scores of the first token,
both through processor and model, the greedy text that the model generates, and ours.
"""

import json
import sys
from pathlib import Path

import torchvision_ops  # noqa: F401  (first)

QUESTION = json.load(sys.stdin)
sys.path.append(QUESTION["library"])

import torch  # noqa: E402
import transformers  # noqa: E402

from videossr.dataset.dataset import VideoSSRDataset  # noqa: E402
from videossr.models.base import Decoding, Request  # noqa: E402
from videossr.models.transformers_model import TransformersModel, TransformersSettings  # noqa: E402
from videossr.question import VIDEO, Clip, Question  # noqa: E402


def turns(question: Question) -> list[dict]:
    content: list[dict] = []
    for k, text in enumerate(question.prompt.split(VIDEO)):
        content += [{"type": "video"}] * (k > 0)
        content.append({"type": "text", "text": text})
    return [{"role": "system", "content": question.system}, {"role": "user", "content": content}]


def answer_with_library(
    processor, model, question: Question, clips: list[Clip], tokens: int
) -> tuple[list[int], list[float], str]:
    """Return the ids of the prompt, the scores of the first token, and the text, all from the library itself."""
    text = processor.apply_chat_template(turns(question), add_generation_prompt=True, tokenize=False)
    metadata = [
        {"fps": 1000, "frames_indices": list(clip.clock.times_ms), "total_num_frames": clip.clock.end_ms}
        for clip in clips
    ]
    videos = [clip.frames for clip in clips]
    inputs = processor(text=[text], videos=videos, video_metadata=metadata, do_sample_frames=False, return_tensors="pt")
    inputs.pop("video_metadata", None)
    config = model.config
    with torch.inference_mode():
        scores = model(**inputs).logits[0, -1]
        out = model.generate(
            **inputs,
            max_new_tokens=tokens,
            do_sample=False,
            suppress_tokens=[config.image_token_id, config.video_token_id],
        )
    ids = inputs["input_ids"][0].tolist()
    return ids, scores.tolist(), processor.tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)


def main() -> None:
    torch.set_num_threads(1)
    dataset = VideoSSRDataset(QUESTION["dataset"])
    processor = transformers.AutoProcessor.from_pretrained(QUESTION["checkpoint"])
    model = transformers.AutoModelForImageTextToText.from_pretrained(QUESTION["checkpoint"]).eval()
    library_answers = [
        answer_with_library(processor, model, dataset.question(k), dataset.clips(k), QUESTION["tokens"])
        for k in range(len(dataset))
    ]
    local = TransformersModel(
        QUESTION["checkpoint"], TransformersSettings(batch=3, device="cpu", layout=QUESTION["layout"]), dataset
    )
    asks = [Request(k, dataset.question(k), "", lambda k=k: dataset.clips(k)) for k in range(len(dataset))]
    replies = list(local.answer(asks, Decoding(max_tokens=QUESTION["tokens"])))
    answer = {
        "version": transformers.__version__,
        "ids": [ids for ids, _, _ in library_answers],
        "scores": [scores for _, scores, _ in library_answers],
        "texts": [text for _, _, text in library_answers],
        "ours": [[reply.error, *reply.texts] for reply in replies],
    }
    Path(sys.argv[1]).write_text(json.dumps(answer), "utf-8")


main()
