from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ssl_zoo.transfer.probe import (
    FIXED_LAMBDA,
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
    first, again = (fit_probe(features, labels, patients, n_classes=3, seed=1) for _ in range(2))
    assert (first.coefficients == again.coefficients).all()
    single = fit_probe(features.astype(np.float32), labels, patients, n_classes=3, seed=1)
    assert single.predict(features) == pytest.approx(first.predict(features), abs=1e-3)


def test_probes_fitted_together_are_those_fitted_alone_up_to_rounding():
    subsets = []
    for n, n_classes, own in ((60, 3, 20), (15, 3, 1), (45, 2, 15), (30, 3, 10)):  # the second has too few patients
        features, labels = blobs(n, 30, n_classes, seed=n)
        subsets.append(Subset(features, labels, np.arange(n) * own // n, seed=n))
    together = fit_probes(subsets, n_classes=3)
    unseen, _ = blobs(100, 30, seed=1)
    for probe, subset in zip(together, subsets, strict=True):
        alone = fit_probe(subset.features, subset.labels, subset.patients, n_classes=3, seed=subset.seed)
        assert (probe.chosen_lambda, probe.lambda_by) == (alone.chosen_lambda, alone.lambda_by)
        assert probe.inner_loss == pytest.approx(alone.inner_loss, rel=1e-3)
        assert probe.predict(unseen) == pytest.approx(alone.predict(unseen), abs=2e-3)
    assert (together[2].predict(unseen)[:, 2] == 0).all()


def test_lambda_is_that_of_scikit_learn_on_the_same_inner_folds():
    features, labels = blobs(80, 60, spread=0.15)
    patients = np.arange(80) // 4
    probe = fit_probe(features, labels, patients, n_classes=3, seed=3)
    rows = (features - features.mean(0)) / features.std(0) / np.sqrt(60)
    for place, penalty in enumerate(LAMBDAS):
        losses = []
        for train, held in inner_folds(labels, patients, seed=3):
            known = LogisticRegression(C=1 / (penalty * len(train)), tol=1e-8, max_iter=5000)
            known.fit(rows[train], labels[train], sample_weight=class_weights(labels[train], 3)[labels[train]])
            right = known.predict_log_proba(rows[held])[np.arange(len(held)), labels[held]]
            losses.append(-np.average(right, weights=class_weights(labels[held], 3)[labels[held]]))
        assert probe.inner_loss[place] == pytest.approx(np.mean(losses), rel=0.01)
    assert probe.chosen_lambda == LAMBDAS[int(np.argmin(probe.inner_loss))]


def test_a_probe_has_the_same_bits_whichever_others_are_fitted():
    subsets = []
    for n in (30, 45, 60, 75):
        features, labels = blobs(n, 50, seed=n)
        subsets.append(Subset(features, labels, np.arange(n) // 3, seed=n))

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
