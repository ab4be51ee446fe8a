"""From a decoded picture to a uint8 array of the wanted size and colours, by ffmpeg's scaler for every kind of scan."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import VideoReformatter

# Scans run in parallel, not the rows of one picture; before version 17 there is no choice, and no threads either.
ONE_THREAD = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}


def fit_box(width: int, height: int, size: int) -> tuple[int, int]:
    """The largest (width, height) of the same aspect ratio, at least 1 pixel each, that fits a `size` square."""
    longest = max(width, height)
    return max(1, round(size * width / longest)), max(1, round(size * height / longest))


class Scaler:
    """Turns pictures into uint8 arrays of one size: `[height, width]` for 1 channel, `[height, width, 3]` for 3.

    `width`, `height`: as shown, that is after `turns` quarter turns counter-clockwise. Pictures are decoded video
    frames, or uint8 arrays `[H, W]` and `[H, W, 3]`. The scaler's set-up is kept between them.
    """

    def __init__(self, width: int, height: int, channels: int, turns: int = 0) -> None:
        self.size = (height, width) if turns % 2 else (width, height)
        self.format = "gray" if channels == 1 else "rgb24"
        self.turns = turns
        self.reformatter = VideoReformatter()
        self.opaque: set[str] = set()  # formats of frames without alpha

    def __call__(self, picture: av.VideoFrame | np.ndarray) -> np.ndarray:
        frame = _frame_of(picture) if isinstance(picture, np.ndarray) else self._on_black(picture)
        width, height = self.size
        smaller = width <= frame.width and height <= frame.height
        scaled = self.reformatter.reformat(
            frame, width, height, self.format, interpolation="AREA" if smaller else "BICUBIC", **ONE_THREAD
        )
        image = scaled.to_ndarray()
        return np.ascontiguousarray(np.rot90(image, self.turns)) if self.turns else image

    def _on_black(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame itself, unless parts are transparent: scalers ignore that, and show what was meant to be hidden.

        ffmpeg's GIF decoder, for one, paints hidden pixels white.
        """
        form = frame.format
        if form.name in self.opaque:
            return frame
        if form.name != "pal8" and not any(part.is_alpha for part in form.components):
            self.opaque.add(form.name)
            return frame
        pixels = frame.to_ndarray(format="rgba")  # [H, W, 4]
        alpha = pixels[..., 3:]
        if (alpha == 255).all():
            return frame
        return _frame_of(((pixels[..., :3].astype(np.uint16) * alpha + 127) // 255).astype(np.uint8))


def _frame_of(picture: np.ndarray) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "gray" if picture.ndim == 2 else "rgb24")
