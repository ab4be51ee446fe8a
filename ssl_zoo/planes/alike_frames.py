"""Which labelled images are among the frames that pre-training sees, whatever their patients are called there.

Two tables may name one patient in two ways, and then no comparison of names finds that a test image was cut out of a
pre-training scan; its pixels tell. They are compared as in `planes.alike`, with the limit for two patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_zoo.planes.alike import (
    FLAT,
    MAX_DISTANCE,
    MIN_CORRELATION,
    NEARLY,
    PAIRS,
    hash_signs,
    shown_correlations,
    thumbnail,
)

ROWS = 512  # frames that are read and compared at a time


@dataclass(frozen=True)
class SeenImages:
    """Images that a frame shows (nearly) as they are: rows of images and frames int64 `[P]`, correlation `[P]`.

    Of the frames like an image, the one most like it is kept, and of equals the first; so each image is there once.
    """

    images: np.ndarray
    frames: np.ndarray
    correlation: np.ndarray


def find_seen(images: np.ndarray, frames: np.ndarray, owners: np.ndarray, patients: np.ndarray) -> SeenImages:
    """Images uint8 `[N, S, S]` or `[N, S, S, 3]` that are (nearly) the same as one of the frames, `[F, ...]` likewise.

    Both may be memory maps. A frame whose owner (`owners` `[F]`) is the patient of the image (`patients` `[N]`) is not
    compared with it.

    Memory: about 1.5 KB for each image, and 100 MB, however many frames there are; the frames are read once.
    """
    thumbnails = np.stack([thumbnail(np.asarray(image)) for image in images]) if len(images) else None
    best, which = np.zeros(len(images)), np.full(len(images), -1)
    varied = np.empty(0, np.int64)
    if thumbnails is not None:
        varied = np.flatnonzero(thumbnails.reshape(len(images), -1).std(1) >= FLAT)
    if thumbnails is None or not len(varied):
        return SeenImages(varied, varied, np.empty(0))
    signs = hash_signs(thumbnails[varied]).T  # [64, V]
    for start in range(0, len(frames), ROWS):
        block = np.asarray(frames[start : start + ROWS])
        shown = np.stack([thumbnail(frame) for frame in block])  # [R, 32, 32]
        frame, image = np.nonzero(hash_signs(shown) @ signs >= 64 - 2 * MAX_DISTANCE)
        image = varied[image]
        apart = owners[start + frame] != patients[image]
        frame, image = frame[apart], image[apart]
        for part in range(0, len(frame), PAIRS):
            left, right = image[part : part + PAIRS], frame[part : part + PAIRS]
            correlation = shown_correlations(thumbnails[left], shown[right])
            for row, place, value in zip(left, right, np.minimum(correlation, NEARLY), strict=True):
                if value >= MIN_CORRELATION and value > best[row]:
                    best[row], which[row] = value, start + place
    found = np.flatnonzero(which >= 0)
    return SeenImages(found, which[found], best[found])
