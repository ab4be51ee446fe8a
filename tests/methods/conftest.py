"""Tiny backbones and frames for the tests of the methods."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import timm
import torch
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

from ssl_zoo.methods import METHODS, Method

SIZE = 32
torch.set_num_threads(1)  # the tensors are tiny; a second thread only waits, and waits long on a busy machine
# Heads small enough for a test; every other parameter keeps its default.
SMALL: dict[str, dict] = {
    "barlow_twins": {"hidden_dim": 64, "projector_dim": 32},
    "vicreg": {"hidden_dim": 64, "projector_dim": 32},
    "byol": {"hidden_dim": 64, "projector_dim": 32},
    "moco": {"queue_size": 20},
    "dino": {"hidden_dim": 64, "bottleneck_dim": 16, "n_prototypes": 32},
    "mae": {"decoder_dim": 32, "decoder_depth": 1},
}


def build(name: str, kind: str, channels: int = 1, seed: int = 0, **params) -> Method:
    """A method on a tiny backbone, weights drawn from `seed`."""
    torch.manual_seed(seed)
    if kind == "vit":
        backbone = timm.create_model(
            "vit_tiny_patch16_224",
            num_classes=0,
            in_chans=channels,
            img_size=SIZE,
            patch_size=8,
            depth=2,
            embed_dim=32,
            num_heads=2,
        )
    else:
        backbone = ResNet(BasicBlock, layers=(1, 1, 1, 1), channels=(8, 16, 32, 64), num_classes=0, in_chans=channels)
    return METHODS[name](backbone, **{**SMALL.get(name, {}), **params})


def frames(batch: int, channels: int = 1, seed: int = 0, size: int = SIZE) -> Tensor:
    """Frames with structure: a bright disc at a place of its own on a noisy ramp, about standardised."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    centre = torch.rand(batch, 2, 1, 1, generator=generator) * 1.4 - 0.7
    disc = ((x - centre[:, 0]) ** 2 + (y - centre[:, 1]) ** 2 < 0.15).float() * 2
    image = disc + 0.5 * y + 0.3 * torch.randn(batch, size, size, generator=generator) - 0.3
    return image.unsqueeze(1).repeat(1, channels, 1, 1)


def views_for(method: Method, batch: int, channels: int = 1, seed: int = 0) -> list[Tensor]:
    """Noisy copies of `frames`, as many and as large as the method eats."""
    base = frames(batch, channels, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    count = {"single": 1, "autoencoder": 1, "multi_crop": 4}.get(method.views, 2)
    views = [base + 0.2 * torch.randn(base.shape, generator=generator) for _ in range(count)]
    return views[:2] + [view[..., 8:24, 8:24].contiguous() for view in views[2:]]


class Flat(nn.Module):
    """A backbone that hands its input on as features, so that a loss can be followed back to a view."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


@pytest.fixture
def tiny() -> SimpleNamespace:
    """The builders above, for test files cannot import this one."""
    return SimpleNamespace(build=build, frames=frames, views_for=views_for, Flat=Flat, small=SMALL)
