"""Decoded frames to RGB pictures of one size, upright. Exercised by `videossr index DIR --out CORPUS`."""

from __future__ import annotations

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from videossr.question import Frames
from videossr.video.plan import RejectedError, fit
from videossr.video.probe import Facts

_SCALER = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
"""The last three make swscale give the same bytes whatever vector instructions the processor has."""

_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""AVColorSpace -> swscale's. Everything else, an unspecified matrix included, is BT.601, as in ffmpeg."""


class Shrink:
    """Turns decoded frames into (H, W, 3) uint8 RGB pictures of one size."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._scaler = VideoReformatter()

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(H, W) of the pictures of a video that a player shows in `width` x `height` pixels."""
        return fit(width, height, self._max_pixels)

    def __call__(self, facts: Facts, frame: VideoFrame) -> Frames:
        """Scale and convert in one step with the frame's own matrix and range, then mirror and turn what is left.

        Alpha is dropped; a transfer curve other than SDR's (HDR) is not mapped.
        """
        height, width = self.size(*facts.display)
        if facts.turn % 2:
            height, width = width, height
        try:
            picture = self._scale(frame, width, height).to_ndarray()
        except FFmpegError as error:
            raise RejectedError("unsupported", f"its {frame.format.name} pixels cannot be converted") from error
        if facts.mirrored:
            picture = picture[:, ::-1]
        return np.ascontiguousarray(np.rot90(picture, facts.turn), dtype=np.uint8)

    def _scale(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        if frame.interlaced_frame and (width, height) != (frame.width, frame.height):
            # swscale scales the two fields of such a frame apart, so that a small picture would keep their combing.
            frame = VideoFrame.from_ndarray(self._scale(frame, frame.width, frame.height).to_ndarray(), "rgb24")
        if frame.format.is_rgb:
            return self._scaler.reformat(frame, width, height, "rgb24", interpolation=_SCALER, threads=1)
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        return self._scaler.reformat(
            frame,
            width,
            height,
            "rgb24",
            src_colorspace=_MATRICES.get(frame.colorspace, Colorspace.ITU601),
            dst_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=_SCALER,
            threads=1,
        )
