"""Pictures that show their number as a bar code, in which no codec gets lost."""

from __future__ import annotations

import numpy as np

WIDTH, HEIGHT, BITS = 96, 64, 8


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Grey uint8 [height, width] with a bar for each bit of `number`."""
    image = np.full((height, width), 40, np.uint8)
    bar = width // (BITS + 1)
    for bit in range(BITS):
        if number >> bit & 1:
            image[height // 8 : -height // 8, bar // 2 + bit * bar : bar // 2 + (bit + 1) * bar] = 220
    return image


def number_of(image: np.ndarray) -> int:
    """The number that a decoded picture shows, grey `[H, W]` or `[H, W, 3]`, of any size."""
    grey = image if image.ndim == 2 else image[..., 1]
    height, width = grey.shape
    bar = width / (BITS + 1)
    middles = [round(bar / 2 + (bit + 0.5) * bar) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(middles) if grey[height // 3 : -height // 3, x].mean() > 130)
