from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from ssl_zoo.transfer.metrics import expected_calibration_error
from ssl_zoo.transfer.neighbours import FIXED_TEMPERATURE, TEMPERATURES, fit_neighbours, fit_prototypes


def blobs(
    n: int, dims: int = 20, n_classes: int = 3, *, patients: int | None = None, spread: float = 1.0, seed: int = 0
):
    """Features `[n, dims]` far from 0 and of uneven scale, labels, and patients who look alike in all their images."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    labels[:n_classes] = np.arange(n_classes)
    own = np.arange(n) % (patients or n)
    features = rng.normal(size=(n, dims)) + 0.5 * np.random.default_rng([seed, 5]).normal(size=(n, dims))[own]
    features += spread * np.random.default_rng(7).normal(size=(n_classes, dims))[labels]
    return (features + 4) * np.geomspace(0.01, 100, dims), labels, own


@pytest.fixture(params=["knn", "prototype"])
def fit(request):
    """Fits one of the two: features, labels, patients and the number of classes in, a predictor out."""
    if request.param == "knn":
        return lambda features, labels, patients, n: fit_neighbours(features, labels, n_classes=n)
    return lambda features, labels, patients, n: fit_prototypes(features, labels, patients, n_classes=n)


def test_probabilities_tell_classes_that_can_be_told(fit):
    features, labels, patients = blobs(90, patients=15)
    unseen, truth, _ = blobs(200, seed=1)
    probabilities = fit(features, labels, patients, 3).predict(unseen)
    assert probabilities.shape == (200, 3)
    assert probabilities.sum(1) == pytest.approx(1)
    assert (probabilities.argmax(1) == truth).mean() > 0.9


def test_a_class_that_the_subset_lacks_gets_no_probability(fit):
    features, labels, patients = blobs(12, n_classes=3)
    keep = labels != 1
    probabilities = fit(features[keep], labels[keep], patients[keep], 4).predict(features)
    assert (probabilities[:, [1, 3]] == 0).all()
    assert probabilities.sum(1) == pytest.approx(1)


def test_a_subset_of_one_class_is_certain_of_it(fit):
    features, _, patients = blobs(4)
    probabilities = fit(features, np.full(4, 2), patients, 3).predict(features)
    assert probabilities == pytest.approx(np.tile([0, 0, 1], (4, 1)))


def test_one_image_per_class_is_enough_and_constant_features_do_no_harm(fit):
    features, labels, patients = blobs(3, spread=3)
    features[:, 5] = 1.5
    unseen, truth, _ = blobs(100, spread=3, seed=1)
    probabilities = fit(features, labels, patients, 3).predict(unseen)
    assert np.isfinite(probabilities).all()
    assert (probabilities.argmax(1) == truth).mean() > 0.6
    same = fit(np.ones((3, 20)), labels, patients, 3).predict(unseen)
    assert same == pytest.approx(np.full((100, 3), 1 / 3)) or np.isfinite(same).all()


def test_the_unit_of_a_feature_changes_nothing(fit):
    features, labels, patients = blobs(60, patients=12)
    unseen, _, _ = blobs(50, seed=1)
    plain = fit(features, labels, patients, 3).predict(unseen)
    scale = np.geomspace(100, 0.01, 20)
    assert fit(features * scale - 3, labels, patients, 3).predict(unseen * scale - 3) == pytest.approx(plain, abs=1e-6)


def test_a_class_with_many_images_is_not_favoured(fit):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [90, 10])
    noise = rng.normal(size=(100, 10))  # nothing to learn: what is left is the balance of the classes
    probabilities = fit(noise, labels, np.arange(100), 2).predict(rng.normal(size=(400, 10)))
    assert 0.25 < probabilities[:, 1].mean() < 0.75


def test_broken_features_are_refused(fit):
    features, labels, patients = blobs(12)
    features[3, 3] = np.nan
    with pytest.raises(FloatingPointError):
        fit(features, labels, patients, 3)


def test_confidence_is_about_as_large_as_accuracy(fit):
    features, labels, patients = blobs(120, spread=0.35, patients=30)
    unseen, truth, _ = blobs(600, spread=0.35, seed=1)
    probabilities = fit(features, labels, patients, 3).predict(unseen)
    assert 0.4 < (probabilities.argmax(1) == truth).mean() < 0.95
    assert expected_calibration_error(truth, probabilities) < 0.15


def test_neighbours_are_those_of_scikit_learn():
    features, labels, _ = blobs(60)
    labels = np.arange(60) % 3  # even classes: every vote weighs the same
    unseen, _, _ = blobs(40, seed=1)
    nearest = fit_neighbours(features, labels, n_classes=3, k=7)
    rows, tested = ((some - features.mean(0)) / features.std(0) for some in (features, unseen))
    votes = KNeighborsClassifier(
        7,
        metric="cosine",
        algorithm="brute",
        weights=lambda distance: np.exp((1 - distance) / 0.07),  # pyright: ignore[reportArgumentType]
    ).fit(rows, labels)
    expected = (7 * votes.predict_proba(tested) + 1 / 3) / 8
    assert nearest.k == 7
    assert nearest.predict(unseen) == pytest.approx(expected)


def test_no_more_neighbours_vote_than_a_class_of_mean_size_has():
    features, labels, _ = blobs(16, n_classes=5)
    assert fit_neighbours(features, labels, n_classes=5).k == 3
    assert fit_neighbours(features, labels, n_classes=5, k=2).k == 2
    assert fit_neighbours(features[:3], labels[:3], n_classes=5).k == 1


def test_the_temperature_is_chosen_by_patients_left_out():
    features, labels, patients = blobs(90, patients=15)
    clear = fit_prototypes(features, labels, patients, n_classes=3)
    noise = fit_prototypes(features, np.random.default_rng(0).permutation(labels), patients, n_classes=3)
    assert clear.temperature_by == noise.temperature_by == "left-out patients"
    assert clear.temperature < noise.temperature
    assert clear.temperature in TEMPERATURES
    # Each patient shows one class, in images that are all alike: those of others say how well that is known.
    rng = np.random.default_rng(1)
    twins = np.repeat(rng.normal(size=(12, 20)), 8, axis=0) + 0.01 * rng.normal(size=(96, 20))
    fooled = fit_prototypes(twins, np.repeat(np.arange(12) % 3, 8), np.arange(96), n_classes=3)
    honest = fit_prototypes(twins, np.repeat(np.arange(12) % 3, 8), np.repeat(np.arange(12), 8), n_classes=3)
    assert honest.temperature > fooled.temperature


def test_too_few_patients_take_the_fixed_temperature():
    features, labels, _ = blobs(9)
    for patients in (np.zeros(9), labels):  # one patient; one for each class
        found = fit_prototypes(features, labels, patients, n_classes=3)
        assert (found.temperature, found.temperature_by) == (FIXED_TEMPERATURE, "fixed: too few patients")
