"""Losses and their gradients against references in float64, written from the papers' equations as plain sums.

A backbone that hands its input on, and identity heads, let a whole `forward` be compared, from view to loss.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.methods import METHODS
from ssl_zoo.methods.mae import normalized_error


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.norm() * b.norm())


def barlow_twins(a: Tensor, b: Tensor, redundancy_weight: float = 0.0051) -> Tensor:
    n, width = a.shape
    a, b = (((z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt()) for z in (a, b))  # BatchNorm's epsilon
    total = torch.zeros((), dtype=torch.float64)
    for i in range(width):
        for j in range(width):
            c = (a[:, i] * b[:, j]).sum() / n
            total = total + ((1 - c) ** 2 if i == j else redundancy_weight * c**2)
    return total


def vicreg(a: Tensor, b: Tensor) -> Tensor:
    n, width = a.shape
    invariance = ((a - b) ** 2).sum() / (n * width)
    variance = sum(torch.relu(1 - (z.var(0) + 1e-4).sqrt()).sum() / width / 2 for z in (a, b))
    covariance = torch.zeros((), dtype=torch.float64)
    for z in (a, b):
        centred = z - z.mean(0)
        for i in range(width):
            for j in range(width):
                if i != j:
                    covariance = covariance + ((centred[:, i] * centred[:, j]).sum() / (n - 1)) ** 2 / width
    return 25 * invariance + 25 * variance + covariance


def nt_xent(a: Tensor, b: Tensor, temperature: float = 0.5) -> Tensor:
    z, n = torch.cat([a, b]), len(a)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = sum(torch.exp(cosine(z[i], z[k]) / temperature) for k in range(2 * n) if k != i)
        total = total - torch.log(torch.exp(cosine(z[i], z[partner]) / temperature) / others)
    return total / (2 * n)


REFERENCES = {"barlow_twins": barlow_twins, "vicreg": vicreg, "simclr": nt_xent}


def compare(method, first: Tensor, second: Tensor, reference) -> None:
    """The method's loss and the gradients to both views equal those of a float64 reference.

    In a collapse the gradients vanish: what is left of them in float32 is compared on the scale of 1.
    """
    floor = 1e-5 if torch.equal(first, first[:1].expand_as(first)) else 1e-7
    views = [z.clone().requires_grad_() for z in (first, second)]
    method([z[:, None, None, :] for z in views]).loss.backward()
    exact = [z.double().requires_grad_() for z in (first, second)]
    expected = reference(*exact)
    expected.backward()
    loss = method([z[:, None, None, :] for z in views]).loss
    torch.testing.assert_close(loss.double(), expected, rtol=2e-5, atol=1e-6)
    for view, other in zip(views, exact, strict=True):
        if view.grad is None:
            assert not other.grad.any()
            continue
        scale = float(other.grad.abs().max())
        torch.testing.assert_close(view.grad.double(), other.grad, rtol=1e-3, atol=1e-4 * scale + floor)


def pair(batch: int, width: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(batch, width, generator=generator)
    return first, first + 0.5 * torch.randn(batch, width, generator=generator)


def identical(batch: int) -> tuple[Tensor, Tensor]:
    first, _ = pair(batch)
    return first, first.clone()


def collapsed(batch: int) -> tuple[Tensor, Tensor]:
    constant = torch.tensor([0.5, -1.0, 2.0, 0.25, 0.0]).repeat(batch, 1)  # its mean is exact in float32
    return constant, constant.clone()


every_kind = pytest.mark.parametrize("views", [pair, identical, collapsed], ids=["random", "identical", "collapsed"])


@every_kind
@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("batch", [2, 3, 9])
def test_loss_and_gradient_equal_the_papers_equations(tiny, name, batch, views):
    method = METHODS[name](tiny.Flat(5))
    method.projector = nn.Identity()
    compare(method, *views(batch), REFERENCES[name])


@every_kind
@pytest.mark.parametrize(("batch", "queue_size"), [(1, 1), (2, 4), (7, 3), (5, 16)])
def test_moco_equals_infonce_against_its_queue(tiny, batch, queue_size, views):
    method = METHODS["moco"](tiny.Flat(5), projector_dim=5, queue_size=queue_size)
    method.projector, method.teacher = nn.Identity(), nn.Flatten()
    queue = method.queue.double().clone()

    def reference(a: Tensor, b: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for query, key in zip(a, b.detach(), strict=True):
            scores = torch.stack([cosine(query, key), *(cosine(query, old) for old in queue)]) / 0.2
            total = total - torch.log(scores[0].exp() / scores.exp().sum())
        return total / len(a) + 0 * b.sum()

    compare(method, *views(batch), reference)


@every_kind
@pytest.mark.parametrize("batch", [1, 2, 6])
def test_byol_equals_the_distance_of_unit_vectors_summed_over_both_directions(tiny, batch, views):
    method = METHODS["byol"](tiny.Flat(5), projector_dim=5, hidden_dim=8)
    method.projector, method.teacher = nn.Identity(), nn.Flatten()
    method.predictor = nn.Linear(5, 5)
    weight, bias = (value.detach().double() for value in (method.predictor.weight, method.predictor.bias))

    def reference(a: Tensor, b: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for online, target in ((a, b.detach()), (b, a.detach())):
            for z, t in zip(online, target, strict=True):
                q = weight @ z + bias
                total = total + ((q / q.norm() - t / t.norm()) ** 2).sum() / len(a)
        return total

    compare(method, *views(batch), reference)


@pytest.mark.parametrize("kind", ["random", "identical", "collapsed"])
@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize("small_views", [0, 3])
def test_dino_equals_cross_entropy_to_the_centred_teacher_and_moves_the_centre(tiny, small_views, batch, kind):
    method = METHODS["dino"](tiny.Flat(6), n_prototypes=6)
    method.head, method.teacher_head, method.teacher = nn.Identity(), nn.Identity(), nn.Flatten()
    method.criterion.center.copy_(torch.linspace(-1, 1, 6).view(1, 1, 6))
    center = method.criterion.center.double().flatten().clone()
    method.progress.fill_(0.15)  # half of the temperature's warm-up
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(2 + small_views, batch, 6, generator=generator)
    drawn = {"random": drawn, "identical": drawn[:1], "collapsed": drawn[:1, :1]}[kind].expand_as(drawn)
    views = [view.clone().requires_grad_() for view in drawn]
    output = method([view[:, None, None, :] for view in views])
    output.loss.backward()

    exact = [view.detach().double().requires_grad_() for view in views]
    total, pairs = torch.zeros((), dtype=torch.float64), 0
    for t in range(2):
        for s in range(len(exact)):
            if s != t:
                target = torch.softmax((exact[t].detach() - center) / 0.055, dim=1)
                student = torch.exp(exact[s] / 0.1)
                student = student / student.sum(1, keepdim=True)
                total = total - (target * student.log()).sum(1).mean()
                pairs += 1
    (total / pairs).backward()
    assert output.loss.item() == pytest.approx((total / pairs).item(), rel=1e-4)
    for view, other in zip(views, exact, strict=True):
        torch.testing.assert_close(view.grad.double(), other.grad, rtol=1e-3, atol=1e-5)
    moved = 0.9 * center + 0.1 * torch.cat(exact[:2]).mean(0).detach()
    torch.testing.assert_close(method.criterion.center.flatten().double(), moved, rtol=1e-5, atol=1e-6)


def test_mae_compares_with_patches_normalised_by_their_own_mean_and_deviation():
    rng = np.random.default_rng(0)
    predictions, patches = rng.normal(size=(3, 4, 12)), rng.normal(2, 3, size=(3, 4, 12))
    patches[0, 0] = 0.25  # a black corner has no deviation
    total = 0.0
    for predicted, patch in zip(predictions.reshape(-1, 12), patches.reshape(-1, 12), strict=True):
        target = (patch - patch.mean()) / math.sqrt(patch.var(ddof=1) + 1e-6)
        total += ((predicted - target) ** 2).mean()
    loss = normalized_error(torch.tensor(predictions), torch.tensor(patches))
    assert loss.item() == pytest.approx(total / 12, rel=1e-9)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_mae_predicts_the_hidden_patches_of_the_image_and_no_others(tiny, monkeypatch, channels, normalized):
    method = tiny.build("mae", "vit", channels, normalize_targets=normalized)
    images = tiny.frames(2, channels) + torch.arange(channels).view(1, -1, 1, 1)
    seen = {}

    def paint(tokens: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """A perfect decoder, from plain slices of the image: patches row by row, in each the channels
        last.
        """
        result = []
        for image, places in zip(images, hidden, strict=True):
            for place in places.tolist():
                row, column = divmod(place, 4)
                patch = image[:, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].permute(1, 2, 0).flatten()
                result.append((patch - patch.mean()) / (patch.var() + 1e-6).sqrt() if normalized else patch)
        seen["hidden"], seen["visible"] = hidden, visible
        return torch.stack(result).view(2, hidden.shape[1], -1)

    monkeypatch.setattr(method, "decode", paint)
    assert method([images]).loss.item() == pytest.approx(0, abs=1e-8)
    assert seen["hidden"].shape == (2, 12)  # three quarters of 16
    both = torch.cat([seen["hidden"], seen["visible"]], dim=1).sort(1).values
    assert torch.equal(both, torch.arange(16).expand(2, 16))
