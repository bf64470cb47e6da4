"""`transformers serve`, with the arguments of that command, where torch is a CPU build.

torchvision's own image decoder cannot be loaded there; Pillow's stands in for it.
"""

import io
import sys

import numpy as np
import torch
import torchvision_ops  # noqa: F401  (before torchvision)
from PIL import Image


def decode(data: torch.Tensor, mode: object = None, apply_exif_orientation: bool = False) -> torch.Tensor:
    picture = Image.open(io.BytesIO(data.numpy().tobytes())).convert("RGB")
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


import torchvision.io  # noqa: E402

torchvision.io.decode_image = decode

from transformers.cli.transformers import main  # noqa: E402

if __name__ == "__main__":
    sys.argv[1:1] = ["serve"]
    main()
