"""How good predictions are: the measures of one cell on one cohort.

"Macro" is the mean over the classes that the test labels contain. A cohort that lacks a class is scored without it,
and says so (`n_classes_scored`, `classes_missing`); a prediction of a missing class still counts as an error of the
class it took the image from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

ECE_BINS = 15


def scores(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Measures of probabilities `[N, K]` against labels `[N]` in 0..K-1, N > 0. All lie in 0..1.

    Keys: accuracy, balanced_accuracy, precision_macro, recall_macro, f1_macro, precision_weighted, recall_weighted,
    f1_weighted (by class frequency; recall weighted so is the accuracy), auroc_macro (one class against the rest; None
    where the labels hold one class only), ece, f1_per_class (class name to F1, None where missing), n_classes_scored,
    classes_missing. Precision of a class that is never predicted is 0.

    Raises ValueError for shapes that do not fit and FloatingPointError for probabilities that are not finite.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if probabilities.shape != (len(labels), len(classes)) or not len(labels):
        raise ValueError(f"{len(labels)} labels, {len(classes)} classes and probabilities {probabilities.shape}")
    if not np.isfinite(probabilities).all():
        raise FloatingPointError("the predictions hold NaN or infinity")
    predicted = probabilities.argmax(1)
    present = np.unique(labels)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels,
        predicted,
        labels=present,
        average=None,
        zero_division=0.0,  # pyright: ignore[reportArgumentType]
    )
    per_class = dict(zip(present.tolist(), map(float, np.atleast_1d(f1)), strict=True))
    return {
        "accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": float(np.mean(recall)),
        "precision_macro": float(np.mean(precision)),
        "recall_macro": float(np.mean(recall)),
        "f1_macro": float(np.mean(f1)),
        **weighted_scores(labels, predicted),
        "f1_weighted": float(np.average(f1, weights=support)),
        "auroc_macro": auroc_macro(labels, probabilities),
        "ece": expected_calibration_error(labels, probabilities),
        "f1_per_class": {name: per_class.get(code) for code, name in enumerate(classes)},
        "n_classes_scored": len(present),
        "classes_missing": [name for code, name in enumerate(classes) if code not in per_class],
    }


def weighted_scores(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """`precision_weighted` and `recall_weighted` of class codes `[N]`: means that weigh a class by its true images."""
    right = labels == predicted
    n_classes = int(max(labels.max(), predicted.max())) + 1
    hit, true, called = (np.bincount(codes, minlength=n_classes) for codes in (labels[right], labels, predicted))
    precision = hit / np.maximum(called, 1)
    return {"precision_weighted": float((precision * true).sum() / len(labels)), "recall_weighted": float(right.mean())}


def auroc_macro(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Mean over the classes present of the area under the ROC of that class against all others."""
    present = np.unique(labels)
    if len(present) < 2:
        return None
    return float(np.mean([roc_auc_score(labels == label, probabilities[:, label]) for label in present]))


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = ECE_BINS) -> float:
    """Mean distance between confidence (largest probability) and accuracy over equally wide bins.

    Bins weigh by their size. Guo et al. 2017 (arXiv 1706.04599), equation 3.
    """
    confidence = probabilities.max(1)
    right = (probabilities.argmax(1) == labels).astype(np.float64)
    gap = np.bincount(confidence_bins(confidence, bins), weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def confidence_bins(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The bin 0..bins-1 of each confidence in 0..1; bins are equally wide and hold their upper end, as in the paper."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
