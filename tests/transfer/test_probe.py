from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ssl_zoo.transfer.logistic import solve
from ssl_zoo.transfer.probe import FIXED_LAMBDA, LAMBDAS, class_weights, fit_probe, inner_folds


def blobs(n: int, dims: int, n_classes: int = 3, *, seed: int = 0, spread: float = 0.3):
    """Features `[n, dims]` with correlated dimensions of very different size, and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(n_classes, dims)) * spread
    mixing = np.random.default_rng(98).normal(size=(dims, dims)) * np.exp(-4 * np.arange(dims) / dims)[:, None]
    labels = np.arange(n) % n_classes
    return rng.normal(size=(n, dims)) @ mixing / 3 + centres[labels] + 5, labels


@pytest.mark.parametrize(("n", "dims"), [(15, 100), (60, 100), (200, 20)])
def test_the_solver_reaches_the_optimum_of_scikit_learn(n, dims):
    features, labels = blobs(n, dims)
    features = (features - features.mean(0)) / features.std(0) / np.sqrt(dims)
    weights = np.random.default_rng(1).uniform(0.2, 2, n)
    penalties = np.array([1e-4, 1e-2, 1.0])
    solution = solve(
        torch.tensor(features)[None],
        torch.tensor(labels)[None],
        torch.tensor(weights)[None],
        torch.tensor(penalties)[None],
        n_classes=3,
    )
    probabilities = torch.softmax(solution.logits(torch.tensor(features)[None]), -1)[0].numpy()
    for level, penalty in enumerate(penalties):
        reference = LogisticRegression(C=1 / (penalty * weights.sum()), tol=1e-9, max_iter=5000)
        reference.fit(features, labels, sample_weight=weights)
        expected = reference.predict_proba(features)
        losses = -np.log(expected[np.arange(n), labels])
        optimum = np.average(losses, weights=weights) + penalty / 2 * np.square(reference.coef_).sum()
        assert solution.loss[0, level].item() == pytest.approx(optimum, rel=1e-5)
        assert probabilities[level] == pytest.approx(expected, abs=5e-3)


def test_problems_solved_together_and_alone_agree():
    features, labels = blobs(40, 30)
    features, labels = torch.tensor(features - features.mean(0)), torch.tensor(labels)
    weights = torch.ones(2, 40, dtype=torch.float64)
    weights[1, 25:] = 0  # the second problem is shorter
    penalties = torch.tensor([[1e-3, 1.0], [1e-2, 0.1]], dtype=torch.float64)
    both = solve(features.expand(2, -1, -1), labels.expand(2, -1), weights, penalties, n_classes=3, tolerance=1e-10)
    for group, rows in enumerate((40, 25)):
        alone = solve(
            features[None, :rows],
            labels[None, :rows],
            weights[group : group + 1, :rows],
            penalties[group : group + 1],
            n_classes=3,
            tolerance=1e-10,
        )
        assert torch.allclose(both.coefficients[group], alone.coefficients[0], atol=1e-4)
        assert torch.allclose(both.loss[group], alone.loss[0], rtol=1e-8)


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


def test_class_weights_make_classes_count_the_same():
    weights = class_weights(np.array([0, 0, 0, 1]), 3)
    assert weights == pytest.approx([4 / 6, 2, 0])
