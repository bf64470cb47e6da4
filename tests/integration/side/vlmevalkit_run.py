"""Put an exported class into a copy of VLMEvalKit, ask its questions, and score answers in each format of files.

Question: {"folder", "name", "out", "texts": {what: {id: text}}}. Answer: `figures` by what and format; `shown`, the
messages that a model gets and the times of their clips, whose frames are files in `out`; and what else is asserted.
"""

import json
import os
import re
import sys
from pathlib import Path

# The modules beside this one must be found by their names.
sys.path.insert(0, str(Path(__file__).parent))

import torchvision_ops  # noqa: F401  (first)
from vlmevalkit_tree import data, folder, out, question, settings, tree  # isort: split

import decord
import numpy as np
import vlmeval.dataset
from PIL import Image
from qwen_vl_utils import process_vision_info
from vlmeval.dataset import DATASET_MODALITY, DATASET_TYPE, VIUBench, build_dataset
from vlmeval.inference_video import infer_data_job_video
from vlmeval.smp import get_pred_file_path
from vlmeval.vlm.base import BaseModel

assert Path(vlmeval.dataset.__file__).is_relative_to(tree)
NAME = question["name"]
by_rate, by_number = re.findall(r"^    '(\w+)': partial", settings, re.M)


class Told(BaseModel):
    """Answers with the texts of a list, and keeps its messages. VLMEvalKit sets `fps` and `nframe`, as of Qwen3-VL."""

    def __init__(self, texts, video_llm):
        super().__init__()
        self.texts, self.messages, self.VIDEO_LLM = texts, [], video_llm
        self.fps, self.nframe = 2, 128

    def generate_inner(self, message, dataset=None):
        self.messages.append(message)
        return self.texts[len(self.messages) - 1]


def decoded(path, model):
    """Return the times in ms and the frames of a clip, as Qwen3VLChat asks for them."""
    if model.fps is not None:
        asked = {"fps": model.fps}
    else:
        asked = {"nframes": min(model.nframe, len(decord.VideoReader(path)) // 2 * 2)}
    content = [{"type": "video", "video": path, "min_pixels": 1024, "max_pixels": 512 * 512, **asked}]
    turns = [{"role": "user", "content": content}]
    _, ((frames, facts),) = process_vision_info(turns, image_patch_size=16, return_video_metadata=True)
    times = [1000 * index / facts["fps"] for index in facts["frames_indices"]]
    return times, frames.numpy().round().astype(np.uint8).transpose(0, 2, 3, 1)


def clips_of(message, model):
    """Return the times and the frames of each clip of a message; those of frames stand in front of them."""
    clips, before = [], ""
    for part in message:
        if part["type"] == "video":
            clips.append(decoded(part["value"], model))
        elif part["type"] == "image":
            milliseconds = 1000 * float(re.fullmatch(r"<([\d.]+) seconds>", before).group(1))
            if Path(part["value"]).name == "0.png":
                clips.append(([], []))
            clips[-1][0].append(milliseconds)
            clips[-1][1].append(np.asarray(Image.open(part["value"])))
        before = part["value"]
    return clips


def run(reason, setting, what, form, video_llm):
    """Ask all questions as VLMEvalKit does, and score the file; return the dataset, the model and the figures."""
    os.environ["PRED_FORMAT"] = form
    dataset = build_dataset(setting)
    model = Told([question["texts"][what][each] for each in dataset.data["id"]], video_llm)
    work = out / f"{reason}-{setting}-{what}-{form}"
    work.mkdir()
    file = get_pred_file_path(str(work), "told", setting)
    infer_data_job_video(model, str(work), "told", dataset, result_file=file)
    assert Path(file).is_file(), f"VLMEvalKit has not written {file}"
    dataset = build_dataset(setting)
    figures = dataset.evaluate(file, model="gpt-4o-mini", nproc=4)
    assert json.loads((work / f"told_{setting}_score.json").read_text("utf-8")) == figures
    return dataset, model, figures


figures, shown, fewer = {what: {} for what in question["texts"]}, {}, []
for what in question["texts"]:
    for form in ("json", "tsv", "xlsx"):
        dataset, _, figures[what][form] = run("scored", by_rate, what, form, video_llm=True)
primary = list(dataset.report_primary_metric(figures["guesses"]["json"]))
for kind, setting in (("fps", by_rate), ("frame", by_number)):
    for way in ("video", "frames"):
        _, model, _ = run(way, setting, "gold", "json", video_llm=way == "video")
        told = shown[f"{kind} {way}"] = {}
        for key, message in zip(dataset.data["id"], model.messages, strict=True):
            clips = clips_of(message, model)
            for number, (_, frames) in enumerate(clips):
                np.save(out / f"{kind} {way}-{key}-{number}.npy", np.stack(frames))
            parts = [part if part["type"] == "text" else {"type": part["type"], "value": ""} for part in message]
            told[key] = {"parts": parts, "times": [times for times, _ in clips]}

few = VIUBench(NAME, nframe=16)
for videos in few.data["videos"]:
    for video in json.loads(videos):
        taken = [int(Path(path).stem) for path, _ in few.save_video_frames(video)]
        fewer.append([list(enumerate(taken)), len(decord.VideoReader(str(folder / f"videos/{video}.mp4")))])

facts = {"modality": DATASET_MODALITY(NAME), "type": DATASET_TYPE(NAME), "length": len(dataset), "primary": primary}
refused = []
(data / NAME).unlink()
try:
    build_dataset(NAME)
except FileNotFoundError as error:
    refused.append(str(error))
(data / NAME).mkdir()
(data / NAME / f"{NAME}.tsv").write_text((folder / f"{NAME}.tsv").read_text("utf-8") + "\n", "utf-8")
try:
    build_dataset(NAME)
except ValueError as error:
    refused.append(str(error))
answer = {"figures": figures, "shown": shown, "fewer": fewer, "refused": refused, **facts}
Path(sys.argv[1]).write_text(json.dumps(answer), "utf-8")
