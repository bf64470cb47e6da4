"""Show clips at given times to the real processors of model families, and return what they write of the times.

Question: {"tokenizer": path, "font": path, "families": [model type, ...], "before", "after": words around the clips,
"cases": [[{"frames_indices", "fps", "total_num_frames", "duration"}, ...] of the clips of one prompt, ...]}.
Answer: for each family null where this release does not have it, or for each case {"texts": the texts between runs of
special tokens, "drawn": the texts that are drawn on frames}, or {"error": why the processor refuses the prompt}.
"""

import copy
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torchvision_ops  # noqa: F401  (before transformers)
import transformers
from tokenizers import Tokenizer
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES
from transformers.models.smolvlm import processing_smolvlm

# This processor writes the number of frames by a package that is not installed here; its times are written without it.
processing_smolvlm.num2words = str

SIDE = 56
"""Pixels a side of a frame."""

TOKENS = (
    *("audio", "boa", "boi", "context_image", "end_image", "end_of_utterance", "eoa", "eoi", "fake_image"),
    *("global_image", "image", "image_end", "image_id_end", "image_id_start", "image_start", "slice_end"),
    *("slice_start", "start_image", "video", "video_end", "video_sep", "video_start", "vision_bos", "vision_end"),
    *("vision_eos", "vision_start"),
)
"""Tokens that processors ask a tokenizer for by name; each is given the text `<|NAME|>`."""

WRITTEN = (
    *("<|begin_of_image|>", "<|end_of_image|>", "<|image|>", "<|video|>"),
    *("<|media_begin|>", "<|media_content|>", "<|media_end|>"),
    *("<im_patch>", "<im_col>", "<im_start>", "<im_end>", "<im_low>", "<low_res_im_start>"),
    *("<frame_start>", "<frame_end>", "<so_embedding>", "<so_start>", "<so_end>"),
    *("<|patch|>", "<|image_start|>", "<|image_end|>", "<|vid_frame_separator|>", "<|vid_start|>", "<|vid_end|>"),
    *("<|IMAGE_PAD|>", "<|VIDEO_PAD|>", "<|VISION_START|>", "<|VISION_END|>"),
    *("]<]image[>[", "]<]video[>[", "]<]start of image[>[", "]<]end of image[>["),
)
"""Tokens that processors write by themselves."""

OTHER_TOKENS = {"cohere_compass": {"image_token": "<|IMAGE_PAD|>", "video_token": "<|VIDEO_PAD|>"}}
"""Names of a family's tokens that have to be those which its processor writes."""

SAME_PARTS = {"qwen3_vl_moe": "qwen3_vl", "glm4v_moe": "glm4v"}
"""Families for which the library names a processor but not its parts: they have those of another."""

SETTINGS: dict[str, dict[str, Any]] = {
    "internvl": {"image_seq_length": 2},
    "llava_next_video": {"patch_size": 14, "vision_feature_select_strategy": "default"},
    "llava_onevision": {"num_image_tokens": 4, "vision_feature_select_strategy": "full"},
    "perception_lm": {"patch_size": 14},
    "smolvlm": {"image_seq_len": 2},
}
"""Arguments without which a processor does not work; they decide how many tokens a frame has."""


def class_of(names: dict[str, Any], family: str) -> Any:
    """Return the class that one of the library's tables names for a family; None where it names none."""
    name = names.get(family)
    if isinstance(name, dict):
        name = name.get("torchvision") or name.get("pil")
    if isinstance(name, tuple):
        name = name[1] or name[0]
    return name and getattr(transformers, name)


def asked_class(kind: Any, part: str, default: Any) -> Any:
    """Return the class that a processor asks for as one of its parts, as releases before 5 do; else the default."""
    asked = getattr(kind, part, None) or ""
    names = [name for name in ([asked] if isinstance(asked, str) else asked) if name and not name.startswith("Auto")]
    fast = [name for name in names if name.endswith("Fast")]
    return getattr(transformers, [*fast, *names][0]) if names else default


def make_tokenizer(kind: Any, named: dict[str, str], path: str) -> Any:
    """Make a tokenizer that has the tokens of a family."""
    tokenizer = asked_class(kind, "tokenizer_class", transformers.PreTrainedTokenizerFast)(
        tokenizer_object=Tokenizer.from_file(path),
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        bos_token="<|endoftext|>",
        extra_special_tokens=named,
    )
    tokenizer.add_tokens(list(WRITTEN), special_tokens=True)
    return tokenizer


def make_processor(family: str, tokenizer: Any, font: str) -> Any:
    """Make the processor of a family from classes of the library; None where this release has none."""
    kind = class_of(PROCESSOR_MAPPING_NAMES, family)
    model = SAME_PARTS.get(family, family)
    image = class_of(IMAGE_PROCESSOR_MAPPING_NAMES, model) or transformers.CLIPImageProcessor  # it is shown no image
    video = class_of(VIDEO_PROCESSOR_MAPPING_NAMES, model)
    if kind is None or video is None:
        return None
    settings = {
        "nemotron_h_omni": {"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3, "video_target_num_patches": 16},
        "ernie4_5_vl_moe": {"font": font},
    }
    parts = {
        "tokenizer": tokenizer,
        "image_processor": asked_class(kind, "image_processor_class", image)(),
        "video_processor": video(**settings.get(family, {})),
    }
    if "feature_extractor" in inspect.signature(kind.__init__).parameters:  # of audio; none is given
        extractor = class_of(FEATURE_EXTRACTOR_MAPPING_NAMES, family) or transformers.WhisperFeatureExtractor
        parts["feature_extractor"] = extractor()
    return kind(**parts, **SETTINGS.get(family, {}))


def main() -> None:
    out = Path(sys.argv[1])
    question = json.load(sys.stdin)
    rng = np.random.default_rng(0)
    # Some families of 5 write times only where the metadata are asked for; releases before it cannot return them.
    is_old = transformers.__version__.startswith("4.")
    more = {} if is_old else {"return_metadata": True}
    answers: dict[str, Any] = {}
    for family in question["families"]:
        named = {f"{name}_token": f"<|{name}|>" for name in TOKENS} | OTHER_TOKENS.get(family, {})
        tokenizer = make_tokenizer(class_of(PROCESSOR_MAPPING_NAMES, family), named, question["tokenizer"])
        special = re.compile(f"(?:{'|'.join(map(re.escape, tokenizer.get_added_vocab()))})+")
        processor = make_processor(family, tokenizer, question["font"])
        if processor is None:
            answers[family] = None
            continue
        drawn: list[str] = []
        if family == "ernie4_5_vl_moe":
            render = processor.video_processor._render_image_with_timestamp
            processor.video_processor._render_image_with_timestamp = lambda image, text, render=render, drawn=drawn: (
                drawn.append(text) or render(image, text)
            )
        answers[family] = []
        for clips in question["cases"]:
            drawn.clear()
            frames = [rng.integers(0, 256, (len(c["frames_indices"]), SIDE, SIDE, 3), np.uint8) for c in clips]
            videos = " ".join([processor.video_token] * len(clips))
            try:
                inputs = processor(
                    text=[f"{question['before']}{videos}{question['after']}"],
                    videos=[frames] if is_old and family == "smolvlm" else frames,
                    video_metadata=copy.deepcopy(clips),  # some processors append to the list of frames
                    do_sample_frames=False,
                    return_tensors="pt",
                    **more,
                )
            except Exception as error:
                answers[family].append({"error": f"{type(error).__name__}: {error}"})
                continue
            ids = inputs["input_ids"][0].tolist()
            text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            answers[family].append({"texts": special.split(text), "drawn": list(drawn)})
    out.write_text(json.dumps(answers), "utf-8")


if __name__ == "__main__":
    main()
