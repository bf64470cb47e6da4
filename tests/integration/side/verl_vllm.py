"""What vLLM 0.24 makes of a prompt that verl 0.9.1 hands it, without vLLM: it needs a GPU to be installed.

It is written after what `Qwen3VLMultiModalProcessor` does.
"""

import torch
from verl.workers.rollout.utils import qwen2_5_vl_dedup_image_tokens


def vllm_reads(prompt_ids, videos, processor):
    """Return the ids that the model reads, and the output of the video processor for each clip.

    verl's server first makes one token of every run of placeholders. Then the text of a placeholder is looked for as
    token ids, once a video, from left to right, and replaced by the tokens of each marker, made by themselves, and the
    tokens of each pair of frames.
    """
    tokenizer = processor.tokenizer
    start, pad, end = tokenizer.convert_tokens_to_ids(["<|vision_start|>", "<|video_pad|>", "<|vision_end|>"])
    ids = qwen2_5_vl_dedup_image_tokens(list(prompt_ids), processor)
    read, outputs, at = [], [], 0
    for frames, metadata in videos:
        while ids[at : at + 3] != [start, pad, end]:
            read.append(ids[at])
            at += 1
        at += 3
        output = processor.video_processor(
            [torch.as_tensor(frames)],
            video_metadata=[metadata],
            do_sample_frames=False,
            do_resize=False,
            return_tensors="pt",
        )
        pairs, rows, columns = output["video_grid_thw"][0].tolist()
        seconds = [index / metadata["fps"] for index in metadata["frames_indices"]]
        seconds += seconds[-1:] * (len(seconds) % 2)
        for pair in range(pairs):
            time = (seconds[2 * pair] + seconds[2 * pair + 1]) / 2
            read += tokenizer.encode(f"<{time:.1f} seconds>", add_special_tokens=False)
            read += [start, *[pad] * (rows * columns // 4), end]
        outputs.append(output)
    return read + ids[at:], outputs
