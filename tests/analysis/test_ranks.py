"""Rank stability: the statistics equal scipy and closed forms, and ranks are made of gains over the own backbone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssl_zoo.analysis.rank_runs import compare_runs
from ssl_zoo.analysis.ranks import (
    Ranking,
    Setting,
    agreement_table,
    concordance,
    first_probabilities,
    kendall_tau,
    kendall_w,
    place_probabilities,
    rank_inits,
    rank_table,
    ranks_of,
    setting_gains,
    setting_table,
    spearman,
)
from ssl_zoo.analysis.statistics import Estimates, estimate

Cells = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def _estimates(gains: dict[tuple[str, str], list[float]], noise: np.ndarray | None = None) -> Estimates:
    """Estimates with the given gains per init and backbone over the fractions 0.1, 0.2, ...; `noise` [rows, R]."""
    rows = [
        {"init": init, "backbone": backbone, "mode": "linear", "fraction": (place + 1) / 10, "cohort": "internal"}
        | {"method": init, "difference": gain, "f1_macro": 0.5 + gain}
        for (init, backbone), values in gains.items()
        for place, gain in enumerate(values)
    ]
    table = pd.DataFrame(rows)
    differences = np.zeros((len(table), 0)) if noise is None else table["difference"].to_numpy()[:, None] + noise
    return Estimates(table, differences, differences)


def _ranking(
    gains: np.ndarray, samples: np.ndarray | None = None, names: str = "abcdefghij", net: str = "net"
) -> Ranking:
    n, m = gains.shape
    starts = [(name, net) for name in names[:n]]
    settings = [Setting("linear", (place + 1) / 10) for place in range(m)]
    return Ranking("internal", starts, settings, gains, np.zeros((0, n, m)) if samples is None else samples, [])


def test_rank_1_is_the_largest_gain_and_equal_gains_share_their_places() -> None:
    gains = np.array([[0.3, 0.1], [0.1, 0.1], [0.2, 0.4]])
    assert ranks_of(gains).tolist() == [[1, 2.5], [3, 2.5], [2, 1]]


def test_kendalls_w_is_1_for_one_order_0_for_an_order_and_its_reverse_and_the_textbooks_for_ties() -> None:
    order = np.arange(1.0, 6)
    assert kendall_w(np.stack([order] * 4, 1)) == pytest.approx(1)
    assert kendall_w(np.stack([order, order[::-1]], 1)) == pytest.approx(0)
    ties = np.array([[1, 2.5, 2], [2, 2.5, 1], [3, 2.5, 3.5], [4, 2.5, 3.5]])  # the formula with the correction T
    n, m = ties.shape
    total = ties.sum(1)
    corrections = [sum(count**3 - count for count in np.unique(column, return_counts=True)[1]) for column in ties.T]
    written_out = 12 * ((total - total.mean()) ** 2).sum() / (m**2 * (n**3 - n) - m * sum(corrections))
    assert kendall_w(ties) == pytest.approx(written_out)
    assert np.isnan(kendall_w(np.full((3, 2), 2.0)))


def test_kendalls_w_is_the_mean_of_all_spearman_correlations_in_disguise() -> None:
    gains = np.random.default_rng(0).normal(size=(6, 5))
    pairs = [stats.spearmanr(gains[:, i], gains[:, j])[0] for i in range(5) for j in range(i)]
    assert np.mean(pairs) == pytest.approx((5 * kendall_w(ranks_of(gains)) - 1) / 4)


def test_unrelated_orders_give_a_w_of_1_over_m_on_average() -> None:
    gains = np.random.default_rng(0).normal(size=(4000, 7, 8))
    assert kendall_w(ranks_of(gains)).mean() == pytest.approx(1 / 8, abs=0.003)


@pytest.mark.parametrize("ties", [False, True])
def test_tau_and_spearman_equal_scipys_over_all_leading_dimensions(ties: bool) -> None:
    one, other = np.random.default_rng(1).normal(size=(2, 20, 7))
    if ties:
        one, other = np.round(one), np.round(other)
    tau, rho = kendall_tau(one, other), spearman(one, other)
    for place in range(20):
        assert tau[place] == pytest.approx(stats.kendalltau(one[place], other[place])[0])
        assert rho[place] == pytest.approx(stats.spearmanr(one[place], other[place])[0])
    assert np.isnan(kendall_tau(np.ones(3), np.arange(3.0)))


def test_the_chance_of_a_place_is_its_share_of_the_resamples_and_ties_share() -> None:
    samples = np.array([[[3.0], [2.0], [1.0]], [[1.0], [3.0], [1.0]]])  # two resamples of three inits in one setting
    chances = place_probabilities(samples)
    assert chances.tolist() == [[0.5, 0.25, 0.25], [0.5, 0.5, 0], [0, 0.25, 0.75]]
    drawn = place_probabilities(np.random.default_rng(0).normal(size=(50, 6, 3)))
    assert drawn.sum(0) == pytest.approx(1)
    assert drawn.sum(1) == pytest.approx(1)
    assert np.isnan(place_probabilities(samples[:0])).all()


def test_the_chance_to_be_first_equals_the_normal_closed_form() -> None:
    # two gains whose difference is N(0.1, 0.05 sqrt 2): P(first) = Phi(0.1 / 0.0707)
    samples = np.random.default_rng(0).normal([[0.3], [0.2]], 0.05, (40000, 2, 1))
    expected = stats.norm.cdf(0.1 / (0.05 * np.sqrt(2)))
    assert place_probabilities(samples)[0, 0] == pytest.approx(expected, abs=0.01)
    assert first_probabilities(samples)[0, 0] == pytest.approx(expected, abs=0.01)
    assert first_probabilities(samples).sum(0) == pytest.approx(1)


def test_inits_are_ranked_by_the_gain_over_their_own_backbone_not_by_their_score(fake_cells: Cells) -> None:
    settings = {"modes": ("linear",), "fractions": (0.05, 1.0), "seeds": (0,), "cohorts": ("internal",)}
    estimates = estimate(*fake_cells(skill={"random": 0.0, "mae": 1.2, "byol": 0.9}, **settings), replicates=50)
    table = estimates.table.query("fraction == 1.0").set_index(["init", "backbone"])
    estimates.table.loc[estimates.table["init"] == "byol", "f1_macro"] = 1.0  # higher score ...
    ranking = rank_inits(estimates)
    assert ranking is not None
    assert ranking.starts[0][0] == table["difference"].idxmax()[0] == "mae"  # ... lower gain
    assert ("random", "resnet10t") not in ranking.starts
    shown = setting_table(ranking)
    first = shown.loc[(shown["init"] == "mae") & (shown["fraction"] == 1.0), "gain"].item()
    assert first == pytest.approx(table.loc["mae", "difference"].item())


def test_the_lowest_mean_rank_stands_first_and_the_order_of_the_rows_does_not_matter() -> None:
    gains = {("a", "net"): [0.1, 0.3, 0.1], ("b", "net"): [0.2, 0.2, 0.2], ("c", "vit"): [0.0, 0.1, 0.3]}
    noise = np.random.default_rng(0).normal(0, 0.05, (9, 40))
    whole = _estimates(gains, noise)
    ranking = rank_inits(whole)
    assert ranking is not None
    assert ranking.starts == [("b", "net"), ("a", "net"), ("c", "vit")]
    assert ranking.mean_ranks == pytest.approx([5 / 3, 2, 7 / 3])
    order = np.random.default_rng(1).permutation(9)
    mixed = Estimates(whole.table.iloc[order].reset_index(drop=True), whole.samples[order], whole.differences[order])
    again = rank_inits(mixed)
    assert again is not None
    pd.testing.assert_frame_equal(rank_table(again), rank_table(ranking))


def test_an_init_that_has_hardly_run_is_left_out_instead_of_costing_the_others_their_settings() -> None:
    nan = float("nan")
    gains = {("a", "net"): [0.1, 0.3, 0.2], ("b", "net"): [0.2, 0.2, nan], ("new", "net"): [nan, 0.2, nan]}
    ranking = rank_inits(_estimates(gains))
    assert ranking is not None
    assert ranking.left_out == [("new", "net")]
    assert [setting.fraction for setting in ranking.settings] == [0.1, 0.2]
    assert rank_inits(_estimates({("a", "net"): [0.1]})) is None
    assert rank_inits(_estimates({("a", "net"): [nan], ("b", "net"): [0.1]})) is None


def test_without_predictions_there_are_ranks_but_no_chances(whole: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    ranking = rank_inits(estimate(whole[0], None, replicates=20))
    assert ranking is not None
    table = rank_table(ranking)
    assert table["mean_rank"].is_monotonic_increasing
    assert table[["low", "high", "p_place_1"]].isna().all(axis=None)
    assert np.isfinite(concordance(ranking)[0])
    assert np.isnan(concordance(ranking)[1])


def test_the_intervals_hold_the_resampled_mean_ranks() -> None:
    samples = np.random.default_rng(0).normal([[0.2], [0.1], [0.0]], 0.1, (500, 3, 4))
    ranking = _ranking(np.array([[0.2], [0.1], [0.0]]) * np.ones((3, 4)), samples)
    table = rank_table(ranking)
    means = ranks_of(samples).mean(-1)
    assert table["low"].tolist() == pytest.approx(np.quantile(means, 0.025, axis=0).tolist())
    assert table["high"].tolist() == pytest.approx(np.quantile(means, 0.975, axis=0).tolist())
    assert table["best_rank"].tolist() == table["worst_rank"].tolist() == [1, 2, 3]


def _results(score: Callable[..., float]) -> pd.DataFrame:
    """Three inits and their baseline over two fractions, modes, cohorts, seeds and pre-training seeds."""
    rows = []
    for init in ("random", "a", "b", "c"):
        for index in np.ndindex(2, 2, 2, 2, 2):
            fraction, mode, cohort, seed, pretrain_seed = index
            if init == "random" and pretrain_seed:
                continue
            about = {"init": init, "backbone": "net", "method": init, "fraction": (0.1, 1.0)[fraction]}
            about |= {"mode": ("linear", "finetune")[mode], "cohort": ("internal", "external")[cohort], "fold": 0}
            about |= {"seed": seed, "pretrain_seed": None if init == "random" else pretrain_seed}
            f1 = 0.3 + (0.0 if init == "random" else score("abc".index(init), *index))
            rows.append(about | {"f1_macro": f1, "n_train_patients": 9, "cell": str(len(rows))})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("factor", ["fraction", "mode", "cohort", "seed", "pretrain_seed"])
def test_the_factor_that_reverses_the_order_is_found_and_the_others_are_not_blamed(factor: str) -> None:
    place = ["fraction", "mode", "cohort", "seed", "pretrain_seed"].index(factor)

    def score(skill: int, *index: int) -> float:  # when the factor changes, the order turns round
        return (skill - 1) * (0.1 if index[place] else -0.12)

    table = agreement_table(_results(score)).set_index("factor")
    assert table.loc[factor, "tau"] == pytest.approx(-1)
    assert table.loc[factor, "spearman"] == pytest.approx(-1)
    others = table.drop(index=factor)
    assert len(others) == 4
    assert (others["tau"] == 1).all()
    assert table["pairs"].to_dict() == {"fraction": 4, "mode": 4, "cohort": 4, "seed": 8, "pretrain_seed": 8}


def test_gains_of_all_cells_are_those_of_the_figures_and_a_seeds_are_its_own(
    whole: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    results, predictions = whole
    found = setting_gains(results, predictions)
    keys = ["init", "backbone", "mode", "fraction", "cohort"]
    gains = found.loc[found["by"] == ""].set_index(keys)["gain"]
    table = estimate(results, predictions, replicates=5).table.dropna(subset="difference").set_index(keys)
    assert len(gains) == len(table)
    assert (gains - table["difference"]).abs().max() < 1e-12
    setting = "mode == 'linear' and fraction == 0.05 and cohort == 'external'"
    one = found.query(f"init == 'byol' and by == 'seed' and value == 1 and {setting}")["gain"].item()
    cells = results.query(f"seed == 1 and backbone == 'resnet10t' and {setting}").set_index("init")["f1_macro"]
    assert one == pytest.approx(cells["byol"] - cells["random"])


def test_two_runs_of_one_order_agree_and_a_reversed_one_does_not() -> None:
    gains = np.linspace(0.5, 0.1, 5)[:, None] * np.ones((5, 3))
    samples = gains + np.random.default_rng(0).normal(0, 0.1, (200, 5, 3))
    one, other = _ranking(gains, samples), _ranking(gains[::-1], samples[:, ::-1])
    same = compare_runs(one, one)
    assert same is not None
    assert (same.tau, same.rho, same.low, same.high) == pytest.approx((1, 1, 1, 1))
    assert same.p_value == pytest.approx(1 / 120)  # 1 of 5! orders is as good
    turned = compare_runs(one, other)
    assert turned is not None
    assert (turned.tau, turned.rho) == pytest.approx((-1, -1))
    assert turned.setting_tau == pytest.approx([-1, -1, -1])
    assert -1 <= turned.low < turned.high < 0


def test_runs_are_compared_on_the_inits_and_settings_that_both_have() -> None:
    gains = np.random.default_rng(0).normal(size=(5, 3))
    one = _ranking(gains)
    other = _ranking(gains[[3, 1, 4]][:, :2], names="dbe")
    found = compare_runs(one, other)
    assert found is not None
    assert {name for name, _ in found.first.starts} == {"b", "d", "e"}
    assert len(found.first.settings) == 2
    assert found.tau == pytest.approx(1)
    assert np.isnan(found.low)  # no predictions
    assert compare_runs(one, _ranking(gains[:2], names="xy")) is None


def test_a_method_on_another_backbone_is_matched_by_its_name() -> None:
    gains = np.random.default_rng(0).normal(size=(4, 2))
    found = compare_runs(_ranking(gains), _ranking(gains, net="vit"))
    assert found is not None
    assert found.tau == pytest.approx(1)
    assert found.second.starts[0][1] == "vit"
