"""Hash or decode one source file in a worker process of `videossr index`, which writes nothing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from av.video.frame import VideoFrame

from videossr.corpus.entry import Entry, RejectedFile
from videossr.corpus.fingerprint import Fingerprinter
from videossr.corpus.jpeg import Chroma, encode
from videossr.corpus.sources import Input
from videossr.errors import ServerError
from videossr.storage.paths import is_local
from videossr.video.container import StreamFacts
from videossr.video.conversion import FrameConverter
from videossr.video.decoding import pick
from videossr.video.image_folder import ImageFolder, pick_images
from videossr.video.plan import FrameChoice, Plan, RejectedError

_PIECE = 1 << 20
"""Bytes of JPEGs that are sent at once, about."""


@dataclass(frozen=True, slots=True)
class Piece:
    """JPEGs of a video, one after the other, sent while it is still being decoded.

    Attributes:
        start: how many bytes of this video were sent before. A piece that starts at 0 replaces all of them.
        data: the JPEGs.
    """

    start: int
    data: bytes


@dataclass(frozen=True, slots=True)
class DecodeWorker:
    """Hash and decode source files, each call one file.

    Attributes:
        plan: which frames are kept.
        quality: of the JPEGs, 1..100.
        chroma: sampling of the JPEGs.
    """

    plan: Plan
    quality: int
    chroma: Chroma

    def hash(self, file: Input) -> str | RejectedFile:
        """Return the SHA-256 of a file in hex, or why it cannot be read.

        Raises:
            OSError: a remote place cannot be reached.
        """
        try:
            return file.hash()
        except ServerError as error:
            return RejectedFile(file.path, None, "unreadable", str(error))
        except OSError as error:
            if not is_local(file.place) and not isinstance(error, FileNotFoundError | PermissionError):
                raise
            fault = error.strerror or type(error).__name__
            return RejectedFile(file.path, None, "unreadable", f"the system refuses to read it: {fault}")

    def stage(self, named: tuple[str, Input], send: Callable[[Piece], None]) -> Entry | RejectedFile:
        """Decode a video and send its JPEGs as they are made.

        Args:
            named: content hash of the file, and the file. One that is no longer what was hashed is rejected as changed.
            send: takes the JPEGs.

        Returns:
            The facts of the video, without its source id and its offset in a pack, or why it is rejected.
        """
        content, file = named
        changed = RejectedFile(file.path, None, "changed", "it changed or vanished after it was hashed; index again")
        if not file.is_same():
            return changed
        try:
            result: Entry | RejectedFile = self._decode(content, file, send)
        except RejectedError as error:
            result = RejectedFile(file.path, content, error.reason, error.detail, error.value, error.threshold)
        except ServerError as error:
            return RejectedFile(file.path, content, "unreadable", str(error))
        except MemoryError:  # with more memory the next run may decode it
            result = RejectedFile(file.path, None, "unreadable", "memory ended while it was decoded")
        return result if file.is_same() else changed

    def _decode(self, content: str, file: Input, send: Callable[[Piece], None]) -> Entry:
        encoder = _Encoder(self, send)
        if isinstance(file, ImageFolder):
            facts, timeline, choice, _ = pick_images(file, self.plan, encoder.add, encoder.begin)
        else:
            facts, timeline, choice, _ = pick(file.place, self.plan, encoder.add, encoder.begin)
        encoder.send()
        return Entry(
            content=content,
            pack=encoder.digest.hexdigest(),
            path=file.path,
            source_id=None,
            bytes=file.size,
            container=facts.container,
            codec=facts.codec,
            pix_fmt=facts.pix_fmt,
            transfer=facts.transfer,
            source_width=facts.width,
            source_height=facts.height,
            crop=facts.crop,
            rotation=facts.rotation,
            mirrored=facts.mirrored,
            pixel_aspect=facts.aspect.as_integer_ratio(),
            duration_ms=round(timeline.seconds * 1000),
            fps=float(len(timeline.times) / timeline.seconds),
            source_frames=len(timeline.times),
            time_base=timeline.base.as_integer_ratio(),
            ticks=tuple(timeline.times[frame] for frame in choice.frames),
            times_ms=choice.clock.times_ms,
            end_ms=choice.clock.end_ms,
            height=encoder.size[0],
            width=encoder.size[1],
            offset=0,
            frame_bytes=tuple(encoder.frame_bytes),
            fingerprints=bytes(encoder.fingerprints),
        )


class _Encoder:
    """Encode the frames of one video as JPEGs while they are decoded, and send these on.

    Attributes:
        size: (H, W) at which the frames are shown; they are stored larger.
        digest: SHA-256 of the JPEGs.
        frame_bytes, fingerprints: of the frame of each slot so far.
    """

    def __init__(self, worker: DecodeWorker, send: Callable[[Piece], None]) -> None:
        self._worker = worker
        self._send = send
        self._convert = FrameConverter(worker.plan.max_pixels, worker.plan.hdr, stored=True)

    def begin(self, choice: FrameChoice) -> None:
        """Start with the frames of `choice`; what was added before is dropped."""
        self._repeats = iter(Counter(choice.frames).values())  # slots never go back, so those of a frame are in a row
        self._waiting = bytearray()
        self._sent = 0
        self.size = (0, 0)
        self.digest = hashlib.sha256()
        self.frame_bytes: list[int] = []
        self.fingerprints = bytearray()
        self._fingerprint = Fingerprinter()

    def add(self, facts: StreamFacts, frame: VideoFrame) -> None:
        """Add a frame, once for each slot that shows it."""
        picture = self._convert(facts, frame)[None]
        jpeg = encode(picture, self._worker.quality, self._worker.chroma)[0]
        self.size = self._convert.size(*facts.display)
        slots = next(self._repeats)
        self.frame_bytes += [len(jpeg)] * slots
        self.fingerprints += self._fingerprint(picture[0]).tobytes() * slots
        for _ in range(slots):
            self.digest.update(jpeg)
            self._waiting += jpeg
        if len(self._waiting) >= _PIECE:
            self.send()

    def send(self) -> None:
        """Send the JPEGs that wait."""
        self._send(Piece(self._sent, bytes(self._waiting)))
        self._sent += len(self._waiting)
        self._waiting.clear()
