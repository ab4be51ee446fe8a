"""Folds that test different patients make one confusion matrix; those that test the same ones are averaged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.bootstrap import interval
from ssl_zoo.analysis.labels_saved import labels_saved
from ssl_zoo.analysis.measures import measure_points
from ssl_zoo.analysis.pooling import cells_by_setting, pooled_scores
from ssl_zoo.analysis.ranks import setting_gains
from ssl_zoo.analysis.size_and_diversity import StoreFacts, encoder_points
from ssl_zoo.analysis.statistics import estimate
from ssl_zoo.analysis.tables import summary_table


def _macro_f1(truth: np.ndarray, called: np.ndarray) -> float:
    """Over the classes that the truth holds; `f1_score` of scikit-learn is too slow for the simulations."""
    hit, true, calls = (np.bincount(codes, minlength=3) for codes in (truth[truth == called], truth, called))
    return float(np.mean((2 * hit / np.maximum(true + calls, 1))[true > 0]))


def _cells(
    truth: np.ndarray, called: np.ndarray, patient: np.ndarray, fold: np.ndarray, **names: object
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Results and predictions of one init and seed, a cell per fold; `fold` `[N]` says which one tested an image."""
    about = {"init": "random", "backbone": "net", "method": "", "mode": "linear", "fraction": 1.0, "seed": 0}
    about |= {"cohort": "internal", "n_train_patients": 9} | names
    results, predictions = [], []
    for number in np.unique(fold):
        own = fold == number
        cell = f"{about['init']}-{about['cohort']}-{about['seed']}-{number}"
        results.append(about | {"fold": int(number), "cell": cell, "f1_macro": _macro_f1(truth[own], called[own])})
        rows = {"cell": cell, "patient_id": patient[own].astype(str), "cohort": about["cohort"]}
        rows |= {"label": truth[own], "predicted": called[own], "p_a": 0.5, "p_b": 0.0, "p_c": 0.0}
        predictions.append(pd.DataFrame(rows))
    return pd.DataFrame(results), pd.concat(predictions, ignore_index=True)


def _draw(generator: np.random.Generator, patients: int, skill: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, calls and patients of four images each; class c is rare."""
    patient = np.repeat(np.arange(patients), 4)
    truth = generator.choice(3, len(patient), p=[0.5, 0.42, 0.08])
    right = np.repeat(np.clip(generator.normal(skill, 0.2, patients), 0, 1), 4)
    called = np.where(generator.random(len(truth)) < right, truth, generator.integers(0, 3, len(truth)))
    return truth, called, patient


def test_the_score_of_a_cross_validation_is_that_of_one_confusion_matrix_over_its_folds() -> None:
    truth, called, patient = _draw(np.random.default_rng(0), 20, 0.6)
    results, predictions = _cells(truth, called, patient, patient % 5)
    point = estimate(results, predictions, replicates=50).table.iloc[0]
    assert point["pooled"]
    assert point["n_cells"] == 5
    assert point["f1_macro"] == pytest.approx(f1_score(truth, called, average="macro"))
    assert point["f1_macro"] != pytest.approx(results["f1_macro"].mean())


def test_seeds_of_a_cross_validation_are_averaged_and_not_pooled() -> None:
    truth, called, patient = _draw(np.random.default_rng(1), 20, 0.6)
    worse = np.roll(called, 3)
    both = [_cells(truth, calls, patient, patient % 5, seed=seed) for seed, calls in enumerate((called, worse))]
    results, predictions = (pd.concat(part, ignore_index=True) for part in zip(*both, strict=True))
    point = estimate(results, predictions, replicates=50).table.iloc[0]
    scores = [f1_score(truth, calls, average="macro") for calls in (called, worse)]
    assert point["f1_macro"] == pytest.approx(np.mean(scores))


def test_folds_that_all_test_the_same_external_patients_are_averaged() -> None:
    generator = np.random.default_rng(2)
    truth, _, patient = _draw(generator, 12, 0.6)
    every = [np.where(generator.random(len(truth)) < skill, truth, (truth + 1) % 3) for skill in (0.9, 0.4)]
    arguments = (np.tile(truth, 2), np.concatenate(every), np.tile(patient, 2), np.repeat([0, 1], len(truth)))
    point = estimate(*_cells(*arguments, cohort="external"), replicates=50).table.iloc[0]
    assert not point["pooled"]
    assert point["f1_macro"] == pytest.approx(np.mean([f1_score(truth, calls, average="macro") for calls in every]))


def test_an_init_that_lacks_a_fold_is_compared_on_the_patients_of_the_folds_it_has() -> None:
    truth, called, patient = _draw(np.random.default_rng(3), 20, 0.5)
    fold = patient % 5
    base, base_rows = _cells(truth, called, patient, fold)
    ours, our_rows = _cells(truth, truth, patient, fold, init="byol")
    ours = ours.loc[ours["fold"] != 4]
    found = estimate(pd.concat([base, ours]), pd.concat([base_rows, our_rows]), replicates=20)
    has = fold != 4
    gap = 1 - f1_score(truth[has], called[has], average="macro")
    assert found.table.set_index("init").loc["byol", "difference"] == pytest.approx(gap)
    pair = found.pairs.iloc[0]
    assert (pair["init"], pair["other"], pair["n_cells"]) == ("byol", "random", 4)
    assert pair["difference"] == pytest.approx(gap)


def test_averaging_folds_is_biased_where_a_class_is_rare_and_pooling_is_not() -> None:
    generator = np.random.default_rng(4)
    truth, called, _ = _draw(generator, 20000, 0.6)
    true_score = f1_score(truth, called, average="macro")
    pooled, averaged = [], []
    for _ in range(30):
        truth, called, patient = _draw(generator, 40, 0.6)
        results, predictions = _cells(truth, called, patient, patient % 10)
        pooled.append(estimate(results, predictions, replicates=1).table["f1_macro"].item())
        averaged.append(results["f1_macro"].mean())
    assert abs(np.mean(pooled) - true_score) < 0.02
    assert abs(np.mean(averaged) - true_score) > 0.03


def _study() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A cross-validation of two inits in two fractions with two seeds; a class is rare, so that pooling matters."""
    generator, parts = np.random.default_rng(8), []
    truth, _, patient = _draw(generator, 30, 0.6)
    for init, fraction, seed in ((i, f, s) for i in ("random", "byol") for f in (0.1, 1.0) for s in (0, 1)):
        called = np.where(generator.random(len(truth)) < 0.4 + 0.3 * fraction, truth, (truth + 1) % 3)
        results, predictions = _cells(truth, called, patient, patient % 5, init=init, fraction=fraction, seed=seed)
        name = f"-{fraction}"
        parts.append((results.assign(cell=results["cell"] + name), predictions.assign(cell=predictions["cell"] + name)))
    results, predictions = (pd.concat(part, ignore_index=True) for part in zip(*parts, strict=True))
    return results.assign(pretrain_seed=np.where(results["init"] == "byol", 0, np.nan)), predictions


def test_the_terminals_table_the_orders_and_the_points_of_encoders_say_what_the_figure_shows() -> None:
    results, predictions = _study()
    found = estimate(results, predictions, replicates=5)
    lines = figures.label_efficiency(found.table).axes[0].lines
    shown = {tuple(np.asarray(line.get_ydata(), float).round(6)) for line in lines}
    scores = found.table.set_index(["init", "fraction"])["f1_macro"]
    byol = [scores["byol", fraction] for fraction in (0.1, 1.0)]
    assert tuple(np.round(byol, 6)) in shown
    text = summary_table(results, predictions)
    line = next(line for line in text.splitlines() if line.startswith("byol"))
    assert line.split()[2:] == [*(f"{score:.3f}" for score in byol), "10"]
    assert "folds pooled" in text.splitlines()[0]
    averaged = summary_table(results)  # without predictions nothing can be pooled, and the header says so
    assert "mean over n cells" in averaged.splitlines()[0]
    assert averaged.splitlines()[2:] != text.splitlines()[2:]
    gains = setting_gains(results, predictions).query("by == ''").set_index("fraction")["gain"]
    for fraction in (0.1, 1.0):
        assert gains[fraction] == pytest.approx(scores["byol", fraction] - scores["random", fraction])
    points = encoder_points(results, {"frames": StoreFacts(8, 4.0, 2)}, {"byol": "frames"}, predictions)
    assert points["f1"].item() == pytest.approx(np.mean(byol))
    both = pooled_scores(results, predictions, ["init", "backbone"]).set_index(["init", "fraction"])["f1_macro"]
    assert both.sort_index().tolist() == pytest.approx(scores.sort_index().tolist())


def _coverage(trials: int, replicates: int, patients: int) -> float:
    generator = np.random.default_rng(5)
    truth, called, _ = _draw(generator, 20000, 0.6)
    true_score = f1_score(truth, called, average="macro")
    covered = 0
    for _ in range(trials):
        truth, called, patient = _draw(generator, patients, 0.6)
        row = estimate(*_cells(truth, called, patient, patient % 5), replicates=replicates).table.iloc[0]
        covered += row["low"] <= true_score <= row["high"]
    return covered / trials


def test_the_interval_of_pooled_folds_covers_the_true_score_about_as_often_as_it_says() -> None:
    assert 0.85 <= _coverage(60, 200, 60) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("patients", [10, 30, 100])
def test_the_interval_of_pooled_folds_covers_as_often_as_it_says_over_many_trials(patients: int) -> None:
    assert 0.93 <= _coverage(1000, 1000, patients) <= 0.97


def _beside_a_probe(
    truth: np.ndarray, calls: dict[tuple[str, float], np.ndarray], patient: np.ndarray, folds: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fine-tuning on fold 0 alone, in the cohort of a probe on all folds; `calls` by (init, fraction)."""
    parts = [_cells(truth, truth, patient, patient % folds, mode="linear", seed=9)]
    first = patient % folds == 0
    for (init, fraction), called in calls.items():
        names = {"init": init, "fraction": fraction, "mode": "finetune"}
        results, rows = _cells(truth[first], called[first], patient[first], np.zeros(first.sum()), **names)
        tag = f"-{fraction}"
        parts.append((results.assign(cell=results["cell"] + tag), rows.assign(cell=rows["cell"] + tag)))
    results, predictions = (pd.concat(part, ignore_index=True) for part in zip(*parts, strict=True))
    return results, predictions


def test_fine_tuning_on_one_fold_has_the_interval_of_the_patients_of_that_fold() -> None:
    truth, called, patient = _draw(np.random.default_rng(9), 160, 0.6)
    first = patient % 4 == 0
    alone = estimate(*_cells(truth[first], called[first], patient[first], patient[first] * 0), replicates=8000)
    results, predictions = _beside_a_probe(truth, {("random", 1.0): called}, patient, 4)
    found = estimate(results, predictions, replicates=8000)
    row, same = found.table.query("mode == 'finetune'").iloc[0], alone.table.iloc[0]
    assert found.table["n_test_patients"].to_dict() == {0: 40, 1: 160}
    assert row["f1_macro"] == same["f1_macro"]
    assert row["high"] - row["low"] == pytest.approx(same["high"] - same["low"], rel=0.1)
    assert (row["low"], row["high"]) == interval(found.samples[0], 40)
    measured = measure_points(results, predictions, replicates=2000).query("mode == 'finetune'").iloc[0]
    assert measured["f1_macro_high"] - measured["f1_macro_low"] == pytest.approx(row["high"] - row["low"], rel=0.1)


def test_a_fold_of_five_patients_shows_nothing_however_large_the_cohort() -> None:
    truth, called, patient = _draw(np.random.default_rng(10), 50, 0.3)
    found = estimate(*_beside_a_probe(truth, {("random", 1.0): called, ("byol", 1.0): truth}, patient, 10))
    byol, pair = found.table.query("init == 'byol'").iloc[0], found.pairs.iloc[0]
    assert byol["n_test_patients"] == 5
    assert byol["difference"] > 0.3
    assert min(byol["p_value"], pair["p_value"]) >= 2 / 2**5


def test_resamples_that_draw_nobody_of_a_fold_do_not_cost_its_interval_of_labels_saved() -> None:
    truth, _, patient = _draw(np.random.default_rng(11), 30, 0.6)
    place, wrong_of_four = np.arange(len(truth)) % 4, {("random", 0.1): 4, ("random", 1.0): 2, ("byol", 0.1): 3}
    calls = {key: np.where(place < wrong, (truth + 1) % 3, truth) for key, wrong in wrong_of_four.items()}
    calls["byol", 1.0] = truth
    found = estimate(*_beside_a_probe(truth, calls, patient, 10), replicates=500)
    assert np.isnan(found.samples[found.rows(init="byol")]).any()  # 0.9^30 of the resamples draw none of the three
    saved = labels_saved(found).iloc[0]
    assert saved["reached"] > 0.9
    assert saved["low"] <= saved["fraction"] <= saved["high"]


@pytest.mark.slow
def test_the_interval_of_one_fold_in_a_larger_cohort_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(13)
    truth, called, _ = _draw(generator, 20000, 0.6)
    true_score, covered = f1_score(truth, called, average="macro"), 0
    for _ in range(1000):
        truth, called, patient = _draw(generator, 50, 0.6)
        found = estimate(*_beside_a_probe(truth, {("random", 1.0): called}, patient, 5), replicates=1000)
        row = found.table.query("mode == 'finetune'").iloc[0]
        covered += row["low"] <= true_score <= row["high"]
    assert 0.93 <= covered / 1000 <= 0.98


def _null_pairs(trials: int, replicates: int, patients: int) -> float:
    """How often some pair of three inits of equal skill is called significant (p < 0.05 after Holm)."""
    generator = np.random.default_rng(6)
    wrong = 0
    for _ in range(trials):
        parts = []
        truth, _, patient = _draw(generator, patients, 0.6)
        right = np.repeat(np.clip(generator.normal(0.6, 0.2, patients), 0, 1), 4)  # hard patients are hard for all
        for init in ("byol", "moco", "random"):
            called = np.where(generator.random(len(truth)) < right, truth, generator.integers(0, 3, len(truth)))
            parts.append(_cells(truth, called, patient, patient % 3, init=init))
        results, predictions = (pd.concat(part, ignore_index=True) for part in zip(*parts, strict=True))
        wrong += bool((estimate(results, predictions, replicates=replicates).pairs["p_holm"] < 0.05).any())
    return wrong / trials


def test_inits_of_equal_skill_are_rarely_called_different() -> None:
    assert _null_pairs(30, 150, 30) <= 0.17


@pytest.mark.slow
@pytest.mark.parametrize("patients", [10, 30, 100])
def test_inits_of_equal_skill_are_called_different_in_one_study_of_twenty(patients: int) -> None:
    assert 0.025 <= _null_pairs(800, 1000, patients) <= 0.065


def test_a_setting_without_predictions_averages_what_the_results_say() -> None:
    truth, called, patient = _draw(np.random.default_rng(7), 20, 0.6)
    results, _ = _cells(truth, called, patient, patient % 5)
    (cells,) = cells_by_setting(results, None, replicates=3, seed=0)
    score = cells.f1(range(5))
    assert score[0] == pytest.approx(results["f1_macro"].mean())
    assert np.isnan(score[1:]).all()
