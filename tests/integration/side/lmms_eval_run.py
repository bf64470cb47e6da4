"""Run lmms-eval on an exported task, with its dummy model or with one that gives the texts of a file.

Question: {"folder", "task", "out", "response"} for the dummy model, or {..., "told": {id: text}} for `Told`. Answer:
the task's results, and the messages and clips that `Told` got.
"""

import json
import os
import sys
from pathlib import Path

# The model's module must be found by its name.
sys.path.insert(0, str(Path(__file__).parent))
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "FORCE_QWENVL_VIDEO_READER": "decord"}

import torchvision_ops  # noqa: F401  (first)
from lmms_eval.__main__ import cli_evaluate
from lmms_eval.models import MODEL_REGISTRY_V2
from lmms_eval.models.registry_v2 import ModelManifest

question = json.load(sys.stdin)
answers = Path(sys.argv[1])
out = Path(question["out"])
os.environ["HF_HOME"] = str(out / "cache")
words = ["--include_path", question["folder"], "--tasks", question["task"], "--output_path", str(out / "results")]
if "told" in question:
    os.environ["TOLD"] = str(out / "told.json")
    os.environ["SHOWN"] = str(out / "shown")
    Path(os.environ["TOLD"]).write_text(json.dumps(question["told"]), "utf-8")
    MODEL_REGISTRY_V2.register_manifest(ModelManifest("told", chat_class_path="lmms_eval_told.Told"))
    words += ["--model", "told"]
else:
    words += ["--model", "dummy", "--model_args", f"response={question['response']}"]
sys.argv = ["lmms-eval", *words]
cli_evaluate()
(results,) = (out / "results").rglob("*results.json")
shown = out / "shown.json"
answer = {
    "results": json.loads(results.read_text("utf-8")),
    "shown": json.loads(shown.read_text("utf-8")) if shown.exists() else {},
}
answers.write_text(json.dumps(answer), "utf-8")
