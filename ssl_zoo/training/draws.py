"""Random numbers for whole batches: a draw per sample, all from one given generator."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform numbers in [0, 1), on the CPU, where the small computations of parameters are fastest."""
    return torch.rand(shape, generator=generator, device=generator.device).cpu()


def normal(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers on the device, from a generator that may be elsewhere."""
    if generator.device.type != device.type:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=device)


def choose(batch: int, probability: float, generator: torch.Generator) -> Tensor | None:
    """Indices (on the CPU) of the samples that an operation takes; None for none.

    Nothing is drawn at probability 0, so that an operation which is left out moves no other draw. At any other, a
    number is drawn for every sample, also at probability 1.
    """
    if probability <= 0:
        return None
    chosen = (uniform(batch, generator) < probability).nonzero().flatten()
    return chosen if len(chosen) else None


def put(images: Tensor, chosen: Tensor, part: Tensor) -> Tensor:
    """`images` with the samples `chosen` replaced by `part`; in place unless all are replaced."""
    return part if len(part) == len(images) else images.index_copy_(0, chosen.to(images.device), part)


def per_sample(values: Tensor, device: torch.device) -> Tensor:
    """`[B]` on the CPU to `[B, 1, 1, 1]` on the device."""
    return values.view(-1, 1, 1, 1).to(device, non_blocking=True)
