from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from ssl_zoo.analysis.bootstrap import bootstrap_p, holm, interval, patient_weights, tail_p, tails
from ssl_zoo.analysis.counts import f1_of_counts, read_cohort
from ssl_zoo.analysis.labels_saved import crossing, labels_saved
from ssl_zoo.analysis.statistics import estimate
from ssl_zoo.errors import UserError


def _cell(
    truth: np.ndarray, called: np.ndarray, patient: np.ndarray, **names: object
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One cell's results row and its predictions, classes a, b, c."""
    letters = np.array(["a", "b", "c"])
    about = {"init": "random", "backbone": "net", "method": "", "mode": "linear", "fraction": 1.0, "fold": 0, "seed": 0}
    about |= {"cohort": "internal", "n_train_patients": 9, "cell": "c0"} | names
    f1 = f1_score(truth, called, labels=np.unique(truth), average="macro", zero_division=0)
    predictions = pd.DataFrame({"cell": about["cell"], "patient_id": patient.astype(str), "cohort": about["cohort"]})
    predictions = predictions.assign(label=letters[truth], predicted=letters[called], p_a=0.0, p_b=0.0, p_c=0.0)
    return pd.DataFrame([about | {"f1_macro": f1}]), predictions


def _draw(generator: np.random.Generator, patients: int, skill: float, images: int = 6) -> tuple[np.ndarray, ...]:
    patient = np.repeat(np.arange(patients), images)
    truth = np.tile(np.arange(images) % 3, patients)
    right = np.repeat(np.clip(generator.normal(skill, 0.25, patients), 0, 1), images)  # patients differ
    called = np.where(generator.random(len(truth)) < right, truth, generator.integers(0, 3, len(truth)))
    return truth, called, patient


def test_macro_f1_from_patient_counts_equals_scikit_learn_for_the_sample_and_for_a_resample() -> None:
    truth, called, patient = _draw(np.random.default_rng(0), 12, 0.6)
    _, predictions = _cell(truth, called, patient)
    tested = read_cohort(predictions, "internal")
    patients, counts = tested.patients, tested.counts(["c0"])[0]  # [P, 3, K]
    weights = patient_weights(len(patients), 5, seed=3)
    for weight in weights:
        ours = f1_of_counts(np.einsum("p,pik->ik", weight, counts))
        images = weight[[patients.index(str(p)) for p in patient]].astype(int)
        theirs = f1_score(np.repeat(truth, images), np.repeat(called, images), average="macro")
        assert ours == pytest.approx(theirs)


def test_a_class_without_true_images_is_left_out_of_the_mean() -> None:
    truth, called = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    results, predictions = _cell(truth, called, np.arange(4))
    table = estimate(results, predictions, replicates=20).table
    assert table["f1_macro"].item() == pytest.approx((2 / 3 + 1) / 2)
    assert table["f1_macro"].item() == pytest.approx(results["f1_macro"].item())


def test_every_resample_draws_as_many_patients_as_there_are_and_a_seed_repeats() -> None:
    weights = patient_weights(17, 50, seed=1, cohort="internal")
    assert (weights.sum(1) == 17).all()
    assert (weights[0] == 1).all()
    assert (weights == patient_weights(17, 50, seed=1, cohort="internal")).all()
    assert (weights != patient_weights(17, 50, seed=2, cohort="internal")).any()


def test_the_interval_of_one_image_per_patient_equals_the_binomial_closed_form() -> None:
    # One class only: F1 = 2 tp / (true + called), with `called` = tp, so F1 = 2 a / (1 + a) of the accuracy a.
    n, hits = 200, 140
    truth, called = np.zeros(n, int), np.where(np.arange(n) < hits, 0, 1)
    row = estimate(*_cell(truth, called, np.arange(n)), replicates=4000).table.iloc[0]
    low, high = stats.binom.ppf([0.025, 0.975], n, hits / n) / n
    assert row["low"] == pytest.approx(2 * low / (1 + low), abs=0.01)
    assert row["high"] == pytest.approx(2 * high / (1 + high), abs=0.01)


def test_the_interval_covers_the_true_score_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    truth, called, _ = _draw(generator, 20000, 0.6)
    true_score = f1_score(truth, called, average="macro")
    covered = 0
    for _ in range(120):
        row = estimate(*_cell(*_draw(generator, 40, 0.6)), replicates=300).table.iloc[0]
        covered += row["low"] <= true_score <= row["high"]
    assert 0.88 <= covered / 120 <= 0.99


def test_resampling_images_as_if_independent_would_be_too_narrow() -> None:
    generator = np.random.default_rng(6)
    patient = np.repeat(np.arange(20), 30)
    truth = np.tile(np.arange(30) % 3, 20)
    called = np.where(
        np.repeat(generator.random(20) < 0.6, 30), truth, (truth + 1) % 3
    )  # a patient is all right or all wrong
    by_patient = estimate(*_cell(truth, called, patient), replicates=500).table.iloc[0]
    by_image = estimate(*_cell(truth, called, np.arange(600)), replicates=500).table.iloc[0]
    assert by_patient["high"] - by_patient["low"] > 3 * (by_image["high"] - by_image["low"])


def test_pairing_by_patient_narrows_the_interval_of_a_difference() -> None:
    generator = np.random.default_rng(7)
    truth, called, patient = _draw(generator, 40, 0.5)
    wrong = np.flatnonzero(called != truth)
    better = called.copy()
    better[wrong[::3]] = truth[wrong[::3]]
    base, base_rows = _cell(truth, called, patient)
    ours, our_rows = _cell(truth, better, patient, init="byol", cell="c1")
    row = estimate(pd.concat([base, ours]), pd.concat([base_rows, our_rows]), replicates=1000)
    point = row.table.set_index("init").loc["byol"]
    assert 0 < point["difference_low"] < point["difference"] < point["difference_high"]
    assert point["difference_high"] - point["difference_low"] < 0.7 * (point["high"] - point["low"])
    assert np.isnan(row.table.set_index("init").loc["random", "difference"])


def test_each_init_is_compared_with_the_baseline_of_its_own_backbone(whole: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    table = estimate(*whole, replicates=50).table
    keys = ["mode", "fraction", "cohort"]
    base = table[(table["init"] == "random") & (table["backbone"] == "vit_micro_patch8")].set_index(keys)["f1_macro"]
    mae = table[table["init"] == "mae"].set_index(keys)
    assert np.allclose(mae["f1_macro"] - base, mae["difference"])


def test_points_are_means_over_cells_and_equal_the_results_table(whole: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    results, predictions = whole
    table = estimate(results, predictions, replicates=20).table
    keys = ["init", "backbone", "mode", "fraction", "cohort"]
    assert np.allclose(
        table.set_index(keys)["f1_macro"].sort_index(), results.groupby(keys)["f1_macro"].mean().sort_index()
    )
    assert ((table["low"] <= table["f1_macro"]) & (table["f1_macro"] <= table["high"])).mean() > 0.95


def test_differences_use_only_the_seeds_that_both_have() -> None:
    truth, called, patient = _draw(np.random.default_rng(8), 20, 0.5)
    cells = [
        _cell(truth, called, patient, cell="r0", seed=0),
        _cell(truth, truth, patient, cell="r1", seed=1),  # a perfect baseline, in a seed that byol lacks
        _cell(truth, truth, patient, cell="b0", seed=0, init="byol"),
    ]
    results, predictions = (pd.concat(part, ignore_index=True) for part in zip(*cells, strict=True))
    point = estimate(results, predictions, replicates=20).table.set_index("init").loc["byol"]
    assert point["difference"] == pytest.approx(1 - results["f1_macro"].iloc[0])


def test_without_predictions_there_are_points_but_no_intervals(whole: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    table = estimate(whole[0], None, replicates=20).table
    assert table["f1_macro"].notna().all()
    assert table[["low", "high", "p_value"]].isna().all().all()


def test_a_label_that_is_no_class_is_named() -> None:
    results, predictions = _cell(np.array([0, 1]), np.array([0, 1]), np.arange(2))
    predictions["label"] = ["a", "zebra"]
    with pytest.raises(UserError, match="zebra"):
        estimate(results, predictions, replicates=5)


def test_holm_equals_its_definition_and_skips_missing_values() -> None:
    corrected = holm([0.01, 0.04, np.nan, 0.03])
    assert corrected[[0, 1, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(corrected[2])


def test_the_bootstrap_p_value_is_never_zero_and_is_one_without_a_difference() -> None:
    assert bootstrap_p(np.ones(999), 10**6) == pytest.approx(2 / 1000, rel=1e-3)
    assert 2 / 1000 < bootstrap_p(np.ones(999), 40) < 5 / 1000  # the same share of fewer patients says less
    assert bootstrap_p(np.zeros(999), 40) == 1


def test_one_patient_shows_nothing() -> None:
    assert bootstrap_p(np.ones(999), 1) == tail_p(np.ones(999), 1) == 1
    assert tails(1) == (0, 1)


@pytest.mark.parametrize("patients", [6, 12, 40])
def test_a_mean_over_few_patients_has_students_interval_and_p_value(patients: int) -> None:
    values = stats.norm.ppf((np.arange(patients) + 0.5) / patients) + 1.2
    low, high = interval(patient_weights(patients, 20000, seed=0)[1:] @ values / patients, patients)
    student = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert high - low == pytest.approx(student.high - student.low, rel=0.1)
    resamples = stats.norm.ppf((np.arange(20000) + 0.5) / 20000) * np.sqrt((patients - 1) / patients)  # of a mean
    plain, wide = interval(resamples)[1], interval(resamples, patients)[1]
    assert plain == pytest.approx(1.96 * np.sqrt((patients - 1) / patients), rel=1e-3)
    assert wide == pytest.approx(stats.t.isf(0.025, patients - 1), rel=1e-2)
    for t in (1.0, 1.9):
        p = bootstrap_p(resamples + t, patients)
        assert p == pytest.approx(2 * stats.t.sf(t, patients - 1), rel=1e-2)
        assert tail_p(resamples + t, patients) == p


def test_every_interval_of_an_estimate_knows_how_few_patients_there_are() -> None:
    truth, called, patient = _draw(np.random.default_rng(3), 8, 0.6)
    both = [_cell(truth, called, patient), _cell(truth, truth, patient, init="byol", cell="c1")]
    found = estimate(*(pd.concat(part) for part in zip(*both, strict=True)), replicates=200)
    byol = int(found.rows(init="byol")[0])
    row, gaps = found.table.iloc[byol], found.differences[byol]
    assert (row["low"], row["high"]) == interval(found.samples[byol], 8)
    assert (row["difference_low"], row["difference_high"]) == interval(gaps, 8) != interval(gaps)
    assert found.pairs[["low", "high"]].iloc[0].tolist() == list(interval(gaps, 8))


def test_a_p_value_is_below_a_twentieth_where_the_interval_leaves_0_aside() -> None:
    generator = np.random.default_rng(9)
    for shift in np.linspace(1.5, 3, 20):
        samples = generator.normal(shift, 1, 1999)
        assert (bootstrap_p(samples, 15) < 0.05) == (interval(samples, 15)[0] > 0)


def test_five_patients_are_too_few_for_any_significance() -> None:
    assert bootstrap_p(np.ones(999), 5) == pytest.approx(2 / 2**5)
    assert bootstrap_p(np.ones(999), 5) > 0.05


def test_crossing_interpolates_in_the_logarithm_of_the_fraction() -> None:
    fractions, scores = [0.01, 0.1, 1.0], [[0.2, 0.6, 0.8]]
    assert crossing(fractions, scores, 0.4)[0] == pytest.approx(np.sqrt(0.01 * 0.1))
    assert crossing(fractions, scores, 0.6)[0] == pytest.approx(0.1)
    assert crossing(fractions, scores, 0.1)[0] == pytest.approx(0.01)
    assert np.isnan(crossing(fractions, scores, 0.9)[0])


def test_labels_saved_is_none_where_the_baseline_is_not_reached() -> None:
    rows = [
        {"init": init, "method": "", "backbone": "net", "mode": "linear", "fraction": fraction, "cohort": "internal"}
        | {"fold": 0, "seed": 0, "n_train_patients": 5, "f1_macro": f1, "cell": f"{init}{fraction}"}
        for init, curve in {"random": (0.2, 0.5), "byol": (0.4, 0.6), "mae": (0.1, 0.3)}.items()
        for fraction, f1 in zip((0.01, 1.0), curve, strict=True)
    ]
    saved = labels_saved(estimate(pd.DataFrame(rows), None)).set_index("init")
    assert saved.loc["byol", "fraction"] == pytest.approx(0.1)
    assert saved.loc["mae", "fraction"] is None
    assert "random" not in saved.index
