"""Process our messages and clips with the real processor and model classes of Qwen3-VL, Qwen3.5 and Qwen2.5-VL.

Question: {"tokenizer": path, "template": text, "cases": [{"family", "messages", "frames": path of .npy files, one a
clip, or null for black ones, "clips": [{"frames_indices", "fps", "total_num_frames"}, ...], "ids": further prompts
whose positions are asked for}, ...]}.
Answer: for each case its "ids" and the "text" that they spell, "kinds" if this version tells them, "grids",
"positions" and "delta" of its own prompt and of those in `ids`, "pixels": path of an .npy file, and for Qwen2.5-VL the
"seconds" a pair of frames; "at_once": whether `apply_chat_template` with the frames in the messages gives the same
inputs as text and videos given to the processor; of the older line also "even", the positions where that step is not
cut to whole seconds.
"""

import inspect
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision_ops  # noqa: F401  (before transformers)
import transformers
from tokenizers import Tokenizer
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLModel,
    Qwen2_5_VLProcessor,
    Qwen2TokenizerFast,
    Qwen2VLImageProcessorFast,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLModel,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

SIZE = {"shortest_edge": 32 * 32, "longest_edge": 2**30}
CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
PATCH = {"qwen3_vl": 16, "qwen3_5": 16, "qwen2_5_vl": 14}


def processor(family: str, tokenizer: Qwen2TokenizerFast, template: str) -> Qwen3VLProcessor | Qwen2_5_VLProcessor:
    image = Qwen2VLImageProcessorFast(patch_size=PATCH[family])
    if family != "qwen2_5_vl":
        return Qwen3VLProcessor(image, tokenizer, Qwen3VLVideoProcessor(size=SIZE), chat_template=template)
    video = Qwen2VLVideoProcessor(patch_size=14, size=SIZE, **CLIP)
    return Qwen2_5_VLProcessor(image, tokenizer, video, chat_template=template)


def model(family: str, tokenizer: Qwen2TokenizerFast) -> Qwen3VLModel | Qwen2_5_VLModel:
    """Make a model of the real class, as small as possible; one of its methods computes positions."""
    rotary = {"rope_type": "default", "mrope_section": [6, 5, 5]}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_theta": 1e4,
        "rope_scaling": rotary,
    }
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64}
    numbers = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in (("image", "image_pad"), ("video", "video_pad"))
    }
    for name in ("vision_start", "vision_end"):
        numbers[f"{name}_token_id"] = tokenizer.convert_tokens_to_ids(f"<|{name}|>")
    if family == "qwen3_vl":
        text |= {"head_dim": 32, "rope_scaling": rotary | {"mrope_interleaved": True}}
        vision |= {"patch_size": 16, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
        return Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=vision, **numbers))
    if family == "qwen3_5":
        rotary |= {
            "mrope_section": [3, 3, 2],
            "mrope_interleaved": True,
            "partial_rotary_factor": 0.5,
            "rope_theta": 1e4,
        }
        text |= {"head_dim": 32, "rope_parameters": rotary, "layer_types": ["full_attention"]}
        vision |= {"patch_size": 16, "num_position_embeddings": 16}
        return transformers.Qwen3_5Model(transformers.Qwen3_5Config(text_config=text, vision_config=vision, **numbers))
    vision |= {"patch_size": 14, "tokens_per_second": 2, "fullatt_block_indexes": [0]}
    return Qwen2_5_VLModel(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **numbers))


class Place:
    """Computes positions of a prompt by a real model, for older and newer releases of transformers."""

    def __init__(self, model: Qwen3VLModel | Qwen2_5_VLModel) -> None:
        self.model = model
        self.wants_kinds = "mm_token_type_ids" in inspect.signature(model.get_rope_index).parameters

    def __call__(self, ids: list[int], grids: torch.Tensor, seconds: list[float] | None) -> dict[str, object]:
        tokens = torch.tensor([ids])
        inputs = {"input_ids": tokens, "video_grid_thw": grids.clone()}
        if seconds is not None:
            inputs["second_per_grid_ts"] = torch.tensor(seconds, dtype=torch.float64)
        if self.wants_kinds:
            inputs["mm_token_type_ids"] = 2 * (tokens == self.model.config.video_token_id).int()
        positions, delta = self.model.get_rope_index(**inputs)
        return {"positions": positions[:, 0].tolist(), "delta": int(delta)}

    def evenly(self, ids: list[int], grids: torch.Tensor, seconds: list[float]) -> dict[str, object]:
        """Compute positions with tokens per second in place of seconds, which some releases truncate."""
        vision = self.model.config.vision_config
        rate = vision.tokens_per_second
        vision.tokens_per_second = rate * seconds[0]
        try:
            return self(ids, grids, [1.0] * len(seconds))
        finally:
            vision.tokens_per_second = rate


def main() -> None:
    out = Path(sys.argv[1])
    question = json.load(sys.stdin)
    raw = Tokenizer.from_file(question["tokenizer"])
    tokenizer = Qwen2TokenizerFast(tokenizer_object=raw, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    families = {case["family"] for case in question["cases"]}
    processors = {family: processor(family, tokenizer, question["template"]) for family in families}
    places = {family: Place(model(family, tokenizer)) for family in families}
    answers = []
    for number, case in enumerate(question["cases"]):
        family = case["family"]
        if case["frames"]:
            frames = [np.load(path) for path in case["frames"]]
        else:
            side = 2 * PATCH[family]
            frames = [np.zeros((len(clip["frames_indices"]), side, 2 * side, 3), np.uint8) for clip in case["clips"]]
        chat = {"add_generation_prompt": True} | ({"enable_thinking": False} if family == "qwen3_5" else {})
        text = processors[family].apply_chat_template(case["messages"], tokenize=False, **chat)
        more = {}
        if family == "qwen2_5_vl":  # the older line takes the rate from here, the newer one from the metadata
            rates = [1000 * len(clip["frames_indices"]) / clip["total_num_frames"] for clip in case["clips"]]
            more = {} if places[family].wants_kinds else {"fps": rates}
        inputs = processors[family](
            text=[text],
            videos=frames,
            video_metadata=case["clips"],
            do_sample_frames=False,
            do_resize=False,
            return_tensors="pt",
            **more,
        )
        ids, grids = inputs["input_ids"][0].tolist(), inputs["video_grid_thw"]
        seconds = None
        if family == "qwen2_5_vl":
            seconds = torch.as_tensor(inputs["second_per_grid_ts"], dtype=torch.float64).tolist()
        answer = {
            "ids": ids,
            "text": tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False),
            "kinds": inputs["mm_token_type_ids"][0].tolist() if "mm_token_type_ids" in inputs else None,
            "grids": grids.tolist(),
            "placed": [places[family](prompt, grids, seconds) for prompt in (ids, *case["ids"])],
            "seconds": seconds,
            "even": places[family].evenly(ids, grids, seconds) if "fps" in more else None,
            "at_once": None,
        }
        if case["frames"]:
            shown = iter(frames)
            for part in case["messages"][-1]["content"]:
                part.update({"video": next(shown)} if part["type"] == "video" else {})
            inputs_at_once = processors[family].apply_chat_template(
                case["messages"],
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                video_metadata=case["clips"],
                do_sample_frames=False,
                do_resize=False,
                **chat,
                **more,
            )
            names = ("input_ids", "pixel_values_videos", "video_grid_thw")
            answer["at_once"] = all(torch.equal(inputs_at_once[name], inputs[name]) for name in names)
            answer["pixels"] = str(out.with_suffix(f".{number}.npy"))
            np.save(answer["pixels"], inputs["pixel_values_videos"].numpy())
        answers.append(answer)
    out.write_text(json.dumps(answers), "utf-8")


if __name__ == "__main__":
    main()
