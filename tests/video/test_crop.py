"""What a container hides of its pictures is cut off before they are kept."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from videossr.storage.paths import to_path
from videossr.video.crop import WHOLE, crop_of
from videossr.video.decoding import Decoded, decode
from videossr.video.plan import Plan

PLAN = Plan(kind="fps", frames=4, fps=5)


def framed(path: Path, *, degrees: int = 0) -> None:
    """Pictures of 160x96: 96x64 of white from (40, 20) on, black around it."""
    picture = np.zeros((96, 160, 3), np.uint8)
    picture[20:84, 40:136] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options={"qmin": "1", "qmax": "1"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        if degrees:
            stream.set_display_rotation(degrees)
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))


def hide(path: Path, numbers: tuple[int, ...]) -> None:
    """Put a `clap` box of these eight numbers at the end of the one sample entry of an mp4."""
    data = bytearray(path.read_bytes())
    clap = struct.pack(">I4sIIIIiIiI", 40, b"clap", *numbers)
    entry = data.index(b"mp4v") - 4
    assert data.index(b"mdat") < entry, "offsets of the chunks would have to move"
    end = entry + int.from_bytes(data[entry : entry + 4])
    data[end:end] = clap
    starts = [data.index(kind) - 4 for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")]
    for start in (*starts, entry):
        data[start : start + 4] = (int.from_bytes(data[start : start + 4]) + len(clap)).to_bytes(4)
    path.write_bytes(data)


CENTRED = (96, 1, 64, 1, 8, 1, 4, 1)
"""96x64 whose middle lies 8 to the right of and 4 below that of 160x96: from (40, 20) on."""


def is_white(video: Decoded) -> bool:
    """Whether nothing of the frame around the picture is left; its edge may be soft by a pixel."""
    return bool((video.frames[:, 1:-1, 1:-1] > 225).all() and video.frames.min() > 120)


@pytest.mark.parametrize("degrees", [0, 90])
def test_a_clean_aperture_is_applied_before_the_picture_is_turned(tmp_path: Path, degrees: int) -> None:
    path = tmp_path / "clap.mp4"
    framed(path, degrees=degrees)
    assert not is_white(decode(path, PLAN))
    hide(path, CENTRED)
    video = decode(path, PLAN)
    assert (video.facts.width, video.facts.height, video.facts.crop) == (160, 96, (40, 20, 24, 12))
    assert video.frames.shape[1:3] == ((96, 64) if degrees else (64, 96))
    assert is_white(video)


@pytest.mark.parametrize(
    "numbers",
    [
        (160, 1, 96, 1, 0, 1, 0, 1),  # all of it
        (96, 0, 64, 1, 8, 1, 4, 1),  # no fraction
        (0, 1, 64, 1, 0, 1, 0, 1),  # nothing
        (96, 1, 64, 1, -90, 1, 0, 1),  # beyond the edge
        (4000, 1, 64, 1, 0, 1, 0, 1),  # larger than the picture
    ],
)
def test_an_aperture_that_is_whole_or_nonsense_hides_nothing(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    path = tmp_path / "clap.mp4"
    framed(path)
    plain = decode(path, PLAN)
    hide(path, numbers)
    video = decode(path, PLAN)
    assert video.facts.crop == WHOLE
    assert np.array_equal(video.frames, plain.frames)


def test_the_crop_of_matroska_is_applied(tmp_path: Path) -> None:
    """An element that says nothing of use, DisplayUnit, gives way to PixelCropLeft of the same length."""
    path = tmp_path / "crop.mkv"
    framed(path)
    data = path.read_bytes()
    unit = bytes.fromhex("54b28104")
    assert data.count(unit) == 1
    path.write_bytes(data.replace(unit, bytes.fromhex("54cc8128")))
    video = decode(path, PLAN)
    assert video.facts.crop == (40, 0, 0, 0)
    assert video.facts.display == (120, 96)
    assert video.frames[:, :, -16:].max() < 40
    assert (video.frames[:, 30:70, 2:60] > 225).all()


def test_a_remote_video_is_cropped_too(tmp_path: Path) -> None:
    path = tmp_path / "clap.mp4"
    framed(path)
    hide(path, CENTRED)
    remote = to_path("memory://crop/clap.mp4")
    remote.write_bytes(path.read_bytes())
    assert np.array_equal(decode(remote, PLAN).frames, decode(path, PLAN).frames)


def test_a_file_cut_anywhere_in_its_header_does_not_break_the_reader(tmp_path: Path) -> None:
    """The boxes are read only after ffmpeg could read the file; the reader still believes none of their sizes."""
    path, cut = tmp_path / "clap.mp4", tmp_path / "cut.mp4"
    framed(path)
    hide(path, CENTRED)
    whole = path.read_bytes()
    found = set()
    with av.open(str(path)) as container:
        for end in range(whole.index(b"moov"), len(whole), 7):
            cut.write_bytes(whole[:end])
            found.add(crop_of(cut, container, container.streams.video[0], (160, 96)))
    assert found == {WHOLE, (40, 20, 24, 12)}


def test_the_reported_aperture(videos: Path) -> None:
    path = videos / "reported/crop_clap.mp4"
    if not path.is_file():
        pytest.skip("the folder of test videos has no reported ones")
    assert decode(path, Plan()).frames.shape == (48, 224, 224, 3)
