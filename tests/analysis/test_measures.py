"""Measures from counts equal those of single cells and of scikit-learn; calibration; p-values of many pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, precision_score

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.bootstrap import bootstrap_p, tail_p
from ssl_zoo.analysis.calibration import reliability_table
from ssl_zoo.analysis.counts import measures_of_counts, read_cohort
from ssl_zoo.analysis.looks import looks_of
from ssl_zoo.analysis.measures import COUNTED, measure_points
from ssl_zoo.analysis.score_tables import class_f1_table, measure_table
from ssl_zoo.analysis.statistics import estimate
from ssl_zoo.transfer.metrics import scores

CLASSES = ("a", "b", "c", "d")
Cells = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def _cell(seed: int, present: int, fold: int = 0, first: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One cell of 60 images of 12 patients; the test labels hold the first `present` of CLASSES."""
    generator = np.random.default_rng(seed)
    label, p = generator.integers(0, present, 60), generator.dirichlet(np.ones(4), 60).astype(np.float32)
    cell = f"c{seed}"
    result = scores(label, p, CLASSES)
    about = {"init": "random", "backbone": "net", "method": "", "mode": "linear", "fraction": 1.0, "fold": fold}
    about |= {"seed": 0, "cohort": "internal", "n_train_patients": 9, "cell": cell, "seconds": 1.0}
    table = pd.DataFrame(p, columns=[f"p_{name}" for name in CLASSES]).assign(cell=cell, cohort="internal")
    names = np.array(CLASSES, dtype=object)
    table = table.assign(patient_id=[f"p{first + i % 12}" for i in range(60)], label=names[label])
    return pd.DataFrame([about | result]), table.assign(predicted=names[p.argmax(1)])


@pytest.mark.parametrize("present", [4, 3])
def test_measures_of_one_cell_equal_those_that_the_cell_recorded(present: int) -> None:
    results, predictions = _cell(0, present)
    point = measure_points(results, predictions, replicates=30).iloc[0]
    for name in (*COUNTED, "auroc_macro", "ece"):
        assert point[name] == pytest.approx(results[name].item(), abs=1e-6), name
    for name, value in results["f1_per_class"].item().items():
        assert point[f"f1[{name}]"] == pytest.approx(np.nan if value is None else value, nan_ok=True)
    assert point["classes_missing"] == ("" if present == 4 else "d")
    for name in COUNTED:
        assert point[f"{name}_low"] <= point[name] <= point[f"{name}_high"]


def test_pooled_folds_have_one_precision_one_calibration_error_and_a_mean_auroc() -> None:
    parts = [_cell(seed, 4, fold=seed, first=12 * seed) for seed in (1, 2)]
    results, predictions = (pd.concat(part, ignore_index=True) for part in zip(*parts, strict=True))
    point = measure_points(results, predictions, replicates=10).iloc[0]
    truth, called = predictions["label"].to_numpy(str), predictions["predicted"].to_numpy(str)
    assert point["precision_macro"] == pytest.approx(precision_score(truth, called, average="macro", zero_division=0))
    assert point["f1_weighted"] == pytest.approx(f1_score(truth, called, average="weighted"))
    codes = {name: code for code, name in enumerate(CLASSES)}
    p = predictions[[f"p_{name}" for name in CLASSES]].to_numpy(float)
    whole = scores(np.array([codes[name] for name in truth]), p, CLASSES)
    assert point["ece"] == pytest.approx(whole["ece"])
    assert point["auroc_macro"] == pytest.approx(results["auroc_macro"].mean())


def test_counts_of_a_patient_who_was_not_drawn_weigh_nothing_and_of_no_patient_have_no_score() -> None:
    _, predictions = _cell(3, 4)
    counts = read_cohort(predictions, "internal").counts(["c3"])[0]  # [P, 3, K]
    nothing = measures_of_counts(0 * counts.sum(0))
    assert all(np.isnan(value) for value in nothing.values())


def test_an_absent_class_is_called_absent_in_the_tables() -> None:
    results, predictions = _cell(4, 3)
    points = measure_points(results, predictions, replicates=10)
    starts = looks_of(results)
    table = class_f1_table(points, "linear", 1.0, "internal", starts)
    assert table is not None
    assert table.columns[2:] == list(CLASSES)
    assert table.rows[0][-1] == "absent"
    every = measure_table(points, estimate(results, predictions, replicates=10).table, starts)
    assert (every.columns[-1], every.rows[0][-1]) == ("classes not scored", "d")


def test_without_predictions_measures_are_means_of_the_results(whole: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    points = measure_points(whole[0], None)
    keys = ["init", "backbone", "mode", "fraction", "cohort"]
    means = whole[0].groupby(keys)["accuracy"].mean()
    assert np.allclose(points.set_index(keys)["accuracy"].sort_index(), means.sort_index())
    assert class_f1_table(points, "linear", 1.0, "internal", looks_of(points)) is None


def test_the_bins_of_the_reliability_diagram_hold_every_image_and_add_up_to_accuracy_and_confidence() -> None:
    results, predictions = _cell(5, 4)
    bins = reliability_table(results, predictions, mode="linear", fractions=[1.0], cohort="internal", replicates=50)
    share = bins["n_images"] / bins["n_images"].sum()
    assert bins["n_images"].sum() == 60
    assert (share * bins["accuracy"]).sum() == pytest.approx(results["accuracy"].item())
    sure = predictions[[f"p_{name}" for name in CLASSES]].to_numpy(float).max(1)
    assert (share * bins["confidence"]).sum() == pytest.approx(sure.mean())
    assert ((bins["confidence"] > bins["bin"] / 10) & (bins["confidence"] <= (bins["bin"] + 1) / 10)).all()
    assert ((bins["low"] <= bins["accuracy"]) & (bins["accuracy"] <= bins["high"])).all()


def test_figures_of_calibration_and_of_pairs_cut_nothing_off(whole: tuple[pd.DataFrame, pd.DataFrame], cut_off) -> None:
    results, predictions = whole
    settings = {"mode": "linear", "fractions": [0.05, 1.0], "cohort": "internal", "replicates": 20}
    bins = reliability_table(results, predictions, **settings)
    figure = figures.reliability_diagrams(bins, {("byol", "resnet10t", 1.0): 0.123})
    assert not cut_off(figure)
    panel = next(axis for axis in figure.axes if axis.get_title(loc="left") == "BYOL")
    assert "0.12" in panel.texts[0].get_text()
    found = estimate(results, predictions, replicates=100)
    fractions = {"linear": 0.05, "finetune": 0.05}
    pairs = figures.pairwise_matrices(found.table, found.pairs, fractions, "internal", looks_of(results))
    assert pairs is not None
    assert not cut_off(pairs)
    row = found.pairs.query("mode == 'linear' and fraction == 0.05 and cohort == 'internal'").iloc[0]
    assert f"{abs(row['difference']):.2f}" in " ".join(text.get_text() for text in pairs.axes[0].texts)
    assert figures.pairwise_matrices(found.table, found.pairs.iloc[:0], fractions, "internal", {}) is None


def test_every_pair_is_the_difference_of_its_points_and_holm_counts_all_pairs_of_a_setting(
    whole: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    found = estimate(*whole, replicates=100)
    f1 = found.table.set_index(["init", "backbone", "mode", "fraction", "cohort"])["f1_macro"]
    setting = ["mode", "fraction", "cohort"]
    for row in found.pairs.iloc[::40].to_dict("records"):
        at = tuple(row[name] for name in setting)
        gap = f1[(row["init"], row["backbone"], *at)] - f1[(row["other"], row["other_backbone"], *at)]
        assert row["difference"] == pytest.approx(gap)
    assert (found.pairs.groupby(setting).size() == 9 * 8 / 2).all()
    smallest = found.pairs.loc[found.pairs.groupby(setting)["p_value"].idxmin()]
    assert np.allclose(smallest["p_holm"], np.minimum(1, 36 * smallest["p_value"]))


def test_the_tail_of_few_resamples_equals_the_share_of_very_many() -> None:
    generator = np.random.default_rng(8)
    many, few = generator.normal(3.5, 1, 1_000_000), generator.normal(3.5, 1, 1000)
    assert tail_p(few, 100) == pytest.approx(bootstrap_p(many, 100), rel=0.5)
    assert bootstrap_p(few, 100) > 3 * tail_p(few, 100)
    close = generator.normal(1.0, 1, 1000)
    assert tail_p(close, 100) == bootstrap_p(close, 100)
    assert tail_p(few + 20, 8) == pytest.approx(2 / 2**8)  # eight patients cannot show more
