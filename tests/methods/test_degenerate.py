"""Batches that hold too little: views that are equal, embeddings that collapsed, one image where two are needed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.errors import UserError
from ssl_zoo.methods import METHODS

JOINT = ["barlow_twins", "vicreg", "simclr", "moco", "byol", "dino"]  # compare embeddings, not pixels
CASES = [(name, kind) for name in METHODS for kind in ("cnn", "vit") if METHODS[name].needs in ("any", kind)]
every_method = pytest.mark.parametrize(("name", "kind"), CASES, ids=["-".join(case) for case in CASES])


def bare(tiny, name: str, width: int = 6):
    """A method between whose views and loss there is nothing: identity networks and heads."""
    heads = {"dino": {"n_prototypes": width}, "moco": {"projector_dim": width, "queue_size": 7}}
    method = METHODS[name](tiny.Flat(width), **heads.get(name, {}))
    if name == "dino":
        method.head, method.teacher_head, method.teacher = nn.Identity(), nn.Identity(), nn.Flatten()
    else:
        method.projector, method.predictor, method.teacher = nn.Identity(), nn.Identity(), nn.Flatten()
    return method


def loss_and_gradients(method, views: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    views = [view.clone().requires_grad_() for view in views]
    loss = method([view[:, None, None, :] for view in views]).loss
    loss.backward()
    return loss.detach(), [torch.zeros_like(view) if view.grad is None else view.grad for view in views]


@pytest.mark.parametrize("name", JOINT)
@pytest.mark.parametrize("value", [0.0, 0.5, -3.0])
@pytest.mark.parametrize("batch", [2, 3, 8])
def test_collapsed_embeddings_give_a_finite_loss_and_gradient(tiny, name, value, batch):
    loss, gradients = loss_and_gradients(bare(tiny, name), [torch.full((batch, 6), value)] * 2)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("batch", [2, 5])
def test_the_loss_of_a_collapse_is_what_each_papers_equation_says(tiny, batch):
    view = torch.full((batch, 6), 0.5)
    losses = {name: float(loss_and_gradients(bare(tiny, name), [view] * 2)[0]) for name in JOINT}
    assert losses["barlow_twins"] == pytest.approx(6, rel=1e-5)  # no correlation at all: (1 - 0)^2 for each dimension
    assert losses["vicreg"] == pytest.approx(25 * (1 - math.sqrt(1e-4)), rel=1e-5)  # the hinge, epsilon under the root
    assert losses["simclr"] == pytest.approx(math.log(2 * batch - 1), rel=1e-5)  # all but itself look alike
    assert losses["byol"] == pytest.approx(0, abs=1e-5)  # the trivial solution
    assert losses["dino"] == pytest.approx(math.log(6), rel=1e-5)  # uniform over prototypes
    method = bare(tiny, "moco")
    scores = [1.0, *(float(key.sum()) / math.sqrt(6) for key in method.queue)]
    expected = -scores[0] / 0.2 + math.log(sum(math.exp(score / 0.2) for score in scores))
    assert float(loss_and_gradients(method, [view] * 2)[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", JOINT)
@pytest.mark.parametrize("batch", [2, 3, 8])
def test_identical_views_give_a_finite_loss_and_gradient(tiny, name, batch):
    view = torch.randn(batch, 6, generator=torch.Generator().manual_seed(batch))
    loss, gradients = loss_and_gradients(bare(tiny, name), [view, view])
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    if name == "byol":
        assert loss.item() == pytest.approx(0, abs=1e-5)


@every_method
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_blank_frames_give_a_finite_loss_and_gradient(tiny, name, kind, value):
    method = tiny.build(name, kind)
    views = [torch.full_like(view, value) for view in tiny.views_for(method, 4)]
    loss = method(views).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


@every_method
def test_one_image_alone_works_or_is_refused_by_name(tiny, name, kind):
    method = tiny.build(name, kind)
    views = tiny.views_for(method, 1)
    if method.coupling() is None:
        assert (name, kind) in [("moco", "vit"), ("mae", "vit")]
        method(views).loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    else:
        with pytest.raises(UserError, match=f"method {type(method).__name__} needs two images or more in a batch"):
            method(views)


@every_method
def test_one_image_alone_may_be_looked_at_in_evaluation_where_no_loss_couples_images(tiny, name, kind):
    method = tiny.build(name, kind).eval()
    views = tiny.views_for(method, 1)
    if method.scope == "sample":
        assert torch.isfinite(method(views).loss)
    else:
        with pytest.raises(UserError, match="its loss couples the images"):
            method(views)
