"""Views: what a method sees of a frame, made for whole batches on the device from uint8 frames.

Crop, flip, rotation and resize are one affine sampling step with a draw per sample; gain, contrast, gamma,
blur, noise and solarisation follow. Speckle and depth carry the meaning of an ultrasound frame and there is
no colour to jitter, so the colour operations of the papers become gain, contrast and gamma, the same for all
channels.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_zoo.errors import UserError, unknown
from ssl_zoo.training import operations


@dataclass(frozen=True)
class ViewRecipe:
    """How one view is drawn. Every operation is left out when its probability or strength is zero."""

    crop_scale: tuple[float, float] = (0.3, 1.0)  # share of the frame's area, uniform
    aspect: tuple[float, float] = (3 / 4, 4 / 3)  # width to height, log-uniform
    flip: float = 0.5  # probability of a left-right flip
    rotation: float = 0.0  # degrees, uniform in plus or minus
    jitter: float = 0.8  # probability of gain, contrast and gamma together
    gain: float = 0.4  # factor uniform in 1 plus or minus this
    contrast: float = 0.4  # factor about the frame's mean, uniform in 1 plus or minus this
    gamma: float = 0.2  # exponent log-uniform between 1 / (1 + this) and 1 + this
    blur: float = 0.5  # probability
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # pixels of 224, uniform; scaled to the view's size
    noise: float = 0.0  # probability of speckle and grain together
    speckle: float = 0.1  # deviation of the multiplicative noise, relative to the pixel
    grain: float = 0.02  # deviation of the additive noise, in 0..1 intensity
    solarise: float = 0.0  # probability
    small: bool = False  # a local crop of multi_crop, shown at 3/7 of the size (96 of 224 pixels)


# Crops: SimCLR and BYOL draw 0.08..1 of the area, MoCo 0.2..1. A crop below a third of a fetal frame often
# holds no heart, and arXiv 2403.07715 keeps at least 0.7; 0.3..1 is the default here, and `ViewSettings` sets
# another. Speckle noise is this suite's stand-in for the hue and grey-scale jitter, which do nothing on grey
# frames.
_SYMMETRIC = ViewRecipe(noise=0.2)  # MoCo v2: jitter 0.4, 0.4 with p 0.8, blur p 0.5
_BYOL_FIRST = ViewRecipe(noise=0.2, blur=1.0)  # BYOL, table 6
_BYOL_SECOND = ViewRecipe(noise=0.2, blur=0.1, solarise=0.2)
_SOLARISED = ViewRecipe(noise=0.2, solarise=0.1)  # VICReg, appendix C.1
_GLOBAL_FIRST = dataclasses.replace(_BYOL_FIRST, crop_scale=(0.4, 1.0))  # DINO, section 3.2 and released code
_GLOBAL_SECOND = dataclasses.replace(_BYOL_SECOND, crop_scale=(0.4, 1.0))
# DINO's local crops have 0.05..0.4 of the area; below a tenth many hold nothing but the black beside the sector.
_LOCAL = ViewRecipe(noise=0.2, crop_scale=(0.1, 0.4), small=True)
_SINGLE = ViewRecipe(crop_scale=(0.2, 1.0), jitter=0.0, blur=0.0)  # MAE, appendix A.1
MILD = ViewRecipe(
    crop_scale=(0.7, 1.0), rotation=10.0, jitter=0.5, gain=0.2, contrast=0.2, gamma=0.1, blur=0.0
)  # fine-tuning; crops as in arXiv 2403.07715

VIEWS: dict[str, tuple[ViewRecipe, ...]] = {
    "two_view": (_SYMMETRIC, _SYMMETRIC),
    "two_view_solarised": (_SOLARISED, _SOLARISED),
    "asymmetric": (_BYOL_FIRST, _BYOL_SECOND),
    "multi_crop": (_GLOBAL_FIRST, _GLOBAL_SECOND, _LOCAL, _LOCAL, _LOCAL, _LOCAL),
    "single": (_SINGLE,),
    "mild": (MILD,),
}


@dataclass(frozen=True)
class ViewSettings:
    """What an experiment changes in the views of all methods; None leaves each method's own value.

    The fields are those of `ViewRecipe`. `crop_scale` does not touch local crops, `local_crop_scale` and
    `local_crops` (their number) touch nothing else. A `jitter`, `blur`, `noise` or `solarise` above zero is
    not applied to a method whose views leave the operation out.
    """

    crop_scale: tuple[float, float] | None = None
    aspect: tuple[float, float] | None = None
    flip: float | None = None
    rotation: float | None = None
    jitter: float | None = None
    gain: float | None = None
    contrast: float | None = None
    gamma: float | None = None
    blur: float | None = None
    blur_sigma: tuple[float, float] | None = None
    noise: float | None = None
    speckle: float | None = None
    grain: float | None = None
    solarise: float | None = None
    local_crop_scale: tuple[float, float] | None = None
    local_crops: int | None = None

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "blur", "noise", "solarise"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"views: {name} is a probability in 0..1, not {value}")
        for name in ("crop_scale", "local_crop_scale"):
            value = getattr(self, name)
            if value is not None and not 0 < value[0] <= value[1] <= 1:
                raise UserError(f"views: {name} is a range of area shares within 0..1, not {tuple(value)}")
        for name in ("gain", "contrast"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise UserError(f"views: {name} must lie in 0..1, not {value}")


def view_recipes(name: str, settings: ViewSettings | None = None) -> tuple[ViewRecipe, ...]:
    """The recipes of a method's views, one per view, with the experiment's changes."""
    if name not in VIEWS:
        raise unknown("view recipe", name, VIEWS)
    recipes = VIEWS[name]
    if settings is None:
        return recipes
    if settings.local_crops is not None:
        small = [recipe for recipe in recipes if recipe.small]
        recipes = (*(r for r in recipes if not r.small), *(small[:1] * settings.local_crops))
    return tuple(_changed(recipe, settings) for recipe in recipes)


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
    pair = (first, second)
    return [
        augment(pair[i % 2], size=size, mean=mean, std=std, generator=generator, recipe=recipe)
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
    frames = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)  # [B, C, H, W]
    r = recipe
    view = operations.geometry(
        frames,
        local_size(size) if r.small else size,
        generator,
        crop_scale=r.crop_scale,
        aspect=r.aspect,
        flip=r.flip,
        rotation=r.rotation,
    )
    view = operations.intensity(view, generator, probability=r.jitter, gain=r.gain, contrast=r.contrast, gamma=r.gamma)
    view = operations.blur(view, generator, probability=r.blur, sigma=r.blur_sigma)
    view = operations.noise(view, generator, probability=r.noise, speckle=r.speckle, grain=r.grain)
    view = operations.solarise(view, generator, probability=r.solarise)
    shift = torch.tensor(mean, dtype=view.dtype).view(-1, 1, 1)
    scale = torch.tensor(std, dtype=view.dtype).view(-1, 1, 1)
    return view.sub_(shift.to(view.device)).div_(scale.to(view.device))


def local_size(size: int) -> int:
    """Side of a local crop: 96 of 224 pixels as in DINO, to the next multiple of 16 (32 of 64)."""
    return max(16, round(size * 3 / 7 / 16) * 16)


def _changed(recipe: ViewRecipe, settings: ViewSettings) -> ViewRecipe:
    """The recipe with an experiment's changes."""
    fields = {field.name for field in dataclasses.fields(ViewRecipe)}
    changes = {
        name: value for name, value in dataclasses.asdict(settings).items() if name in fields and value is not None
    }
    for name in ("jitter", "blur", "noise", "solarise"):
        if getattr(recipe, name) == 0:
            changes.pop(name, None)
    if recipe.small:
        changes.pop("crop_scale", None)
        if settings.local_crop_scale is not None:
            changes["crop_scale"] = settings.local_crop_scale
    return dataclasses.replace(recipe, **changes)
