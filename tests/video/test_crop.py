"""Frames are cropped as their container says."""

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


def write_framed_video(path: Path, *, degrees: int = 0) -> None:
    """Write pictures of 160x96: 96x64 of white from (40, 20) on, black around it."""
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


def add_clap_box(path: Path, numbers: tuple[int, ...]) -> None:
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
"""An aperture of 96x64 whose center is 8 to the right of and 4 below that of 160x96: from (40, 20) on."""


def is_white(video: Decoded) -> bool:
    """Return whether none of the black border is left; the outermost pixels may be soft."""
    return bool((video.frames[:, 1:-1, 1:-1] > 225).all() and video.frames.min() > 120)


@pytest.mark.parametrize("degrees", [0, 90])
def test_decode_applies_a_clean_aperture_before_rotation(tmp_path: Path, degrees: int) -> None:
    path = tmp_path / "clap.mp4"
    write_framed_video(path, degrees=degrees)
    assert not is_white(decode(path, PLAN))
    add_clap_box(path, CENTRED)
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
def test_decode_ignores_a_whole_or_invalid_aperture(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    path = tmp_path / "clap.mp4"
    write_framed_video(path)
    plain = decode(path, PLAN)
    add_clap_box(path, numbers)
    video = decode(path, PLAN)
    assert video.facts.crop == WHOLE
    assert np.array_equal(video.frames, plain.frames)


def test_decode_applies_the_crop_of_matroska(tmp_path: Path) -> None:
    """The element DisplayUnit is replaced by PixelCropLeft, which has the same length."""
    path = tmp_path / "crop.mkv"
    write_framed_video(path)
    data = path.read_bytes()
    unit = bytes.fromhex("54b28104")
    assert data.count(unit) == 1
    path.write_bytes(data.replace(unit, bytes.fromhex("54cc8128")))
    video = decode(path, PLAN)
    assert video.facts.crop == (40, 0, 0, 0)
    assert video.facts.display == (120, 96)
    assert video.frames[:, :, -16:].max() < 40
    assert (video.frames[:, 30:70, 2:60] > 225).all()


def test_decode_crops_a_remote_video(tmp_path: Path) -> None:
    path = tmp_path / "clap.mp4"
    write_framed_video(path)
    add_clap_box(path, CENTRED)
    remote = to_path("memory://crop/clap.mp4")
    remote.write_bytes(path.read_bytes())
    assert np.array_equal(decode(remote, PLAN).frames, decode(path, PLAN).frames)


def test_crop_of_reads_a_file_that_is_cut_anywhere_in_its_header(tmp_path: Path) -> None:
    """The reader of the boxes trusts none of their sizes, although ffmpeg could open the file."""
    path, cut = tmp_path / "clap.mp4", tmp_path / "cut.mp4"
    write_framed_video(path)
    add_clap_box(path, CENTRED)
    whole = path.read_bytes()
    crops = set()
    with av.open(str(path)) as container:
        for end in range(whole.index(b"moov"), len(whole), 7):
            cut.write_bytes(whole[:end])
            crops.add(crop_of(cut, container, container.streams.video[0], (160, 96)))
    assert crops == {WHOLE, (40, 20, 24, 12)}


def test_decode_of_the_reported_video_with_an_aperture(videos: Path) -> None:
    path = videos / "reported/crop_clap.mp4"
    if not path.is_file():
        pytest.skip("the folder of test videos has no reported ones")
    assert decode(path, Plan()).frames.shape == (48, 224, 224, 3)
