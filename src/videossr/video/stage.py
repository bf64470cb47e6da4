"""What a worker of `videossr index` does: hash a file, or decode one. It writes nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from videossr.store import is_local
from videossr.video.decode import decode
from videossr.video.fingerprint import fingerprint
from videossr.video.jpeg import Chroma, encode
from videossr.video.pack import Entry, Rejection
from videossr.video.plan import Plan, RejectedError
from videossr.video.scan import File


@dataclass(frozen=True, slots=True)
class Staged:
    """One decoded video: what is known of it, but for its source id and its place in a pack, and its JPEGs."""

    entry: Entry
    jpegs: bytes


@dataclass(frozen=True, slots=True)
class Stager:
    """How videos are decoded and kept."""

    plan: Plan
    quality: int
    chroma: Chroma

    def hash(self, file: File) -> str | Rejection:
        """SHA-256 of a file, or why there is none. Raises OSError when a remote place cannot be reached."""
        try:
            return file.hash()
        except OSError as error:
            if not is_local(file.place) and not isinstance(error, FileNotFoundError | PermissionError):
                raise
            told = error.strerror or type(error).__name__
            return Rejection(file.path, None, "unreadable", f"the system refuses to read it: {told}")

    def stage(self, named: tuple[str, File]) -> Staged | Rejection:
        """Decode the video of this content hash. A file that is no longer what was hashed is rejected as changed."""
        content, file = named
        changed = Rejection(file.path, None, "changed", "it changed or vanished after it was hashed; index again")
        if not file.is_same():
            return changed
        try:
            staged = self._decode(content, file)
        except RejectedError as error:
            staged = Rejection(file.path, content, error.reason, error.detail, error.value, error.threshold)
        return staged if file.is_same() else changed

    def _decode(self, content: str, file: File) -> Staged | Rejection:
        video = decode(file.place, self.plan)
        jpegs = encode(video.frames, self.quality, self.chroma)
        facts, timeline, choice = video.facts, video.timeline, video.choice
        data = b"".join(jpegs)
        entry = Entry(
            content=content,
            pack=hashlib.sha256(data).hexdigest(),
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
            height=video.frames.shape[1],
            width=video.frames.shape[2],
            offset=0,
            frame_bytes=tuple(map(len, jpegs)),
            fingerprints=tuple(fingerprint(video.frames).tolist()),
        )
        return Staged(entry, data)
