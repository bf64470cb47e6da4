"""Videos in PQ and HLG: known by their transfer, mapped to what an ordinary screen shows, kept, or left out."""

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
    """SMPTE ST 2084's inverse EOTF, from its definition."""
    y = (nits / 10000) ** (2610 / 16384)
    return float(((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 4096 * 128))


def hlg_code(scene: float) -> float:
    """ITU-R BT.2100's OETF of HLG."""
    return float(np.sqrt(3 * scene) if scene <= 1 / 12 else 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073)


def gray(path: Path, codes: list[float], transfer: int, frames: int = 60) -> None:
    """A video of gray bars of these R'G'B' codes, in 10 bits, full range, lossless."""
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


def bars(path: Path, count: int, hdr: HDRChoice = "map") -> list[int]:
    frames = decode(path, Plan(kind="fps", frames=2, fps=1, hdr=hdr)).frames
    return [int(frames[0, 32, 64 * k + 32, 0]) for k in range(count)]


def test_light_up_to_the_knee_is_shown_as_it_is_and_the_rest_is_rolled_off(tmp_path: Path) -> None:
    """Through the whole decoder: 20 and 60 cd/m2 of a white of 203 are below the knee; 1,000 and more become white."""
    path = tmp_path / "pq.mkv"
    nits = [0, 20, 60, 203, 600, 1000, 4000]
    gray(path, [pq_code(n) for n in nits], PQ)
    shown = bars(path, len(nits))
    assert shown[0] == 0
    for n, value in zip(nits[1:3], shown[1:3], strict=True):
        assert value == pytest.approx(255 * (n / 203) ** (1 / 2.4), abs=2)
    assert shown[2] < shown[3] < shown[4] < shown[5]
    assert shown[5] == pytest.approx(255, abs=1)
    assert shown[6] == 255
    assert shown[3] == pytest.approx(217, abs=2), "white paper stays clearly below the lights"
    kept = bars(path, len(nits), "keep")
    assert kept == [pytest.approx(255 * pq_code(n), abs=2) for n in nits]


def test_both_transfers_show_the_same_light_alike(tmp_path: Path) -> None:
    """The same gray, on a screen of 1,000 cd/m2, as PQ and as HLG (BT.2100: the display gamma there is 1.2)."""
    nits = [5, 50, 203, 700]
    gray(tmp_path / "pq.mkv", [pq_code(n) for n in nits], PQ)
    gray(tmp_path / "hlg.mkv", [hlg_code((n / 1000) ** (1 / 1.2)) for n in nits], HLG)
    assert bars(tmp_path / "hlg.mkv", 4) == [pytest.approx(value, abs=2) for value in bars(tmp_path / "pq.mkv", 4)]


def test_colors_of_the_wide_gamut_become_those_of_the_narrow_one() -> None:
    """The primaries of BT.709, given in BT.2020, come back pure; a gray has no hue."""
    to_wide = np.linalg.inv([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    light = np.eye(3) * 40  # cd/m2
    wide = np.clip(light @ to_wide.T, 0, None)
    codes = np.vectorize(pq_code)(wide)
    picture = np.round(codes[None] * 65535).astype(np.uint16)
    shown = to_sdr(picture, "smpte2084", wide=True)[0]
    level = round(255 * (40 / 203) ** (1 / 2.4))
    assert np.abs(shown.astype(int) - level * np.eye(3, dtype=int)).max() <= 12  # the table is coarse in the dark
    assert (np.argmax(shown, axis=1) == [0, 1, 2]).all()
    plain = to_sdr(picture, "smpte2084", wide=False)[0]
    assert plain[0, 1] > 40, "without the matrix, red is mixed with green"
    neutral = to_sdr(np.full((1, 1, 3), 30000, np.uint16), "smpte2084", wide=True)[0, 0].astype(int)
    assert np.ptp(neutral) <= 1


def test_index_stores_the_transfer_and_info_counts_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "videos"
    source.mkdir()
    for name, transfer in (("a", PQ), ("b", HLG), ("c", 1)):
        gray(source / f"{name}.mkv", [0.2, 0.5, 0.7], transfer)
    index_videos(source, tmp_path / "mapped")
    assert {entry.path[0]: entry.transfer for entry in Corpus(tmp_path / "mapped").videos} == {
        "a": "smpte2084",
        "b": "arib-std-b67",
        "c": "bt709",
    }
    with pytest.raises(SystemExit) as caught:
        app(["corpus", "info", str(tmp_path / "mapped"), "--json"])
    assert not caught.value.code
    facts = json.loads(capsys.readouterr().out)
    assert facts["transfers"] == {"smpte2084 (PQ)": 1, "arib-std-b67 (HLG)": 1, "bt709": 1}

    index_videos(source, tmp_path / "without", Plan(hdr="reject"))
    assert [entry.path for entry in Corpus(tmp_path / "without").videos] == ["c.mkv"]
    rows = pq.read_table(tmp_path / "without/rejected.parquet").to_pylist()
    assert [(row["path"], row["reason"]) for row in rows] == [("a.mkv", "hdr"), ("b.mkv", "hdr")]
    assert "PQ (smpte2084)" in rows[0]["detail"]
    assert "--hdr" in rows[0]["detail"]


def test_the_reported_video_in_pq(videos: Path) -> None:
    path = videos / "reported/hdr_pq.mp4"
    if not path.is_file():
        pytest.skip("the folder of test videos has no reported ones")
    mapped, kept = (decode(path, Plan(hdr=choice)) for choice in ("map", "keep"))
    assert mapped.facts.transfer == "smpte2084"
    assert mapped.frames.std() > kept.frames.std(), "values that are kept look flat"
    with pytest.raises(RejectedError, match="hdr: its transfer is PQ"):
        decode(path, Plan(hdr="reject"))
