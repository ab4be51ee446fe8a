"""A batch in parts: equal to the whole where `coupling` says nothing, and not equal where it names a reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_zoo.methods import METHODS, Method, inpainting_autoencoder, mae

CASES = [(name, kind) for name in METHODS for kind in ("cnn", "vit") if METHODS[name].needs in ("any", kind)]
every_method = pytest.mark.parametrize(("name", "kind"), CASES, ids=["-".join(case) for case in CASES])
BATCH = 8


def whole_and_halves(build: Callable[[], Method], views: list[Tensor]) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Loss and gradients of the batch at once, and the means over its halves, from the same state."""
    results = []
    for parts in (1, 2):
        one = build()
        torch.manual_seed(0)
        losses = [one(list(part)).loss for part in zip(*(view.split(BATCH // parts) for view in views), strict=True)]
        loss = torch.stack(losses).mean()
        loss.backward()
        results.append((loss.detach(), {k: p.grad for k, p in one.named_parameters() if p.grad is not None}))
    return results


@pytest.fixture
def same_draws(monkeypatch) -> None:
    """Draws by the place of an image in the whole batch, not by the order of the calls."""
    for module in (mae, inpainting_autoencoder):
        place = {"next": 0}

        def uniform(batch: int, *shape: int, device: torch.device, place: dict = place) -> Tensor:
            table = torch.rand(BATCH, *shape, generator=torch.Generator().manual_seed(5))
            start, place["next"] = place["next"], (place["next"] + batch) % BATCH
            return table[start : start + batch]

        monkeypatch.setattr(module, "uniform", uniform)


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if METHODS[case[0]].scope == "sample"])
def test_halves_of_a_batch_equal_the_whole_once_no_batchnorm_couples_a_loss_of_samples(tiny, same_draws, name, kind):
    def build() -> Method:
        method = tiny.build(name, kind)
        for module in method.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return method

    method = build()
    assert method.coupling() is None
    (whole, gradients), (halves, others) = whole_and_halves(build, tiny.views_for(method, BATCH))
    torch.testing.assert_close(halves, whole, rtol=1e-5, atol=1e-6)
    assert gradients.keys() == others.keys()
    largest = max(float(value.abs().max()) for value in gradients.values())
    for key, value in gradients.items():
        torch.testing.assert_close(others[key], value, rtol=1e-3, atol=1e-5 * largest)


@every_method
def test_halves_of_a_batch_differ_from_the_whole_wherever_a_coupling_is_named(tiny, same_draws, name, kind):
    method = tiny.build(name, kind)
    (_, gradients), (_, others) = whole_and_halves(lambda: tiny.build(name, kind), tiny.views_for(method, BATCH))
    largest = max(float(value.abs().max()) for value in gradients.values())
    apart = max(float((others[key] - value).abs().max()) for key, value in gradients.items())
    if method.coupling() is None:
        assert apart < 1e-5 * largest
    else:
        assert apart > 1e-3 * largest
