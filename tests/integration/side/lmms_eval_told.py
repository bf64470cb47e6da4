"""A model of lmms-eval that decodes the clips as its Qwen3-VL does, and answers with the texts of a file."""

import json
import os
from pathlib import Path

import numpy as np
from lmms_eval.api.model import lmms
from lmms_eval.protocol import ChatMessages
from qwen_vl_utils import process_vision_info

SAMPLING = {"fps": 30.0, "max_frames": 64, "min_pixels": 1024, "max_pixels": 512 * 512}
"""What lmms-eval's qwen3_vl makes of `fps=30,max_num_frames=64,min_pixels=1024,max_pixels=262144`."""


class Told(lmms):
    """TOLD names a JSON file of texts by question id; frames go to the folder SHOWN, all else to SHOWN.json."""

    is_simple = False

    def __init__(self, **settings):
        super().__init__()
        self.texts = json.loads(Path(os.environ["TOLD"]).read_text("utf-8"))

    def generate_until(self, requests):
        folder = Path(os.environ["SHOWN"])
        folder.mkdir()
        shown, answers = {}, []
        for _, to_messages, settings, doc_id, task, split in (request.args for request in requests):
            doc = self.task_dict[task][split][doc_id]
            messages = to_messages(doc)
            turns = ChatMessages(messages=messages).to_hf_messages(video_kwargs=SAMPLING)
            _, videos = process_vision_info(turns, image_patch_size=16, return_video_metadata=True)
            clips = []
            for number, (frames, facts) in enumerate(videos):
                np.save(folder / f"{doc['id']}-{number}.npy", frames.numpy().round().astype(np.uint8))
                clips.append([1000 * index / facts["fps"] for index in facts["frames_indices"]])
            shown[doc["id"]] = {"messages": messages, "clips": clips, "settings": settings}
            answers.append(self.texts[doc["id"]])
        folder.with_suffix(".json").write_text(json.dumps(shown), "utf-8")
        return answers

    def loglikelihood(self, requests):
        raise NotImplementedError

    def generate_until_multi_round(self, requests):
        raise NotImplementedError
