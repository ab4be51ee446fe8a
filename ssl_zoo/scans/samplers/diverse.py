"""The sampler `diverse`: the frames that leave no frame of the cohort without one that looks like it."""

from __future__ import annotations

import numpy as np

from ssl_zoo.scans.candidates import Candidates
from ssl_zoo.scans.samplers.by_scan import by_scan
from ssl_zoo.scans.samplers.in_time import number_of_places
from ssl_zoo.scans.samplers.k_centre import farthest_first
from ssl_zoo.scans.samplers.places import places_of
from ssl_zoo.scans.samplers.settings import SamplerSettings


def diverse(candidates: Candidates, settings: SamplerSettings) -> np.ndarray:
    """The frames that differ most from each other, over all scans together with `frames`, or scan by scan.

    Law: of the places (see `places_of_scan`) one is drawn by lot, and each next is the one whose face is farthest from
    all before it, by Euclidean distance of their descriptors; `frames // clip_length` of all scans together, or
    `per_scan // clip_length` of each scan. So no place is farther from a kept one than twice what the best possible
    choice of as many would reach. What a smaller budget keeps, a larger one of the same seed keeps too.

    What differs most comes first, whatever it shows: pictures of a test object, of air, of the screen's menus. Clean
    the scans before.
    """
    if settings.frames is None:
        return _diverse_by_scan(candidates, settings)
    return _farthest_places(candidates, settings, settings.frames, np.random.default_rng([settings.seed]))


@by_scan(number_of_places)
def _diverse_by_scan(scan: Candidates, settings: SamplerSettings, rng: np.random.Generator) -> np.ndarray:
    return _farthest_places(scan, settings, settings.per_scan, rng)


def _farthest_places(
    candidates: Candidates, settings: SamplerSettings, budget: int, rng: np.random.Generator
) -> np.ndarray:
    assert candidates.descriptors is not None, "diverse compares descriptors"
    places = places_of(candidates, settings)
    k = min(budget // settings.clip_length, len(places))
    if not k:
        return np.empty(0, np.int64)
    return places.take(farthest_first(candidates.descriptors, k, int(rng.integers(len(places)))))
