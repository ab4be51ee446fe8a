"""Videos whose every frame carries its own number as a bar code, made with PyAV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

WIDTH, HEIGHT, BITS = 96, 64, 8
TICK = Fraction(1, 1000)


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Grey uint8 [height, width] with a bar for each bit of `number`."""
    image = np.full((height, width), 40, np.uint8)
    bar = width // (BITS + 1)
    for bit in range(BITS):
        if number >> bit & 1:
            image[height // 8 : -height // 8, bar // 2 + bit * bar : bar // 2 + (bit + 1) * bar] = 220
    return image


def _number(image: np.ndarray) -> int:
    grey = image if image.ndim == 2 else image[..., 1]
    height, width = grey.shape
    bar = width / (BITS + 1)
    middles = [round(bar / 2 + (bit + 0.5) * bar) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(middles) if grey[height // 3 : -height // 3, x].mean() > 130)


def _video(
    path: Path,
    n_frames: int = 30,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int = 25,
    times_ms: Sequence[int] | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio: bool = False,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container_options or {}) as container:
        if audio:
            sound = container.add_stream("aac", rate=8000, layout="mono")
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            samples.sample_rate = 8000
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if times_ms is not None:
            stream.codec_context.time_base = TICK
        for number in range(n_frames):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="gray").reformat(format=pixels)
            if times_ms is not None:
                frame.pts, frame.time_base = int(times_ms[number]), TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            container.mux(sound.encode(samples))
            container.mux(sound.encode())
    return path


@pytest.fixture
def make_video() -> Callable[..., Path]:
    """Writes a video of numbered pictures and returns its path."""
    return _video


@pytest.fixture
def number() -> Callable[[np.ndarray], int]:
    """Reads the number out of a decoded picture."""
    return _number
