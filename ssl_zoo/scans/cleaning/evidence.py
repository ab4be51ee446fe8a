"""What some frames of a scan tell about its pixels: which are lit, and which move as tissue does.

The echoes of living tissue flicker from frame to frame, even under a probe held still; what a machine writes on its
screen does not. So motion tells a sector from panels, bars and text, and light alone only where nothing moves.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ssl_zoo.scans.cleaning.colour import strongest, weakest

RASTER = 200  # pixels of the longer side, at most about, on which geometry is read
BORDER = 0.04  # of a frame's side: the ring from which the background is read
LIT = (3.0, 2.0)  # grey levels above the background, and above its noise
MOVES = (0.3, 1.5)  # mean grey levels between two frames of the look, and times the background's flicker
FLAT, FLAT_SHARE = 3, 0.25  # grey levels around the background, and share of the border that is no more apart from it
BRIGHTEST_BACKGROUND = 80  # of 255; some machines have grey screens
DARK_BACKGROUND, QUIET = 24, 0.7  # grey levels; a brighter background has no analogue noise, and flickers no more
BRIGHT, FAINT, SELDOM = 90, 12, 0.35  # a trace is bright, but in few frames brighter than faint (in grey levels)
FEW, STILL = 0.03, 0.02  # of the frame, and of what is lit: less that moves is nothing
COLOURFUL = 60  # grey levels between channels; a camera's picture in the screen's corner is


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was seen of pixels, bool `[h, w]` each: every `step`-th pixel of the frames, from `step // 2` on.

    `lit`: brighter than the background at some time, where no trace has passed. `moving`: lit, and changing.
    `colourful`: far from any grey. `still`: nothing moves at all, so that `moving` is no more than `lit`.
    """

    lit: np.ndarray
    moving: np.ndarray
    colourful: np.ndarray
    step: int
    still: bool


def evidence(sample: np.ndarray) -> Evidence:
    """Read the frames `[S, H, W]` or `[S, H, W, 3]`; of colours the green counts, which carries most of the grey."""
    step = max(1, round(max(sample.shape[1:3]) / RASTER))
    small = np.ascontiguousarray(sample[:, step // 2 :: step, step // 2 :: step])
    colourful = np.zeros(small.shape[1:3], bool)
    if small.ndim == 4:
        middle = small[len(small) // 2]
        colourful = strongest(middle) - weakest(middle) > COLOURFUL
        small = np.ascontiguousarray(small[..., 1])
    motion = np.zeros(small.shape[1:], np.float32)
    for before, after in itertools.pairwise(small):
        motion += np.where(after > before, after - before, before - after)
    motion /= max(1, len(small) - 1)

    background, noise, flicker = _background(small, motion)
    lit, moving = _seen(small, motion, background, noise, flicker)
    if flicker and moving.mean() < FEW:  # even tissue was taken for a noisy background
        lit, moving = _seen(small, motion, 0, 0.0, 0.0)
    still = bool(moving.mean() < STILL * lit.mean())
    return Evidence(lit, lit if still else moving, colourful, step, still)


def _seen(
    small: np.ndarray, motion: np.ndarray, background: int, noise: float, flicker: float
) -> tuple[np.ndarray, np.ndarray]:
    """What is lit and what moves, bool `[h, w]` each, before a background of some level, noise and flicker.

    What is bright, but seldom, was lit by a trace that sweeps over the screen, as of an ECG.
    """
    apart = np.where(small > background, small - background, background - small)
    most = apart.max(0)
    swept = (most >= BRIGHT) & ((apart >= FAINT).mean(0) < SELDOM)
    swept = ndimage.uniform_filter(swept.astype(np.float32), 5) > 0.2  # and what the trace has lit beside it
    swept = ndimage.maximum_filter(swept.view(np.uint8), 5).view(bool)
    lit = (most >= max(LIT[0], noise + LIT[1])) & ~swept
    return lit, lit & (motion >= max(MOVES[0], MOVES[1] * flicker))


def _background(small: np.ndarray, motion: np.ndarray) -> tuple[int, float, float]:
    """The grey level of the screen beside the sector, what its noise adds at most, and how much it flickers.

    Read from the frame's border, where one level prevails; 0 where none does, as where a sector fills the frame.
    """
    ring = _ring(*motion.shape)
    border = small[:, ring]
    mean = border.mean(0)
    level = int(np.bincount(mean.astype(np.int64), minlength=256)[:BRIGHTEST_BACKGROUND].argmax())
    flat = np.abs(mean - level - 0.5) <= FLAT
    if flat.mean() < FLAT_SHARE:
        return 0, 0.0, 0.0
    level = round(float(np.median(mean[flat])))
    noise = np.abs(border[:, flat].astype(np.int16) - level).max(0)
    flicker = float(np.quantile(motion[ring][flat], 0.8))
    if level > DARK_BACKGROUND and flicker > QUIET:  # evenly grey tissue
        return 0, 0.0, 0.0
    return level, float(np.quantile(noise, 0.8)), flicker


def _ring(height: int, width: int) -> np.ndarray:
    ring = np.ones((height, width), bool)
    down, across = max(1, round(BORDER * height)), max(1, round(BORDER * width))
    ring[down : height - down, across : width - across] = False
    return ring


def opened(region: np.ndarray, radius: int) -> np.ndarray:
    """Without parts thinner than twice the radius (by squares); at the frame's edge a region is taken to go on."""
    kept = ndimage.minimum_filter(region.view(np.uint8), 2 * radius + 1, mode="nearest")
    return ndimage.maximum_filter(kept, 2 * radius + 1, mode="nearest").view(bool)


def connected(region: np.ndarray, structure: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    """The parts of a region that hang together, numbered from 1 (int `[h, w]`, 0 elsewhere), and how many there are."""
    labels, count = ndimage.label(region, structure)  # pyright: ignore[reportGeneralTypeIssues]
    return labels, count
