"""The sampler `motion`: a frame for each section of a scan in which the picture stays much the same."""

from __future__ import annotations

import heapq
import itertools

import numpy as np

from ssl_zoo.scans.candidates import Candidates
from ssl_zoo.scans.samplers.by_scan import by_scan
from ssl_zoo.scans.samplers.in_time import number_of_places
from ssl_zoo.scans.samplers.places import places_of
from ssl_zoo.scans.samplers.settings import SamplerSettings


@by_scan(number_of_places)
def motion(scan: Candidates, settings: SamplerSettings, rng: np.random.Generator) -> np.ndarray:
    """Each scan is cut where its picture changes most; of each section the frame that stands for it best is kept.

    Law: the scan's places (see `places_of_scan`) are cut by `change_points` into `per_scan // clip_length` sections, or
    as many as there are places; of each section that place is kept whose face's descriptor is nearest to the section's
    mean, the earlier of two. So a probe held still gives few frames and a moving one many. With `frames`, each scan's
    share of the runs takes the place of `per_scan` (see `even_shares`). Nothing is drawn by lot.
    """
    assert scan.descriptors is not None, "motion compares descriptors"
    places = places_of(scan, settings)
    if not len(places):
        return np.empty(0, np.int64)
    points = np.asarray(scan.descriptors, np.float64)  # [P, D]
    cuts = change_points(points, min(settings.per_scan // settings.clip_length, len(places)))
    kept = []
    for begin, end in itertools.pairwise(cuts):
        section = points[begin:end]
        # n²·|x - mean|², which is a whole number: equally near is equal
        kept.append(begin + int((((end - begin) * section - section.sum(axis=0)) ** 2).sum(axis=1).argmin()))
    return places.take(np.array(kept, np.int64))


def change_points(points: np.ndarray, k: int) -> list[int]:
    """The bounds of `k` sections of a sequence of points (whole numbers, float64 `[P, D]`): 0, k - 1 cuts, P.

    Binary segmentation (Scott and Knott 1974): the whole is one section; each cut is the one that lowers the sum of
    squared distances to the sections' means most. Of equal cuts, the one in the longest section, nearest to its
    middle, earliest.
    """
    if not 0 < k <= len(points):
        raise ValueError(f"{k} sections of {len(points)} points")
    if k == 1:
        return [0, len(points)]
    sums = np.vstack([np.zeros((1, points.shape[1])), np.cumsum(points, axis=0)])  # [P + 1, D]
    bounds = [0, len(points)]
    waiting = [_best_cut(sums, 0, len(points))]
    while len(bounds) <= k:
        *_, begin, cut, end = heapq.heappop(waiting)
        bounds.append(cut)
        for section in ((begin, cut), (cut, end)):
            if section[1] - section[0] > 1:
                heapq.heappush(waiting, _best_cut(sums, *section))
    return sorted(bounds)


def _best_cut(sums: np.ndarray, begin: int, end: int) -> tuple[float, int, int, int, int]:
    """The section's best cut, to be compared with others': (-gain, -length, begin, cut, end)."""
    cuts = np.arange(begin + 1, end)
    left, right = sums[cuts] - sums[begin], sums[end] - sums[cuts]
    left, right = (left**2).sum(axis=1) / (cuts - begin), (right**2).sum(axis=1) / (end - cuts)
    gains = left + right  # up to what is the same for all cuts of the section
    best = np.flatnonzero(gains == gains.max())
    cut = int(cuts[best[np.abs(2 * cuts[best] - begin - end).argmin()]])
    whole = ((sums[end] - sums[begin]) ** 2).sum() / (end - begin)
    return whole - float(gains.max()), begin - end, begin, cut, end
