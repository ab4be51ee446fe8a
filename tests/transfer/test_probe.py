from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from ssl_zoo.transfer import probe as probe_module
from ssl_zoo.transfer.probe import (
    FIXED_LAMBDA,
    FOLDS_SEED,
    LAMBDAS,
    Subset,
    batches,
    class_weights,
    fit_probe,
    fit_probes,
    inner_folds,
)


def blobs(n: int, dims: int, n_classes: int = 3, *, seed: int = 0, spread: float = 0.3):
    """Features `[n, dims]` with correlated dimensions of very different size, and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(n_classes, dims)) * spread
    mixing = np.random.default_rng(98).normal(size=(dims, dims)) * np.exp(-4 * np.arange(dims) / dims)[:, None]
    labels = np.arange(n) % n_classes
    return rng.normal(size=(n, dims)) @ mixing / 3 + centres[labels] + 5, labels


def test_a_probe_learns_what_can_be_learned():
    features, labels = blobs(150, 40)
    unseen, truth = blobs(300, 40, seed=1)
    probe = fit_probe(features, labels, np.arange(150) // 5, n_classes=3)
    probabilities = probe.predict(unseen)
    assert probe.converged
    assert probabilities.sum(1) == pytest.approx(1)
    assert (probabilities.argmax(1) == truth).mean() > 0.8


def test_standardisation_and_weights_come_from_the_subset_alone():
    features, labels = blobs(60, 10)
    patients = np.arange(60) // 3
    subset = np.arange(45)
    inside = fit_probe(features[subset], labels[subset], patients[subset], n_classes=3)
    assert inside.mean == pytest.approx(features[subset].mean(0))
    features[45:] *= 1000
    again = fit_probe(features[subset], labels[subset], patients[subset], n_classes=3)
    assert (inside.coefficients == again.coefficients).all()


def test_rescaling_a_feature_changes_no_prediction():
    features, labels = blobs(60, 10)
    patients = np.arange(60) // 3
    plain = fit_probe(features, labels, patients, n_classes=3)
    scale = np.geomspace(0.001, 1000, 10)
    scaled = fit_probe(features * scale - 3, labels, patients, n_classes=3)
    assert scaled.chosen_lambda == plain.chosen_lambda
    assert scaled.predict(features * scale - 3) == pytest.approx(plain.predict(features), abs=1e-3)


def test_lambda_is_larger_where_there_is_less_to_learn():
    features, labels = blobs(120, 60)
    patients = np.arange(120) // 3
    clear = fit_probe(features, labels, patients, n_classes=3)
    shuffled = np.random.default_rng(0).permutation(labels)
    noise = fit_probe(features, shuffled, patients, n_classes=3)
    assert clear.lambda_by == noise.lambda_by == "inner split"
    assert clear.chosen_lambda < 0.1 < noise.chosen_lambda
    assert len(clear.inner_loss) == len(LAMBDAS)


def test_too_few_patients_for_an_inner_split_take_the_fixed_lambda():
    features, labels = blobs(15, 512)
    for patients in (np.zeros(15), labels):  # one patient; one patient per class
        probe = fit_probe(features, labels, patients, n_classes=3)
        assert probe.lambda_by == "fixed: too few patients"
        assert probe.chosen_lambda == FIXED_LAMBDA
        assert (probe.predict(features).argmax(1) == labels).all()
    unseen, truth = blobs(300, 512, seed=1)
    assert (probe.predict(unseen).argmax(1) == truth).mean() > 0.4  # chance is a third


@pytest.mark.parametrize("seed", range(5))
def test_inner_folds_keep_patients_apart(seed):
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, 9, 50).astype(str)
    labels = rng.integers(0, 3, 50)
    folds = inner_folds(labels, patients, seed=seed)
    assert len(folds) >= 2
    for train, held in folds:
        assert not set(patients[train]) & set(patients[held])
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(50))


def test_inner_folds_are_those_of_scikit_learn():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        patients, labels = rng.integers(0, 12, 60), rng.integers(0, 2 + seed % 4, 60)
        if seed % 3 == 0:  # all patients alike, so that every choice is between equals
            patients, labels = np.arange(60) // 4, np.arange(60) % 4
        known = StratifiedGroupKFold(4, shuffle=True, random_state=seed).split(labels, labels, patients)
        for own, other in zip(inner_folds(labels, patients, seed=seed, folds=4), known, strict=True):
            assert (own[0] == other[0]).all()
            assert (own[1] == other[1]).all()


def test_an_inner_fold_that_misses_a_class_does_no_harm():
    features, labels = blobs(12, 20)
    patients = np.array(list("aaabbbccccdd"))
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 1, 2])  # classes 1 and 2: patients c and d only
    probe = fit_probe(features, labels, patients, n_classes=3)
    assert np.isfinite(probe.inner_loss).all()
    assert np.isfinite(probe.predict(features)).all()


def test_a_class_that_no_row_has_gets_no_probability():
    features, labels = blobs(60, 10, 2)
    probabilities = fit_probe(features, labels, np.arange(60) // 2, n_classes=4).predict(features)
    assert probabilities.shape == (60, 4)
    assert (probabilities[:, 2:] == 0).all()


def test_constant_features_are_harmless_and_broken_ones_refused():
    features, labels = blobs(30, 10)
    patients = np.arange(30) // 2
    plain = fit_probe(features, labels, patients, n_classes=3, lambdas=[0.01])
    features[:, 3] = 7.1
    probe = fit_probe(features, labels, patients, n_classes=3)
    assert np.isfinite(probe.predict(features)).all()
    assert plain.lambda_by == "given"
    features[4, 3] = np.inf
    with pytest.raises(FloatingPointError):
        fit_probe(features, labels, patients, n_classes=3)


def test_the_same_rows_give_the_same_probe_and_float32_will_do():
    features, labels = blobs(60, 30)
    patients = np.arange(60) // 3
    first, again = (fit_probe(features, labels, patients, n_classes=3) for _ in range(2))
    assert (first.coefficients == again.coefficients).all()
    single = fit_probe(features.astype(np.float32), labels, patients, n_classes=3)
    assert single.predict(features) == pytest.approx(first.predict(features), abs=1e-3)


def test_probes_fitted_together_are_those_fitted_alone_up_to_rounding():
    subsets = []
    for n, n_classes, own in ((60, 3, 20), (15, 3, 1), (45, 2, 15), (30, 3, 10)):  # the second has too few patients
        features, labels = blobs(n, 30, n_classes, seed=n)
        subsets.append(Subset(features, labels, np.arange(n) * own // n))
    together = fit_probes(subsets, n_classes=3)
    unseen, _ = blobs(100, 30, seed=1)
    for probe, subset in zip(together, subsets, strict=True):
        alone = fit_probe(subset.features, subset.labels, subset.patients, n_classes=3)
        assert (probe.chosen_lambda, probe.lambda_by) == (alone.chosen_lambda, alone.lambda_by)
        assert probe.inner_loss == pytest.approx(alone.inner_loss, rel=1e-3)
        assert probe.predict(unseen) == pytest.approx(alone.predict(unseen), abs=5e-3)
    assert (together[2].predict(unseen)[:, 2] == 0).all()


def test_lambda_is_that_of_scikit_learn_on_the_same_inner_folds():
    features, labels = blobs(80, 60, spread=0.15)
    patients = np.arange(80) // 4
    probe = fit_probe(features, labels, patients, n_classes=3)
    rows = (features - features.mean(0)) / features.std(0) / np.sqrt(60)
    for place, penalty in enumerate(LAMBDAS):
        losses = []
        for train, held in inner_folds(labels, patients, seed=FOLDS_SEED):
            known = LogisticRegression(C=1 / (penalty * len(train)), tol=1e-8, max_iter=5000)
            known.fit(rows[train], labels[train], sample_weight=class_weights(labels[train], 3)[labels[train]])
            right = known.predict_log_proba(rows[held])[np.arange(len(held)), labels[held]]
            losses.append(-np.average(right, weights=class_weights(labels[held], 3)[labels[held]]))
        assert probe.inner_loss[place] == pytest.approx(np.mean(losses), rel=0.01)
    assert probe.chosen_lambda == LAMBDAS[int(np.argmin(probe.inner_loss))]


@pytest.mark.parametrize("spread", [0.05, 0.2, 0.6])
@pytest.mark.parametrize(("n", "dims"), [(24, 40), (60, 30), (200, 40), (120, 150)])
def test_the_search_chooses_as_if_it_had_converged(n, dims, spread, monkeypatch):
    features, labels = blobs(n, dims, 4, seed=n, spread=spread)
    subset = Subset(features, labels, np.arange(n) // 3)
    (probe,) = fit_probes([subset], n_classes=4)
    monkeypatch.setattr(probe_module, "SEARCH_TOLERANCE", 1e-7)
    (exact,) = fit_probes([subset], n_classes=4)
    assert probe.inner_loss == pytest.approx(exact.inner_loss, rel=0.01)
    tied = np.array(exact.inner_loss) <= min(exact.inner_loss) * (1 + 2e-3)
    assert tied[LAMBDAS.index(probe.chosen_lambda)]


@pytest.mark.parametrize("dims", [20, 90])
def test_the_coefficients_are_an_optimum_in_double_precision(dims):
    features, labels = blobs(90, dims, seed=4, spread=0.5)
    for penalty in (1e-5, 1e-2):
        probe = fit_probe(features, labels, np.arange(90) // 3, n_classes=3, lambdas=[penalty])
        searched = fit_probe(features, labels, np.arange(90) // 3, n_classes=3, lambdas=[penalty, penalty * 1.01])
        rows, weights = (features - probe.mean) / probe.scale, class_weights(labels, 3)[labels] / 90
        for found in (probe, searched):
            likely = found.predict(features)
            pulled = (likely - np.eye(3)[labels]) * weights[:, None]
            gradient = rows.T @ pulled + found.chosen_lambda * found.coefficients
            loss = -weights @ np.log(likely[np.arange(90), labels]) + penalty / 2 * np.square(found.coefficients).sum()
            gap = np.square(gradient).sum() / (2 * penalty) + 50 * np.square(pulled.sum(0)).sum()
            assert gap < 3e-5 * loss


def test_a_probe_has_the_same_bits_whichever_others_are_fitted():
    subsets = []
    for n in (30, 45, 60, 75):
        features, labels = blobs(n, 50, seed=n)
        subsets.append(Subset(features, labels, np.arange(n) // 3))

    def fitted(places):
        found = {}
        for batch in batches([len(subsets[place].labels) for place in places], 50, 3, len(LAMBDAS), "cpu"):
            probes = fit_probes([subsets[places[position]] for position in batch], n_classes=3)
            found |= {places[position]: probe for position, probe in zip(batch, probes, strict=True)}
        return found

    whole = fitted([0, 1, 2, 3])
    for places in ([1, 3], [2], [3, 0]):
        for place, probe in fitted(places).items():
            assert (probe.coefficients == whole[place].coefficients).all()
            assert (probe.intercepts == whole[place].intercepts).all()
            assert probe.inner_loss == whole[place].inner_loss


def test_every_subset_is_in_one_batch_and_alone_on_the_cpu():
    sizes = [400, 16, 80, 400, 17, 1600]
    assert batches(sizes, 512, 5, 9, "cpu") == [[1], [4], [2], [0], [3], [5]]
    together = batches(sizes, 512, 5, 9, "cuda")
    assert sorted(position for batch in together for position in batch) == list(range(6))
    assert [1, 4] in together
    assert [0, 3] in together
    assert len(batches([1600] * 500, 512, 5, 9, "cuda")) > 1  # memory is bounded


def test_class_weights_make_classes_count_the_same():
    weights = class_weights(np.array([0, 0, 0, 1]), 3)
    assert weights == pytest.approx([4 / 6, 2, 0])
