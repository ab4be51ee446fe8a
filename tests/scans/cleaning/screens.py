"""What ultrasound machines show: living tissue in a sector of known shape, and around it what screens are full of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

HEIGHT, WIDTH = 576, 768
SHAPES = ("convex", "phased", "linear", "trapezoid", "steered", "cut off")


def sector_of(shape: str, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """The true sector, bool `[height, width]`, somewhat left of the middle and clear of the frame's edge."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y / height, (x - 0.47 * width) / height
    if shape in ("convex", "cut off"):
        radius, angle = np.hypot(x, y + 0.12), np.abs(np.arctan2(x, y + 0.12))
        inside = (radius > 0.24) & (radius < 1.02) & (angle < np.deg2rad(34))
        return inside & (np.abs(x) < 0.37) if shape == "cut off" else inside
    if shape == "phased":
        radius, angle = np.hypot(x, y - 0.08), np.abs(np.arctan2(x, y - 0.08))
        return (radius > 0.015) & (radius < 0.84) & (angle < np.deg2rad(42))
    if shape == "linear":
        return (np.abs(x) < 0.31) & (y > 0.11) & (y < 0.88)
    if shape == "trapezoid":
        return (np.abs(x) < 0.22 + 0.3 * (y - 0.11)) & (y > 0.11) & (np.hypot(x, y + 0.75) < 1.66)
    if shape == "steered":
        return (np.abs(x - 0.22 * (y - 0.5)) < 0.3) & (y > 0.11) & (y < 0.86)
    raise ValueError(shape)


@lru_cache(maxsize=8)
def tissue(frames: int, seed: int = 0, height: int = HEIGHT, width: int = WIDTH, fade: float = 0.0) -> np.ndarray:
    """Moving speckle, uint8 `[frames, height, width]`, with structures that drift; `fade` darkens with depth (0 to 1:
    how much of the grey range is lost at the bottom). Read-only, as it is kept for the next test.
    """
    rng = np.random.default_rng(seed)
    fine = [ndimage.gaussian_filter(rng.standard_normal((height, width), np.float32), 1.6) for _ in range(3)]
    fine = [layer / layer.std() for layer in fine]
    coarse = ndimage.gaussian_filter(rng.standard_normal((height, width), np.float32), 28, mode="wrap")
    coarse *= 22 / coarse.std()
    depth = (fade * 150 * (np.arange(height) / height) ** 1.2)[:, None]
    found = np.empty((frames, height, width), np.uint8)
    for t in range(frames):
        phase = 0.9 * t
        speckle = np.hypot(np.cos(phase) * fine[0] + np.sin(phase) * fine[1], np.roll(fine[2], 2 * t, 1))
        level = 78 + 26 * speckle + np.roll(coarse, (t, 2 * t), (0, 1)) - depth
        found[t] = np.clip(level - 20, 0, 255)
    found.flags.writeable = False
    return found


@dataclass(eq=False)
class Screen:
    """A scan on a machine's screen: frames uint8 `[S, H, W, 3]`, the true sector, and every pixel drawn beside or on
    it (bool `[H, W]`).
    """

    frames: np.ndarray
    sector: np.ndarray
    drawn: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self) -> None:
        self.drawn = np.zeros(self.sector.shape, bool)

    def draw(self, paint: Callable[[ImageDraw.ImageDraw, int], None]) -> None:
        """`paint(draw, t)` draws on each frame with PIL; what it changes is noted in `drawn`."""
        for t, frame in enumerate(self.frames):
            image = Image.fromarray(frame)
            paint(ImageDraw.Draw(image), t)
            after = np.asarray(image)
            self.drawn |= (after != frame).any(-1)
            self.frames[t] = after


def screen(shape: str = "convex", frames: int = 16, seed: int = 0, fade: float = 0.3, background: int = 0) -> Screen:
    """A screen with nothing but its sector."""
    sector = sector_of(shape)
    moving = tissue(frames, seed, fade=fade)
    grey = np.where(sector, moving, np.uint8(background))
    return Screen(np.repeat(grey[..., None], 3, axis=-1), sector)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def name_line(
    shown: Screen, text: str = "MUSTER, ERIKA 1984-03-12", at: tuple[int, int] = (20, 8), size: int = 20
) -> None:
    """The patient's name and a date, above the sector."""
    shown.draw(lambda draw, t: draw.text(at, text, fill=(235, 235, 235), font=font(size)))


def ruler(shown: Screen, x: int = 700) -> None:
    """Depth marks with numbers, on the right."""

    def paint(draw: ImageDraw.ImageDraw, t: int) -> None:
        for number, y in enumerate(range(40, 560, 24)):
            draw.line([(x, y), (x + (12 if number % 5 == 0 else 6), y)], fill=(200, 200, 200), width=2)
            if number % 5 == 0:
                draw.text((x + 16, y - 8), str(number), fill=(200, 200, 200), font=font(14))

    shown.draw(paint)


def bars(shown: Screen) -> None:
    """A grey and a colour bar, on the left."""

    def paint(draw: ImageDraw.ImageDraw, t: int) -> None:
        for y in range(120, 300):
            grey = int(255 * (300 - y) / 180)
            draw.line([(24, y), (40, y)], fill=(grey, grey, grey))
            draw.line([(50, y), (62, y)], fill=(grey, 40, 255 - grey))

    shown.draw(paint)


def logo(shown: Screen) -> None:
    """A maker's sign beside the sector's top, and the mark of the probe's side."""

    def paint(draw: ImageDraw.ImageDraw, t: int) -> None:
        draw.ellipse([(30, 50), (70, 90)], fill=(40, 110, 230))
        draw.text((40, 56), "S", fill=(255, 255, 255), font=font(24))
        draw.text((270, 44), "P", fill=(90, 220, 90), font=font(18))

    shown.draw(paint)


def clock(shown: Screen) -> None:
    """A time of day that runs, and frame numbers."""
    shown.draw(lambda draw, t: draw.text((600, 8), f"10:42:{t:02d}  #{37 * t:04d}", fill=(230,) * 3, font=font(18)))


def ecg(shown: Screen, y: int = 568, height: int = 24) -> None:
    """A trace that sweeps over the bottom of the screen, in other places in every frame."""
    width = shown.sector.shape[1]

    def paint(draw: ImageDraw.ImageDraw, t: int) -> None:
        x = np.arange(0, width, 3)
        beat = (x + 61 * t) % 150
        wave = np.where((beat > 60) & (beat < 75), np.sin((beat - 60) / 15 * np.pi), 0.1 * np.sin(beat / 24))
        draw.line([(int(a), int(y - height * b)) for a, b in zip(x, wave, strict=True)], fill=(60, 255, 60), width=2)

    shown.draw(paint)


def furnish(shown: Screen) -> Screen:
    """All of it."""
    for part in (name_line, ruler, bars, logo, clock, ecg):
        part(shown)
    return shown


def calipers(shown: Screen) -> None:
    """Measuring crosses, a dotted line and its result on the tissue, which stand still."""

    def paint(draw: ImageDraw.ImageDraw, t: int) -> None:
        for x, y in ((300, 300), (430, 360)):
            draw.line([(x - 7, y), (x + 7, y)], fill=(255, 255, 0), width=2)
            draw.line([(x, y - 7), (x, y + 7)], fill=(255, 255, 0), width=2)
        for share in np.linspace(0, 1, 18):
            x, y = 300 + 130 * share, 300 + 60 * share
            draw.ellipse([(x - 1, y - 1), (x + 1, y + 1)], fill=(255, 255, 0))
        draw.text((350, 400), "HC 24.3 cm", fill=(255, 255, 255), font=font(18))

    shown.draw(paint)


def dual(seed: int = 0, frames: int = 16) -> Screen:
    """Two sectors side by side."""
    half = sector_of("convex", HEIGHT // 2, WIDTH // 2)
    sector = np.zeros((HEIGHT, WIDTH), bool)
    for number in range(2):
        sector[120 : 120 + HEIGHT // 2, number * WIDTH // 2 : number * WIDTH // 2 + WIDTH // 2] |= half
    moving = tissue(frames, seed, fade=0.2)
    return Screen(np.repeat(np.where(sector, moving, 0)[..., None].astype(np.uint8), 3, axis=-1), sector)


def write_video(path: Path, frames: np.ndarray, crf: int = 23) -> Path:
    """H.264 as scanners and converters write it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf)})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def read_video(path: Path) -> np.ndarray:
    """All frames, uint8 `[S, H, W, 3]`."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
