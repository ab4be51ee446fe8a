"""What the papers do to the brightness of views, on whole batches, on the device, with a draw per sample and no loop
over images.

Images are float `[B, C, h, w]` in 0..1; probabilities are per sample. All draws come from the given
generator.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_zoo.training.draws import choose, normal, per_sample, put, uniform

PAPER_SIZE = 224  # pixels; the papers give blur in pixels of images of this size
BLUR_REACH = 3.0  # a kernel reaches this many sigmas
SOLARISE_FROM = 0.5  # of full intensity; values above are inverted (128 of 255 in BYOL)


def intensity(
    view: Tensor,
    generator: torch.Generator,
    *,
    probability: float,
    gain: float,
    contrast: float,
    gamma: float,
) -> Tensor:
    """Gain, contrast about the mean, and gamma, on `[B, C, h, w]` in 0..1; in place."""
    chosen = choose(len(view), probability, generator)
    if chosen is None:
        return view
    count = len(chosen)
    gains = per_sample(1 + gain * (2 * uniform(count, generator) - 1), view.device)
    contrasts = per_sample(1 + contrast * (2 * uniform(count, generator) - 1), view.device)
    exponents = per_sample(((2 * uniform(count, generator) - 1) * math.log1p(gamma)).exp(), view.device)
    part = view.index_select(0, chosen.to(view.device))
    mean = part.mean((1, 2, 3), keepdim=True) * gains  # [b, 1, 1, 1]
    part = part.mul_(gains * contrasts).add_(mean * (1 - contrasts)).clamp_(0, 1)
    if gamma:
        part = part.pow_(exponents)
    return put(view, chosen, part)


def blur(view: Tensor, generator: torch.Generator, *, probability: float, sigma: tuple[float, float]) -> Tensor:
    """Gaussian blur of `[B, C, h, w]`, separable, with a sigma per sample; edges are repeated.

    `sigma` is a range in pixels of images of 224, and scales with the image."""
    chosen = choose(len(view), probability, generator)
    if chosen is None:
        return view
    low, high = (bound * view.shape[-1] / PAPER_SIZE for bound in sigma)
    sigmas = (low + (high - low) * uniform(len(chosen), generator)).clamp(min=1e-3)
    radius = min(max(1, math.ceil(BLUR_REACH * high)), view.shape[-1] - 1)
    taps = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (taps / sigmas[:, None]).square())
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(view.device)  # [b, taps]
    part = view.index_select(0, chosen.to(view.device))
    part = _convolve(_convolve(part, kernel, radius, dim=3), kernel, radius, dim=2)
    return put(view, chosen, part)


def noise(view: Tensor, generator: torch.Generator, *, probability: float, speckle: float, grain: float) -> Tensor:
    """Speckle-like noise that grows with the pixel, and grain that does not, the same in all channels; in
    0..1.
    """
    chosen = choose(len(view), probability, generator)
    if chosen is None:
        return view
    strength = per_sample(uniform(len(chosen), generator), view.device)
    part = view.index_select(0, chosen.to(view.device))
    # Two independent Gaussian fields add up to one with the sum of the variances: one field is drawn.
    deviation = strength * (part.square() * speckle**2 + grain**2).sqrt()
    field = normal((len(part), 1, *part.shape[2:]), generator, view.device)
    return put(view, chosen, part.add_(deviation.mul_(field)).clamp_(0, 1))


def solarise(view: Tensor, generator: torch.Generator, *, probability: float) -> Tensor:
    """Invert the pixels brighter than half, on `[B, C, h, w]` in 0..1."""
    chosen = choose(len(view), probability, generator)
    if chosen is None:
        return view
    part = view.index_select(0, chosen.to(view.device))
    return put(view, chosen, torch.where(part >= SOLARISE_FROM, 1 - part, part))


def _convolve(view: Tensor, kernel: Tensor, radius: int, dim: int) -> Tensor:
    """Each sample with its own 1-D kernel `[b, taps]` along `dim`, as a sum of shifted copies (symmetric
    kernel).
    """
    pad = (radius, radius, 0, 0) if dim == 3 else (0, 0, radius, radius)
    padded = F.pad(view, pad, mode="replicate")
    length = view.shape[dim]
    weights = kernel[:, :, None, None, None].unbind(1)  # taps x [b, 1, 1, 1]
    total = view * weights[radius]
    near = torch.empty_like(total)
    for tap in range(radius):
        torch.add(padded.narrow(dim, tap, length), padded.narrow(dim, 2 * radius - tap, length), out=near)
        total.addcmul_(near, weights[tap])
    return total
