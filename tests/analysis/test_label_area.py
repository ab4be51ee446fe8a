from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ssl_zoo.analysis.label_area import area_weights, label_areas, not_below_the_best
from ssl_zoo.analysis.looks import looks_of
from ssl_zoo.analysis.score_tables import area_table
from ssl_zoo.analysis.statistics import Estimates, estimate

Cells = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


@pytest.fixture(scope="module")
def estimates(whole: tuple[pd.DataFrame, pd.DataFrame]) -> Estimates:
    return estimate(*whole, replicates=100)


def test_the_area_of_a_straight_curve_over_the_logarithm_is_the_mean_of_its_ends() -> None:
    fractions = np.array([0.01, 0.05, 0.1, 0.5, 1.0])
    scores = 0.3 + 0.2 * np.log10(fractions / 0.01)
    assert area_weights(fractions) @ scores == pytest.approx((scores[0] + scores[-1]) / 2)
    assert area_weights(fractions).sum() == pytest.approx(1)
    assert area_weights(fractions) @ scores**2 == pytest.approx(
        np.trapezoid(scores**2, np.log(fractions)) / np.log(100), abs=1e-12
    )


def test_one_fraction_has_no_area(fake_cells: Cells) -> None:
    with pytest.raises(ValueError, match="two"):
        area_weights([0.1])
    settings = {"modes": ("linear",), "fractions": (0.5,), "seeds": (0,), "cohorts": ("internal",)}
    assert label_areas(estimate(*fake_cells(skill={"random": 0, "byol": 1}, **settings), replicates=5)).table.empty


def test_gains_in_area_are_to_the_own_baseline_and_pairs_are_differences_of_areas(estimates: Estimates) -> None:
    areas = label_areas(estimates)
    own = areas.table.query("mode == 'linear' and cohort == 'internal'").set_index(["init", "backbone"])
    mae, base = own.loc[("mae", "vit_micro_patch8")], own.loc[("random", "vit_micro_patch8")]
    assert mae["difference"] == pytest.approx(mae["area"] - base["area"])
    assert np.isnan(base["difference"])
    assert mae["difference_low"] < mae["difference"] < mae["difference_high"]
    pairs = areas.pairs.query("mode == 'linear' and cohort == 'internal'")
    assert len(pairs) == 9 * 8 / 2
    pair = pairs.query("init == 'byol' and other == 'simclr'").iloc[0]
    cnn = own.xs("resnet10t", level="backbone")["area"]
    assert pair["difference"] == pytest.approx(cnn["byol"] - cnn["simclr"])
    assert (areas.pairs["p_holm"] >= areas.pairs["p_value"]).all()


def test_the_largest_area_and_those_not_below_it_are_bold(estimates: Estimates) -> None:
    areas = label_areas(estimates)
    best = not_below_the_best(areas, "linear", "internal")
    own = areas.table.query("mode == 'linear' and cohort == 'internal'")
    assert best[0][0] == own.loc[own["area"].idxmax(), "init"]
    assert ("random", "vit_micro_patch8") not in best
    table = area_table(areas, "internal", looks_of(estimates.table))
    names = {(table.rows[row][0], column) for row, column in table.strong}
    assert ("Barlow Twins", 2) in names
    assert len([column for _, column in names if column == 2]) == len(best)


def test_a_curve_that_lacks_a_fraction_is_left_out_and_named(whole: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    results = whole[0].query("not (init == 'byol' and mode == 'linear' and fraction == 1.0)")
    areas = label_areas(estimate(results, None, replicates=5))
    assert ("byol", "resnet10t", "linear", "internal") in areas.left_out
    assert "byol" not in set(areas.table.query("mode == 'linear'")["init"])
    assert "byol" in set(areas.table.query("mode == 'finetune'")["init"])
    assert areas.table["low"].isna().all()  # no predictions, no intervals
