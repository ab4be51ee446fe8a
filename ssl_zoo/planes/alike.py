"""Which images of different patients, or under different labels, are the same or nearly so.

Perceptual hashes propose a pair; the correlation of what the images show confirms it. Pixels that are black in both do
not count in it: frames of one scanner share their sector and its black surround, which alone lets images of different
patients correlate at 0.9. Nor do the 5 % that differ most, which text or callipers may hide in one of them.

The limits come from measured images. Of different patients, at most 0.83 (synthetic fetal hearts), 0.80 (fetal brain
planes), 0.94 (lung; 0.88 within 6 bits). The same image saved again as JPEG, at half its size, brighter, darker or with
text on it: at least 0.99; cropped by 1 % at each side: 0.967 at worst, by 2 %: mostly missed. Different planes of one
patient: up to 0.965.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ssl_zoo.scans.cleaning.duplicates import frame_hashes

VERSION = 1  # raise it when the same images would give other pairs
SIZE = 32  # pixels of the thumbnails
MAX_DISTANCE = 6  # bits of 64 between the hashes of near duplicates, at most
MIN_CORRELATION = 0.97  # of images of two patients, at least
MIN_CORRELATION_WITHIN = 0.99  # of images of one patient, whose neighbouring planes do look alike
MIN_SHOWN = 0.05  # of all pixels, those that either image shows; fewer decide nothing
SHOWS = 8  # grey levels above its darkest pixel from which a pixel shows something
OVERLAID = 0.05  # of the pixels that either image shows, those that text or callipers in one of them may hide
NEARLY = 0.9999  # what a correlation counts as, at most, where the pixels are not equal
FLAT = 4.0  # grey levels: images with a smaller standard deviation are compared for equality only
ROWS = 128  # compared with all others at a time
PAIRS = 4096  # correlated at a time
MOST = 100_000  # pairs that are kept; more than that is no longer a list to work through


@dataclass(frozen=True)
class Alike:
    """Pairs of rows that show the same image, the earlier row first.

    `rows` int64 `[P, 2]`, sorted; `correlation` float64 `[P]`, 1 for equal pixels alone; `complete`: whether the
    search ended before it had found more pairs than it keeps.
    """

    rows: np.ndarray
    correlation: np.ndarray
    complete: bool = True


def find_alike(images: np.ndarray, patients: np.ndarray, labels: np.ndarray) -> Alike:
    """Pairs of (nearly) the same image that differ in their patient or their label.

    `images` uint8 `[N, S, S]` or `[N, S, S, 3]`, for example a memory map; `patients` and `labels` `[N]`. Of images
    with equal pixels, each is paired with the first of them alone, which stands for all in further comparisons.

    Memory: about 1.5 KB for each image, and 100 MB; the pixels are read once. Time grows with N squared (50,000
    images: some 10 s on one core).
    """
    thumbnails, first = _thumbnails(images)  # [N, 32, 32], [N]
    patients, labels = (np.unique(values, return_inverse=True)[1] for values in (patients, labels))

    def differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return (patients[one] != patients[other]) | (labels[one] != labels[other])

    copies = np.flatnonzero(first != np.arange(len(first)))
    copies = copies[differ(first[copies], copies)]
    pairs = [np.stack([first[copies], copies], axis=1)]  # [P, 2]
    found = [np.ones(len(copies))]
    count, complete = len(copies), True
    spread = thumbnails.reshape(len(thumbnails), -1).std(1)
    varied = np.flatnonzero((first == np.arange(len(first))) & (spread >= FLAT))
    signs = hash_signs(thumbnails[varied])  # [V, 64]
    for start in range(0, len(varied), ROWS):
        # The distance of two hashes, from the product of their bits as -1 and 1.
        product = signs[start : start + ROWS] @ signs[start:].T  # [R, V - start]
        one, other = np.nonzero(product >= 64 - 2 * MAX_DISTANCE)
        later = other > one
        one, other = varied[start + one[later]], varied[start + other[later]]
        keep = differ(one, other)
        one, other = one[keep], other[keep]
        for part in range(0, len(one), PAIRS):
            left, right = one[part : part + PAIRS], other[part : part + PAIRS]
            correlation = shown_correlations(thumbnails[left], thumbnails[right])
            within = patients[left] == patients[right]
            same = correlation >= np.where(within, MIN_CORRELATION_WITHIN, MIN_CORRELATION)
            pairs.append(np.stack([left[same], right[same]], axis=1))
            found.append(np.minimum(correlation[same], NEARLY))
            count += int(same.sum())
            if count > MOST:
                break
        if count > MOST:
            complete = False
            break
    rows, correlation = np.concatenate(pairs)[:MOST], np.concatenate(found)[:MOST]
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    return Alike(rows[order].astype(np.int64), correlation[order], complete and count <= MOST)


def shown_correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson correlation of pairs of images, uint8 `[P, h, w]` each, over the pixels that either shows: `[P]`.

    A pixel shows something where it is brighter than the darkest of its image. The few pixels that differ most are
    left out. It is 0 where the images show too little, or one grey.
    """
    left, right = (images.reshape(len(images), -1).astype(np.float32) for images in (one, other))  # [P, pixels]
    shown = [values >= values.min(1, keepdims=True) + SHOWS for values in (left, right)]
    either = shown[0] | shown[1]
    count = either.sum(1)
    enough = count >= MIN_SHOWN * either.shape[1]
    apart = np.where(either, np.abs(left - right), 256.0)
    kept = np.ceil(count * (1 - OVERLAID)).astype(np.int64)  # of the pixels that either shows, the most alike
    limit = np.sort(apart, axis=1)[np.arange(len(apart)), np.maximum(kept - 1, 0)]
    either &= apart <= limit[:, None]
    weight = either.astype(np.float32)
    size = np.maximum(either.sum(1), 1)[:, None]
    left, right = ((values - (values * weight).sum(1, keepdims=True) / size) * weight for values in (left, right))
    power = np.sqrt((left**2).sum(1) * (right**2).sum(1))
    return np.where(enough & (power > 0), (left * right).sum(1) / np.maximum(power, 1e-9), 0.0)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """What of an image, uint8 `[S, S]` or `[S, S, 3]`, is compared: grey, uint8 `[32, 32]`."""
    return np.asarray(Image.fromarray(image).convert("L").resize((SIZE, SIZE), Image.Resampling.BOX))


def hash_signs(thumbnails: np.ndarray) -> np.ndarray:
    """The bits of the perceptual hashes of thumbnails `[N, 32, 32]` as -1 and 1, float32 `[N, 64]`."""
    hashes = [frame_hashes(thumbnails[start : start + 1024]) for start in range(0, len(thumbnails), 1024)]
    words = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
    bits = np.unpackbits(words.view(np.uint8).reshape(len(words), 8), axis=1)
    return bits.astype(np.float32) * 2 - 1


def _thumbnails(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails uint8 `[N, 32, 32]`, and for each row the first one with equal pixels, int64 `[N]`."""
    thumbnails = np.empty((len(images), SIZE, SIZE), np.uint8)
    first = np.empty(len(images), np.int64)
    seen: dict[bytes, int] = {}
    for row in range(len(images)):
        image = np.asarray(images[row])
        first[row] = seen.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), row)
        thumbnails[row] = thumbnail(image)
    return thumbnails, first
