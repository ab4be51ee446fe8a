"""What a probe, its settings and its contact with the skin do to a frame: shadows, speckle, haze and depth gain.

Each works in place on whole batches of float frames `[B, C, H, W]` in 0..1, before they are cropped, along the rays
and depths of each frame's own sector, the same in all channels, with a draw per sample. A frame shows the logarithm of
the echo; multiplying its grey levels is a stand-in that keeps black black, within the sector and beside it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_zoo.training.draws import choose, normal, per_sample, put, uniform
from ssl_zoo.training.sector import Sector

DEPTHS, RAYS = 48, 96  # of smooth fields
KNOTS = 6  # sliders of a depth-gain control, from the probe to the deepest line
STRIPES = 3  # shadows in a frame, at most
DEEPEST_START = 0.6  # of the depth; a shadow begins above it
ONSET = 0.08  # of the depth, over which a shadow sets in
CLOUDS = 5  # random values of a haze along the depth and across
HAZE_RAYS = 24
HAZE_REACH = (0.15, 0.5)  # of the depth, over which a haze falls to 1 / e; uniform
CELLS = (160, 64)  # samples of speckle along the depth and across, at most; a cell is about two of them
CELL_DEVIATION = 1 / 3  # of white noise after the filter and the sampling of `cells`


def shadow(
    frames: Tensor,
    sector: Sector,
    generator: torch.Generator,
    *,
    probability: float,
    loss: float,
    width: tuple[float, float],
) -> Tensor:
    """One to three dark stripes along rays, as bone, gas or a lifted probe throws them, with soft edges.

    A stripe begins at a random depth in the upper 60 % and goes on to the bottom. It takes `loss` / 2 to `loss` of the
    brightness; its half width is uniform in `width`, in shares of the sector's. Several stripes multiply.
    """
    chosen = choose(len(frames), probability, generator)
    if chosen is None:
        return frames
    shape = (len(chosen), STRIPES, 1)
    low, high = width
    place, start = uniform(shape, generator), DEEPEST_START * uniform(shape, generator)
    half = (low + (high - low) * uniform(shape, generator)).clamp(min=1e-3)
    dark = loss * (0.5 + 0.5 * uniform(shape, generator))
    count = 1 + (STRIPES * uniform(len(chosen), generator)).floor()  # 1..STRIPES, equally likely
    dark = torch.where(torch.arange(STRIPES) < count[:, None], dark[..., 0], 0.0)[..., None]

    across = torch.exp(-(((torch.linspace(0, 1, RAYS) - place) / half) ** 4))  # [b, 3, RAYS] 1 / e at `half`
    along = _ease(((torch.linspace(0, 1, DEPTHS) - start) / ONSET).clamp(0, 1))  # [b, 3, DEPTHS]
    left = 1 - (dark * along)[:, :, :, None] * across[:, :, None]  # [b, 3, DEPTHS, RAYS]
    left = left[:, 0] * left[:, 1] * left[:, 2]
    return _multiply(frames, sector, chosen, left[:, None])


def cells(
    frames: Tensor, sector: Sector, generator: torch.Generator, *, probability: float, deviation: float
) -> Tensor:
    """Multiplicative noise in speckle cells: short along the depth, wide across, and wider with depth.

    White noise on a grid of depths and rays, smoothed and read at each pixel's place, times the pixel; its deviation
    is uniform in 0..`deviation`, relative to the pixel. Above white and below black it is cut off. Small frames get
    cells of about two pixels.
    """
    chosen = choose(len(frames), probability, generator)
    if chosen is None:
        return frames
    device = frames.device
    strength = per_sample(deviation * uniform(len(chosen), generator), device)
    depths, rays = min(CELLS[0], frames.shape[2]), min(CELLS[1], frames.shape[3] // 2)
    field = normal((len(chosen), 1, depths + 2, rays + 2), generator, device)
    # The mean of squares falls to 6 / 16 along each axis, and on average to 1 / 3 between the samples.
    for dim in (2, 3):
        size = field.shape[dim] - 2
        middle, before, after = (field.narrow(dim, start, size) for start in (1, 0, 2))
        field = torch.add(before, after).mul_(0.25).add_(middle, alpha=0.5)
    places = chosen.to(device)
    factor = sector.texture(field, places).mul_(strength / CELL_DEVIATION).add_(1).clamp_(min=0)
    return put(frames, chosen, frames.index_select(0, places).mul_(factor).clamp_(max=1))


def haze(frames: Tensor, sector: Sector, generator: torch.Generator, *, probability: float, level: float) -> Tensor:
    """A cloudy veil of clutter over the sector, strongest at the probe, that also fills black fluid.

    Its brightness at the probe is uniform in `level` / 2 to `level` and is taken off by clouds by up to half; with
    depth it falls exponentially. It is added as light on a screen, x + veil * (1 - x), which never leaves 0..1.
    """
    chosen = choose(len(frames), probability, generator)
    if chosen is None:
        return frames
    count, device, (low, high) = len(chosen), frames.device, HAZE_REACH
    bright = 0.5 * level * (1 + uniform((count, 1, 1), generator))
    reach = low + (high - low) * uniform((count, 1, 1), generator)
    knots = uniform((count, CLOUDS, CLOUDS), generator)
    depth, lateral = torch.linspace(0, 1, DEPTHS), torch.linspace(0, 1, HAZE_RAYS)
    down, across = (gain_curve(torch.eye(CLOUDS), places) for places in (depth, lateral))  # [CLOUDS, n] weights
    clouds = down.T @ knots @ across  # [b, DEPTHS, HAZE_RAYS] in 0..1
    veil = (bright * torch.exp(-depth[:, None] / reach) * (0.5 + 0.5 * clouds))[:, None]
    places = chosen.to(device)
    part = frames.index_select(0, places)
    veil = sector.spread(veil.to(device), places).mul_(sector.covers(part, places))
    return put(frames, chosen, torch.addcmul(part, 1 - part, veil))


def tgc(frames: Tensor, sector: Sector, generator: torch.Generator, *, probability: float, gain: float) -> Tensor:
    """A smooth random curve of gain along the depth, as set by the sliders of time-gain compensation.

    Six knots from the probe to the deepest line, each a factor uniform in 1 plus or minus `gain`, joined by half
    cosines; above white it is cut off.
    """
    chosen = choose(len(frames), probability, generator)
    if chosen is None:
        return frames
    knots = 1 + gain * (2 * uniform((len(chosen), KNOTS), generator) - 1)
    curve = gain_curve(knots, torch.linspace(0, 1, DEPTHS))  # [b, DEPTHS]
    return _multiply(frames, sector, chosen, curve[:, None, :, None].expand(-1, -1, -1, 2))


def gain_curve(knots: Tensor, depth: Tensor) -> Tensor:
    """Values at `depth` `[d]` (0..1) of the curves through equally spaced `knots` `[b, K]`: `[b, d]`."""
    last = knots.shape[1] - 1
    place = depth * last
    above = place.floor().clamp(max=last - 1)
    return torch.lerp(knots[:, above.long()], knots[:, above.long() + 1], _ease(place - above))


def _multiply(frames: Tensor, sector: Sector, chosen: Tensor, field: Tensor) -> Tensor:
    """The frames `chosen` times a smooth field over depth and lateral place `[b, 1, depths, rays]`."""
    places = chosen.to(frames.device)
    factor = sector.spread(field.to(frames.device), places)
    return put(frames, chosen, frames.index_select(0, places).mul_(factor).clamp_(max=1))


def _ease(share: Tensor) -> Tensor:
    """0..1 to 0..1 along half a cosine."""
    return 0.5 - 0.5 * (math.pi * share).cos()
