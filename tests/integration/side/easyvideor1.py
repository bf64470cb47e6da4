"""Hand stored frames to the real processor of Qwen3-VL as EasyVideoR1 does.

Question: {"tokenizer": path, "template": text, "folder": of an export}.
Answer: for each row of the folder the "text" that its prompt's ids spell, and "pixels", the number of its patches.
"""

import json
import sys
from pathlib import Path

import torch
import torchvision_ops  # noqa: F401  (before transformers)
from jinja2 import Template
from prompt import processor
from tokenizers import Tokenizer
from transformers import Qwen2TokenizerFast


def main() -> None:
    out = Path(sys.argv[1])
    question = json.load(sys.stdin)
    folder = Path(question["folder"])
    raw = Tokenizer.from_file(question["tokenizer"])
    tokenizer = Qwen2TokenizerFast(tokenizer_object=raw, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    process = processor("qwen3_vl", tokenizer, question["template"])
    template = Template((folder / "prompt.jinja").read_text("utf-8"))
    answers = []
    for line in (folder / "train.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        before, after = template.render(content=row["problem"], **row).split("<video>")
        texts = [{"type": "text", "text": text} for text in (before, after)]
        messages = [{"role": "user", "content": [texts[0], {"type": "video"}, texts[1]]}]
        stored = torch.load(folder / "clips" / row["preprocessed_video"], map_location="cpu", weights_only=False)
        inputs = process(
            text=[process.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)],
            videos=[stored["frames"]],
            video_metadata=[stored["metadata"]],
            do_resize=False,
            do_sample_frames=False,
            add_special_tokens=False,
            return_tensors="pt",
        )
        text = tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        answers.append({"text": text, "pixels": len(inputs["pixel_values_videos"])})
    out.write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
