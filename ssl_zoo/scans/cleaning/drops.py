"""Frames that are not worth keeping: black, frozen, split screens, near duplicates of the frame kept before."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ssl_zoo.scans.cleaning.colour import strongest
from ssl_zoo.scans.cleaning.duplicates import correlations
from ssl_zoo.scans.cleaning.evidence import connected
from ssl_zoo.scans.cleaning.settings import CleaningSettings

REASONS = ("black", "frozen", "split screen", "near duplicate")
THUMBNAIL = 96  # pixels of the longer side, at most, on which frames are judged
DARK, FEWEST_LIT = 16, 0.01  # grey levels, and share of the frame that is brighter in one that shows something
FROZEN = 0.35  # grey levels that the lit pixels of a frame that repeats another change on average
DRAWN = 0.02  # of the lit pixels: those that changed most do not count, as calipers are drawn on frozen frames
GAP = (0.3, 0.7)  # of the width: where the gap between two sectors is looked for
BLACK = 6  # grey levels; what is brighter between two halves is a shadow, no gap
HALF, ALIKE = 0.1, 0.8  # share of the frame that each sector has at least, and their overlap when moved together


def reason_to_drop(
    frame: np.ndarray,
    previous_kept: np.ndarray | None,
    settings: CleaningSettings,
    *,
    screen: np.ndarray | None = None,
) -> str | None:
    """Why a frame is dropped (one of `REASONS`), or None where it is kept.

    `frame` and `previous_kept` are cleaned frames of one scan, uint8 `[h, w]` or `[h, w, 3]`; `previous_kept` is the
    last one that was kept, None at the scan's start. `screen` is the frame as decoded, in which split screens are
    looked for (None: in `frame`); a crop to one sector may cut two into pieces.
    """
    small = thumbnail(frame)
    if settings.black and is_black(small):
        return "black"
    if settings.split_screen and is_split(thumbnail(screen) if screen is not None else small):
        return "split screen"
    if previous_kept is None or not (settings.frozen or settings.duplicates != "keep"):
        return None
    before = thumbnail(previous_kept)
    if settings.frozen and is_frozen(small, before):
        return "frozen"
    if settings.duplicates != "keep" and correlation(small, before) >= settings.min_correlation:
        return "near duplicate"
    return None


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """Every n-th pixel of a frame, uint8 `[h, w]` of at most 96 pixels a side; of colours the brightest counts."""
    step = max(1, -(-max(frame.shape[:2]) // THUMBNAIL))
    small = frame[step // 2 :: step, step // 2 :: step]
    return np.ascontiguousarray(small) if small.ndim == 2 else strongest(small)


def is_black(small: np.ndarray) -> bool:
    """Whether nearly all of a thumbnail is dark."""
    return bool((small > DARK).mean() < FEWEST_LIT)


def is_frozen(small: np.ndarray, before: np.ndarray) -> bool:
    """Whether two thumbnails of a scan show the same picture, up to what video compression makes of it.

    Echoes of living tissue flicker by more, even under a probe held still: by 0.4 to 2 grey levels in the stillest
    pairs of neighbouring frames of real lung scans. A frozen picture that is coded anew (key frames, a low bit rate)
    may change as much, and is then kept once more.
    """
    change = np.sort(np.abs(small.astype(np.int16) - before)[(small > DARK) | (before > DARK)])
    return not len(change) or bool(change[: len(change) - int(DRAWN * len(change))].mean() < FROZEN)


def correlation(small: np.ndarray, before: np.ndarray) -> float:
    """Pearson correlation of two thumbnails smoothed over 3 x 3 pixels, within what is lit in either."""
    lit = (small > DARK) | (before > DARK)
    pair = [ndimage.uniform_filter(image.astype(np.float32), 3)[lit] for image in (small, before)]
    return float(correlations(pair[0][None], pair[1][None])[0])


def is_split(small: np.ndarray) -> bool:
    """Whether a thumbnail shows two sectors side by side: two parts of the same shape with black between them.

    The halves of one fan with a shadow in its middle are not of the same shape: each is the other's mirror image. A
    rectangle with a shadow from its top to its bottom would be taken for two.
    """
    height, width = small.shape
    lit, faint = (ndimage.minimum_filter((small > level).view(np.uint8), 3) for level in (DARK, BLACK))  # no thin marks
    empty = faint.sum(0) <= 0.02 * height
    first, last = round(GAP[0] * width), round(GAP[1] * width)
    middle = np.flatnonzero(empty[first:last])
    if not len(middle):
        return False
    cut = first + int(middle[np.abs(middle + first - width / 2).argmin()])
    halves = [_shape(lit[:, :cut]), _shape(lit[:, cut:])]
    if any(half is None or half.sum() < HALF * small.size for half in halves):
        return False
    left, right = (half for half in halves if half is not None)
    return _overlap(left, right) > ALIKE


def _shape(lit: np.ndarray) -> np.ndarray | None:
    """The largest part of a lit region, each row filled from its first to its last pixel, cut to its box."""
    labels, count = connected(ndimage.maximum_filter(lit, 5))
    if not count:
        return None
    part = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    part = np.maximum.accumulate(part, 1) & np.maximum.accumulate(part[:, ::-1], 1)[:, ::-1]
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    return part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two shapes laid on each other by their upper left corners."""
    height, width = min(one.shape[0], other.shape[0]), min(one.shape[1], other.shape[1])
    common = int((one[:height, :width] & other[:height, :width]).sum())
    return common / max(1, int(one.sum()) + int(other.sum()) - common)
