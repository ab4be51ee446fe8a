from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.scans.clips import PairSampler


def random_index(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    scan = rng.choice(["a", "b", "c", "d"], n)  # scans interleaved, times in no order
    return pd.DataFrame({"scan_id": scan, "time_s": rng.uniform(0, 4, n)})


def allowed(index: pd.DataFrame, row: int, window_s: float) -> set[int]:
    near = (index["scan_id"] == index["scan_id"][row]) & ((index["time_s"] - index["time_s"][row]).abs() <= window_s)
    return set(np.flatnonzero(near)) - {row}


def test_temporal_partners_are_exactly_the_other_frames_within_the_window():
    index = random_index(60)
    sampler = PairSampler(index, "temporal", 0.2)
    rng = np.random.default_rng(1)
    drawn = np.stack([sampler.pairs(np.arange(60), rng) for _ in range(200)])
    for row in range(60):
        assert set(drawn[:, row]) == (allowed(index, row, 0.2) or {row})


def test_each_neighbour_is_equally_likely():
    index = pd.DataFrame({"scan_id": "a", "time_s": np.arange(7) * 0.1})
    drawn = PairSampler(index, "temporal", 0.2).pairs(np.full(8000, 3), np.random.default_rng(0))
    rows, counts = np.unique(drawn, return_counts=True)
    assert rows.tolist() == [1, 2, 4, 5]
    assert (abs(counts - 2000) < 200).all()


def test_the_window_includes_its_border_in_every_scan():
    index = pd.DataFrame({"scan_id": np.repeat([f"s{i}" for i in range(3000)], 2), "time_s": [700.04, 700.24] * 3000})
    sampler = PairSampler(index, "temporal", 0.2)
    assert sampler.lonely == 0
    partners = sampler.pairs(np.arange(6000), np.random.default_rng(0))
    np.testing.assert_array_equal(partners, np.arange(6000) ^ 1)


def test_a_frame_without_neighbour_pairs_with_itself_and_is_counted():
    index = pd.DataFrame({"scan_id": ["a", "a", "a", "b"], "time_s": [0.0, 0.1, 5.0, 0.1]})
    sampler = PairSampler(index, "temporal", 0.2)
    assert sampler.lonely == 0.5
    assert sampler.pairs(np.arange(4), np.random.default_rng(0)).tolist() == [1, 0, 2, 3]


def test_same_frame_pairs_are_the_frames_themselves():
    sampler = PairSampler(random_index(10), "same_frame")
    rows = np.array([3, 3, 9])
    partners = sampler.pairs(rows, np.random.default_rng(0))
    np.testing.assert_array_equal(partners, rows)
    assert partners is not rows
    assert sampler.lonely == 0


def test_one_seed_repeats_and_two_differ():
    sampler = PairSampler(random_index(200), "temporal", 0.5)
    rows = np.arange(200)
    first, again, other = (sampler.pairs(rows, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_an_unknown_pairing_or_an_impossible_window_is_named():
    with pytest.raises(UserError, match="did you mean 'temporal'"):
        PairSampler(random_index(3), "temporl")
    with pytest.raises(UserError, match="window_s is 0"):
        PairSampler(random_index(3), "temporal", 0)
