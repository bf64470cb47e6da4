"""What a real Qwen3VLProcessor makes of clips with our metadata, with a tokenizer of bytes.

Question: a list of {"text": prompt with one video token a clip, "clips": [{"frames_indices", "fps",
"total_num_frames"}, ...]}. Answer: for each, the text of the token ids and each clip's grid.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torchvision_ops  # noqa: F401  (first)
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import Qwen2TokenizerFast, Qwen2VLImageProcessorFast, Qwen3VLProcessor, Qwen3VLVideoProcessor

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def tokenizer() -> Qwen2TokenizerFast:
    """One token a byte, and Qwen's special ones: decoding gives back the very text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({letter: k for k, letter in enumerate(letters)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return Qwen2TokenizerFast(tokenizer_object=raw, pad_token="<|endoftext|>", eos_token="<|im_end|>")


def main() -> None:
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessorFast(patch_size=16),
        tokenizer=tokenizer(),
        video_processor=Qwen3VLVideoProcessor(size={"shortest_edge": 32 * 32, "longest_edge": 2**30}),
    )
    answers = []
    for case in json.load(sys.stdin):
        frames = [np.zeros((len(clip["frames_indices"]), 32, 64, 3), np.uint8) for clip in case["clips"]]
        inputs = processor(
            text=[case["text"]],
            videos=frames,
            video_metadata=case["clips"],
            do_sample_frames=False,
            return_tensors="pt",
        )
        text = processor.tokenizer.decode(
            inputs["input_ids"][0], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        answers.append({"text": text, "grid": inputs["video_grid_thw"].tolist()})
    Path(sys.argv[1]).write_text(json.dumps(answers), "utf-8")


main()
