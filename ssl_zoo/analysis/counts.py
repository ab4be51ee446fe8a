"""Predictions as counts per patient and class, and every measure that can be read off such counts.

Three numbers per class are enough for accuracy, precision, recall and F1: how many images were hit (`hit`), how many
are of the class (`true`), and how many were called so (`called`). They add up over patients, so a resample of patients
is a weighted sum of counts, and thousands of resamples are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssl_zoo.errors import UserError

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


def class_names(predictions: pd.DataFrame) -> list[str]:
    """The classes, in the order of the probability columns `p_<class>`."""
    return [str(name)[2:] for name in predictions.columns if str(name).startswith("p_")]


def class_codes(values: pd.Series, classes: list[str]) -> Codes:
    """Class names (or integer class numbers) as numbers into `classes`; an unknown name is a UserError."""
    if pd.api.types.is_integer_dtype(values):
        codes = values.to_numpy(np.int64)
    else:
        codes = pd.Index(classes).get_indexer(pd.Index(values.astype(str)))
    if len(codes) and (codes.min() < 0 or codes.max() >= len(classes)):
        wrong = values.to_numpy()[(codes < 0) | (codes >= len(classes))][0]
        raise UserError(f"predictions, column '{values.name}': '{wrong}' is none of the classes {', '.join(classes)}")
    return codes


@dataclass(frozen=True, eq=False)
class Tested:
    """The predictions of one cohort in numbers, one entry per test image and cell `[N]`.

    `label`, `predicted`: class codes; `patient`: place in `patients`; `right`, `confidence`: whether the image was hit,
    and the largest probability. `rows_of`: the entries of each cell.
    """

    label: Codes
    predicted: Codes
    patient: Codes
    confidence: Floats
    rows_of: dict[str, Codes]
    patients: list[str]
    classes: list[str]

    def rows(self, cells: list[str]) -> tuple[Codes, Codes]:
        """The entries of some cells one after another, and for each the place of its cell in the list."""
        found = [self.rows_of[cell] for cell in cells]
        return np.concatenate(found), np.repeat(np.arange(len(cells)), [len(rows) for rows in found])

    def counts(self, cells: list[str]) -> Floats:
        """`[cells, patients, 3, K]`: images of class k that were hit, that are k, and that were called k."""
        rows, cell = self.rows(cells)
        label, predicted = self.label[rows], self.predicted[rows]
        shape = (len(cells), len(self.patients), 3, len(self.classes))
        counts = np.zeros(shape)
        everything = np.ones(len(rows), bool)
        for kind, code, where in ((0, label, label == predicted), (1, label, everything), (2, predicted, everything)):
            flat = (cell[where] * shape[1] + self.patient[rows[where]]) * shape[3] + code[where]
            counts[:, :, kind] = np.bincount(flat, minlength=shape[0] * shape[1] * shape[3]).reshape(
                shape[0], shape[1], shape[3]
            )
        return counts

    def confusion(self, cells: list[str]) -> Codes:
        """Image counts `[K, K]` (row: true class, column: predicted) summed over cells."""
        rows, _ = self.rows(cells)
        k = len(self.classes)
        return np.bincount(self.label[rows] * k + self.predicted[rows], minlength=k * k).reshape(k, k)


def read_cohort(predictions: pd.DataFrame, cohort: str) -> Tested:
    """The predictions of one cohort as numbers. A label or a prediction that is no class is a UserError."""
    rows = predictions.loc[(predictions["cohort"] == cohort).to_numpy()]
    classes = class_names(predictions)
    patient, names = pd.factorize(rows["patient_id"].astype(str), sort=True)
    cell, cells = pd.factorize(rows["cell"])
    order = np.argsort(cell, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(cell, minlength=len(cells)))[:-1])
    probabilities = rows[[f"p_{name}" for name in classes]]
    return Tested(
        label=class_codes(rows["label"], classes),
        predicted=class_codes(rows["predicted"], classes),
        patient=patient.astype(np.int64),
        confidence=probabilities.to_numpy(np.float64).max(1) if classes and len(rows) else np.zeros(len(rows)),
        rows_of=dict(zip(map(str, cells), parts, strict=True)),
        patients=[str(name) for name in names],
        classes=classes,
    )


def f1_by_class(counts: Floats) -> Floats:
    """F1 `[..., K]` of counts `[..., 3, K]`; NaN for a class without a true image."""
    hit, true, called = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    return np.where(true > 0, 2 * hit / np.maximum(true + called, 1e-12), np.nan)


def f1_of_counts(counts: Floats) -> Floats:
    """Macro-F1 from counts `[..., 3, K]`: the mean over classes that occur, NaN if none does.

    A class without a true image is left out of the mean; images that were called so by mistake still cost the
    class they belong to.
    """
    return _macro(f1_by_class(counts), counts[..., 1, :] > 0)


def measures_of_counts(counts: Floats) -> dict[str, Floats]:
    """The measures `[...]` of counts `[..., 3, K]`, macro ones over the classes that occur; NaN where none does.

    Keys: accuracy, balanced_accuracy, precision_macro, recall_macro, f1_macro, precision_weighted, recall_weighted,
    f1_weighted, as `metrics.scores` names and defines them.
    """
    hit, true, called = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    present, total = true > 0, true.sum(-1)
    some = np.maximum(total, 1e-12)
    recall, precision = _macro(hit / np.maximum(true, 1e-12), present), hit / np.maximum(called, 1e-12)
    f1 = np.where(present, f1_by_class(counts), 0.0)
    accuracy = np.where(total > 0, hit.sum(-1) / some, np.nan)
    return {
        "accuracy": accuracy,
        "balanced_accuracy": recall,
        "precision_macro": _macro(precision, present),
        "recall_macro": recall,
        "f1_macro": f1_of_counts(counts),
        "precision_weighted": np.where(total > 0, (precision * true).sum(-1) / some, np.nan),
        "recall_weighted": accuracy,  # sum over classes k of (images of k) x (hits of k) / (images of k)
        "f1_weighted": np.where(total > 0, (f1 * true).sum(-1) / some, np.nan),
    }


def _macro(values: Floats, present: NDArray[np.bool_]) -> Floats:
    n_present = present.sum(-1)
    total = np.where(present, values, 0.0).sum(-1)
    return np.where(n_present > 0, total / np.maximum(n_present, 1), np.nan)
