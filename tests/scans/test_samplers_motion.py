from __future__ import annotations

import itertools

import numpy as np
import pytest

from ssl_zoo.scans.candidates import Candidates
from ssl_zoo.scans.samplers import SamplerSettings, sample
from ssl_zoo.scans.samplers.motion import change_points


def one_scan(descriptors: np.ndarray) -> Candidates:
    plain = Candidates.of(["scan"], [np.arange(len(descriptors)) * 0.04])
    return Candidates(plain.scan_ids, plain.starts, plain.times, np.arange(len(descriptors)), descriptors)


def walk(n_frames: int, dimensions: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 4, (n_frames, dimensions)) * rng.choice([0.2, 3.0], (n_frames, 1), p=[0.8, 0.2])
    return np.clip(np.rint(np.cumsum(steps, axis=0)), -127, 127).astype(np.int8)


def scatter(points: np.ndarray) -> float:
    """Sum of squared distances to the mean."""
    return float(((points - points.mean(axis=0)) ** 2).sum())


def naive_cuts(points: np.ndarray, k: int) -> list[int]:
    """Binary segmentation that measures every possible cut anew."""
    bounds = [0, len(points)]
    while len(bounds) <= k:
        gains = {
            cut: scatter(points[begin:end]) - scatter(points[begin:cut]) - scatter(points[cut:end])
            for begin, end in itertools.pairwise(bounds)
            for cut in range(begin + 1, end)
        }
        bounds = sorted([*bounds, max(gains, key=lambda cut: gains[cut])])
    return bounds


@pytest.mark.parametrize("seed", range(5))
def test_each_cut_is_the_one_that_lowers_the_scatter_most(seed):
    points = walk(40, seed=seed).astype(float)
    for k in (1, 2, 5, 12):
        assert change_points(points, k) == naive_cuts(points, k)


def test_a_cut_lies_where_the_picture_changes():
    points = np.repeat(np.array([[0.0, 0], [50, 0], [50, 90], [-20, 10]]), (7, 30, 2, 11), axis=0)
    assert change_points(points, 4) == [0, 7, 37, 39, 50]


def test_motion_keeps_the_frame_nearest_to_the_mean_of_each_section():
    descriptors = walk(60)
    kept = sample(one_scan(descriptors), SamplerSettings("motion", per_scan=8))
    cuts = change_points(descriptors.astype(float), 8)
    assert len(kept) == 8
    for frame, (begin, end) in zip(kept, itertools.pairwise(cuts), strict=True):
        section = descriptors[begin:end].astype(float)
        away = ((section - section.mean(axis=0)) ** 2).sum(axis=1)
        assert begin <= frame < end
        assert away[frame - begin] <= away.min() + 1e-6


def test_where_the_probe_moves_more_frames_are_kept():
    rng = np.random.default_rng(0)
    still = rng.normal(0, 1, (100, 8))
    moving = np.cumsum(rng.normal(0, 8, (50, 8)), axis=0)
    descriptors = np.clip(np.rint(np.concatenate([still, moving, moving[-1] + still])), -127, 127).astype(np.int8)
    kept = sample(one_scan(descriptors), SamplerSettings("motion", per_scan=20))
    assert ((kept >= 100) & (kept < 150)).sum() >= 16


def test_a_frozen_scan_is_divided_evenly():
    frozen = np.full((64, 5), 9, np.int8)
    assert change_points(frozen.astype(float), 4) == [0, 16, 32, 48, 64]
    assert len(sample(one_scan(frozen), SamplerSettings("motion", per_scan=8))) == 8


def test_motion_keeps_all_of_a_short_scan_and_one_frame_of_a_scan_of_one():
    assert sample(one_scan(walk(5)), SamplerSettings("motion", per_scan=8)).tolist() == [0, 1, 2, 3, 4]
    assert sample(one_scan(walk(1)), SamplerSettings("motion", per_scan=8)).tolist() == [0]
