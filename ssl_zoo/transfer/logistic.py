"""Many L2 multinomial logistic regressions at once, solved to convergence on whatever device the features are on.

The objective of one problem, with sample weights w that sum to 1 (so that a penalty means the same for 15 and
for 1500 samples), is

    sum_i w_i * cross_entropy(x_i W + b, y_i)  +  penalty / 2 * |W|²        (b is not penalised)

It is strictly convex in W, so every solver that converges gives the same answer; scikit-learn's
`LogisticRegression(C=1 / (penalty * n))` with weights of mean 1 is the same problem.

How it is made fast: problems that differ in weights and penalty only share one matrix of features, and so each of
its products is one large product for all of them. The features are rotated to their principal axes once, of which
there are at most min(n, D); along them the Hessian is nearly diagonal, so a diagonal change of scale makes L-BFGS (Liu
and Nocedal 1989) need few steps. The curvature at the start sets that scale, so a start near the optimum counts twice.
As logits are linear in the coefficients, a line search costs no product with the features.
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
LEAST_CURVATURE = 1e-4  # that a start is believed to have: where every row is fitted there is next to none
REFRESH = 20  # steps after which logits are computed from scratch, so that rounding does not add up
HALVINGS = 30


@dataclass(frozen=True)
class Rotation:
    """G feature matrices and their principal axes. A last column of ones stands for the intercept."""

    rows: Tensor  # [G, n, r + 1] along the axes; or, where they are not `turned`, as they came, [G, n, D + 1]
    variance: Tensor  # [G, r + 1], weighted by row
    turn: tuple[Tensor, ...]  # matrices [G, D + 1, r + 1], if need be as factors: their product turns rows that came
    turned: bool = True

    def to(self, dtype: torch.dtype) -> Rotation:
        """The same in another precision."""
        turn = tuple(factor.to(dtype) for factor in self.turn)
        return Rotation(self.rows.to(dtype), self.variance.to(dtype), turn, self.turned)

    def take(self, groups: list[int]) -> Rotation:
        """Some of the matrices."""
        if len(groups) == len(self.rows):
            return self
        turn = tuple(factor[groups] for factor in self.turn)
        return Rotation(self.rows[groups], self.variance[groups], turn, self.turned)

    def back(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """A point `[G, P, K, r + 1]` to coefficients `[G, P, D, K]` and intercepts `[G, P, K]` of the features."""
        found = point.mT
        for factor in reversed(self.turn):
            found = factor.unsqueeze(1) @ found  # in the end [G, P, D + 1, K]
        return found[:, :, :-1], found[:, :, -1]


@dataclass(frozen=True)
class Solution:
    """What G x P problems came to. `point` `[G, P, K, r + 1]` are coefficients and intercept along the axes."""

    point: Tensor
    logits: Tensor  # [G, P, K, n] of all rows of the matrix, with or without weight
    loss: Tensor  # [G, P], the objective reached
    gap: Tensor  # [G, P], distance to the optimum that may be left, as a fraction of the loss
    iterations: int
    absent: Tensor  # [G, P, K], 0, or NEVER for a class without weight


def rotate(features: Tensor, weights: Tensor) -> Rotation:
    """Features `[G, n, D + 1]`, the last of which are ones, with weights `[G, n]` >= 0 of the rows, along their
    principal axes.

    A row of weight 0 has no part in the axes; where a matrix has fewer than D rows, such a row comes out as 0. In
    single precision, fewer rows than D lose the axes along which they vary least.
    """
    weights = (weights / weights.sum(1, keepdim=True)).unsqueeze(-1)  # [G, n, 1]
    given = features[..., :-1]
    centre = weights.mT @ given  # [G, 1, D]
    weighted = weights.sqrt() * (given - centre)
    few = given.shape[1] < given.shape[2]
    # Of the two Gram matrices, which have the same variances, the smaller.
    variance, vectors = torch.linalg.eigh(weighted @ weighted.mT if few else weighted.mT @ weighted)
    if few:
        kept = variance > RANK_TOLERANCE * variance[:, -1:].clamp_min(1e-300)
        variance, vectors = variance * kept, vectors * kept.unsqueeze(1)
    variance = torch.nn.functional.pad(variance.clamp_min(0), (0, 1), value=1)
    if not few:
        turn = _with_intercept(vectors, -(centre @ vectors))
        return Rotation(features @ turn, variance, (turn,))
    deviation = torch.where(variance > 0, variance, 1).sqrt()[:, None, :-1]
    # The axes are weighted.mT @ (vectors / deviation): a product that is never wanted but of a few points.
    spans = _with_intercept(weighted.mT, -(centre @ weighted.mT))
    lengths = _with_intercept(vectors / deviation, torch.zeros_like(deviation))
    along = vectors * deviation / torch.where(weights > 0, weights, torch.inf).sqrt()  # features @ axes, without one
    return Rotation(torch.nn.functional.pad(along, (0, 1), value=1), variance, (spans, lengths))


def _with_intercept(matrix: Tensor, last: Tensor) -> Tensor:
    """`[G, a, b]` and a last row `[G, 1, b]` to `[G, a + 1, b + 1]`, which leave a last column of ones as it is."""
    found = torch.nn.functional.pad(torch.cat([matrix, last], 1), (0, 1))
    found[:, -1, -1] = 1
    return found


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
    problem = _Problem(rotation, labels, weights, penalties, n_classes, start)
    point, logits = problem.point, problem.first
    loss, logs = problem.loss(logits, point)
    gradient = problem.gradient(logs, point)
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
        if iteration == max_iterations or not bool(running.any()):
            break
        iteration += 1
        direction = torch.where(running[..., None, None], direction, 0)
        slope = torch.where(running, slope, 0)
        before = loss
        step, logits, loss, logs = _line_search(problem, logits, point, direction, loss, slope)
        gained = torch.where(running, before - loss, gained)
        stuck = stuck | (running & (step == 0))
        move = step[..., None, None] * direction
        point = point + move
        if iteration % REFRESH == 0:
            logits = problem.logits(point)
            logs = torch.log_softmax(logits, 2)
        old_gradient, gradient = gradient, problem.gradient(logs, point)
        history.add(move, gradient - old_gradient)
    return Solution(point * problem.scale, logits, loss, gap, iteration, problem.absent)


class _Problem:
    """The objective along principal axes, each scaled so that the Hessian is close to the identity."""

    def __init__(
        self,
        rotation: Rotation,
        labels: Tensor,
        weights: Tensor,
        penalties: Tensor,
        n_classes: int,
        start: Tensor | None,
    ) -> None:
        self.rows, self.turn = rotation.rows, () if rotation.turned else rotation.turn
        weights = weights / weights.sum(-1, keepdim=True)
        self.weights = weights.unsqueeze(2)  # [G, P, 1, n]
        self.labels = labels[:, None, None, :].expand(*weights.shape[:2], 1, -1)  # [G, P, 1, n]
        target = torch.nn.functional.one_hot(labels, n_classes).to(weights.dtype)  # [G, n, K]
        self.target = target.mT.unsqueeze(1)  # [G, 1, K, n]
        self.absent = (weights @ target == 0).to(weights.dtype) * NEVER  # [G, P, K]
        self.penalties = penalties
        # The Hessian of the cross-entropy is about p (1 - p) x variance; where all classes are equally likely, that
        # is about 1 / K of it.
        curvature = torch.full_like(penalties, 1 / n_classes)
        self.scale = torch.ones((), dtype=weights.dtype, device=weights.device)
        if start is None:
            start = weights.new_zeros(*penalties.shape, n_classes, rotation.variance.shape[-1])
            self.first = self.absent.unsqueeze(-1).repeat(1, 1, 1, weights.shape[-1])  # [G, P, K, n]
        else:
            self.first = self.logits(start)
            likely = torch.softmax(self.first, 2)
            curvature = (likely * (1 - likely) * self.weights).sum((2, 3)).div_(n_classes).clamp_min_(LEAST_CURVATURE)
        decay = penalties[:, :, None, None].repeat(1, 1, 1, start.shape[-1])  # [G, P, 1, r + 1]
        decay[..., -1] = 0
        self.scale = (rotation.variance[:, None, None, :] * curvature[..., None, None] + decay).rsqrt()
        self.decay = decay * self.scale.square()
        self.point = start / self.scale

    def logits(self, point: Tensor) -> Tensor:
        """`[G, P, K, r + 1]` to `[G, P, K, n]`: all problems of a group in one product."""
        return self.along(point) + self.absent.unsqueeze(-1)

    def along(self, direction: Tensor) -> Tensor:
        """The change `[G, P, K, n]` of the logits along a direction `[G, P, K, r + 1]`."""
        groups, problems, classes, _ = direction.shape
        flat = (direction * self.scale).reshape(groups, problems * classes, -1)
        for factor in reversed(self.turn):
            flat = flat @ factor.mT
        return (flat @ self.rows.mT).view(groups, problems, classes, -1)

    def loss(self, logits: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """The objective `[G, P]`, and the logarithms of the probabilities `[G, P, K, n]`."""
        logs = torch.log_softmax(logits, 2)
        # A row of weight 0 may belong to a class that is absent; its entropy is huge, and times 0 nothing.
        right = logs.gather(2, self.labels)
        return (self.decay * point.square()).sum((-1, -2)) / 2 - (self.weights * right).sum((-1, -2)), logs

    def gradient(self, logs: Tensor, point: Tensor) -> Tensor:
        """`[G, P, K, r + 1]`; takes the memory of `logs`."""
        groups, problems, classes, _ = point.shape
        residual = logs.exp_().sub_(self.target).mul_(self.weights)  # [G, P, K, n]
        flat = residual.view(groups, problems * classes, -1) @ self.rows
        for factor in self.turn:
            flat = flat @ factor
        return (flat.view(point.shape) * self.scale).addcmul_(self.decay, point)

    def bound(self, gradient: Tensor) -> Tensor:
        """Strong convexity bounds the gap by |gradient|² / (2 penalty); intercepts have no such floor."""
        plain = (gradient / self.scale).square().sum(2)  # [G, P, r + 1]
        return (plain[..., :-1].sum(-1) / self.penalties + plain[..., -1] / INTERCEPT) / 2


def _line_search(
    problem: _Problem, logits: Tensor, point: Tensor, direction: Tensor, loss: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Step lengths `[G, P]` that satisfy Armijo's condition, by halving, and at their ends the logits, the loss, and
    the logarithms of the probabilities.

    A length is 0 where no step improves any more.
    """
    along = problem.along(direction)
    slack = 4 * torch.finfo(loss.dtype).eps * (1 + loss)  # a loss is no better known than that
    step = torch.where(slope == 0, 0, torch.ones_like(loss))
    for halving in range(HALVINGS + 1):
        wide = step[..., None, None]
        trial = torch.addcmul(logits, wide, along)
        found, logs = problem.loss(trial, torch.addcmul(point, wide, direction))
        passes = (step == 0) | (found <= loss + SUFFICIENT * step * slope + slack)
        if bool(passes.all()):
            break
        # Problems that pass keep their length, so that their ends are found again as they are.
        step = torch.where(passes, step, step / 2 if halving < HALVINGS - 1 else 0)
    return step, trial, found, logs


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


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """`[G, P, K, r + 1]` twice to `[G, P, 1, 1]`."""
    return (first * second).sum((-1, -2), keepdim=True)
