"""The linear probe: a class-balanced L2 multinomial logistic regression on frozen features, its λ chosen by patient.

Everything is learned from the rows that are handed in, and from nothing else: mean and standard deviation of the
features, class weights, λ. Features are standardised and divided by the square root of their number, so that
one λ means the same for 64 and for 768 features. λ is the one with the smallest class-balanced log-loss, mean over
inner folds, which keep patients apart; within rounding, the larger λ wins. Where a class has fewer than two patients
no inner split is possible, and λ is `FIXED_LAMBDA`; the probe says which of the two it was.

The subset and its inner folds are problems on one matrix, which is standardised and rotated once. They are solved
together, from the largest λ to the smallest, each from where its last three solutions point to, so that hardly a step
is left to do. The search is done in float32, and the probe itself, with the λ chosen, in float64. On a GPU many
subsets are solved at a time. On the CPU it is one after the other, so that a probe depends, to the last bit, on its
own subset alone. Nothing is drawn: equal subsets have equal probes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.transfer.folds import INNER_FOLDS, inner_folds
from ssl_zoo.transfer.logistic import MEMORY, Rotation, rotate, solve

LAMBDAS: tuple[float, ...] = tuple(float(value) for value in 10 ** np.linspace(-5, 0, 9))
FIXED_LAMBDA = 0.01  # on scaled features: pulls 15 images in 512 dimensions clearly, but not to nothing
INNER_SPLIT, TOO_FEW, GIVEN = "inner split", "fixed: too few patients", "given"
SEARCH_TOLERANCE = 5e-5  # relative gap to the optimum of the objective, estimated, while λ is chosen
FOLDS_SEED = 0  # inner folds are a function of the subset alone
FINAL_TOLERANCE = 2e-5  # and proven, of the probe itself
GPU_BYTES = 2 << 30  # that the problems of one batch may take, about
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Subset:
    """The rows that one probe learns from."""

    features: np.ndarray  # [n, D]
    labels: np.ndarray  # [n], 0..K-1
    patients: np.ndarray  # [n]


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
    gap: float = 0.0  # to the optimum of the objective that may be left, as a fraction of the loss

    @property
    def converged(self) -> bool:
        """Whether the solver came to its end; rounding may keep it a little from the tolerance."""
        return self.gap <= 10 * FINAL_TOLERANCE

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
    device: str | torch.device = CPU,
) -> Probe:
    """Fit a probe on a training subset: features `[N, D]`, labels `[N]` in 0..n_classes-1 and patient ids `[N]`.

    A class without a row gets probability 0. Raises FloatingPointError when a feature is not finite.
    """
    subset = Subset(features, labels, patients)
    return fit_probes([subset], n_classes=n_classes, lambdas=lambdas, device=device)[0]


@torch.inference_mode()
def fit_probes(
    subsets: Sequence[Subset],
    *,
    n_classes: int,
    lambdas: Sequence[float] = LAMBDAS,
    device: str | torch.device = CPU,
) -> list[Probe]:
    """Fit a probe on each subset, all of them in one batch: `batches` says how many fit. See `fit_probe`."""
    lambdas = sorted(float(value) for value in lambdas)
    subsets = [_arrays(subset) for subset in subsets]
    standardisations = [standardisation(subset.features) for subset in subsets]
    folds = [inner_folds(subset.labels, subset.patients, seed=FOLDS_SEED) for subset in subsets]
    longest, (n_features,) = max(len(subset.labels) for subset in subsets), subsets[0].features.shape[1:]
    features = np.zeros((len(subsets), longest, n_features + 1))
    features[..., -1] = 1
    labels = np.zeros((len(subsets), longest), dtype=np.int64)
    weights = np.zeros((len(subsets), 1, longest))
    for group, (subset, (mean, scale)) in enumerate(zip(subsets, standardisations, strict=True)):
        n = len(subset.labels)
        own = features[group, :n, :-1]
        np.divide(np.subtract(subset.features, mean, out=own), scale, out=own)
        labels[group, :n] = subset.labels
        weights[group, 0, :n] = class_weights(subset.labels, n_classes)[subset.labels]
    rotation, quick = _rotations(_tensor(features, device), _tensor(weights[:, 0], device))
    targets, whole = torch.as_tensor(labels, device=device), _tensor(weights, device)
    chosen = np.full((len(subsets), 1), lambdas[0] if len(lambdas) == 1 else FIXED_LAMBDA)
    losses: list[list[float]] = [[] for _ in subsets]
    start = None
    searched = [group for group in range(len(subsets)) if folds[group] and len(lambdas) > 1]
    if searched:
        curves, points = _search(
            quick.take(searched), labels[searched], weights[searched], [folds[group] for group in searched], lambdas,
            n_classes,
        )  # fmt: skip
        start = torch.zeros(len(subsets), 1, n_classes, quick.rows.shape[-1], dtype=torch.float64, device=device)
        for place, group in enumerate(searched):
            losses[group] = curves[place]
            best = _largest_best(curves[place])
            chosen[group, 0] = lambdas[best]
            start[group] = points[best][place].double()
    solution = solve(
        rotation,
        targets,
        whole,
        _tensor(chosen, device),
        n_classes=n_classes,
        tolerance=FINAL_TOLERANCE,
        start=start,
    )
    coefficients, intercepts = rotation.back(solution.point)
    coefficients, intercepts = coefficients[:, 0].cpu().numpy(), (intercepts + solution.absent)[:, 0].cpu().numpy()
    gaps = solution.gap[:, 0].cpu().numpy()
    return [
        Probe(
            mean=mean,
            scale=scale,
            coefficients=coefficients[group],
            intercepts=intercepts[group],
            chosen_lambda=float(chosen[group, 0]),
            lambda_by=GIVEN if len(lambdas) == 1 else INNER_SPLIT if losses[group] else TOO_FEW,
            inner_loss=tuple(losses[group]),
            gap=float(gaps[group]),
        )
        for group, (mean, scale) in enumerate(standardisations)
    ]


def batches(sizes: Sequence[int], n_features: int, n_classes: int, n_lambdas: int, device: str) -> list[list[int]]:
    """Positions of subsets of these sizes that `fit_probes` is best given together; smallest ones first.

    On the CPU each is alone. On a GPU, as many of about the same size as memory allows.
    """
    order = sorted(range(len(sizes)), key=lambda position: (sizes[position], position))
    if torch.device(device).type == "cpu":
        return [[position] for position in order]
    found: list[list[int]] = [[]]
    for position in order:
        size = sizes[position]
        problems, rank = (INNER_FOLDS + 1) * n_classes, min(size, n_features)
        values = 5 * problems * size + (4 + 2 * MEMORY + n_lambdas) * problems * rank + 6 * size * n_features
        if found[-1] and ((len(found[-1]) + 1) * 4 * values > GPU_BYTES or size > 1.5 * sizes[found[-1][0]] + 16):
            found.append([])
        found[-1].append(position)
    return found


def class_weights(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """`[n_classes]` weights n / (classes present x n_c): every class present counts the same; 0 if absent."""
    counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
    present = counts > 0
    return np.divide(counts.sum() / max(1, present.sum()), counts, out=np.zeros(n_classes), where=present)


def standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and divisor `[D]` of features float64 `[N, D]`; with them, rows have a mean squared norm of 1.

    Constants are only centred. Raises FloatingPointError when a feature is not finite.
    """
    if not np.isfinite(features).all():
        raise FloatingPointError("the features hold NaN or infinity: the encoder diverged, or its images are broken")
    mean, std = features.mean(0), features.std(0)
    constant = std <= 1e-12 * np.maximum(1, np.abs(mean))
    return mean, np.where(constant, 1, std) * np.sqrt(features.shape[1])


def _rotations(features: Tensor, weights: Tensor) -> tuple[Rotation, Rotation]:
    """The matrices along their principal axes in float64, for the probe, and in float32, for the search.

    With D rows or more the axes are found in float32, where they are orthogonal to 1e-6, and the float64
    features are left as they came.
    """
    if features.shape[1] < features.shape[2] - 1:
        exact = rotate(features, weights)
        return exact, exact.to(torch.float32)
    quick = rotate(features.float(), weights.float())
    turn = tuple(factor.double() for factor in quick.turn)
    return Rotation(features, quick.variance.double(), turn, turned=False), quick


def _search(
    rotation: Rotation,
    labels: np.ndarray,
    weights: np.ndarray,
    folds: list[list[tuple[np.ndarray, np.ndarray]]],
    lambdas: list[float],
    n_classes: int,
) -> tuple[list[list[float]], list[Tensor]]:
    """Class-balanced log-loss of each λ, mean over the inner folds, for each of G subsets; and for each λ the solutions
    `[G, 1, K, r + 1]` on the whole subsets, whose rows have the weights `[G, 1, n]`.

    Each fold weighs classes by its own training side. Held-out rows of a class that this side lacks cannot be
    scored, and are left out.
    """
    groups, longest = labels.shape
    most = max(len(own) for own in folds)
    learned, scored = np.zeros((2, groups, most, longest))
    for group, own in enumerate(folds):
        for fold in range(most):
            train, held = own[min(fold, len(own) - 1)]  # a subset with fewer folds repeats its last one, unscored
            known = labels[group, train]
            learned[group, fold, train] = class_weights(known, n_classes)[known]
            held = held[np.isin(labels[group, held], known)]
            if fold < len(own) and len(held):
                balanced = class_weights(labels[group, held], n_classes)[labels[group, held]]
                scored[group, fold, held] = balanced / balanced.sum()
    device = rotation.rows.device
    targets = torch.as_tensor(labels, device=device)
    sides = torch.as_tensor(np.concatenate([weights, learned], 1), dtype=torch.float32, device=device)
    share = torch.as_tensor(scored, dtype=torch.float32, device=device)  # [G, folds, n]
    wanted = targets[:, None, None, :].expand(-1, most, -1, -1)
    means, points = [], []
    falling = lambdas[::-1]
    for penalty in falling:
        solution = solve(
            rotation,
            targets,
            sides,
            torch.full(sides.shape[:2], penalty, device=device),
            n_classes=n_classes,
            tolerance=SEARCH_TOLERANCE,
            start=_ahead(points, falling),
            proven=False,
        )
        right = torch.log_softmax(solution.logits[:, 1:], 2).gather(2, wanted).squeeze(2)  # [G, folds, n]
        means.append(-(right * share).sum(-1))
        points.append(solution.point)
    found = torch.stack(means[::-1], 2).double().cpu().numpy()  # [G, folds, L]
    counted = np.asarray(scored.any(-1))  # [G, folds]
    curves = [[float(value) for value in found[group, counted[group]].mean(0)] for group in range(groups)]
    return curves, [point[:, :1] for point in reversed(points)]


def _ahead(points: list[Tensor], lambdas: list[float]) -> Tensor | None:
    """Where to begin with the next λ: half-way between the line through the last two solutions, over log λ, and the
    parabola through the last three, which alone overshoots.
    """
    known = min(len(points), 3)
    if known < 2:
        return points[0] if points else None
    *at, ahead = np.log(lambdas[len(points) - known : len(points) + 1])
    line = _extrapolated(points[-2:], at[-2:], ahead)
    return line if known == 2 else (line + _extrapolated(points[-3:], at, ahead)) / 2


def _extrapolated(points: list[Tensor], at: list[float], ahead: float) -> Tensor:
    """Lagrange's polynomial through some points, taken elsewhere."""
    found = torch.zeros_like(points[0])
    for place, point in enumerate(points):
        others = [other for number, other in enumerate(at) if number != place]
        found = found.add(point, alpha=math.prod((ahead - other) / (at[place] - other) for other in others))
    return found


def _largest_best(losses: list[float]) -> int:
    """Index of the smallest loss; of those equal to solver precision, the last, which is the largest λ."""
    values = np.array(losses)
    return int(np.flatnonzero(values <= values.min() * (1 + 1e-3))[-1])


def _tensor(values: np.ndarray, device: str | torch.device) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64, device=device)


def _arrays(subset: Subset) -> Subset:
    features = np.asarray(subset.features, dtype=np.float64)
    return Subset(features, np.asarray(subset.labels, dtype=np.int64), np.asarray(subset.patients))
