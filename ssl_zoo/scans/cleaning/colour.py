"""Colour flow: how much of a scan's sector is in colours that its grey map does not have."""

from __future__ import annotations

import numpy as np

DARK = 40  # grey levels; no tint can be read from less
MOST = 100_000  # pixels from which the tint is read
SATURATED = 70  # grey levels that a colour differs by from the image's own tint
STEP, FRAMES = 4, 4  # every fourth pixel of a row and of a column of four frames is enough


def colour_share(sample: np.ndarray, sector: np.ndarray) -> float:
    """The share of the sector's pixels in saturated colours, the mean over frames uint8 `[S, h, w, 3]`.

    `sector` bool `[h, w]`. Grey frames, `[S, h, w]`, have none. Many machines tint their greys (sepia, blue); the tint
    is taken to be the median ratio of each channel to the brightest.
    """
    if sample.ndim == 3:
        return 0.0
    few = sample[:: max(1, len(sample) // FRAMES), ::STEP, ::STEP]
    pixels = few[:, sector[::STEP, ::STEP]].reshape(-1, 3)  # [P, 3]
    brightest = strongest(pixels)
    bright = brightest > DARK
    if not bright.any():
        return 0.0
    apart = (brightest[:, None] - pixels).astype(np.float32)  # [P, 3]
    tint = np.median(apart[bright][:MOST] / brightest[bright, None][:MOST], axis=0)  # [3]
    apart -= tint * brightest[:, None]
    return float((strongest(np.abs(apart, out=apart)) > SATURATED).mean())


def strongest(image: np.ndarray) -> np.ndarray:
    """The brightest channel of each pixel: `[..., 3]` to `[...]`. Faster than `max` over the last axis."""
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])


def weakest(image: np.ndarray) -> np.ndarray:
    """The darkest channel of each pixel: `[..., 3]` to `[...]`."""
    return np.minimum(np.minimum(image[..., 0], image[..., 1]), image[..., 2])
