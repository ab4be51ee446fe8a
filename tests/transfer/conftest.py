"""Small encoders, and images whose classes a network can tell apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, Encoder


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def encoder():
    """Builds an untrained encoder by backbone name."""

    def build(name: str = "resnet10t", *, size: int = 32, channels: int = 1, seed: int = 0) -> Encoder:
        backbone = build_backbone(name, channels=channels, size=size, seed=seed)
        return Encoder(backbone, Card(name, size, channels, [0.5] * channels, [0.25] * channels))

    return build


@pytest.fixture
def striped():
    """`(images uint8 [n, 32, 32], labels [n])`: two classes, stripes across or along, under noise."""

    def make(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        labels = np.arange(n) % 2
        stripes = np.where(np.arange(32) // 4 % 2, 180, 60)
        images = np.stack([np.tile(stripes, (32, 1)) if label else np.tile(stripes[:, None], 32) for label in labels])
        return np.clip(images + rng.normal(0, 20, images.shape), 0, 255).astype(np.uint8), labels

    return make
