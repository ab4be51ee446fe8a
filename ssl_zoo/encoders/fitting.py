"""How an image of any shape becomes the square that an encoder wants: letterboxed, padded or squashed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ssl_zoo.errors import unknown
from ssl_zoo.scans.scaling import fit_box

FITTINGS = {
    "letterbox": "aspect ratio kept, black on both sides",
    "pad": "aspect ratio kept, black at the right or at the bottom",
    "squash": "stretched to the square",
}
# What scales an image: area averaging is what frame stores use; the others are for encoders trained with them.
RESAMPLINGS = ("area", "bicubic", "nearest")
# torch's nearest relative; "nearest-exact" picks the pixel that Pillow's NEAREST picks
TORCH_MODES = {"area": ("bilinear", True), "bicubic": ("bicubic", True), "nearest": ("nearest-exact", False)}


@dataclass(frozen=True)
class Fit:
    """The square images that an encoder is fed with."""

    size: int  # pixels
    fitting: str = "letterbox"
    resampling: str = "area"

    def __post_init__(self) -> None:
        check_fitting(self.fitting, self.resampling)

    def box(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) to which an image is scaled, 1..`size` each."""
        return (self.size, self.size) if self.fitting == "squash" else fit_box(width, height, self.size)

    def corner(self, width: int, height: int) -> tuple[int, int]:
        """Where an image of this size lies in the black square: its (top, left)."""
        return (0, 0) if self.fitting == "pad" else ((self.size - height) // 2, (self.size - width) // 2)


def check_fitting(fitting: str, resampling: str) -> None:
    """Refuse a name that is not among FITTINGS and RESAMPLINGS."""
    if fitting not in FITTINGS:
        raise unknown("fitting", fitting, FITTINGS)
    if resampling not in RESAMPLINGS:
        raise unknown("resampling", resampling, RESAMPLINGS)


def fit_batch(images: Tensor, fit: Fit) -> Tensor:
    """Float images 0..1 `[B, C, H, W]` to `[B, C, size, size]`, black where no image is."""
    size = fit.size
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    mode, antialias = TORCH_MODES[fit.resampling]
    wide, high = fit.box(width, height)
    scaled = nn.functional.interpolate(images, (high, wide), mode=mode, antialias=antialias)
    if fit.resampling == "bicubic":
        scaled = scaled.clamp(0, 1)  # it overshoots at edges
    if (high, wide) == (size, size):
        return scaled
    top, left = fit.corner(wide, high)
    return nn.functional.pad(scaled, (left, size - wide - left, top, size - high - top))
