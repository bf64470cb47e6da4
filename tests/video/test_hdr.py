"""Videos in PQ and HLG: recognized by their transfer, mapped to SDR, kept unmapped, or rejected."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from videossr.cli import app
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.video.decoding import decode
from videossr.video.hdr import to_sdr
from videossr.video.plan import HDRChoice, Plan, RejectedError

PQ, HLG = 16, 18


def pq_code(nits: float) -> float:
    """Compute the inverse EOTF of SMPTE ST 2084 from its definition."""
    y = (nits / 10000) ** (2610 / 16384)
    return float(((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 4096 * 128))


def hlg_code(scene: float) -> float:
    """Compute the OETF of HLG (ITU-R BT.2100)."""
    return float(np.sqrt(3 * scene) if scene <= 1 / 12 else 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073)


def write_gray_bars(path: Path, codes: list[float], transfer: int, frames: int = 60) -> None:
    """Write a video of gray bars of these R'G'B' codes, in 10 bits, full range, lossless."""
    luma = np.repeat(np.round(np.array(codes) * 1023).astype(np.uint16), 64)[None].repeat(64, axis=0)
    frame = av.VideoFrame(64 * len(codes), 64, "yuv444p10le")
    for plane, values in zip(frame.planes, (luma, np.full_like(luma, 512), np.full_like(luma, 512)), strict=True):
        lines = np.zeros((64, plane.line_size // 2), np.uint16)
        lines[:, : values.shape[1]] = values
        plane.update(lines.tobytes())
    frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, 9, 9, 2
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv444p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = transfer, 9, 9, 2
        for time in range(frames):
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def decode_bars(path: Path, count: int, hdr: HDRChoice = "map") -> list[int]:
    frames = decode(path, Plan(kind="fps", frames=2, fps=1, hdr=hdr)).frames
    return [int(frames[0, 32, 64 * k + 32, 0]) for k in range(count)]


def test_decode_maps_light_linearly_up_to_the_knee_and_rolls_off_the_rest(tmp_path: Path) -> None:
    """With a white of 203 cd/m2, 20 and 60 are below the knee, and 1,000 and more become white."""
    path = tmp_path / "pq.mkv"
    nits = [0, 20, 60, 203, 600, 1000, 4000]
    write_gray_bars(path, [pq_code(n) for n in nits], PQ)
    values = decode_bars(path, len(nits))
    assert values[0] == 0
    for n, value in zip(nits[1:3], values[1:3], strict=True):
        assert value == pytest.approx(255 * (n / 203) ** (1 / 2.4), abs=2)
    assert values[2] < values[3] < values[4] < values[5]
    assert values[5] == pytest.approx(255, abs=1)
    assert values[6] == 255
    assert values[3] == pytest.approx(217, abs=2), "reference white stays clearly below highlights"
    unmapped = decode_bars(path, len(nits), "keep")
    assert unmapped == [pytest.approx(255 * pq_code(n), abs=2) for n in nits]


def test_decode_maps_pq_and_hlg_of_the_same_light_alike(tmp_path: Path) -> None:
    """The same gray, on a screen of 1,000 cd/m2, as PQ and as HLG (BT.2100 gives it a display gamma of 1.2)."""
    nits = [5, 50, 203, 700]
    write_gray_bars(tmp_path / "pq.mkv", [pq_code(n) for n in nits], PQ)
    write_gray_bars(tmp_path / "hlg.mkv", [hlg_code((n / 1000) ** (1 / 1.2)) for n in nits], HLG)
    assert decode_bars(tmp_path / "hlg.mkv", 4) == [
        pytest.approx(value, abs=2) for value in decode_bars(tmp_path / "pq.mkv", 4)
    ]


def test_to_sdr_maps_the_wide_gamut_to_the_narrow_one() -> None:
    """The primaries of BT.709, given in BT.2020, are mapped to pure primaries; a gray stays without hue."""
    to_wide = np.linalg.inv([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    light = np.eye(3) * 40  # cd/m2
    wide = np.clip(light @ to_wide.T, 0, None)
    codes = np.vectorize(pq_code)(wide)
    picture = np.round(codes[None] * 65535).astype(np.uint16)
    mapped = to_sdr(picture, "smpte2084", wide=True)[0]
    level = round(255 * (40 / 203) ** (1 / 2.4))
    assert np.abs(mapped.astype(int) - level * np.eye(3, dtype=int)).max() <= 12  # the table is coarse in the dark
    assert (np.argmax(mapped, axis=1) == [0, 1, 2]).all()
    plain = to_sdr(picture, "smpte2084", wide=False)[0]
    assert plain[0, 1] > 40, "without the matrix, red is mixed with green"
    neutral = to_sdr(np.full((1, 1, 3), 30000, np.uint16), "smpte2084", wide=True)[0, 0].astype(int)
    assert np.ptp(neutral) <= 1


def test_index_stores_the_transfer_and_info_counts_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "videos"
    source.mkdir()
    for name, transfer in (("a", PQ), ("b", HLG), ("c", 1)):
        write_gray_bars(source / f"{name}.mkv", [0.2, 0.5, 0.7], transfer)
    index_videos(source, tmp_path / "mapped")
    assert {entry.path[0]: entry.transfer for entry in Corpus(tmp_path / "mapped").videos} == {
        "a": "smpte2084",
        "b": "arib-std-b67",
        "c": "bt709",
    }
    with pytest.raises(SystemExit) as raised:
        app(["corpus", "info", str(tmp_path / "mapped"), "--json"])
    assert not raised.value.code
    facts = json.loads(capsys.readouterr().out)
    assert facts["transfers"] == {"smpte2084 (PQ)": 1, "arib-std-b67 (HLG)": 1, "bt709": 1}

    index_videos(source, tmp_path / "without", Plan(hdr="reject"))
    assert [entry.path for entry in Corpus(tmp_path / "without").videos] == ["c.mkv"]
    rows = pq.read_table(tmp_path / "without/rejected.parquet").to_pylist()
    assert [(row["path"], row["reason"]) for row in rows] == [("a.mkv", "hdr"), ("b.mkv", "hdr")]
    assert "PQ (smpte2084)" in rows[0]["detail"]
    assert "--hdr" in rows[0]["detail"]


def test_decode_of_the_reported_video_in_pq(videos: Path) -> None:
    path = videos / "reported/hdr_pq.mp4"
    if not path.is_file():
        pytest.skip("the folder of test videos has no reported ones")
    mapped, unmapped = (decode(path, Plan(hdr=choice)) for choice in ("map", "keep"))
    assert mapped.facts.transfer == "smpte2084"
    assert mapped.frames.std() > unmapped.frames.std(), "unmapped values have less contrast"
    with pytest.raises(RejectedError, match="hdr: its transfer is PQ"):
        decode(path, Plan(hdr="reject"))
