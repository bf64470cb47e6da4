"""Conversion of decoded frames to upright RGB pictures of one size, for `videossr.video.decoding`."""

from __future__ import annotations

from typing import cast

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from videossr.question import Frames
from videossr.video.container import StreamFacts
from videossr.video.crop import WHOLE
from videossr.video.hdr import HDR, to_sdr
from videossr.video.plan import HDRChoice, RejectedError, fit, stored_size

_SCALER = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
"""The last three make swscale give the same bytes whatever vector instructions the processor has."""

_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""AVColorSpace -> matrix of swscale. Everything else, an unspecified matrix included, is BT.601, as in ffmpeg."""

_WIDE = (ColorPrimaries.BT2020, ColorPrimaries.UNSPECIFIED)
"""Primaries of HDR pictures that are taken for those of BT.2020."""


class FrameConverter:
    """Converts decoded frames to (H, W, 3) uint8 RGB pictures of one size."""

    def __init__(self, max_pixels: int, hdr: HDRChoice, *, stored: bool = False) -> None:
        """Set the size of the pictures.

        Args:
            max_pixels: height times width of a picture as it is shown, at most.
            hdr: treatment of frames whose transfer is PQ or HLG, see `Plan.hdr`.
            stored: whether to make pictures of the size at which they are stored, which is larger.
        """
        self._max_pixels = max_pixels
        self._stored = stored
        self._hdr = hdr
        self._scaler = VideoReformatter()

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (H, W) of the pictures of a video that a player shows at `width` x `height` square pixels."""
        return fit(width, height, self._max_pixels)

    def __call__(self, facts: StreamFacts, frame: VideoFrame) -> Frames:
        """Crop, scale and convert a frame with its own matrix and range, then mirror and turn the picture.

        Alpha is dropped.

        Args:
            facts: of the file.
            frame: one of its decoded frames.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            RejectedError: ``hdr`` or ``unsupported``.
        """
        if facts.transfer in HDR and self._hdr == "reject":
            raise RejectedError(
                "hdr",
                f"its transfer is {HDR[facts.transfer]} ({facts.transfer}), and --hdr reject leaves such videos out; "
                "--hdr map converts them to SDR",
            )
        mapped = facts.transfer in HDR and self._hdr == "map"
        shown = self.size(*facts.display)
        height, width = stored_size(shown) if self._stored else shown
        if facts.turn % 2:
            height, width = width, height
        try:
            scaled = _pixels(self._scale(facts, frame, width, height, "rgb48le" if mapped else "rgb24"))
        except FFmpegError as error:
            raise RejectedError("unsupported", f"its {frame.format.name} pixels cannot be converted") from error
        if mapped:
            scaled = to_sdr(scaled.astype(np.uint16), facts.transfer, wide=frame.color_primaries in _WIDE)
        picture = scaled[:, ::-1] if facts.mirrored else scaled
        return np.ascontiguousarray(np.rot90(picture, facts.turn), dtype=np.uint8)

    def _scale(self, facts: StreamFacts, frame: VideoFrame, width: int, height: int, pixels: str) -> VideoFrame:
        """Scale and convert a frame in one step, or through a picture of full size where one step would be wrong.

        The edges of a cropped picture may lie within a chroma pixel. Of an interlaced frame swscale would scale the two
        fields apart, so that a small picture keeps their combing.
        """
        if facts.crop == WHOLE and not (frame.interlaced_frame and (width, height) != (frame.width, frame.height)):
            return self._convert(frame, width, height, pixels)
        left, top, right, bottom = facts.crop
        whole = _pixels(self._convert(frame, frame.width, frame.height, pixels))
        part = whole[top : frame.height - bottom, left : frame.width - right]
        cropped = VideoFrame.from_ndarray(cast(NDArray[np.uint8], np.ascontiguousarray(part)), pixels)
        return self._convert(cropped, width, height, pixels)

    def _convert(self, frame: VideoFrame, width: int, height: int, pixels: str) -> VideoFrame:
        if frame.format.is_rgb:
            return self._scaler.reformat(frame, width, height, pixels, interpolation=_SCALER, threads=1)
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        return self._scaler.reformat(
            frame,
            width,
            height,
            pixels,
            src_colorspace=_MATRICES.get(frame.colorspace, Colorspace.ITU601),
            dst_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=_SCALER,
            threads=1,
        )


def _pixels(frame: VideoFrame) -> NDArray[np.uint8 | np.uint16]:
    """Return the pixels (H, W, 3) of an RGB frame."""
    return cast("NDArray[np.uint8 | np.uint16]", frame.to_ndarray())
