"""Marks on the tissue: text, calipers, focus signs. They are drawn, so that their edges are sharp and never move.

A pixel belongs to a mark's edge when even its darkest moment is much brighter than the brightest moment of a pixel
beside it; tissue flickers, and a beam blurs its edges. Layers of tissue that reflect like mirrors come near to that,
but they are sharp along the beam alone, and never as bright as what is drawn. Colours that stay the same are drawn;
those of flow change.

What moves or blinks (a clock, a trace), dim grey marks and lone level lines are not found. The thresholds were chosen
on 302 real lung scans and 100 phantom scans: there the labels that users had typed reach 213 to 249 grey levels with
50 to 91 % of their edges across the beam, and tissue 190 with 30 %.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ssl_zoo.scans.cleaning.colour import strongest, weakest
from ssl_zoo.scans.cleaning.evidence import connected

BESIDE = 2  # pixels at a longer side of 512: how far away the darker pixel may be
BRIGHT, SHARP = 90, 60  # of 255: the darkest moment of a mark, and how far it stays above what is beside it
STEADY = (0.25, 8.0)  # of its level, and grey levels: how much a mark may change under video compression
SOLID = (0.12, 6.0)  # the same for the inside of thick marks, and for each channel of coloured ones
WHITE, ACROSS = 180, 0.4  # grey levels that a mark reaches, and the share of its pixels that are sharp to a side
COLOURED, SHARP_COLOUR = 60, 45  # as `BRIGHT` and `SHARP`, for the difference between a pixel's channels
FEWEST = 6  # pixels of a mark's edges
COMPANY = 18  # pixels at a longer side of 512: level strokes and dots so close to a mark belong to it
GROW = 3  # pixels at a longer side of 512: the blurred and ringing rim of a mark
EIGHT = np.ones((3, 3))  # neighbours, for parts that hang together


def find_overlays(darkest: np.ndarray, brightest: np.ndarray, sector: np.ndarray) -> np.ndarray:
    """The marks within a sector, bool `[h, w]`, from each pixel's extremes over time.

    `darkest`, `brightest` uint8 `[h, w]` or `[h, w, 3]`; `sector` bool `[h, w]`. Marks beside the sector are looked for
    too, as one may reach into it by no more than a pixel.
    """
    scale = max(1.0, max(sector.shape) / 512)
    reach, company = round(BESIDE * scale), round(COMPANY * scale)
    low, high = (darkest, brightest) if darkest.ndim == 2 else (strongest(darkest), strongest(brightest))
    edge = _Edges(sector, reach)
    edges = (high - low <= STEADY[0] * low + STEADY[1]) & (low >= BRIGHT)
    edges &= edge(low, high, SHARP)
    marks = np.zeros(sector.shape, bool)
    if edges.any():
        marks = _drawn(edges, low, edges & edge(low, high, SHARP, sideways=True), company)
    if darkest.ndim == 3:
        lower, higher = _difference(darkest, brightest)
        coloured = (lower >= COLOURED) & (strongest(brightest - darkest) <= SOLID[0] * low + SOLID[1])
        if coloured.any():
            coloured &= edge(lower, higher, SHARP_COLOUR)
            marks |= _with_company(_large(coloured), coloured, company)
    if not marks.any():
        return marks
    solid = (low >= BRIGHT) & (high - low <= SOLID[0] * low + SOLID[1])
    marks = ndimage.binary_propagation(marks, mask=marks | solid)
    return ndimage.maximum_filter(marks.view(np.uint8), 2 * round(GROW * scale) + 1).view(bool) & sector


class _Edges:
    """Finds sharp and steady edges, within the sector and beside it. The sector's own edge, which is sharp and steady
    as well against the black around it, is left out: nothing is compared with what lies in a rim along it.
    """

    def __init__(self, sector: np.ndarray, reach: int) -> None:
        self.reach = reach
        pixels = sector.view(np.uint8)
        inside = ndimage.minimum_filter(pixels, 2 * reach + 3, mode="nearest")
        self.rim = ndimage.maximum_filter(pixels, 2 * reach + 1) > inside

    def __call__(self, low: np.ndarray, high: np.ndarray, by: int, sideways: bool = False) -> np.ndarray:
        """Where a pixel's lowest value lies `by` above the highest of some pixel near it (`sideways`: of its row)."""
        size = (1 if sideways else 2 * self.reach + 1, 2 * self.reach + 1)
        least = ndimage.minimum_filter(np.where(self.rim, np.uint8(255), high), size)
        return low >= np.minimum(least, 255 - by) + by


def _drawn(edges: np.ndarray, low: np.ndarray, across: np.ndarray, company: int) -> np.ndarray:
    """The parts of `edges` that are white and sharp to a side as well, and the white ones in their company."""
    labels, count = connected(edges, EIGHT)
    sizes, sideways, white = (
        np.bincount(labels[which], minlength=count + 1) for which in (edges, across, low >= WHITE)
    )
    sideways, white = sideways >= ACROSS * sizes, white > 0
    white[0] = False
    return _with_company((white & sideways & (sizes >= FEWEST))[labels], white[labels], company)


def _with_company(sure: np.ndarray, others: np.ndarray, company: int) -> np.ndarray:
    """What is sure, and others that lie in one group with it: no farther apart than about `company` pixels each."""
    if not sure.any():
        return sure
    together = ndimage.maximum_filter((sure | others).view(np.uint8), company + 1)
    groups, count = connected(together)
    chosen = np.bincount(groups[sure], minlength=count + 1) > 0
    return sure | (others & chosen[groups])


def _large(region: np.ndarray) -> np.ndarray:
    """Without parts of a few pixels."""
    labels, _ = connected(region, EIGHT)
    large = np.bincount(labels.ravel()) >= FEWEST
    large[0] = False
    return large[labels]


def _difference(darkest: np.ndarray, brightest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the largest difference between channels over time, uint8 `[h, w]` each, from `[h, w, 3]`."""
    low, high = strongest(darkest), weakest(brightest)
    return np.where(low > high, low - high, 0), strongest(brightest) - weakest(darkest)
