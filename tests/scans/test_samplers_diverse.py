from __future__ import annotations

import itertools

import numpy as np
import pytest

from ssl_zoo.scans.candidates import Candidates
from ssl_zoo.scans.samplers import SamplerSettings, sample
from ssl_zoo.scans.samplers.k_centre import farthest_first

LENGTHS = (40, 25, 3, 60)
TIMES = [np.arange(n) * 0.04 for n in LENGTHS]
NAMES = ["a", "b", "c", "d"]


def walks(lengths: tuple[int, ...] = LENGTHS, dimensions: int = 16, seed: int = 0) -> np.ndarray:
    """Descriptors of frames that change step by step within each scan, int8 [sum of lengths, dimensions]."""
    rng = np.random.default_rng(seed)
    scans = [rng.normal(0, 30, dimensions) + np.cumsum(rng.normal(0, 6, (n, dimensions)), axis=0) for n in lengths]
    return np.clip(np.rint(np.concatenate(scans)), -127, 127).astype(np.int8)


def distances(points: np.ndarray) -> np.ndarray:
    """Squared distances of all pairs, int64."""
    points = points.astype(np.int64)
    return ((points[:, None] - points[None]) ** 2).sum(-1)


def naive_order(points: np.ndarray, k: int, first: int) -> list[int]:
    """Farthest first, one centre at a time; the lowest row of equally far ones, and no row twice."""
    return traversal(distances(points), k, first)


def traversal(squared: np.ndarray, k: int, first: int) -> list[int]:
    order, left = [first], set(range(len(squared))) - {first}
    while len(order) < k:
        order.append(max(left, key=lambda row: (squared[row, order].min(), -row)))
        left.remove(order[-1])
    return order


def cohort(descriptors: np.ndarray, seen: np.ndarray | None = None) -> Candidates:
    plain = Candidates.of(NAMES, TIMES)
    seen = np.arange(len(plain)) if seen is None else seen
    return Candidates(plain.scan_ids, plain.starts, plain.times, seen, descriptors[seen])


@pytest.mark.parametrize(("pool", "block"), [(4096, 512), (16, 4), (5, 1), (1, 3)])
@pytest.mark.parametrize("coarse", [1, 16, 100], ids=["fine", "with ties", "with many equal points"])
def test_the_blocked_traversal_has_the_order_of_the_naive_one(pool, block, coarse):
    points = walks() // coarse
    order = farthest_first(points, len(points), 7, pool=pool, block=block)
    assert order.tolist() == naive_order(points, len(points), 7)


def test_the_traversal_is_exact_at_the_largest_distances():
    rng = np.random.default_rng(0)
    points = rng.choice(np.array([-128, -127, 126, 127], np.int8), (60, 256))
    assert farthest_first(points, 60, 0, pool=9, block=4).tolist() == naive_order(points, 60, 0)


def test_k_centres_reach_at_most_twice_as_far_as_the_best():
    for seed in range(5):
        points = walks((6, 6), dimensions=3, seed=seed)
        squared = distances(points)
        for k in (1, 2, 3, 4):
            best = min(squared[:, list(choice)].min(axis=1).max() for choice in itertools.combinations(range(12), k))
            order = farthest_first(points, k, seed)
            assert squared[:, order].min(axis=1).max() <= 4 * best


def test_the_points_may_lie_in_a_file(tmp_path):
    points = walks()
    np.save(tmp_path / "points.npy", points)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    np.testing.assert_array_equal(farthest_first(mapped, 50, 3, pool=10), farthest_first(points, 50, 3))


def test_what_cannot_be_compared_exactly_is_refused():
    with pytest.raises(ValueError, match="int8 of at most 256"):
        farthest_first(np.zeros((4, 300), np.int8), 2, 0)
    with pytest.raises(ValueError, match="5 centres among 4"):
        farthest_first(np.zeros((4, 3), np.int8), 5, 0)


def test_diverse_is_the_traversal_of_all_scans_together():
    descriptors = walks()
    kept = sample(cohort(descriptors), SamplerSettings("diverse", frames=20))
    squared = distances(descriptors)
    assert any(kept.tolist() == sorted(traversal(squared, 20, first)) for first in range(len(squared)))


def test_diverse_by_scan_keeps_each_scans_own_budget():
    rows = sample(cohort(walks()), SamplerSettings("diverse", per_scan=10))
    starts = Candidates.of(NAMES, TIMES).starts
    assert np.histogram(rows, starts)[0].tolist() == [10, 10, 3, 10]
    own = walks()[starts[1] : starts[2]]
    second = rows[(rows >= starts[1]) & (rows < starts[2])] - starts[1]
    assert any(second.tolist() == sorted(naive_order(own, 10, first)) for first in range(len(own)))


def test_diverse_leaves_out_copies_before_anything_else():
    descriptors = np.repeat(walks()[::8], 8, axis=0)  # each eight frames the same
    kept = sample(cohort(descriptors), SamplerSettings("diverse", frames=16))
    assert len({descriptors[row].tobytes() for row in kept}) == 16


@pytest.mark.parametrize("budget", ["frames", "per_scan"])
def test_a_larger_budget_keeps_what_a_smaller_one_kept_and_the_seed_matters(budget):
    few, many, other = (
        sample(cohort(walks()), SamplerSettings("diverse", seed=seed, **{budget: size}))
        for size, seed in ((8, 0), (20, 0), (8, 1))
    )
    assert len(few) < len(many)
    assert np.isin(few, many).all()
    assert few.tolist() != other.tolist()


def test_runs_count_in_the_budget_of_diverse():
    settings = SamplerSettings("diverse", frames=32, clip_length=3)
    starts = Candidates.of(NAMES, TIMES).starts
    faces = np.concatenate([begin + np.arange(1, n - 1, 3) for begin, n in zip(starts, LENGTHS, strict=False)])
    kept = sample(cohort(walks(), faces), settings)
    assert len(kept) == 30
    assert (np.diff(kept.reshape(10, 3), axis=1) == 1).all()
    assert np.isin(kept.reshape(10, 3)[:, 1], faces).all()


def test_frames_that_nobody_saw_are_not_chosen():
    seen = np.setdiff1d(np.arange(sum(LENGTHS)), np.arange(40, 65))  # all of the second scan is left out
    for name in ("diverse", "motion"):
        rows = sample(cohort(walks(), seen), SamplerSettings(name, frames=50))
        assert np.isin(rows, seen).all()
        assert len(rows) == 50
