"""The sizes of the frames of published rows, and what their file names mean."""

from __future__ import annotations

import pytest

from videossr.dataset.published.frames import smart_size
from videossr.dataset.published.perturbed import find_perturbed, perturbation_of


@pytest.mark.parametrize(
    ("height", "width", "least", "most", "size"),
    [
        (480, 854, 16384, 65536, (160, 320)),
        (854, 480, 16384, 65536, (320, 160)),
        (240, 320, 16384, 65536, (192, 288)),
        (360, 640, 16384, 65536, (192, 320)),
        (720, 720, 16384, 65536, (256, 256)),
        (1080, 1920, 16384, 262144, (384, 672)),
        (48, 64, 16384, 65536, (128, 160)),
        (80, 1000, 16384, 65536, (64, 992)),
        (256, 455, 131072, 786432, (288, 512)),
        (176, 144, 131072, 786432, (416, 352)),
        (2160, 3840, 131072, 786432, (640, 1152)),
    ],
)
def test_smart_size_agrees_with_qwen_vl_utils(
    height: int, width: int, least: int, most: int, size: tuple[int, int]
) -> None:
    """Each size was computed by `qwen_vl_utils.vision_process.smart_resize` 0.0.14 with a factor of 32."""
    assert smart_size(height, width, least, most) == size


@pytest.mark.parametrize(
    ("released", "expected"),
    [
        ("ChannelSwap", "channel_swap"),
        ("Rotate180", "rotate_180"),
        ("ZoomOut", "zoom_out"),
        ("StutterHold", "stutter"),
        ("Swap", "swap"),
        ("zoom_in", "zoom_in"),
        ("Solarize", "solarize"),
    ],
)
def test_perturbation_of_translates_released_names(released: str, expected: str) -> None:
    assert perturbation_of(released) == expected


def test_find_perturbed_reads_the_names_of_frames() -> None:
    perturbed = find_perturbed(
        {"video": ["v_1/0.jpg", "v_1/1_rotate180.jpg", "v_1/2_rotate180.jpg", "v_1/x_mirror.jpg"]}
    )
    assert (perturbed.slots, perturbed.perturbation, perturbed.shapes) == ((1, 2), "rotate_180", {})
    perturbed = find_perturbed({"video": ["0_circle2.jpg", "1_square1.jpg", "2_circle10.jpg", "3.jpg"]})
    assert (perturbed.slots, perturbed.perturbation) == ((0, 1, 2), "")
    assert perturbed.shapes == {"circle": (2, 10), "square": (1,)}
    assert find_perturbed({"video": ["0_mirror.jpg", "1_noise.jpg"]}).perturbation == ""
    assert find_perturbed({"video": "a_mirror.mp4"}).slots == ()
