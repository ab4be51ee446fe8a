"""Frames of the anchor's own scan as negatives: left out when the scans are given, and only then."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.methods import METHODS

SCANS = [
    [0, 0, 1, 1, 2, 2, 2],
    [0, 1, 2, 3, 4, 5, 6],  # no two alike
    [3, 3, 3, 3, 3, 3, 3],  # no negative is left
    [-1, -1, 0, 0, -1, 1, 1],  # frames whose scan is not known are no one's relatives
]


def similarity(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.norm() * b.norm())


def pair(batch: int, width: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch)
    first = torch.randn(batch, width, generator=generator)
    return first, first + 0.5 * torch.randn(batch, width, generator=generator)


def assert_equal_to(reference, method, first: Tensor, second: Tensor, scans: list[int]) -> None:
    """The method's loss and gradients are those of a float64 reference `reference(first, second, scans)`."""
    views = [view.clone().requires_grad_() for view in (first, second)]
    loss = method([view[:, None, None, :] for view in views], torch.tensor(scans)).loss
    loss.backward()
    exact = [view.double().requires_grad_() for view in (first, second)]
    expected = reference(*exact, scans)
    expected.backward()
    torch.testing.assert_close(loss.double(), expected, rtol=2e-5, atol=1e-6)
    for view, other in zip(views, exact, strict=True):
        found = torch.zeros_like(view) if view.grad is None else view.grad
        torch.testing.assert_close(found.double(), other.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("scans", SCANS, ids=str)
def test_simclr_leaves_frames_of_the_same_scan_out_of_the_denominator(tiny, scans):
    method = METHODS["simclr"](tiny.Flat(5))
    method.projector = nn.Identity()

    def reference(a: Tensor, b: Tensor, scans: list[int]) -> Tensor:
        z, whose, n = torch.cat([a, b]), scans + scans, len(a)
        total = torch.zeros((), dtype=torch.float64)
        for i in range(2 * n):
            partner = (i + n) % (2 * n)
            allowed = [k for k in range(2 * n) if k == partner or (k != i and (whose[k] != whose[i] or whose[i] == -1))]
            scores = {k: torch.exp(similarity(z[i], z[k]) / 0.5) for k in allowed}
            total = total - torch.log(scores[partner] / sum(scores.values()))
        return total / (2 * n)

    assert_equal_to(reference, method, *pair(7), scans)


@pytest.mark.parametrize("scans", SCANS, ids=str)
def test_moco_leaves_keys_of_the_same_scan_out_of_its_queue(tiny, scans):
    method = METHODS["moco"](tiny.Flat(5), projector_dim=5, queue_size=6)
    method.projector, method.teacher = nn.Identity(), nn.Flatten()
    whose = [0, 1, -1, 2, 3, 0]
    method.queue_scans.copy_(torch.tensor(whose))
    queue = method.queue.double().clone()

    def reference(a: Tensor, b: Tensor, scans: list[int]) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for query, key, scan in zip(a, b.detach(), scans, strict=True):
            old = [k for k, other in zip(queue, whose, strict=True) if scan == -1 or other != scan]
            scores = torch.stack([similarity(query, k) for k in [key, *old]]) / 0.2
            total = total - torch.log(scores[0].exp() / scores.exp().sum())
        return total / len(a) + 0 * b.sum()

    assert_equal_to(reference, method, *pair(7), scans)


def test_the_queue_keeps_the_scan_of_each_key_and_minus_one_where_none_was_given(tiny):
    method = tiny.build("moco", "cnn", queue_size=10)
    views = tiny.views_for(method, 4)
    assert method.queue_scans.tolist() == [-1] * 10
    method(views, torch.tensor([7, 7, 8, 9]))
    method.after_step(0.1)
    assert method.queue_scans.tolist() == [7, 7, 8, 9, -1, -1, -1, -1, -1, -1]
    method(views)
    method.after_step(0.2)
    method(views, torch.tensor([1, 2, 3, 4]))
    method.after_step(0.3)
    assert method.queue_scans.tolist() == [3, 4, 8, 9, -1, -1, -1, -1, 1, 2]  # it wraps as the keys do
    assert torch.equal(method.state_dict()["queue_scans"], method.queue_scans)


@pytest.mark.parametrize("name", METHODS)
def test_scans_that_share_nothing_change_no_loss_and_one_scan_changes_that_of_methods_with_negatives(tiny, name):
    kind = "vit" if METHODS[name].needs == "vit" else "cnn"

    def losses(scans: Tensor | None) -> list[float]:
        method = tiny.build(name, kind)
        found = []
        for step in range(2):
            torch.manual_seed(step)
            found.append(method(tiny.views_for(method, 8, seed=step), scans).loss.item())
            method.after_step(0.5)
        return found

    without = losses(None)
    assert losses(torch.full((8,), -1)) == pytest.approx(without, rel=1e-5)
    same = losses(torch.zeros(8, dtype=torch.long))
    if METHODS[name].negatives:
        assert abs(same[1] - without[1]) > 1e-3  # MoCo's queue knows a scan from the second step on
    else:
        assert same == without
