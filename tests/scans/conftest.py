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
    first: int = 0,
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
            frame = av.VideoFrame.from_ndarray(picture(first + number, width, height), format="gray").reformat(
                format=pixels
            )
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


@pytest.fixture
def hide_start() -> Callable[[Path, int], Path]:
    """Copies an mp4 of 25 frames/s to `cut.mp4` beside it, with an edit list that hides its first frames."""

    def copy_without(source: Path, n_hidden: int) -> Path:
        cut = source.with_name("cut.mp4")
        with av.open(str(source)) as given, av.open(str(cut), "w") as result:
            video = given.streams.video[0]
            copy = result.add_stream_from_template(video)
            for packet in given.demux(video):
                if packet.pts is not None and packet.dts is not None:
                    packet.pts -= n_hidden * 512  # 512 ticks a frame: the hidden ones come before time zero
                    packet.dts -= n_hidden * 512
                    packet.stream = copy
                    result.mux(packet)
        return cut

    return copy_without


@pytest.fixture
def turn() -> Callable[[Path], Path]:
    """Marks an mp4 or mov as to be shown a quarter turn clockwise, as phones do."""

    def mark(path: Path) -> Path:
        content = path.read_bytes()
        upright = b"".join(value.to_bytes(4, "big") for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
        minus_one = (1 << 32) - (1 << 16)
        turned = b"".join(value.to_bytes(4, "big") for value in (0, 1 << 16, 0, minus_one, 0, 0, 0, 0, 1 << 30))
        track = content.index(upright, content.index(b"tkhd"))
        path.write_bytes(content[:track] + turned + content[track + len(turned) :])
        return path

    return mark
