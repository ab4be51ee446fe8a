"""Many L2 multinomial logistic regressions at once, solved to convergence on whatever device the features are on.

The objective of one problem, with sample weights w that sum to 1 (so that a penalty means the same for 15 and
for 1500 samples), is

    sum_i w_i * cross_entropy(x_i W + b, y_i)  +  penalty / 2 * |W|²        (b is not penalised)

It is strictly convex in W, so every solver that converges gives the same answer; scikit-learn's
`LogisticRegression(C=1 / (penalty * n))` with weights of mean 1 is the same problem.

How it is made fast: problems that differ in weights and penalty only share one matrix of features, and so each of
its products is one large product for all of them. The features are rotated to their principal axes once, of which
there are at most min(n, D); along them the Hessian is nearly diagonal, so a diagonal change of scale makes L-BFGS (Liu
and Nocedal 1989) need few steps; and as logits are linear in the coefficients, a line search costs no product with
the features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MEMORY = 6  # pairs that L-BFGS remembers; more take as long to read as they save
SUFFICIENT = 1e-4  # Armijo's constant
RANK_TOLERANCE = 1e-11  # principal axes with less than this share of the largest variance carry nothing
NEVER = -1e30  # logit of a class that a problem's training rows do not have
CAUTION = 10.0  # times L-BFGS's own estimate of the gap to the optimum, which is too small more often than not
INTERCEPT = 0.01  # curvature of the objective along intercepts, of which it is nearly always more
REFRESH = 20  # steps after which logits are computed from scratch, so that rounding does not add up
HALVINGS = 30


@dataclass(frozen=True)
class Rotation:
    """G feature matrices in their principal axes. A last column of ones stands for the intercept."""

    rows: Tensor  # [G, n, r + 1]
    variance: Tensor  # [G, r + 1], weighted by row
    axes: Tensor  # [G, D, r]
    centre: Tensor  # [G, 1, D]

    def to(self, dtype: torch.dtype) -> Rotation:
        """The same in another precision."""
        return Rotation(*(part.to(dtype) for part in (self.rows, self.variance, self.axes, self.centre)))

    def take(self, groups: list[int]) -> Rotation:
        """Some of the matrices."""
        if len(groups) == len(self.rows):
            return self
        return Rotation(self.rows[groups], self.variance[groups], self.axes[groups], self.centre[groups])

    def back(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """A point `[G, P, K, r + 1]` to coefficients `[G, P, D, K]` and intercepts `[G, P, K]` of the features."""
        coefficients = self.axes.unsqueeze(1) @ point[..., :-1].mT  # [G, P, D, K]
        return coefficients, point[..., -1] - (self.centre.unsqueeze(1) @ coefficients).squeeze(2)


@dataclass(frozen=True)
class Solution:
    """What G x P problems came to. `point` `[G, P, K, r + 1]` are coefficients and intercept along the axes."""

    point: Tensor
    loss: Tensor  # [G, P], the objective reached
    gap: Tensor  # [G, P], distance to the optimum that may be left, as a fraction of the loss
    iterations: int
    absent: Tensor  # [G, P, K], 0, or NEVER for a class without weight

    def logits(self, rows: Tensor) -> Tensor:
        """Rotated rows `[G, M, r + 1]` to logits `[G, P, K, M]`."""
        groups, problems, classes, _ = self.point.shape
        flat = self.point.reshape(groups, problems * classes, -1) @ rows.mT
        return flat.view(groups, problems, classes, -1) + self.absent.unsqueeze(-1)


def rotate(features: Tensor, weights: Tensor) -> Rotation:
    """Features `[G, n, D]`, with weights `[G, n]` >= 0 of the rows, in their principal axes.

    A row of weight 0 has no part in the axes; where a matrix has fewer than D rows of weight, what such a row has
    outside of their span is lost.
    """
    weights = (weights / weights.sum(1, keepdim=True)).unsqueeze(-1)  # [G, n, 1]
    centre = (weights * features).sum(1, keepdim=True)
    centred = features - centre
    weighted = weights.sqrt() * centred
    if features.shape[1] < features.shape[2]:  # the smaller Gram matrix has the same variances
        variance, left = torch.linalg.eigh(weighted @ weighted.mT)
        kept = variance > RANK_TOLERANCE * variance[:, -1:].clamp_min(1e-300)
        axes = weighted.mT @ left / torch.where(kept, variance, 1).sqrt().unsqueeze(1)
    else:
        variance, axes = torch.linalg.eigh(weighted.mT @ weighted)
        kept = variance > RANK_TOLERANCE * variance[:, -1:].clamp_min(1e-300)
    axes = axes * kept.unsqueeze(1)
    ones = torch.ones_like(variance[:, :1])
    rows = torch.cat([centred @ axes, torch.ones_like(centred[..., :1])], -1)
    return Rotation(rows, torch.cat([variance * kept, ones], -1), axes, centre)


def solve(
    rotation: Rotation,
    labels: Tensor,
    weights: Tensor,
    penalties: Tensor,
    *,
    n_classes: int,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    start: Tensor | None = None,
    proven: bool = True,
) -> Solution:
    """Solve G x P problems: on each of G matrices P problems, each with weights and a penalty of its own.

    labels `[G, n]` in 0..n_classes-1; weights `[G, P, n]` >= 0, where 0 takes a row out (or fills up a shorter
    matrix); penalties `[G, P]` > 0; `start` `[G, P, K, r + 1]` is where to begin, otherwise at 0. A class without
    weight in a problem gets probability 0 there. A problem stops, and stays as it is, when its gap to the optimum is
    below `tolerance` x loss, or when it makes no more progress at the precision of the rotation's numbers.

    Strong convexity bounds the gap (but for `INTERCEPT`). With `proven` False it may also be estimated, by ten times
    what L-BFGS's model of the objective says and by what the last step gained: that saves steps, and may be wrong
    by a factor of 10 or, for a dozen rows in many dimensions, more.
    """
    problem = _Problem(rotation, labels, weights, penalties, n_classes)
    point = torch.zeros(problem.shape, dtype=weights.dtype, device=weights.device) if start is None else start
    point = point / problem.scale
    solved, final_loss, final_gap = point.clone(), torch.zeros_like(penalties), torch.zeros_like(penalties)
    absent, scale = problem.absent, problem.scale
    columns = torch.arange(penalties.shape[1], device=weights.device)  # the problems still being worked on
    logits = problem.logits(point) + problem.absent.unsqueeze(-1)
    loss, logsum = problem.loss(logits, point)
    gradient = problem.gradient(logits, logsum, point)
    stuck = torch.zeros_like(loss, dtype=torch.bool)
    gained = torch.full_like(loss, torch.inf)  # by the last step
    history = _History()
    noise = torch.finfo(loss.dtype).eps / 4  # what is expected to be gained by less is not seen in the loss
    iteration = 0
    while True:
        direction = -history.direction(gradient)
        slope = _dot(gradient, direction)[..., 0, 0]
        gap = problem.bound(gradient)
        if not proven:
            gap = torch.minimum(gap, torch.maximum(slope.abs() * (CAUTION / 2), gained))
        gap = gap / loss.clamp_min(1e-12)
        running = (gap > tolerance) & ~stuck & (slope < -noise)  # [G, P]
        opened = running.any(0) if iteration < max_iterations else torch.zeros_like(running[0])
        left = int(opened.sum())
        if left <= 0.8 * len(columns):  # those that are solved in every group are put aside
            solved[:, columns], final_loss[:, columns], final_gap[:, columns] = point, loss, gap
            if not left:
                break
            problem.keep(opened)
            history.keep(opened)
            columns, point, logits, gradient = columns[opened], point[:, opened], logits[:, opened], gradient[:, opened]
            loss, slope, direction = loss[:, opened], slope[:, opened], direction[:, opened]
            running, stuck, gained = running[:, opened], stuck[:, opened], gained[:, opened]
        iteration += 1
        direction = torch.where(running[..., None, None], direction, 0)
        slope = torch.where(running, slope, 0)
        before = loss
        step, logits, loss, logsum = _line_search(problem, logits, point, direction, loss, slope)
        gained = torch.where(running, before - loss, gained)
        stuck = stuck | (running & (step == 0))
        move = step[..., None, None] * direction
        point = point + move
        if iteration % REFRESH == 0:
            logits = problem.logits(point) + problem.absent.unsqueeze(-1)
            logsum = torch.logsumexp(logits, 2)
        old_gradient, gradient = gradient, problem.gradient(logits, logsum, point)
        history.add(move, gradient - old_gradient)
    return Solution(solved * scale, final_loss, final_gap, iteration, absent)


class _Problem:
    """The objective along principal axes, each scaled so that the Hessian is close to the identity."""

    def __init__(self, rotation: Rotation, labels: Tensor, weights: Tensor, penalties: Tensor, n_classes: int) -> None:
        self.rows, self.columns = rotation.rows, rotation.rows.mT
        self.shape = (*penalties.shape, n_classes, rotation.rows.shape[-1])
        weights = weights / weights.sum(-1, keepdim=True)
        self.weights = weights.unsqueeze(2)  # [G, P, 1, n]
        self.labels = labels[:, None, None, :]  # [G, 1, 1, n]
        target = torch.nn.functional.one_hot(labels, n_classes).to(weights.dtype)  # [G, n, K]
        self.target = target.mT.unsqueeze(1)  # [G, 1, K, n]
        self.absent = (weights @ target == 0) * NEVER  # [G, P, K]
        self.penalties = penalties
        decay = penalties[:, :, None, None].repeat(1, 1, 1, self.shape[-1])  # [G, P, 1, r + 1]
        decay[..., -1] = 0
        # The Hessian of the cross-entropy where all classes are equally likely is about variance / K.
        self.scale = (rotation.variance[:, None, None, :] / n_classes + decay).rsqrt()
        self.decay = decay * self.scale.square()

    def logits(self, point: Tensor) -> Tensor:
        """`[G, P, K, r + 1]` to `[G, P, K, n]`: all problems of a group in one product."""
        groups, problems, classes, _ = point.shape
        flat = (point * self.scale).reshape(groups, problems * classes, -1)
        return (flat @ self.columns).view(groups, problems, classes, -1)

    def loss(self, logits: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """The objective `[G, P]`, and the logarithm of the softmax's denominator `[G, P, n]`."""
        logsum = torch.logsumexp(logits, 2)
        right = logits.gather(2, self.labels.expand(*logits.shape[:2], -1, -1)).squeeze(2)
        # A row of weight 0 may belong to a class that is absent; its entropy is huge, and times 0 nothing.
        entropy = (self.weights[:, :, 0] * (logsum - right)).sum(-1)
        return entropy + (self.decay * point.square()).sum((-1, -2)) / 2, logsum

    def gradient(self, logits: Tensor, logsum: Tensor, point: Tensor) -> Tensor:
        groups, problems, classes, _ = point.shape
        residual = (logits - logsum.unsqueeze(2)).exp_().sub_(self.target).mul_(self.weights)  # [G, P, K, n]
        flat = residual.view(groups, problems * classes, -1) @ self.rows
        return (flat.view(point.shape) * self.scale).addcmul_(self.decay, point)

    def bound(self, gradient: Tensor) -> Tensor:
        """Strong convexity bounds the gap by |gradient|² / (2 penalty); intercepts have no such floor."""
        plain = (gradient / self.scale).square().sum(2)  # [G, P, r + 1]
        return (plain[..., :-1].sum(-1) / self.penalties + plain[..., -1] / INTERCEPT) / 2

    def keep(self, columns: Tensor) -> None:
        """Forget the problems that are False in `columns` `[P]`."""
        self.penalties, self.decay, self.scale = (part[:, columns] for part in (self.penalties, self.decay, self.scale))
        self.weights, self.absent = self.weights[:, columns], self.absent[:, columns]


def _line_search(
    problem: _Problem, logits: Tensor, point: Tensor, direction: Tensor, loss: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Step lengths `[G, P]` that satisfy Armijo's condition, by halving, with logits, loss and logsum at their ends.

    A length is 0 where no step improves any more.
    """
    along = problem.logits(direction)
    slack = 4 * torch.finfo(loss.dtype).eps * (1 + loss)  # a loss is no better known than that
    step = torch.where(slope == 0, 0, torch.ones_like(loss))
    for halving in range(HALVINGS + 1):
        wide = step[..., None, None]
        trial = torch.addcmul(logits, wide, along)
        found, logsum = problem.loss(trial, torch.addcmul(point, wide, direction))
        passes = (step == 0) | (found <= loss + SUFFICIENT * step * slope + slack)
        if bool(passes.all()):
            break
        # Problems that pass keep their length, so that their ends are found again as they are.
        step = torch.where(passes, step, step / 2 if halving < HALVINGS - 1 else 0)
    return step, trial, found, logsum


class _History:
    """What L-BFGS remembers of each problem: the last moves, and the changes of gradient over them."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # with 1 / their product, 0 where that is not positive
        self.size: Tensor | None = None  # of the inverse Hessian, where nothing is known about it

    def direction(self, gradient: Tensor) -> Tensor:
        """The inverse Hessian times `gradient` `[G, P, K, r + 1]`, by the two loops of L-BFGS."""
        direction = gradient
        alphas = []
        for move, change, reciprocal in reversed(self.pairs):
            alpha = reciprocal * _dot(move, direction)
            alphas.append(alpha)
            direction = torch.addcmul(direction, change, alpha, value=-1)
        if self.size is not None:
            direction = direction * self.size
        for (move, change, reciprocal), alpha in zip(self.pairs, reversed(alphas), strict=True):
            direction = torch.addcmul(direction, move, alpha - reciprocal * _dot(change, direction))
        return direction

    def add(self, move: Tensor, change: Tensor) -> None:
        """Remember a step `[G, P, K, r + 1]`; a problem in which it shows no curvature leaves it out."""
        curvature, length = _dot(move, change), _dot(change, change)  # [G, P, 1, 1]
        good = (curvature > 1e-14 * length) & (curvature > 1e-30)
        size = torch.where(good, curvature / length, 1 if self.size is None else self.size)
        self.pairs = [*self.pairs[1 - MEMORY :], (move, change, torch.where(good, 1 / curvature, 0))]
        self.size = size

    def keep(self, columns: Tensor) -> None:
        """Forget the problems that are False in `columns` `[P]`."""
        self.pairs = [(move[:, columns], change[:, columns], one[:, columns]) for move, change, one in self.pairs]
        self.size = None if self.size is None else self.size[:, columns]


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """`[G, P, K, r + 1]` twice to `[G, P, 1, 1]`."""
    return (first * second).sum((-1, -2), keepdim=True)
