"""A few bytes that say what a frame looks like: enough to tell views apart, cheap enough for every frame of a cohort.

Two halves of equal weight, both of a 32 x 32 thumbnail (area means), so that fine speckle counts for little:

- the 119 lowest spatial frequencies of the discrete cosine transform (u + v <= 14), without the mean, each weighted by
  its frequency: where it is bright and where dark. The weights give all frequencies a say, as amplitudes in pictures
  of the world fall with the inverse of the frequency (Field, JOSA A 1987);
- in each of 4 x 4 cells, how strongly the grey levels rise in each of 8 directions, less the mean over all 128: where
  edges are and how they lie (a smooth relative of the histogram of oriented gradients, Dalal and Triggs, CVPR 2005).

Each half is scaled to length 127 and rounded to whole numbers. So gain and offset of the image do not matter, and the
cosine of two descriptors is the mean of the two halves' cosines. A last byte is set for a frame of one grey level
alone, which has neither half: blank frames are like each other, and unlike all others.

Bytes have a second use. Squared distances between descriptors of at most 256 bytes are whole numbers below 2^24,
which float32 holds exactly: whoever computes them, in blocks of any size, on any machine, gets the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

THUMBNAIL = 32  # pixels
FREQUENCIES = 15  # u + v < 15
CELLS, DIRECTIONS = 4, 8
LENGTH = 127  # of each half: no entry can leave the range of a signed byte
_LOW = np.add.outer(np.arange(FREQUENCIES), np.arange(FREQUENCIES)) < FREQUENCIES
_LOW[0, 0] = False  # the mean
_FREQUENCY = np.hypot(*np.mgrid[:FREQUENCIES, :FREQUENCIES])[_LOW]
DIMENSIONS = int(_LOW.sum()) + CELLS**2 * DIRECTIONS + 1
BATCH = 64  # frames described at a time


def describe(images: np.ndarray) -> np.ndarray:
    """Descriptors int8 `[B, DIMENSIONS]` of uint8 images `[B, H, W]` (grey) or `[B, H, W, 3]`, of any size.

    Images that are not square count as lying in the middle of a black square.
    """
    grey = images.mean(axis=3) if images.ndim == 4 else images.astype(np.float64)
    side = max(grey.shape[1:])
    rows, columns = _area(grey.shape[1], side), _area(grey.shape[2], side)
    thumbnails = rows @ grey @ columns.T  # [B, 32, 32]
    blank = np.ptp(thumbnails, axis=(1, 2)) < 0.5  # less than one grey level
    cosines = _cosines()
    shape = (cosines @ thumbnails @ cosines.T)[:, _LOW] * _FREQUENCY  # [B, 119]
    edges = _edges(thumbnails)
    edges -= edges.mean(axis=1, keepdims=True)
    halves = [np.where(blank[:, None], 0.0, _scaled(half)) for half in (shape, edges)]
    return np.rint(np.hstack([*halves, LENGTH * blank[:, None]])).astype(np.int8)


def describe_all(frames: np.ndarray) -> Iterator[np.ndarray]:
    """The descriptors of the frames of a store, or of any array `[N, H, W(, 3)]`, `BATCH` frames at a time."""
    for start in range(0, len(frames), BATCH):
        yield describe(np.asarray(frames[start : start + BATCH]))


def _scaled(half: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(half, axis=1, keepdims=True)
    return LENGTH * half / np.maximum(norm, 1e-9)


def _edges(thumbnails: np.ndarray) -> np.ndarray:
    """`[B, 32, 32]` to `[B, 128]`: the rise of the grey levels along each direction, summed over each cell."""
    down, right = np.gradient(thumbnails, axis=(1, 2))
    cell = np.repeat(np.eye(CELLS), THUMBNAIL // CELLS, axis=1)  # [4, 32]: which pixels lie in which cell
    sums = []
    for angle in 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS:
        rise = np.cos(angle) * right + np.sin(angle) * down
        sums.append((cell @ np.maximum(rise, 0, out=rise) @ cell.T).reshape(-1, CELLS**2))
    return np.concatenate(sums, axis=1)


@cache
def _area(n_pixels: int, side: int) -> np.ndarray:
    """`[32, n_pixels]`: the weight of each pixel in each 32nd of a line of `side` pixels, in whose middle they lie."""
    edge = np.linspace(0, side, THUMBNAIL + 1)
    pixel = np.arange(n_pixels) + (side - n_pixels) / 2
    begin, end = np.maximum(edge[:-1, None], pixel), np.minimum(edge[1:, None], pixel + 1)
    return np.maximum(end - begin, 0) * THUMBNAIL / side


@cache
def _cosines() -> np.ndarray:
    """`[15, 32]`: the lowest rows of the orthonormal discrete cosine transform (type II)."""
    frequency = np.arange(FREQUENCIES)[:, None]
    rows = np.cos(np.pi * frequency * (np.arange(THUMBNAIL) + 0.5) / THUMBNAIL) * np.sqrt(2 / THUMBNAIL)
    rows[0] /= np.sqrt(2)
    return rows
