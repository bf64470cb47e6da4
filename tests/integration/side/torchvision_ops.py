"""Import this before torchvision where torch is a CPU build.

torchvision's own binary wants CUDA then and is not loaded, and without it two of its operators, which nothing here
calls, are missing: torchvision would refuse to be imported. They are declared here.
"""

import torch

library = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, operator):
        library.define(f"{operator}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
