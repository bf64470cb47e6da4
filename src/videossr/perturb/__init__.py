"""The perturbations of anomaly grounding: parameters are drawn once per segment, pixels follow from them alone.

`PIXELS` alter the picture in a slot, `ORDERS` choose which slot of the segment is shown in each of its slots, `SPEEDS`
step through a denser pack. A swapped-in segment needs no entry here: its slots name another video.
"""

from videossr.perturb.color import COLOR
from videossr.perturb.pixel import Pixel
from videossr.perturb.spatial import SPATIAL
from videossr.perturb.strengths import Strengths
from videossr.perturb.temporal import ORDERS, SPEEDS

PIXELS: dict[str, Pixel] = {**COLOR, **SPATIAL}

__all__ = ["ORDERS", "PIXELS", "SPEEDS", "Pixel", "Strengths"]
