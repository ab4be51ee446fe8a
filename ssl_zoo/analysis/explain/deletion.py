"""The deletion score: does the class go away when what the map calls important is blurred first?

After Petsiuk, Das and Saenko 2018 (RISE, arXiv 1806.07421). Here pixels are blurred, not blackened, because black
means fluid in ultrasound; and the yardstick is the same image with places blurred in random order. That order is drawn
on the map's own grid: scattered single pixels would destroy all texture at once, and every map would look good.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import integrate, ndimage
from torch import nn

from ssl_zoo.transfer.classifier import Classifier

STEPS = 16  # parts in which an image is blurred away
ORDERS = 4  # random orders that are averaged
BLUR = 1 / 10  # SD of the blur, of the image's side


@dataclass(frozen=True)
class Deletion:
    """Probabilities of the class `[STEPS + 1]` as 0..100 % of the image is blurred: by the map, and in random order."""

    by_map: np.ndarray
    at_random: np.ndarray  # mean over the random orders

    @property
    def area(self) -> float:
        """Area under the curve of the map, 0..1: small when the class goes away early."""
        return _area(self.by_map)

    @property
    def area_at_random(self) -> float:
        return _area(self.at_random)

    @property
    def gain(self) -> float:
        """How much sooner than at random the class goes away: positive for a map that points at what counts."""
        return self.area_at_random - self.area


def deletion(
    classifier: Classifier, image: np.ndarray, target: int, found: np.ndarray, grid: tuple[int, int], seed: int
) -> Deletion:
    """Blur `image` (uint8 `[H, W]` or `[H, W, 3]`) away by the map `found` `[size, size]`, whose own grid is `grid`.

    `seed` draws the random orders; ties in a map (its empty parts) are broken by lot too, so that they gain nothing.
    """
    generator = np.random.default_rng(seed)
    orders = [_order(found, generator)]
    orders += [_order(_upsampled(generator.random(grid), found.shape), generator) for _ in range(ORDERS)]
    curves = [classifier.predict(blurred_away(image, order))[:, target] for order in orders]
    return Deletion(curves[0], np.mean(curves[1:], axis=0))


def blurred_away(image: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The image with 0, 1/STEPS, ... all of its pixels blurred: uint8 `[STEPS + 1, H, W(, 3)]`.

    `order` int `[size, size]`: the place of every pixel in the row, 0 first.
    """
    side = image.shape[0]
    spread = (BLUR * side, BLUR * side, *([0] * (image.ndim - 2)))
    blurred = ndimage.gaussian_filter(image.astype(np.float32), spread, mode="nearest").round().astype(np.uint8)
    place = order / order.size  # 0..1
    if place.shape != image.shape[:2]:
        place = ndimage.zoom(place, [a / b for a, b in zip(image.shape[:2], place.shape, strict=True)], order=0)
    gone = place[None] < (np.arange(STEPS + 1) / STEPS)[:, None, None]  # [STEPS + 1, H, W]
    return np.where(gone[..., None] if image.ndim == 3 else gone, blurred[None], image[None])


def _order(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The place of every pixel when the largest values come first; equal ones in random order."""
    lots = generator.random(values.size)
    order = np.empty(values.size, dtype=np.int64)
    order[np.lexsort((lots, -values.ravel()))] = np.arange(values.size)
    return order.reshape(values.shape)


def _upsampled(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    tensor = torch.from_numpy(values)[None, None]
    return nn.functional.interpolate(tensor, shape, mode="bilinear")[0, 0].numpy()


def _area(curve: np.ndarray) -> float:
    return float(integrate.trapezoid(curve, dx=1 / STEPS))
