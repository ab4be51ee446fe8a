from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

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
    assert (sampler.lonely, sampler.n_lonely) == (0.5, 2)
    assert sampler.pairs(np.arange(4), np.random.default_rng(0)).tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize("rate", [4, 7.5, 10, 25, 29.97, 60, 120])
@pytest.mark.parametrize("window_s", [0.1, 0.2, 0.5])
def test_a_window_in_seconds_spans_the_same_time_at_any_frame_rate(rate, window_s):
    index = pd.DataFrame({"scan_id": "a", "time_s": 3 + np.arange(240) / rate})
    sampler = PairSampler(index, "temporal", window_s)
    rows = np.arange(240)
    apart = np.stack([sampler.pairs(rows, np.random.default_rng(seed)) for seed in range(60)]) - rows  # in frames
    reach = int(window_s * rate + 1e-6)
    assert abs(apart[:, 130:]).max() == abs(apart).max() == reach
    assert set(abs(apart[:, 60:180]).ravel()) == (set(range(1, reach + 1)) or {0})
    assert sampler.n_lonely == (240 if reach == 0 else 0)


def test_scans_of_several_rates_share_one_window():
    rates = {"slow": 4, "medium": 25, "fast": 60}
    index = pd.concat([pd.DataFrame({"scan_id": name, "time_s": np.arange(60) / rate}) for name, rate in rates.items()])
    index = index.sample(frac=1, random_state=0).reset_index(drop=True)
    sampler = PairSampler(index, "temporal", 0.2)
    partners = sampler.pairs(np.arange(180), np.random.default_rng(0))
    assert (index["scan_id"].to_numpy()[partners] == index["scan_id"]).all()
    apart = (index["time_s"].to_numpy()[partners] - index["time_s"]).abs()
    assert apart.max() <= 0.2 + 1e-6
    assert (partners == np.arange(180)).sum() == sampler.n_lonely == 60  # the slow one: 0.25 s between its frames
    assert sampler.lonely == pytest.approx(1 / 3)


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
    with pytest.raises(UserError, match="unknown pair_weighting 'liner'; did you mean 'linear'"):
        PairSampler(random_index(3), "temporal", 0.2, "liner")


def test_with_linear_weighting_the_chance_of_a_partner_falls_with_its_distance_in_time():
    index = pd.DataFrame({"scan_id": ["b"] * 3 + ["a"] * 9, "time_s": [0.0, 0.1, 0.2, *(np.arange(9) * 0.1)]})
    sampler = PairSampler(index, "temporal", 0.3, "linear")
    drawn = sampler.pairs(np.full(60_000, 3 + 4), np.random.default_rng(0))  # the frame at 0.4 s of scan a
    rows, counts = np.unique(drawn, return_counts=True)
    assert rows.tolist() == [3 + k for k in (1, 2, 3, 5, 6, 7)]
    law = np.array([1, 2, 3, 3, 2, 1]) / 12  # 0.3 - |dt| + 0.1 in tenths
    assert scipy.stats.chisquare(counts, 60_000 * law).pvalue > 1e-3
    assert scipy.stats.chisquare(counts).pvalue < 1e-9  # ... which is not the uniform law


def test_linear_weighting_draws_by_its_law_on_uneven_times_at_borders_and_in_all_rows_at_once():
    index = random_index(40, seed=3)
    sampler = PairSampler(index, "temporal", 0.5, "linear")
    rng = np.random.default_rng(0)
    drawn = np.stack([sampler.pairs(np.arange(40), rng) for _ in range(4000)])  # [4000, 40]
    time = index["time_s"].to_numpy()
    within = [np.diff(np.sort(time[index["scan_id"] == scan])) for scan in "abcd"]
    step = min(gaps[gaps <= 0.5].min() for gaps in within)
    for row in range(40):
        near = sorted(allowed(index, row, 0.5))
        if not near:
            assert set(drawn[:, row]) == {row}
            continue
        weight = 0.5 - abs(time[near] - time[row]) + step
        counts = np.array([(drawn[:, row] == other).sum() for other in near])
        assert counts.sum() == 4000
        expected = 4000 * weight / weight.sum()
        assert (abs(counts - expected) < 5 * np.sqrt(expected) + 1).all()


def test_a_frame_at_the_border_of_the_window_keeps_a_chance_under_linear_weighting():
    index = pd.DataFrame({"scan_id": "a", "time_s": [0.0, 0.1, 0.3]})
    drawn = PairSampler(index, "temporal", 0.3, "linear").pairs(np.zeros(4000, int), np.random.default_rng(0))
    assert 850 < (drawn == 2).sum() < 1150  # weights 0.3 and 0.1


def test_linear_weighting_leaves_lonely_frames_to_themselves_and_repeats_with_its_seed():
    index = pd.DataFrame({"scan_id": ["a", "a", "a", "b"], "time_s": [0.0, 0.1, 5.0, 0.1]})
    sampler = PairSampler(index, "temporal", 0.2, "linear")
    assert sampler.pairs(np.arange(4), np.random.default_rng(0)).tolist() == [1, 0, 2, 3]
    alone = PairSampler(index.iloc[2:].reset_index(drop=True), "temporal", 0.2, "linear")
    assert alone.pairs(np.arange(2), np.random.default_rng(0)).tolist() == [0, 1]
    sampler = PairSampler(random_index(200), "temporal", 0.5, "linear")
    first, again = (sampler.pairs(np.arange(200), np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_uniform_draws_are_those_of_a_sampler_that_knows_no_weighting():
    index = random_index(50)
    expected = [19, 13, 1, 40, 40, 8, 31, 41, 5, 11]
    drawn = PairSampler(index, "temporal", 0.3).pairs(np.arange(10), np.random.default_rng(7))
    assert drawn.tolist() == expected
