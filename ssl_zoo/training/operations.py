"""Random operations on whole batches of images, on the device, with a draw per sample and no loop over
images.

Images are float `[B, C, h, w]` in 0..1; probabilities are per sample. All draws come from the given
generator.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

ATTEMPTS = 10  # redraws of a crop that does not fit, as in torchvision's RandomResizedCrop
PAPER_SIZE = 224  # pixels; the papers give blur in pixels of images of this size
BLUR_REACH = 3.0  # a kernel reaches this many sigmas
SOLARISE_FROM = 0.5  # of full intensity; values above are inverted (128 of 255 in BYOL)


def geometry(
    frames: Tensor,
    size: int,
    generator: torch.Generator,
    *,
    crop_scale: tuple[float, float],
    aspect: tuple[float, float],
    flip: float,
    rotation: float,
) -> Tensor:
    """Crop, flip, rotate and resize `[B, C, H, W]` in 0..255 to `[B, C, size, size]` in 0..1, black outside
    the frame.

    A crop of more pixels than the view is sampled from a frame halved as often as it takes, since plain
    bilinear sampling would alias speckle; frames are grouped by that number.
    """
    batch, _, height, width = frames.shape
    crop_w, crop_h, left, top = draw_crops(
        batch, generator, crop_scale, aspect
    )  # each [B], shares of the frame's sides
    sign = torch.where(_draw(batch, generator) < flip, -1.0, 1.0)
    angle = (2 * _draw(batch, generator) - 1) * math.radians(rotation)

    # From the view's coordinates to the frame's, both -1..1: scale, rotate in pixels, move to the crop's
    # centre.
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0] = sign * crop_w * angle.cos()
    theta[:, 0, 1] = -crop_h * angle.sin() * (height / width)
    theta[:, 1, 0] = sign * crop_w * angle.sin() * (width / height)
    theta[:, 1, 1] = crop_h * angle.cos()
    theta[:, 0, 2] = 2 * left + crop_w - 1
    theta[:, 1, 2] = 2 * top + crop_h - 1

    shrink = torch.maximum(crop_w * width, crop_h * height) / size  # frame pixels per view pixel
    halvings = shrink.clamp(min=1).log2().round().long()  # [B]
    device = frames.device
    theta = theta.to(device, non_blocking=True)
    level = frames.float().mul_(1 / 255)
    if not halvings.any():
        return _sample(level, theta, size)
    view = level.new_empty(batch, frames.shape[1], size, size)
    for halving in range(int(halvings.max()) + 1):
        if halving:
            level = F.avg_pool2d(level, 2)
        chosen = (halvings == halving).nonzero().flatten().to(device)
        if len(chosen):
            view[chosen] = _sample(level[chosen], theta[chosen], size)
    return view


def draw_crops(
    batch: int, generator: torch.Generator, scale: tuple[float, float], aspect: tuple[float, float]
) -> tuple[Tensor, ...]:
    """Width, height, left and top `[B]` of crops as shares of the frame's sides, by RandomResizedCrop's law.

    Area and aspect are drawn until the crop fits, at most ten times; after that the aspect gives way.
    """
    low, high = scale
    area = low + (high - low) * _draw((ATTEMPTS, batch), generator)
    low, high = (math.log(bound) for bound in aspect)
    ratio = (low + (high - low) * _draw((ATTEMPTS, batch), generator)).exp()
    widths, heights = (area * ratio).sqrt(), (area / ratio).sqrt()  # [ATTEMPTS, B]
    fits = (widths <= 1) & (heights <= 1)
    attempt = fits.int().argmax(0, keepdim=True)  # the first that fits
    width = widths.gather(0, attempt)[0].clamp(max=1)
    height = heights.gather(0, attempt)[0].clamp(max=1)
    left = (1 - width) * _draw(batch, generator)
    top = (1 - height) * _draw(batch, generator)
    return width, height, left, top


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
    chosen = _choose(len(view), probability, generator)
    if chosen is None:
        return view
    count = len(chosen)
    gains = _per_sample(1 + gain * (2 * _draw(count, generator) - 1), view.device)
    contrasts = _per_sample(1 + contrast * (2 * _draw(count, generator) - 1), view.device)
    exponents = _per_sample(((2 * _draw(count, generator) - 1) * math.log1p(gamma)).exp(), view.device)
    part = view[chosen.to(view.device)]
    mean = part.mean((1, 2, 3), keepdim=True) * gains  # [b, 1, 1, 1]
    part = part.mul_(gains * contrasts).add_(mean * (1 - contrasts)).clamp_(0, 1)
    if gamma:
        part = part.pow_(exponents)
    return _put(view, chosen, part)


def blur(view: Tensor, generator: torch.Generator, *, probability: float, sigma: tuple[float, float]) -> Tensor:
    """Gaussian blur of `[B, C, h, w]`, separable, with a sigma per sample; edges are repeated.

    `sigma` is a range in pixels of images of 224, and scales with the image."""
    chosen = _choose(len(view), probability, generator)
    if chosen is None:
        return view
    low, high = (bound * view.shape[-1] / PAPER_SIZE for bound in sigma)
    sigmas = (low + (high - low) * _draw(len(chosen), generator)).clamp(min=1e-3)
    radius = min(max(1, math.ceil(BLUR_REACH * high)), view.shape[-1] - 1)
    taps = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (taps / sigmas[:, None]).square())
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(view.device)  # [b, taps]
    part = view[chosen.to(view.device)]
    part = _convolve(_convolve(part, kernel, radius, dim=3), kernel, radius, dim=2)
    return _put(view, chosen, part)


def noise(view: Tensor, generator: torch.Generator, *, probability: float, speckle: float, grain: float) -> Tensor:
    """Speckle-like noise that grows with the pixel, and grain that does not, the same in all channels; in
    0..1.
    """
    chosen = _choose(len(view), probability, generator)
    if chosen is None:
        return view
    strength = _per_sample(_draw(len(chosen), generator), view.device)
    part = view[chosen.to(view.device)]
    # Two independent Gaussian fields add up to one with the sum of the variances: one field is drawn.
    deviation = strength * (part.square() * speckle**2 + grain**2).sqrt()
    field = _normal((len(part), 1, *part.shape[2:]), generator, view.device)
    return _put(view, chosen, part.add_(deviation.mul_(field)).clamp_(0, 1))


def solarise(view: Tensor, generator: torch.Generator, *, probability: float) -> Tensor:
    """Invert the pixels brighter than half, on `[B, C, h, w]` in 0..1."""
    chosen = _choose(len(view), probability, generator)
    if chosen is None:
        return view
    part = view[chosen.to(view.device)]
    return _put(view, chosen, torch.where(part >= SOLARISE_FROM, 1 - part, part))


def _sample(frames: Tensor, theta: Tensor, size: int) -> Tensor:
    """Bilinear samples of `[b, C, H, W]` at the affine grids `[b, 2, 3]`."""
    grid = F.affine_grid(theta, [len(frames), 1, size, size], align_corners=False)
    return F.grid_sample(frames, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _convolve(view: Tensor, kernel: Tensor, radius: int, dim: int) -> Tensor:
    """Each sample with its own 1-D kernel `[b, taps]` along `dim`, as a sum of shifted copies (symmetric
    kernel).
    """
    pad = (radius, radius, 0, 0) if dim == 3 else (0, 0, radius, radius)
    padded = F.pad(view, pad, mode="replicate")
    length = view.shape[dim]
    weights = kernel[:, :, None, None, None].unbind(1)  # taps x [b, 1, 1, 1]
    total = view * weights[radius]
    for tap in range(radius):
        near = padded.narrow(dim, tap, length) + padded.narrow(dim, 2 * radius - tap, length)
        total.addcmul_(near, weights[tap])
    return total


def _choose(batch: int, probability: float, generator: torch.Generator) -> Tensor | None:
    """Indices of the samples that an operation takes; None for none. They are drawn even when all are
    taken.
    """
    if probability <= 0:
        return None
    chosen = (_draw(batch, generator) < probability).nonzero().flatten()
    return chosen if len(chosen) else None


def _put(view: Tensor, chosen: Tensor, part: Tensor) -> Tensor:
    return part if len(part) == len(view) else view.index_copy_(0, chosen.to(view.device), part)


def _draw(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform numbers in [0, 1), on the CPU, where the small computations of parameters are fastest."""
    return torch.rand(shape, generator=generator, device=generator.device).cpu()


def _normal(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers on the device, from a generator that may be elsewhere."""
    if generator.device.type != device.type:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=device)


def _per_sample(values: Tensor, device: torch.device) -> Tensor:
    return values.view(-1, 1, 1, 1).to(device, non_blocking=True)
