from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from ssl_zoo.transfer.metrics import confidence_bins, expected_calibration_error, scores

CLASSES = ("a", "b", "c")


def one_hot(predicted: list[int], n_classes: int = 3) -> np.ndarray:
    return np.eye(n_classes)[predicted]


def test_measures_of_a_confusion_matrix_worked_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    result = scores(labels, one_hot([0, 0, 0, 1, 1, 0, 2, 2]), CLASSES)
    # class a: 3 of 4 found, 3 of 4 calls right; b: 1 of 2, 1 of 2; c: 2 of 2, 2 of 2
    assert result["accuracy"] == pytest.approx(6 / 8)
    assert result["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert result["recall_macro"] == result["balanced_accuracy"]
    assert result["precision_macro"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert result["f1_macro"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert result["f1_weighted"] == pytest.approx((4 * 3 / 4 + 2 * 1 / 2 + 2 * 1) / 8)
    assert result["precision_weighted"] == pytest.approx((4 * 3 / 4 + 2 * 1 / 2 + 2 * 1) / 8)
    assert result["recall_weighted"] == result["accuracy"]
    assert result["f1_per_class"] == pytest.approx({"a": 3 / 4, "b": 1 / 2, "c": 1.0})
    assert result["classes_missing"] == []


def test_perfect_predictions_score_one():
    result = scores(np.array([0, 1, 2]), one_hot([0, 1, 2]), CLASSES)
    assert all(result[name] == 1 for name in ("accuracy", "precision_macro", "f1_macro", "f1_weighted", "auroc_macro"))
    assert result["ece"] == 0


def test_a_missing_class_is_stated_and_not_averaged():
    result = scores(np.array([0, 0, 1, 1]), one_hot([0, 2, 1, 1]), CLASSES)
    assert result["n_classes_scored"] == 2
    assert result["classes_missing"] == ["c"]
    assert result["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert result["f1_macro"] == pytest.approx((2 / 3 + 1) / 2)
    assert result["f1_per_class"]["c"] is None


def test_weighted_precision_and_recall_are_scikit_learns_also_where_a_class_is_never_called_or_missing():
    rng = np.random.default_rng(1)
    for classes, calls in ((4, 4), (4, 2), (2, 4)):
        labels, called = rng.integers(0, classes, 60), rng.integers(0, calls, 60)
        result = scores(labels, one_hot(called, 4), ("a", "b", "c", "d"))
        for name, theirs in (("precision", metrics.precision_score), ("recall", metrics.recall_score)):
            expected = theirs(labels, called, average="weighted", zero_division=0)
            assert result[f"{name}_weighted"] == pytest.approx(expected)


def test_auroc_is_the_chance_of_ranking_a_pair_right():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 40)
    probabilities = rng.dirichlet(np.ones(3), 40).round(1)  # with ties
    by_class = []
    for label in range(3):
        ours, others = probabilities[labels == label, label], probabilities[labels != label, label]
        difference = ours[:, None] - others[None]
        by_class.append(((difference > 0) + 0.5 * (difference == 0)).mean())
    assert scores(labels, probabilities, CLASSES)["auroc_macro"] == pytest.approx(np.mean(by_class))


def test_a_test_set_of_one_class_has_no_auroc():
    result = scores(np.array([1, 1]), one_hot([1, 0]), CLASSES)
    assert result["auroc_macro"] is None
    assert result["accuracy"] == 0.5


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probabilities = np.tile([0.8, 0.2], (10, 1))
    labels = np.array([0] * 6 + [1] * 4)
    assert expected_calibration_error(labels, probabilities) == pytest.approx(0.8 - 0.6)
    # two bins, each off by 0.1 in another direction: the gaps do not cancel
    both = np.concatenate([np.tile([0.9, 0.1], (10, 1)), np.tile([0.7, 0.3], (10, 1))])
    mixed = np.array([0] * 8 + [1] * 2 + [0] * 8 + [1] * 2)
    assert expected_calibration_error(mixed, both) == pytest.approx(0.1)


def test_bins_of_confidence_hold_their_upper_end():
    assert confidence_bins(np.array([0.0, 0.1, 0.1000001, 0.95, 1.0]), 10).tolist() == [0, 0, 1, 9, 9]


def test_measures_equal_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    labels, probabilities = rng.integers(0, 3, 80), rng.dirichlet(np.ones(3), 80)
    called, result = probabilities.argmax(1), scores(labels, probabilities, CLASSES)
    for average in ("macro", "weighted"):
        assert result[f"f1_{average}"] == pytest.approx(metrics.f1_score(labels, called, average=average))
    assert result["precision_macro"] == pytest.approx(metrics.precision_score(labels, called, average="macro"))
    assert result["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, called))
    auroc = metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert result["auroc_macro"] == pytest.approx(auroc)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(FloatingPointError):
        scores(np.array([0]), np.array([[np.nan, 0.5]]), ("a", "b"))
    with pytest.raises(ValueError, match="2 classes"):
        scores(np.array([0]), np.array([[0.5, 0.2, 0.3]]), ("a", "b"))
    with pytest.raises(ValueError, match="0 labels"):
        scores(np.array([]), np.zeros((0, 2)), ("a", "b"))
