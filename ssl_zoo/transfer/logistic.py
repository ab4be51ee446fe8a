"""Many L2 multinomial logistic regressions at once, solved to convergence on whatever device the features are on.

The objective of one problem, with sample weights w that sum to 1 (so that a penalty means the same for 15 and
for 1500 samples), is

    sum_i w_i * cross_entropy(x_i W + b, y_i)  +  penalty / 2 * |W|²        (b is not penalised)

It is strictly convex in W, so every solver that converges gives the same answer; scikit-learn's
`LogisticRegression(C=1 / (penalty * n))` with weights of mean 1 is the same problem.

How it is made fast: the features are rotated to their principal axes, of which there are at most min(n, D); along
them the Hessian is nearly diagonal, so a diagonal change of scale makes L-BFGS (Liu and Nocedal 1989) need tens of
steps instead of hundreds; and as logits are linear in the coefficients, a line search costs no product with the
features. All penalties of one set of rows share each product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MEMORY = 12  # pairs that L-BFGS remembers
SUFFICIENT = 1e-4  # Armijo's constant
RANK_TOLERANCE = 1e-11  # principal axes with less than this share of the largest variance carry nothing
NEVER = -1e30  # logit of a class that a problem's training rows do not have


@dataclass(frozen=True)
class Solution:
    """Coefficients `[G, L, D, K]`, intercepts `[G, L, K]`, and what the solver knows about them `[G, L]`."""

    coefficients: Tensor
    intercepts: Tensor
    loss: Tensor  # the objective reached
    gap: Tensor  # upper bound of the distance to the optimum, as a fraction of the loss
    iterations: int

    def logits(self, features: Tensor) -> Tensor:
        """Features `[G, M, D]` to logits `[G, L, M, K]`."""
        return features.unsqueeze(1) @ self.coefficients + self.intercepts.unsqueeze(2)


def solve(
    features: Tensor,
    labels: Tensor,
    weights: Tensor,
    penalties: Tensor,
    *,
    n_classes: int,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> Solution:
    """Solve G x L problems: G sets of rows, each under L penalties.

    features `[G, n, D]` float64; labels `[G, n]` in 0..n_classes-1; weights `[G, n]` >= 0, where 0 takes a row out (or
    fills up a shorter problem); penalties `[G, L]` > 0. A class without weight in a set gets probability 0 there.
    Stops when the gap to the optimum is provably below `tolerance` x loss (for the penalised part; the
    intercepts' gradient must be as small), or makes no more progress at float64's precision.
    """
    problem = _Problem(features, labels, weights, penalties, n_classes)
    point = torch.zeros(problem.shape, dtype=features.dtype, device=features.device)  # [G, L, K, r + 1]
    solved, final_loss, final_gap = point.clone(), torch.zeros_like(penalties), torch.zeros_like(penalties)
    columns = torch.arange(penalties.shape[1], device=features.device)  # the penalties still being worked on
    logits = problem.logits(point)
    loss = problem.loss(logits, point)
    gradient = problem.gradient(logits, point)
    stuck = torch.zeros_like(loss, dtype=torch.bool)
    memory: list[tuple[Tensor, Tensor, Tensor]] = []
    iteration = 0
    while True:
        gap = problem.gap(gradient, loss)
        running = (gap > tolerance) & ~stuck  # [G, L]
        open_columns = running.any(0) if iteration < max_iterations else torch.zeros_like(running[0])
        if not bool(open_columns.all()):  # a penalty that is solved in every set is put aside
            done = columns[~open_columns]
            solved[:, done] = (point * problem.scale)[:, ~open_columns]
            final_loss[:, done], final_gap[:, done] = loss[:, ~open_columns], gap[:, ~open_columns]
            if not bool(open_columns.any()):
                break
            problem.keep(open_columns)
            columns, point, logits = columns[open_columns], point[:, open_columns], logits[:, open_columns]
            loss, gradient, stuck = loss[:, open_columns], gradient[:, open_columns], stuck[:, open_columns]
            running = running[:, open_columns]
            memory = [(m[:, open_columns], c[:, open_columns], r[:, open_columns]) for m, c, r in memory]
        iteration += 1
        direction = -_inverse_hessian(gradient, memory) * running[..., None, None]
        direction_logits = problem.logits(direction)
        slope = _dot(gradient, direction)
        step, loss = _line_search(problem, logits, point, direction_logits, direction, loss, slope)
        stuck |= running & (step == 0)
        move = step[..., None, None] * direction
        point = point + move
        # Recomputed now and then from scratch, so that rounding does not add up.
        logits = problem.logits(point) if iteration % 20 == 0 else logits + step[..., None, None] * direction_logits
        old_gradient, gradient = gradient, problem.gradient(logits, point)
        change = gradient - old_gradient
        curvature = _dot(move, change)
        good = curvature > 1e-14 * _dot(change, change)
        memory.append((move, change, torch.where(good, 1 / curvature.where(good, torch.ones_like(curvature)), 0)))
        del memory[:-MEMORY]
    coefficients, intercepts = problem.back(solved)
    return Solution(coefficients, intercepts, final_loss, final_gap, iteration)


class _Problem:
    """The objective in principal axes, each scaled so that the Hessian is close to the identity."""

    def __init__(self, features: Tensor, labels: Tensor, weights: Tensor, penalties: Tensor, n_classes: int) -> None:
        weights = weights / weights.sum(1, keepdim=True)  # [G, n]
        self.centre = (weights.unsqueeze(-1) * features).sum(1, keepdim=True)  # [G, 1, D]
        centred = features - self.centre
        self.axes, variance = _principal_axes(weights.sqrt().unsqueeze(-1) * centred)  # [G, D, r], [G, r]
        rotated = torch.cat([centred @ self.axes, torch.ones_like(centred[..., :1])], -1)  # [G, n, r + 1]
        self.rows, self.columns = rotated, rotated.mT.contiguous()
        groups, levels = penalties.shape
        self.shape = (groups, levels, n_classes, rotated.shape[-1])
        self.weights = weights[:, None, None, :]  # [G, 1, 1, n]
        self.target = torch.nn.functional.one_hot(labels, n_classes).to(features.dtype).mT.unsqueeze(1)  # [G, 1, K, n]
        absent = (self.weights * self.target).sum(-1, keepdim=True) == 0  # [G, 1, K, 1]
        self.offset = absent * NEVER
        self.penalties = penalties
        decay = penalties[:, :, None, None].expand(-1, -1, -1, rotated.shape[-1]).clone()  # [G, L, 1, r + 1]
        decay[..., -1] = 0
        # The Hessian of the cross-entropy where all classes are equally likely is about variance / K.
        curvature = torch.cat([variance, torch.ones_like(variance[:, :1])], -1)[:, None, None, :] / n_classes
        self.scale = (curvature + decay).rsqrt()  # [G, L, 1, r + 1]
        self.decay = decay * self.scale.square()

    def logits(self, point: Tensor) -> Tensor:
        """`[G, L, K, r + 1]` to `[G, L, K, n]`: all penalties of a set in one product."""
        groups, levels, classes, _ = point.shape
        flat = (point * self.scale).reshape(groups, levels * classes, -1)
        return (flat @ self.columns).view(groups, levels, classes, -1)

    def loss(self, logits: Tensor, point: Tensor) -> Tensor:
        entropy = torch.logsumexp(logits + self.offset, 2) - (logits * self.target).sum(2)  # [G, L, n]
        return (self.weights[:, :, 0] * entropy).sum(-1) + (self.decay * point.square()).sum((-1, -2)) / 2

    def gradient(self, logits: Tensor, point: Tensor) -> Tensor:
        groups, levels, classes, _ = point.shape
        residual = self.weights * (torch.softmax(logits + self.offset, 2) - self.target)  # [G, L, K, n]
        flat = residual.reshape(groups, levels * classes, -1) @ self.rows
        return flat.view(point.shape) * self.scale + self.decay * point

    def gap(self, gradient: Tensor, loss: Tensor) -> Tensor:
        """Strong convexity bounds the gap by |gradient|² / (2 penalty); intercepts are taken to have curvature 1."""
        plain = gradient / self.scale
        bound = plain[..., :-1].square().sum((-1, -2)) / self.penalties + plain[..., -1].square().sum(-1)
        return bound / (2 * loss.clamp_min(1e-12))

    def keep(self, columns: Tensor) -> None:
        """Forget the penalties that are False in `columns` `[L]`."""
        self.penalties, self.decay = self.penalties[:, columns], self.decay[:, columns]
        self.scale = self.scale[:, columns]

    def back(self, plain: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients along the principal axes `[G, L, K, r + 1]` to those of the features as they were given."""
        plain = plain.mT  # [G, L, r + 1, K]
        coefficients = self.axes.unsqueeze(1) @ plain[..., :-1, :]  # [G, L, D, K]
        intercepts = plain[..., -1, :] - (self.centre.unsqueeze(1) @ coefficients).squeeze(2)
        return coefficients, intercepts + self.offset[..., 0]


def _principal_axes(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Right singular vectors `[G, D, r]` and squared singular values `[G, r]`, through the smaller Gram matrix."""
    rows, columns = matrix.shape[-2:]
    if rows < columns:
        variance, left = torch.linalg.eigh(matrix @ matrix.mT)
        kept = variance > RANK_TOLERANCE * variance[:, -1:].clamp_min(1e-300)
        size = torch.where(kept, variance, 1).sqrt().unsqueeze(1)
        axes = matrix.mT @ left / size
    else:
        variance, axes = torch.linalg.eigh(matrix.mT @ matrix)
        kept = variance > RANK_TOLERANCE * variance[:, -1:].clamp_min(1e-300)
    return axes * kept.unsqueeze(1), variance * kept


def _line_search(
    problem: _Problem,
    logits: Tensor,
    point: Tensor,
    direction_logits: Tensor,
    direction: Tensor,
    loss: Tensor,
    slope: Tensor,
) -> tuple[Tensor, Tensor]:
    """Step lengths `[G, L]` that satisfy Armijo's condition, by halving; 0 where no step improves any more."""
    step = torch.ones_like(loss)
    accepted = slope == 0
    best = loss.clone()
    for _ in range(30):
        wide = step[..., None, None]
        trial = problem.loss(logits + wide * direction_logits, point + wide * direction)
        passes = ~accepted & (trial <= loss + SUFFICIENT * step * slope)
        best = torch.where(passes, trial, best)
        accepted |= passes
        if bool(accepted.all()):
            break
        step = torch.where(accepted, step, step / 2)
    return torch.where(accepted & (slope != 0), step, 0), best


def _inverse_hessian(gradient: Tensor, memory: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The two loops of L-BFGS, for all problems at once; a pair with reciprocal curvature 0 is left out."""
    direction = gradient
    alphas = []
    for move, change, reciprocal in reversed(memory):
        alpha = reciprocal * _dot(move, direction)
        alphas.append(alpha)
        direction = direction - alpha[..., None, None] * change
    if memory:
        move, change, reciprocal = memory[-1]
        size = torch.where(reciprocal > 0, 1 / (reciprocal * _dot(change, change)).clamp_min(1e-300), 1)
        direction = direction * size[..., None, None]
    for (move, change, reciprocal), alpha in zip(memory, reversed(alphas), strict=True):
        beta = reciprocal * _dot(change, direction)
        direction = direction + (alpha - beta)[..., None, None] * move
    return direction


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum((-1, -2))  # [G, L]
