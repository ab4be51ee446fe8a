"""Views: what a method sees of a frame, made for whole batches on the device from uint8 frames.

First what a probe does to a frame (shadow, speckle, haze, depth gain), along the rays of the frame's own sector; then
crop, flip, rotation, tilt and resize in one affine sampling step with a draw per sample; then gain, contrast, gamma,
blur, noise and solarisation. Speckle and depth carry the meaning of an ultrasound frame and there is no colour to
jitter, so the colour operations of the papers become gain, contrast and gamma, the same for all channels.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ssl_zoo.training import operations, ultrasound
from ssl_zoo.training.geometry import geometry
from ssl_zoo.training.sector import Sector, find_sector
from ssl_zoo.training.view_recipes import ACOUSTIC, MILD, PRESETS, VIEWS, ViewRecipe
from ssl_zoo.training.view_settings import ViewSettings, view_recipes, view_settings

__all__ = [
    "MILD",
    "PRESETS",
    "VIEWS",
    "ViewRecipe",
    "ViewSettings",
    "augment",
    "local_size",
    "make_views",
    "view_recipes",
    "view_settings",
]


def make_views(
    name: str,
    first: Tensor,
    second: Tensor,
    *,
    size: int,
    mean: list[float],
    std: list[float],
    generator: torch.Generator,
    settings: ViewSettings | None = None,
) -> list[Tensor]:
    """The views of a batch of positive pairs.

    `first`, `second`: uint8 frames `[B, H, W]` or `[B, H, W, 3]` on the device, the same tensor for two crops
    of one frame. Views are drawn from the two in turn. `mean` and `std` per channel belong to frames scaled
    to 0..1. Returns normalised float32 views `[B, C, size, size]`; local crops are smaller, see `local_size`.

    The draws depend on the generator alone, so that one on the CPU gives the same geometry on every device.
    """
    pair = (_Frames(first), _Frames(second))
    return [
        _view(pair[i % 2], size=size, mean=mean, std=std, generator=generator, recipe=recipe)
        for i, recipe in enumerate(view_recipes(name, settings))
    ]


def augment(
    images: Tensor,
    *,
    size: int,
    mean: list[float],
    std: list[float],
    generator: torch.Generator,
    recipe: ViewRecipe = MILD,
) -> Tensor:
    """One view of each uint8 image `[B, H, W]` or `[B, H, W, 3]`: normalised float32 `[B, C, h, h]`."""
    return _view(_Frames(images), size=size, mean=mean, std=std, generator=generator, recipe=recipe)


def local_size(size: int) -> int:
    """Side of a local crop: 96 of 224 pixels as in DINO, to the next multiple of 16 (32 of 64)."""
    return max(16, round(size * 3 / 7 / 16) * 16)


class _Frames:
    """A batch of uint8 frames, and what several of its views need of it, found once."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)  # [B, C, H, W]

    @cached_property
    def shown(self) -> Tensor:
        """The frames in 0..1, float32; not to be written to."""
        return self.images.float().mul_(1 / 255)

    @cached_property
    def sector(self) -> Sector:
        """Where the sectors lie."""
        return find_sector(self.images)


def _view(
    frames: _Frames,
    *,
    size: int,
    mean: list[float],
    std: list[float],
    generator: torch.Generator,
    recipe: ViewRecipe,
) -> Tensor:
    r = recipe
    view = geometry(
        _acoustics(frames, generator, r),
        local_size(size) if r.small else size,
        generator,
        crop_scale=r.crop_scale,
        aspect=r.aspect,
        flip=r.flip,
        rotation=r.rotation,
        tilt=r.tilt,
        min_content=r.min_content,
        sector=frames.sector if r.tilt > 0 or r.min_content > 0 else None,
    )
    view = operations.intensity(view, generator, probability=r.jitter, gain=r.gain, contrast=r.contrast, gamma=r.gamma)
    view = operations.blur(view, generator, probability=r.blur, sigma=r.blur_sigma)
    view = operations.noise(view, generator, probability=r.noise, speckle=r.speckle, grain=r.grain)
    view = operations.solarise(view, generator, probability=r.solarise)
    shift = torch.tensor(mean, dtype=view.dtype).view(-1, 1, 1)
    scale = torch.tensor(std, dtype=view.dtype).view(-1, 1, 1)
    return view.sub_(shift.to(view.device)).div_(scale.to(view.device))


def _acoustics(frames: _Frames, generator: torch.Generator, recipe: ViewRecipe) -> Tensor:
    """The frames in 0..1 after the operations on them, in the order in which they arise: tissue casts shadows and
    speckles, clutter lies over both, and the receiver's gain takes all.
    """
    r = recipe
    if not any(getattr(r, operation) > 0 for operation in ACOUSTIC):
        return frames.shown
    sector = frames.sector
    shown = frames.shown.clone()
    shown = ultrasound.shadow(shown, sector, generator, probability=r.shadow, loss=r.shadow_loss, width=r.shadow_width)
    shown = ultrasound.cells(shown, sector, generator, probability=r.cells, deviation=r.cells_deviation)
    shown = ultrasound.haze(shown, sector, generator, probability=r.haze, level=r.haze_level)
    return ultrasound.tgc(shown, sector, generator, probability=r.tgc, gain=r.tgc_gain)
