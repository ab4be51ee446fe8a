"""Slopes of the regression on size and diversity are those that made the points, with intervals over stores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ssl_zoo.analysis.figures.size_and_diversity import size_and_diversity
from ssl_zoo.analysis.size_and_diversity import DIVERSITY, SIZE, StoreFacts, encoder_points, line, regress


def points_of(frames, effective, slopes=(0.0, 0.05), *, store_noise=0.0, seeds=3, rng=None):
    rng = rng or np.random.default_rng(0)
    rows = []
    for store, (n, vendi) in enumerate(zip(frames, effective, strict=True)):
        shift = store_noise * rng.normal()
        for method, level in (("simclr", 0.2), ("vicreg", 0.4)):
            for seed in range(seeds):
                f1 = level + slopes[0] * np.log2(n) + slopes[1] * np.log2(vendi) + shift
                rows.append(
                    (f"{method}@{store}", method, seed, str(store), n, vendi, 5, np.log2(n), np.log2(vendi), f1)
                )
    names = ["init", "method", "seed", "store", "frames", "effective", "scans", SIZE, DIVERSITY, "f1"]
    return pd.DataFrame(rows, columns=names)


FRAMES, EFFECTIVE = [64, 128, 256, 512, 512, 512], [8, 16, 20, 40, 8, 16]


def slope(fits, model, predictor):
    return fits.set_index(["model", "predictor"]).loc[(model, predictor)]


def test_slopes_are_those_that_made_the_points():
    fits = regress(points_of(FRAMES, EFFECTIVE, (0.01, 0.05)), replicates=50)
    assert slope(fits, "both", SIZE)["slope"] == pytest.approx(0.01)
    assert slope(fits, "both", DIVERSITY)["slope"] == pytest.approx(0.05)
    assert slope(fits, "both", SIZE)["r2"] == pytest.approx(1.0)
    assert slope(fits, "size alone", SIZE)["r2"] < 0.9
    assert set(fits["stores"]) == {6}
    assert set(fits["encoders"]) == {36}


def test_a_predictor_that_does_not_vary_or_follows_from_the_other_has_no_slope():
    same = regress(points_of([64] * 4, [4, 8, 16, 32]), replicates=20)
    assert np.isnan(slope(same, "size alone", SIZE)["slope"])
    assert slope(same, "diversity alone", DIVERSITY)["slope"] == pytest.approx(0.05)
    tied = regress(points_of([64, 128, 256], [32, 64, 128]), replicates=20)
    assert tied[tied["model"] == "both"]["slope"].isna().all()
    assert tied[tied["model"] == "both"]["low"].isna().all()


def test_intervals_hold_the_slope_as_often_as_they_say():
    rng = np.random.default_rng(1)
    frames = [32, 64, 128, 256, 512] * 4
    effective = [4, 9, 15, 40, 33, 8, 8, 30, 25, 70, 5, 20, 17, 60, 90, 10, 6, 25, 33, 50]
    held = 0
    for trial in range(60):
        points = points_of(frames, effective, (0.0, 0.05), store_noise=0.05, seeds=2, rng=rng)
        found = slope(regress(points, replicates=200, seed=trial), "both", DIVERSITY)
        held += found["low"] <= 0.05 <= found["high"]
    assert held / 60 >= 0.85  # 95 % less the optimism of a percentile bootstrap over 20 stores, and chance


def test_encoders_of_one_store_are_not_taken_for_independent():
    few = regress(points_of(FRAMES, EFFECTIVE, store_noise=0.03, seeds=1), replicates=300)
    many = regress(points_of(FRAMES, EFFECTIVE, store_noise=0.03, seeds=20), replicates=300)
    widths = [slope(fits, "diversity alone", DIVERSITY) for fits in (few, many)]
    assert widths[1]["high"] - widths[1]["low"] == pytest.approx(widths[0]["high"] - widths[0]["low"], rel=0.05)


def test_points_are_the_mean_of_an_encoders_scores_with_the_facts_of_its_store():
    results = pd.DataFrame(
        {
            "init": ["random", "simclr@few", "simclr@few", "simclr@few"],
            "method": ["", "simclr", "simclr", "simclr"],
            "pretrain_seed": [np.nan, 0, 0, 1],
            "f1_macro": [0.1, 0.2, 0.4, 0.5],
            "fraction": [0.1, 0.1, 1.0, 1.0],
        }
    )
    results = results.assign(backbone="net", mode="linear", cohort="internal", fold=0, seed=0, cell=list("abcd"))
    points = encoder_points(results, {"frames@few": StoreFacts(16, 4.0, 3)}, {"simclr@few": "frames@few"})
    assert points["f1"].tolist() == pytest.approx([0.3, 0.5])
    assert points.loc[0, ["store", "frames", "effective", "scans", SIZE, DIVERSITY]].tolist() == [
        "frames@few", 16, 4.0, 3, 4.0, 2.0,
    ]  # fmt: skip


def test_the_line_goes_through_the_means_and_its_band_around_it():
    points = points_of(FRAMES, EFFECTIVE, store_noise=0.02)
    mean, low, high = line(points, DIVERSITY, np.array([points[DIVERSITY].mean()]), replicates=200)
    assert mean[0] == pytest.approx(points["f1"].mean())
    assert low[0] < mean[0] < high[0]


def test_the_figure_says_the_slopes():
    points = points_of(FRAMES, EFFECTIVE, (0.01, 0.05), store_noise=0.01)
    figure = size_and_diversity(points, regress(points, replicates=50), baseline=0.3)
    titles = [axis.get_title() + axis.get_title(loc="left") for axis in figure.axes]
    assert all("alone: +" in title and "beside the other: +" in title for title in titles)
    assert any("not draws of scans" in text.get_text() for text in figure.legends[0].get_texts())
