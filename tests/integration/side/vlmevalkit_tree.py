"""Import this before VLMEvalKit: it makes a copy with an exported class, and has Python import that copy.

The question of the script is read here, see `vlmevalkit_run.py`. The copy is of what this environment has; the variable
VLMEVALKIT names a clone to take instead.
"""

import importlib.util
import json
import os
import re
import shutil
import sys
from pathlib import Path

question = json.load(sys.stdin)
out, folder = Path(question["out"]), Path(question["folder"])
tree, data = out / "tree", out / "LMUData"

clone = os.environ.get("VLMEVALKIT")
source = Path(clone, "vlmeval") if clone else Path(importlib.util.find_spec("vlmeval").origin).parent
shutil.copytree(source, tree / "vlmeval", ignore=shutil.ignore_patterns("__pycache__"))

# The steps of the README, with its lines.
blocks = re.findall(r"```python\n(.*?) *```", (folder / "README.md").read_text("utf-8"), re.S)
imported, listed, settings = (re.sub(r"^   ", "", code, flags=re.M) for code in blocks)
for module in folder.glob("viubench*.py"):
    shutil.copy(module, tree / "vlmeval/dataset")
for name, before, lines in (
    ("__init__.py", "from .video_dataset_config import supported_video_datasets", imported),
    ("__init__.py", "TEXT_DATASET = [", listed),
    ("video_dataset_config.py", "for grp in dataset_groups:", settings),
):
    path = tree / "vlmeval/dataset" / name
    text = path.read_text("utf-8")
    assert text.count(before) == 1, f"{before} in {name}"
    path.write_text(text.replace(before, lines + before), "utf-8")
data.mkdir()
(data / question["name"]).symlink_to(folder)

os.environ |= {"LMUData": str(data), "HF_HUB_OFFLINE": "1", "FORCE_QWENVL_VIDEO_READER": "decord"}
sys.path.insert(0, str(tree))
