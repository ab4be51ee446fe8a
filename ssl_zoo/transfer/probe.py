"""The linear probe: a class-balanced L2 multinomial logistic regression on frozen features, its λ chosen by patient.

Everything is learned from the rows that are handed in, and from nothing else: mean and standard deviation of the
features, class weights, λ. Features are standardised and divided by the square root of their number, so that
one λ means the same for 64 and for 768 features. λ is the one with the smallest class-balanced log-loss, mean over
inner folds, which keep patients apart; within rounding, the larger λ wins. Where a class has fewer than two patients
no inner split is possible, and λ is `FIXED_LAMBDA`; the probe says which of the two it was.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from ssl_zoo.transfer.logistic import solve

LAMBDAS: tuple[float, ...] = tuple(float(value) for value in 10 ** np.linspace(-5, 0, 9))
FIXED_LAMBDA = 0.01  # on scaled features: pulls 15 images in 512 dimensions clearly, but not to nothing
INNER_FOLDS = 5
INNER_SPLIT, TOO_FEW = "inner split", "fixed: too few patients"
SEARCH_TOLERANCE, FINAL_TOLERANCE = 1e-4, 1e-6  # relative gap to the optimum of the objective


@dataclass(frozen=True)
class Probe:
    """A fitted probe. `coefficients` `[D, K]` and `intercepts` `[K]` belong to the standardised features."""

    mean: np.ndarray  # [D]
    scale: np.ndarray  # [D]
    coefficients: np.ndarray
    intercepts: np.ndarray
    chosen_lambda: float
    lambda_by: str  # "inner split" or "fixed: too few patients"
    inner_loss: tuple[float, ...] = ()  # mean log-loss over the inner folds, one per λ of the grid
    converged: bool = True

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Probabilities float64 `[M, K]` of features `[M, D]`."""
        standardised = (np.asarray(features, dtype=np.float64) - self.mean) / self.scale
        logits = standardised @ self.coefficients + self.intercepts
        logits -= logits.max(1, keepdims=True)
        exponentials = np.exp(logits)
        return exponentials / exponentials.sum(1, keepdims=True)


def fit_probe(
    features: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
    *,
    n_classes: int,
    lambdas: Sequence[float] = LAMBDAS,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Probe:
    """Fit a probe on a training subset: features `[N, D]`, labels `[N]` in 0..n_classes-1 and patient ids `[N]`.

    `seed` only draws the inner folds. A class without a row gets probability 0. Raises FloatingPointError when a
    feature is not finite.
    """
    features = np.asarray(features, dtype=np.float64)
    if not np.isfinite(features).all():
        raise FloatingPointError("the features hold NaN or infinity: the encoder diverged, or its images are broken")
    labels = np.asarray(labels, dtype=np.int64)
    folds = inner_folds(labels, np.asarray(patients), seed=seed)
    lambdas = sorted(float(value) for value in lambdas)
    if len(lambdas) == 1 or not folds:
        chosen, losses = (lambdas[0] if len(lambdas) == 1 else FIXED_LAMBDA), []
        chosen_by = "given" if len(lambdas) == 1 else TOO_FEW
    else:
        losses = _inner_losses(features, labels, folds, lambdas, n_classes, device)
        chosen, chosen_by = lambdas[_largest_best(losses)], INNER_SPLIT
    mean, scale = _standardisation(features)
    solution = solve(
        _tensor((features - mean) / scale, device)[None],
        torch.as_tensor(labels, device=device)[None],
        _tensor(class_weights(labels, n_classes)[labels], device)[None],
        _tensor(np.array([[chosen]]), device),
        n_classes=n_classes,
        tolerance=FINAL_TOLERANCE,
    )
    return Probe(
        mean=mean,
        scale=scale,
        coefficients=solution.coefficients[0, 0].cpu().numpy(),
        intercepts=solution.intercepts[0, 0].cpu().numpy(),
        chosen_lambda=chosen,
        lambda_by=chosen_by,
        inner_loss=tuple(losses),
        converged=bool(solution.gap.max() <= 10 * FINAL_TOLERANCE),
    )


def class_weights(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """`[n_classes]` weights n / (classes present x n_c): every class present counts the same; 0 if absent."""
    counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
    present = counts > 0
    return np.divide(counts.sum() / max(1, present.sum()), counts, out=np.zeros(n_classes), where=present)


def inner_folds(
    labels: np.ndarray, patients: np.ndarray, *, seed: int, folds: int = INNER_FOLDS
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of (training, held-out) positions, by patient and stratified by class; none where a class has one patient.

    There are as many folds as the rarest class has patients, `folds` at most. A held-out side may miss
    classes, and so may, rarely, a training side.
    """
    patients = np.unique(patients, return_inverse=True)[1]
    per_class = [len(np.unique(patients[labels == label])) for label in np.unique(labels)]
    folds = min(folds, *per_class) if len(per_class) > 1 else 0
    if folds < 2:
        return []
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a class with fewer images than folds: handled below
        warnings.simplefilter("ignore", UserWarning)
        pairs = [(train, held) for train, held in splitter.split(labels, labels, patients)]
    return [(train, held) for train, held in pairs if len(held) and len(np.unique(labels[train])) > 1]


def _inner_losses(
    features: np.ndarray,
    labels: np.ndarray,
    folds: list[tuple[np.ndarray, np.ndarray]],
    lambdas: list[float],
    n_classes: int,
    device: str | torch.device,
) -> list[float]:
    """Class-balanced log-loss of each λ, mean over the inner folds; all folds and λ are solved in one batch.

    Each fold standardises and weighs by its own training side. Held-out rows of a class that this side lacks
    cannot be scored, and are left out.
    """
    longest = max(len(train) for train, _ in folds)
    stacked = np.zeros((len(folds), longest, features.shape[1]))
    targets = np.zeros((len(folds), longest), dtype=np.int64)
    weights = np.zeros((len(folds), longest))
    standardisations = []
    for fold, (train, _) in enumerate(folds):
        mean, scale = _standardisation(features[train])
        standardisations.append((mean, scale))
        stacked[fold, : len(train)] = (features[train] - mean) / scale
        targets[fold, : len(train)] = labels[train]
        weights[fold, : len(train)] = class_weights(labels[train], n_classes)[labels[train]]
    solution = solve(
        _tensor(stacked, device),
        torch.as_tensor(targets, device=device),
        _tensor(weights, device),
        _tensor(np.tile(lambdas, (len(folds), 1)), device),
        n_classes=n_classes,
        tolerance=SEARCH_TOLERANCE,
    )
    losses = []
    for fold, (train, held) in enumerate(folds):
        held = held[np.isin(labels[held], labels[train])]
        if not len(held):
            continue
        mean, scale = standardisations[fold]
        rows = _tensor((features[held] - mean) / scale, device)  # [M, D]
        logits = rows @ solution.coefficients[fold] + solution.intercepts[fold].unsqueeze(1)  # [L, M, K]
        right = torch.log_softmax(logits, -1)[:, range(len(held)), labels[held]]  # [L, M]
        weight = _tensor(class_weights(labels[held], n_classes)[labels[held]], device)
        losses.append((-(right * weight).sum(1) / weight.sum()).cpu().numpy())
    return [float(value) for value in np.mean(losses, 0)]


def _largest_best(losses: list[float]) -> int:
    """Index of the smallest loss; of those equal to solver precision, the last, which is the largest λ."""
    values = np.array(losses)
    return int(np.flatnonzero(values <= values.min() * (1 + 1e-3))[-1])


def _standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and divisor of each feature, with which rows have a mean squared norm of 1. Constants are only centred."""
    mean, std = features.mean(0), features.std(0)
    constant = std <= 1e-12 * np.maximum(1, np.abs(mean))
    return mean, np.where(constant, 1, std) * np.sqrt(features.shape[1])


def _tensor(values: np.ndarray, device: str | torch.device) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64, device=device)
