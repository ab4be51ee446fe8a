"""Two classifiers that learn nothing but where labelled features lie, for the smallest label fractions.

Both work on directions: features are standardised by the subset's own mean and deviation and scaled to length 1, so
that products are cosines. Both give every class that the subset has the same weight, and 0 to one that it lacks.

`knn`: the nearest k rows vote with weights exp(cosine / 0.07), the protocol of Wu et al. 2018 (arXiv 1805.01978) and of
DINO (arXiv 2104.14294). One vote more is spread evenly over the classes, so that a small k makes no certainties.
`prototype`: the softmax of the cosines to the class means over a temperature (Snell et al. 2017, arXiv 1703.05175). The
temperature is the one of `TEMPERATURES` under which rows are predicted best, in log-loss, by means without their own
patient; where that leaves no two classes to tell apart it is `FIXED_TEMPERATURE`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from ssl_zoo.transfer.probe import class_weights, standardisation

K = 20  # of Wu et al. for small data; DINO's best
VOTE_TEMPERATURE = 0.07
TEMPERATURES: tuple[float, ...] = tuple(float(value) for value in np.geomspace(0.02, 2, 15))
FIXED_TEMPERATURE = 0.2
LEFT_OUT, TOO_FEW = "left-out patients", "fixed: too few patients"


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The rows of a subset as unit vectors `[N, D]`, and `k`, which is at most N over the classes present."""

    mean: np.ndarray  # [D]
    scale: np.ndarray  # [D]
    rows: np.ndarray
    labels: np.ndarray  # [N]
    weights: np.ndarray  # [K] of a vote, by class
    k: int

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Probabilities float64 `[M, K]` of features `[M, D]`."""
        cosines = directions(features, self.mean, self.scale) @ self.rows.T  # [M, N]
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : self.k]  # of equals, the first of the table
        close = np.take_along_axis(cosines, nearest, 1)
        votes = np.exp((close - close[:, :1]) / VOTE_TEMPERATURE) * self.weights[self.labels[nearest]]  # [M, k]
        votes *= self.k / votes.sum(1, keepdims=True)
        chosen = np.eye(len(self.weights))[self.labels[nearest]]  # [M, k, K]
        shares = (votes[:, None] @ chosen)[:, 0]
        present = self.weights > 0
        return (shares + present / present.sum()) / (self.k + 1)


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Class means `[K, D]` of unit vectors; those of classes without a row are 0, and never predicted."""

    mean: np.ndarray  # [D]
    scale: np.ndarray  # [D]
    means: np.ndarray
    present: np.ndarray  # bool [K]
    temperature: float
    temperature_by: str  # "left-out patients" or "fixed: too few patients"

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Probabilities float64 `[M, K]` of features `[M, D]`."""
        cosines = directions(features, self.mean, self.scale) @ _unit(self.means).T  # [M, K]
        return softmax(np.where(self.present, cosines / self.temperature, -np.inf), axis=1)


def fit_neighbours(features: np.ndarray, labels: np.ndarray, *, n_classes: int, k: int = K) -> Neighbours:
    """From a training subset: features `[N, D]` and labels `[N]` in 0..n_classes-1. See the module for what it does.

    Raises FloatingPointError when a feature is not finite.
    """
    mean, scale, rows = _rows(features)
    weights = class_weights(labels, n_classes)
    fair = max(1, len(labels) // int((weights > 0).sum()))  # more would reach beyond a class of mean size
    return Neighbours(mean, scale, rows, np.asarray(labels), weights, min(k, fair))


def fit_prototypes(features: np.ndarray, labels: np.ndarray, patients: np.ndarray, *, n_classes: int) -> Prototypes:
    """From a training subset: features `[N, D]`, labels `[N]` in 0..n_classes-1 and patient ids `[N]`.

    Raises FloatingPointError when a feature is not finite.
    """
    mean, scale, rows = _rows(features)
    chosen = np.eye(n_classes)[labels]  # [N, K]
    sums, counts = chosen.T @ rows, chosen.sum(0)
    present = counts > 0
    cosines, usable = _left_out_cosines(rows, chosen, np.unique(patients, return_inverse=True)[1])
    temperature, by = FIXED_TEMPERATURE, TOO_FEW
    if usable.any():
        weights = class_weights(labels[usable], n_classes)[labels[usable]]
        own = np.arange(int(usable.sum())), labels[usable]
        losses = [
            np.average(-np.log(np.maximum(softmax(cosines[usable] / candidate, axis=1)[own], 1e-300)), weights=weights)
            for candidate in TEMPERATURES
        ]
        temperature, by = TEMPERATURES[int(np.argmin(losses))], LEFT_OUT
    return Prototypes(mean, scale, sums / np.maximum(counts, 1)[:, None], present, temperature, by)


def directions(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Features `[M, D]`, standardised and scaled to length 1; one that lies at the mean stays 0."""
    return _unit((np.asarray(features, dtype=np.float64) - mean) / scale)


def _rows(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, divisor and unit vectors of a subset."""
    features = np.asarray(features, dtype=np.float64)
    mean, scale = standardisation(features)
    return mean, scale, directions(features, mean, scale)


def _left_out_cosines(rows: np.ndarray, chosen: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines `[N, K]` of each row to the class means of all other patients (-inf: nobody else shows the class).

    And whether that says anything about the row `[N]`: its class and another one have to be among them.
    """
    cosines = np.full(chosen.shape, -np.inf)
    sums, counts = chosen.T @ rows, chosen.sum(0)
    for patient in range(patients.max() + 1):
        own = patients == patient
        left = counts - chosen[own].sum(0)
        means = _unit(sums - chosen[own].T @ rows[own])
        cosines[own] = np.where(left > 0, rows[own] @ means.T, -np.inf)
    shown = np.isfinite(cosines)
    return cosines, (shown & (chosen > 0)).any(1) & (shown.sum(1) > 1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
