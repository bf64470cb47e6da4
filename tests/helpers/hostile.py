"""Small files that ask for much: `python -m tests.helpers.hostile FOLDER` reads each and writes what came of it.

The JSON on the output has for each the error, or what was returned, and by how many MiB the memory of the process grew
at its peak. No attack can take more than `ROOM` bytes, since the system refuses them.
"""

from __future__ import annotations

import hashlib
import json
import resource
import struct
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg

from videossr.builder.recipe import load_recipe
from videossr.corpus import entry, jpeg, pack
from videossr.corpus.corpus import Corpus
from videossr.dataset.published.dataset import PublishedDataset
from videossr.storage.parquet import read_batches, read_parquet
from videossr.templates import load_templates
from videossr.video.decoding import decode, planned
from videossr.video.image_folder import image_folder, pick_images
from videossr.video.plan import Plan

ROOM = 2 << 30

Attack = Callable[[Path], object]
ATTACKS: dict[str, Attack] = {}


def attack(made: Attack) -> Attack:
    """Add an attack by the name of its function, which gets an empty folder and returns what the package made of it."""
    ATTACKS[made.__name__] = made
    return made


def large_jpeg(side: int = 65500) -> bytes:
    """A JPEG of a few hundred bytes whose header says `side` x `side` pixels."""
    small: bytes = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8), 50, "RGB", "420")
    at = small.index(b"\xff\xc0") + 5
    return small[:at] + struct.pack(">HH", side, side) + small[at + 4 :]


def large_png() -> bytes:
    """A PNG of a few hundred bytes whose header says 16000 x 16000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 16000, 16000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def large_webp() -> bytes:
    """A WebP that ends behind its header, which says 16384 x 16384 pixels."""
    return b"RIFF\x1e\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00" + b"\xff\x3f\x00" * 2 + bytes(8)


def shown(folder: Path, *entries: dict[str, Any]) -> object:
    """Show a row with these entries; `ok.jpg` is an ordinary frame."""
    (folder / "ok.jpg").write_bytes(simplejpeg.encode_jpeg(np.zeros((64, 64, 3), np.uint8), 80))
    row = {
        "data_source": "videossr/interval",
        "prompt": [{"role": "user", "content": "<video>" * len(entries) + "When?"}],
        "videos": entries,
        "reward_model": {"ground_truth": "1.0-2.0"},
    }
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    rows = PublishedDataset(folder / "rows.jsonl")
    rows.question(0)
    return [clip.frames.shape for clip in rows.clips(0)]


@attack
def row_with_a_large_jpeg(folder: Path) -> object:
    (folder / "a.jpg").write_bytes(large_jpeg())
    return shown(folder, {"video": ["a.jpg"]})


@attack
def row_with_a_large_png(folder: Path) -> object:
    (folder / "a.png").write_bytes(large_png())
    return shown(folder, {"video": ["a.png"]})


@attack
def row_with_a_large_webp(folder: Path) -> object:
    (folder / "a.webp").write_bytes(large_webp())
    return shown(folder, {"video": ["a.webp"]})


@attack
def row_with_a_large_file(folder: Path) -> object:
    with (folder / "a.jpg").open("wb") as file:
        file.truncate(1 << 40)
    return shown(folder, {"video": ["a.jpg"]})


@attack
def row_that_asks_for_min_pixels(folder: Path) -> object:
    return shown(folder, {"video": ["ok.jpg"] * 8, "min_pixels": 10**9})


@attack
def row_that_asks_for_a_size(folder: Path) -> object:
    return shown(folder, {"video": ["ok.jpg"] * 400, "resized_height": 10**6, "resized_width": 10**6})


@attack
def row_whose_entries_ask_together(folder: Path) -> object:
    entry = {"video": ["ok.jpg"] * 2, "resized_height": 4096, "resized_width": 4096}
    return shown(folder, *[entry] * 9)


@attack
def row_with_many_frames(folder: Path) -> object:
    return shown(folder, {"video": ["ok.jpg"] * 100_000})


def parquet(path: Path, table: pa.Table, times: int = 1, **how: Any) -> Path:
    with pq.ParquetWriter(path, table.schema, compression="zstd", store_schema=False, **how) as writer:
        for _ in range(times):
            writer.write_table(table)
    return path


@attack
def parquet_with_a_shared_text(folder: Path) -> object:
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), pa.array(["x" * 1_000_000]))
    return read_parquet(parquet(folder / "rows.parquet", pa.table({"a": texts}))).nbytes


@attack
def parquet_with_a_shared_text_in_one_row(folder: Path) -> object:
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 100_000]))
    rows = pa.ListArray.from_arrays(pa.array([0, 100_000], pa.int32()), texts)
    structs = pa.StructArray.from_arrays([rows], ["b"])
    path = parquet(folder / "rows.parquet", pa.table({"a": structs}))
    return sum(batch.nbytes for batch in read_batches(path, 10, ["a"]))


@attack
def parquet_with_equal_numbers(folder: Path) -> object:
    return read_parquet(parquet(folder / "rows.parquet", pa.table({"a": np.zeros(1 << 20, np.int64)}), 100)).nbytes


@attack
def parquet_with_long_texts(folder: Path) -> object:
    table = pa.table({"a": pa.array(["\0" * (16 << 20)])})
    return read_parquet(parquet(folder / "rows.parquet", table, 40, use_dictionary=False)).nbytes


@attack
def parquet_with_differences(folder: Path) -> object:
    table = pa.table({"a": [f"{'x' * 100_000}{k}" for k in range(100)]})
    how = {"use_dictionary": False, "column_encoding": {"a": "DELTA_BYTE_ARRAY"}}
    return read_parquet(parquet(folder / "rows.parquet", table, 100, **how)).nbytes


def written_pack(folder: Path, table: pa.Table, compression: str | None = None) -> pack.Pack:
    sink = pa.BufferOutputStream()
    noted = table.replace_schema_metadata({"hash": "x", "rejected": "[]"})
    with pa.ipc.new_file(sink, noted.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(noted)
    data = sink.getvalue().to_pybytes()
    (folder / "00.pack").write_bytes(data + pack._TAIL.pack(len(data), hashlib.sha256(data).digest(), pack._MAGIC))
    return pack.Pack(folder / "00.pack")


@attack
def pack_with_a_compressed_table(folder: Path) -> object:
    zeros, rows = np.zeros(4_000_000, np.int64), 20_000
    ends = pa.array(np.arange(rows + 1, dtype=np.int32) * 200)
    columns = [
        pa.ListArray.from_arrays(ends, pa.array(zeros)) if pa.types.is_list(field.type) else pa.nulls(rows, field.type)
        for field in entry.SCHEMA
    ]
    return written_pack(folder, pa.Table.from_arrays(columns, schema=entry.SCHEMA), "zstd").table.nbytes


@attack
def pack_with_long_frames(folder: Path) -> object:
    row: dict[str, Any] = {field.name: [1] if pa.types.is_list(field.type) else 1 for field in entry.SCHEMA}
    row |= {field.name: "ab" * 32 for field in entry.SCHEMA if field.type == pa.string()}
    row |= {"mirrored": False, "fingerprints": b"", "path": "a.mp4", "frame_bytes": [10**17]}
    return len(list(written_pack(folder, pa.Table.from_pylist([row], entry.SCHEMA))))


@attack
def pack_with_a_large_jpeg(folder: Path) -> object:
    return [frame.shape for frame in jpeg.decode([large_jpeg()], (288, 288), (256, 256))]


@attack
def pack_of_large_frames(folder: Path) -> object:
    return [frame.shape for frame in jpeg.decode([large_jpeg()], (65500, 65500), (256, 256))]


def video(path: Path, **options: str) -> bytearray:
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream("mpeg4", 25, width=64, height=64)
        stream.codec_context.gop_size = 1
        for level in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * level, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return bytearray(path.read_bytes())


@attack
def video_that_declares_frames(folder: Path) -> object:
    data = video(folder / "a.mp4")
    struct.pack_into(">II", data, data.index(b"stsz") + 8, 1, 8 * 10**7)
    struct.pack_into(">I", data, data.index(b"stsc") + 16, 8 * 10**7)
    (folder / "a.mp4").write_bytes(data)
    return planned(folder / "a.mp4", Plan(frames=4))


@attack
def video_whose_fragment_declares_frames(folder: Path) -> object:
    data = video(folder / "a.mp4", movflags="frag_keyframe+empty_moov+default_base_moof")
    struct.pack_into(">II", data, data.index(b"trun") + 4, 0, 8 * 10**7)
    (folder / "a.mp4").write_bytes(data)
    return planned(folder / "a.mp4", Plan(frames=4))


@attack
def video_of_large_frames(folder: Path) -> object:
    with av.open(folder / "a.mkv", "w") as container:
        stream = container.add_stream("mjpeg", 1, width=64, height=64, pix_fmt="yuvj420p")
        for time in range(4):
            packet = av.Packet(large_jpeg(15000))
            packet.pts = packet.dts = time
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1), stream, True
            container.mux(packet)
    return decode(folder / "a.mkv", Plan(kind="fps", fps=1, frames=4)).frames.shape


@attack
def images_of_a_large_size(folder: Path) -> object:
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(large_jpeg())
    plan = Plan(kind="fps", fps=1, frames=4)
    return pick_images(image_folder("a", folder, Fraction(1)), plan, lambda _, frame: frame.width, lambda _: None)


@attack
def manifest_that_is_deep(folder: Path) -> object:
    (folder / "manifest.json").write_text("[" * 100_000 + "]" * 100_000)
    return Corpus(folder)


@attack
def manifest_that_is_long(folder: Path) -> object:
    with (folder / "manifest.json").open("wb") as file:
        file.truncate(1 << 40)
    return Corpus(folder)


@attack
def recipe_that_is_deep(folder: Path) -> object:
    (folder / "r.toml").write_text("a = " + "[" * 100_000)
    return load_recipe(str(folder / "r.toml"))


@attack
def recipe_with_deep_names(folder: Path) -> object:
    (folder / "r.toml").write_text(".".join(["a"] * 900) + " = 1")
    return load_recipe(str(folder / "r.toml"))


@attack
def recipe_that_asks_for_samples(folder: Path) -> object:
    return load_recipe("smoke", {"categories.jigsaw/6.count": str(10**12)})


@attack
def recipe_that_asks_for_pixels(folder: Path) -> object:
    return load_recipe("smoke", {"max_pixels": str(10**12)})


@attack
def prompt_with_a_width(folder: Path) -> object:
    (folder / "p.toml").write_text('[jigsaw]\nprompt = "{clips} {n:>999999999} {example}"\n')
    return load_templates(folder / "p.toml")


def status(name: str) -> int:
    """Return a number in KiB of the state of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def main(folder: Path) -> None:
    room = 1024 * status("VmSize") + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    found = {}
    for name, run in ATTACKS.items():
        (folder / name).mkdir()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        before = status("VmRSS")
        try:
            said = f"returned {run(folder / name)}"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        found[name] = [(status("VmHWM") - before) // 1024, said]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
