"""Near duplicates among the frames of a whole store, by perceptual hashes.

Hashes that differ in at most d bits agree in at least one of d + 1 bands of bits, so that only rows with an equal
band are compared. Rows are taken in table order and compared with those kept before, so that a thousand copies of one
frame cost a thousand comparisons, not a million.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

CELLS = 8  # rows and columns of cells of a hash: 64 bits
STEP = 1.0  # grey levels between two cells from which a bit is set; noise in black sets none
CHUNK = 512  # rows that are looked up at once
MOST_PAIRS = 1 << 20  # compared at once
BITS = np.array([bin(value).count("1") for value in range(1 << 16)], np.uint8)  # set in 16 bits


def frame_hash(frame: np.ndarray) -> np.uint64:
    """The perceptual hash of one frame, uint8 `[h, w]` or `[h, w, 3]` of any size: 64 bits.

    Each bit says whether a cell of an 8 x 8 raster is brighter than its neighbour on the left (a difference hash).
    """
    return frame_hashes(frame[None])[0]


def frame_hashes(frames: np.ndarray) -> np.ndarray:
    """Perceptual hashes of frames of one size, uint8 `[n, h, w]` or `[n, h, w, 3]`: uint64 `[n]`."""
    grey = frames if frames.ndim == 3 else frames[..., 1]
    cells = _cells(_cells(grey.astype(np.float32), 1, CELLS), 2, CELLS + 1)  # [n, 8, 9]
    bits = cells[:, :, 1:] > cells[:, :, :-1] + STEP
    return np.packbits(bits.reshape(len(frames), -1), axis=1).view(np.uint64)[:, 0]


def near_duplicate_rows(
    hashes: np.ndarray,
    max_distance: int = 3,
    *,
    thumbnails: np.ndarray | None = None,
    min_correlation: float = 0.995,
) -> np.ndarray:
    """Which rows to drop, bool `[N]`: those that are near duplicates of an earlier row that is kept.

    `hashes` uint64 `[N]` or `[N, k]`: rows at most `max_distance` bits apart are near duplicates, where `thumbnails`
    (uint8 `[N, h, w]` or `[N, h, w, 3]`, for example a store's frames in a memory map) bear it out: their Pearson
    correlation has to reach `min_correlation`. Rows without thumbnails are judged by their hashes alone.

    Memory: about 24 bytes a row for each of `max_distance + 1` bands, beside the hashes.
    """
    drop = np.zeros(len(hashes), bool)
    if not len(hashes):
        return drop
    words = np.ascontiguousarray(np.asarray(hashes, np.uint64).reshape(len(hashes), -1))  # [N, k]
    keys = _bands(words, max_distance + 1)  # [bands, N]
    kept_keys = [np.empty(0, keys.dtype) for _ in keys]
    kept_rows = [np.empty(0, np.int64) for _ in keys]

    def confirmed(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        same = _distance(words[rows], words[others]) <= max_distance
        if thumbnails is not None and same.any():
            same[same] = _thumbnail_correlations(thumbnails, rows[same], others[same]) >= min_correlation
        return same

    for start in range(0, len(words), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(words)))
        for band, (band_keys, band_rows) in enumerate(zip(kept_keys, kept_rows, strict=True)):
            open_rows = rows[~drop[rows]]
            wanted = keys[band, open_rows]
            first, last = (np.searchsorted(band_keys, wanted, side) for side in ("left", "right"))
            for part in _parts(last - first):
                one, other = _pairs(open_rows[part], first[part], last[part])
                drop[one[confirmed(one, band_rows[other])]] = True
        _drop_within(rows[~drop[rows]], confirmed, drop)
        new = rows[~drop[rows]]
        for band in range(len(keys)):
            added = new[np.argsort(keys[band, new], kind="stable")]
            places = np.searchsorted(kept_keys[band], keys[band, added], "right")
            kept_keys[band] = np.insert(kept_keys[band], places, keys[band, added])
            kept_rows[band] = np.insert(kept_rows[band], places, added)
    return drop


def _drop_within(rows: np.ndarray, confirmed: Callable[[np.ndarray, np.ndarray], np.ndarray], drop: np.ndarray) -> None:
    """Mark, among the rows of a chunk, those that repeat an earlier one of them that is kept."""
    one, other = np.tril_indices(len(rows), -1)
    found = confirmed(rows[one], rows[other])
    for later, earlier in zip(rows[one[found]], rows[other[found]], strict=True):  # by the later row, ascending
        if not drop[earlier]:
            drop[later] = True


def _bands(words: np.ndarray, bands: int) -> np.ndarray:
    """One key for each band and row, uint64 `[bands, N]`: the bits are dealt out to the bands, the telling ones first.

    Bits that are the same in nearly all rows, as where every frame is black, tell nothing; they are spread evenly.
    """
    bits = np.unpackbits(words.view(np.uint8), axis=1)  # [N, bits]
    often = bits[:: max(1, len(bits) // 20000)].mean(0)
    order = np.argsort(np.abs(often - 0.5), kind="stable")
    keys = np.zeros((bands, len(words)), np.uint64)
    for band in range(bands):
        for bit in order[band::bands][:64]:
            keys[band] = (keys[band] << np.uint64(1)) | bits[:, bit]
    return keys


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bits that differ, for uint64 `[P, k]` each: `[P]`."""
    return BITS[(one ^ other).view(np.uint16)].sum(1, dtype=np.int64)


def correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson correlation of pairs of images, float32 `[P, pixels]` each: `[P]`.

    It is 1 where both images are of one grey, and 0 where only one of them is.
    """
    one, other = (values - values.mean(1, keepdims=True) for values in (one, other))
    power, other_power = ((values**2).sum(1) for values in (one, other))
    cosine = (one * other).sum(1) / np.maximum(np.sqrt(power * other_power), 1e-9)
    return np.where((power > 0) | (other_power > 0), cosine, 1.0)


def _thumbnail_correlations(thumbnails: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The correlation of the thumbnails of each of `rows` with those of `others`, `[P]`, some pairs at a time."""
    found = np.empty(len(rows))
    for start in range(0, len(rows), 256):
        part = slice(start, start + 256)
        pair = (np.asarray(thumbnails[which[part]], np.float32) for which in (rows, others))
        found[part] = correlations(*(images.reshape(len(images), -1) for images in pair))
    return found


def _parts(counts: np.ndarray) -> list[slice]:
    """Cuts rows with `counts` pairs each into parts of at most about `MOST_PAIRS` pairs."""
    edges = [0, *(np.flatnonzero(np.diff(np.cumsum(counts) // MOST_PAIRS)) + 1).tolist(), len(counts)]
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def _pairs(rows: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row with each place from its `first` to before its `last`."""
    counts = last - first
    before = np.cumsum(counts) - counts
    return np.repeat(rows, counts), np.arange(counts.sum()) - np.repeat(before - first, counts)


def _cells(images: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Means over `count` nearly equal stretches along an axis."""
    length = images.shape[axis]
    edges = (
        np.linspace(0, length, count + 1).round().astype(int)[:-1]
        if length >= count
        else np.arange(count) * length // count
    )
    sums = np.add.reduceat(images, edges, axis=axis)
    widths = np.maximum(np.diff([*edges, length]), 1).astype(np.float32)
    return sums / widths.reshape([-1 if a == axis else 1 for a in range(images.ndim)])
