"""Which part of a frame a view shows: crop, flip, rotation, tilt and resize as one affine sampling step, with a draw
per sample and no loop over images.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_zoo.training.affine import affine, affine_grid, tilted
from ssl_zoo.training.draws import uniform
from ssl_zoo.training.sector import Sector, content, find_sector

ATTEMPTS = 10  # redraws of a crop that does not fit, as in torchvision's RandomResizedCrop


def geometry(
    frames: Tensor,
    size: int,
    generator: torch.Generator,
    *,
    crop_scale: tuple[float, float],
    aspect: tuple[float, float],
    flip: float,
    rotation: float,
    tilt: float = 0.0,
    min_content: float = 0.0,
    sector: Sector | None = None,
) -> Tensor:
    """Crop, flip, rotate, tilt and resize `[B, C, H, W]` (uint8, or float in 0..1) to `[B, C, size, size]` in 0..1,
    black outside the frame.

    `rotation` and `tilt` are degrees, uniform in plus or minus; the first turns about the crop's centre, the second
    swings the sector about the middle of the probe's face. A crop that holds less than `min_content` of the
    frame's pixels that are not black is drawn again, with its place, at most ten times; after that the one that
    holds most is taken. `sector` is the frames' own, found here when it is needed and not given; either of the two
    makes the CPU wait for a GPU, since the maps are made on the CPU.

    A crop of more pixels than the view is sampled from a frame halved as often as it takes, since plain bilinear
    sampling would alias speckle; frames are grouped by that number.
    """
    batch, _, height, width = frames.shape
    if sector is None and (tilt > 0 or min_content > 0):
        sector = find_sector(frames)
    if min_content > 0:
        boxes, fits = draw_places(batch, generator, crop_scale, aspect)
    else:
        boxes, fits = draw_crops(batch, generator, crop_scale, aspect), None
    sign = torch.where(uniform(batch, generator) < flip, -1.0, 1.0)
    angle = (2 * uniform(batch, generator) - 1) * math.radians(rotation)
    theta = affine(boxes, sign, angle, (height, width))
    if tilt > 0 and sector is not None:
        swing = (2 * uniform(batch, generator) - 1) * math.radians(tilt)
        theta = tilted(theta, swing, sector.face.to("cpu"), (height, width))
    if fits is not None and sector is not None:
        held = content(sector, theta.to(frames.device)).to("cpu")
        attempt = choose_attempt(fits, held, min_content)
        theta = theta[attempt, torch.arange(batch)]
        boxes = tuple(box[attempt, torch.arange(batch)] for box in boxes)

    shrink = torch.maximum(boxes[0] * width, boxes[1] * height) / size  # frame pixels per view pixel
    halvings = shrink.clamp(min=1).log2().round().long()  # [B]
    device = frames.device
    theta = theta.to(device, non_blocking=True)
    level = frames.float().mul_(1 / 255) if frames.dtype == torch.uint8 else frames
    if not halvings.any():
        return _sample(level, theta, size)
    view = level.new_empty(batch, frames.shape[1], size, size)
    for halving in range(int(halvings.max()) + 1):
        if halving:
            level = F.avg_pool2d(level, 2)
        chosen = (halvings == halving).nonzero().flatten().to(device)
        if len(chosen):
            view.index_copy_(0, chosen, _sample(level.index_select(0, chosen), theta[chosen], size))
    return view


def draw_crops(
    batch: int, generator: torch.Generator, scale: tuple[float, float], aspect: tuple[float, float]
) -> tuple[Tensor, ...]:
    """Width, height, left and top `[B]` of crops as shares of the frame's sides, by RandomResizedCrop's law.

    Area and aspect are drawn until the crop fits, at most ten times; after that the aspect gives way.
    """
    widths, heights, fits = _draw_sizes(batch, generator, scale, aspect)
    attempt = fits.int().argmax(0, keepdim=True)  # the first that fits
    width = widths.gather(0, attempt)[0].clamp(max=1)
    height = heights.gather(0, attempt)[0].clamp(max=1)
    left = (1 - width) * uniform(batch, generator)
    top = (1 - height) * uniform(batch, generator)
    return width, height, left, top


def draw_places(
    batch: int, generator: torch.Generator, scale: tuple[float, float], aspect: tuple[float, float]
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Ten attempts at a crop, each with a place of its own: width, height, left and top `[ATTEMPTS, B]`, and which of
    them fit (bool).
    """
    width, height, fits = _draw_sizes(batch, generator, scale, aspect)
    width, height = width.clamp(max=1), height.clamp(max=1)
    left = (1 - width) * uniform((ATTEMPTS, batch), generator)
    top = (1 - height) * uniform((ATTEMPTS, batch), generator)
    return (width, height, left, top), fits


def choose_attempt(fits: Tensor, held: Tensor, min_content: float) -> Tensor:
    """The attempt `[B]` to take: the first that fits and holds enough, else the one that fits and holds most.

    `fits` bool and `held` (share of the content) are `[ATTEMPTS, B]`. Where none fits, it is the first, whose aspect
    gives way.
    """
    enough = fits & (held >= min_content)
    return torch.where(enough.any(0), enough.int().argmax(0), held.where(fits, -1.0).argmax(0))


def _draw_sizes(
    batch: int, generator: torch.Generator, scale: tuple[float, float], aspect: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Widths and heights `[ATTEMPTS, B]` of crops as shares of the frame's sides, and which of them fit."""
    low, high = scale
    area = low + (high - low) * uniform((ATTEMPTS, batch), generator)
    low, high = (math.log(bound) for bound in aspect)
    ratio = (low + (high - low) * uniform((ATTEMPTS, batch), generator)).exp()
    widths, heights = (area * ratio).sqrt(), (area / ratio).sqrt()
    return widths, heights, (widths <= 1) & (heights <= 1)


def _sample(frames: Tensor, theta: Tensor, size: int) -> Tensor:
    """Bilinear samples of `[b, C, H, W]` at the affine grids `[b, 2, 3]`."""
    grid = affine_grid(theta, size)
    return F.grid_sample(frames, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
