from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ssl_zoo.transfer.logistic import Solution, rotate, solve

PENALTIES = np.array([1e-5, 1e-3, 0.1])


def problem(n: int, dims: int, n_classes: int = 4, *, kind: str = "noisy", seed: int = 0):
    """Features `[n, dims]` of mean squared length 1, labels and uneven weights of mean 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    labels[:n_classes] = np.arange(n_classes)
    signal = {"noisy": 0.4, "separable": 6.0}.get(kind, 1.0)
    features = rng.normal(size=(n, dims)) * np.exp(-3 * np.arange(dims) / dims)
    features += signal * rng.normal(size=(n_classes, dims))[labels] * (np.arange(dims) < 6)
    if kind == "missing class":
        labels[labels == 2] = 1
    if kind == "one class":
        labels[:] = 1
    if kind == "constant":
        features[:, 1:] = 3.0
    if kind == "repeated":
        features[n // 2 :] = features[: n - n // 2]
    if kind == "wild":
        features *= np.geomspace(1, 300, dims)
    features -= features.mean(0)
    weights = rng.uniform(0.2, 2, n)
    return features / np.sqrt(np.square(features).sum(1).mean()), labels, weights / weights.mean()


def with_ones(features: np.ndarray) -> torch.Tensor:
    """`[..., n, D]` to `[..., n, D + 1]`."""
    return torch.tensor(np.pad(features, [(0, 0)] * (features.ndim - 1) + [(0, 1)], constant_values=1.0))


def solved(features, labels, weights, penalties=PENALTIES, *, n_classes=4, dtype=torch.float64, **options):
    """All penalties as problems on one matrix; the rotation and the solution."""
    rotation = rotate(with_ones(features)[None], torch.tensor(weights)[None]).to(dtype)
    solution = solve(
        rotation,
        torch.tensor(labels)[None],
        torch.tensor(weights, dtype=dtype).expand(1, len(penalties), -1),
        torch.tensor(penalties, dtype=dtype)[None],
        n_classes=n_classes,
        **options,
    )
    return rotation, solution


def probabilities(solution: Solution) -> np.ndarray:
    """`[P, n, K]` of the rows that were learned from."""
    return torch.softmax(solution.logits, 2)[0].mT.numpy()


def objective(coefficients, intercepts, features, labels, weights, penalty):
    """The definition, term by term: coefficients `[K, D]`."""
    logits = features @ coefficients.T + intercepts
    logits -= logits.max(1, keepdims=True)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
    return np.average(losses, weights=weights) + penalty / 2 * np.square(coefficients).sum()


KINDS = ["noisy", "separable", "missing class", "constant", "repeated", "wild"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "dims"), [(12, 60), (60, 60), (150, 20)])
def test_the_optimum_is_that_of_scikit_learn(n, dims, kind):
    features, labels, weights = problem(n, dims, kind=kind)
    rotation, solution = solved(features, labels, weights, tolerance=2e-5)
    ours = probabilities(solution)
    coefficients, intercepts = rotation.back(solution.point)
    present = np.unique(labels)
    for level, penalty in enumerate(PENALTIES):
        reference = LogisticRegression(C=1 / (penalty * n), tol=1e-8, max_iter=20_000, solver="newton-cholesky")
        reference.fit(features, labels, sample_weight=weights)
        expected = reference.predict_proba(features)
        found = coefficients[0, level].numpy().T[present], intercepts[0, level].numpy()[present]
        if len(present) == 2:  # scikit-learn has one vector for two classes, which costs twice as much in two
            half = reference.coef_ / 2
            best = np.concatenate([-half, half]), np.concatenate([-reference.intercept_, reference.intercept_]) / 2
        else:
            best = reference.coef_, reference.intercept_
        code = np.searchsorted(present, labels)
        optimum = objective(*best, features, code, weights, penalty)
        reached = objective(*found, features, code, weights, penalty)
        assert reached == pytest.approx(solution.loss[0, level].item(), rel=1e-6)
        assert reached <= optimum * (1 + 1e-4)
        if len(present) > 2:
            assert reached >= optimum * (1 - 1e-4)
            assert ours[level][:, present] == pytest.approx(expected, abs=0.01)
            margin = np.sort(expected, 1)
            clear = margin[:, -1] - margin[:, -2] > 0.02
            assert (ours[level][clear].argmax(1) == present[expected[clear].argmax(1)]).all()
        assert (ours[level][:, np.setdiff1d(range(4), present)] == 0).all()


@pytest.mark.parametrize("kind", [*KINDS, "one class"])
def test_the_gap_that_is_told_is_no_smaller_than_the_real_one(kind):
    for n, dims in ((12, 60), (100, 20)):
        features, labels, weights = problem(n, dims, kind=kind, seed=1)
        _, optimum = solved(features, labels, weights, tolerance=1e-9)
        for tolerance in (1e-2, 1e-4):
            _, solution = solved(features, labels, weights, tolerance=tolerance)
            real = (solution.loss - optimum.loss) / optimum.loss.clamp_min(1e-12)
            assert (solution.gap <= tolerance).all()
            assert (real <= tolerance + 1e-9).all()
            _, estimated = solved(features, labels, weights, tolerance=tolerance, proven=False)
            assert estimated.iterations <= solution.iterations
            assert ((estimated.loss - optimum.loss) / optimum.loss.clamp_min(1e-12) <= 50 * tolerance + 1e-9).all()


def test_single_precision_comes_as_close_as_a_search_needs():
    for kind in KINDS:
        features, labels, weights = problem(100, 40, kind=kind, seed=2)
        _, exact = solved(features, labels, weights, tolerance=1e-9)
        _, single = solved(features, labels, weights, tolerance=1e-4, dtype=torch.float32, proven=False)
        assert single.loss[0].numpy() == pytest.approx(exact.loss[0].numpy(), rel=5e-3)
        assert single.iterations < 300


def test_problems_of_one_matrix_differ_in_rows_and_penalty_and_do_not_disturb_each_other():
    features, labels, weights = problem(80, 30)
    halves = np.stack([weights, np.where(np.arange(80) < 45, weights, 0), np.where(np.arange(80) % 3, 0, weights)])
    penalties = np.array([1e-4, 1e-2, 1.0])
    rotation = rotate(with_ones(features)[None], torch.tensor(weights)[None])
    together = solve(
        rotation, torch.tensor(labels)[None], torch.tensor(halves)[None], torch.tensor(penalties)[None], n_classes=4,
        tolerance=1e-9,
    )  # fmt: skip
    for place, rows in enumerate(halves):
        kept = rows > 0
        own = rotate(with_ones(features[kept])[None], torch.tensor(rows[kept])[None])
        alone = solve(
            own, torch.tensor(labels[kept])[None], torch.tensor(rows[None, None, kept]),
            torch.tensor(penalties[None, place : place + 1]), n_classes=4, tolerance=1e-9,
        )  # fmt: skip
        assert together.loss[0, place].item() == pytest.approx(alone.loss[0, 0].item(), rel=1e-7)
        mine, other = rotation.back(together.point)[0][0, place], own.back(alone.point)[0][0, 0]
        assert torch.allclose(mine, other, atol=1e-3 * float(other.abs().max()))


def test_a_matrix_filled_up_with_rows_of_no_weight_has_the_same_optimum():
    features, labels, weights = problem(20, 40)
    other, other_labels, other_weights = problem(35, 40, seed=1)
    stacked = np.stack([np.pad(features, ((0, 15), (0, 0))), other])
    both_weights = np.stack([np.pad(weights, (0, 15)), other_weights])
    rotation = rotate(with_ones(stacked), torch.tensor(both_weights))
    together = solve(
        rotation, torch.tensor(np.stack([np.pad(labels, (0, 15)), other_labels])),
        torch.tensor(both_weights).unsqueeze(1).repeat(1, 3, 1), torch.tensor(PENALTIES).repeat(2, 1), n_classes=4,
    )  # fmt: skip
    for place, given in enumerate([(features, labels, weights), (other, other_labels, other_weights)]):
        _, alone = solved(*given)
        assert together.loss[place].numpy() == pytest.approx(alone.loss[0].numpy(), rel=1e-5)


def test_a_start_near_the_optimum_saves_steps_and_ends_at_the_same_one():
    features, labels, weights = problem(60, 40)
    _, first = solved(features, labels, weights)
    _, again = solved(features, labels, weights, start=first.point)
    assert again.iterations <= 1 < first.iterations
    assert again.loss[0].numpy() == pytest.approx(first.loss[0].numpy(), rel=1e-6)


def test_features_of_one_value_leave_the_class_frequencies():
    labels, weights = np.array([0, 0, 0, 1]), np.ones(4)
    _, solution = solved(np.zeros((4, 5)), labels, weights, n_classes=3)
    assert probabilities(solution) == pytest.approx(np.tile([0.75, 0.25, 0], (3, 4, 1)), abs=1e-3)
