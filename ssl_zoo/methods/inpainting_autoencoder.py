"""Inpainting autoencoder: cut a hole into an image and paint the whole image back.

Pathak et al., "Context Encoders: Feature Learning by Inpainting", CVPR 2016, arXiv 1604.07379, without its
adversary: as one of the seven methods of Benjamin et al., arXiv 2407.21738.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ssl_zoo.errors import UserError
from ssl_zoo.methods.autoencoder import RECONSTRUCTION
from ssl_zoo.methods.base import Method, Output, in_float32
from ssl_zoo.methods.mirrored_decoder import MirroredDecoder
from ssl_zoo.methods.processes import uniform
from ssl_zoo.methods.recipe import Recipe


class InpaintingAutoencoder(Method):
    """Mean squared error between the clean image and what is painted from the erased one, over the whole image.

    A rectangle is erased with `erase_probability`, of an `erase_area` (share of the image, uniform) and an
    `erase_aspect` (height to width, log-uniform), anywhere it fits. The law is that of random erasing (Zhong et al.,
    arXiv 1708.04896), here in every image: one without a hole leaves nothing to fill in. An erased pixel is 0, the mean
    of the normalised views.
    """

    family: ClassVar[str] = "reconstruction"
    views: ClassVar[str] = "autoencoder"
    recipe: ClassVar[Recipe] = RECONSTRUCTION
    scope: ClassVar = "sample"
    needs: ClassVar = "cnn"
    heads: ClassVar[str] = "mirrored decoder, {decoder_depth} convolution(s) a stage"
    paper: ClassVar[str] = "2407.21738"

    def __init__(
        self,
        backbone: nn.Module,
        *,
        decoder_depth: int = 1,
        erase_probability: float = 1.0,
        erase_area: tuple[float, float] = (0.02, 0.33),
        erase_aspect: tuple[float, float] = (0.3, 3.3),
    ) -> None:
        super().__init__(backbone)
        if not 0 <= erase_probability <= 1:
            raise UserError(f"inpainting_autoencoder: erase_probability must lie in 0..1, not {erase_probability}")
        if not 0 < erase_area[0] <= erase_area[1] < 1:
            raise UserError(f"inpainting_autoencoder: erase_area is a range of shares in 0..1, not {erase_area}")
        if not 0 < erase_aspect[0] <= erase_aspect[1]:
            raise UserError(f"inpainting_autoencoder: erase_aspect is a range above 0, not {erase_aspect}")
        self.erase_probability = erase_probability
        self.erase_area, self.erase_aspect = erase_area, erase_aspect
        self.decoder = MirroredDecoder(backbone, decoder_depth)

    def forward(self, views: list[Tensor], scans: Tensor | None = None) -> Output:
        images = views[0]  # [B, C, H, W]
        self.check_batch(images)
        hidden = self.draw_holes(images)  # [B, 1, H, W]
        backbone = cast(Any, self.backbone)
        feature_map = backbone.forward_features(images.masked_fill(hidden, 0))  # [B, D, h, w]
        features = backbone.forward_head(feature_map)  # [B, D]
        painted = self.decoder(feature_map, features, images.shape[-2:])  # [B, C, H, W]

        loss = in_float32(nn.functional.mse_loss, painted, images)
        return Output(loss, features.detach(), features.detach())

    def draw_holes(self, images: Tensor) -> Tensor:
        """Which pixels are erased, bool `[B, 1, H, W]`: at most one rectangle in each image."""
        draws = uniform(len(images), 5, device=images.device).unsqueeze(-1)  # [B, 5, 1]
        erased, area, aspect, top, left = draws.unbind(1)  # each [B, 1]
        return rectangles(
            (images.shape[-2], images.shape[-1]),
            area=self.erase_area[0] + area * (self.erase_area[1] - self.erase_area[0]),
            aspect=self.erase_aspect[0] * (self.erase_aspect[1] / self.erase_aspect[0]) ** aspect,
            top=top,
            left=left,
        ) & (erased < self.erase_probability).view(-1, 1, 1, 1)


def rectangles(size: tuple[int, int], *, area: Tensor, aspect: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Rectangles in images of `size` (H, W), bool `[B, 1, H, W]`; the four numbers of each are `[B, 1]`.

    Sides are rounded to pixels, at least one and at most the image's; `top` and `left`, in 0..1, choose among all
    places where the rectangle fits.
    """
    image_height, image_width = size
    pixels = area * (image_height * image_width)
    height = (pixels * aspect).sqrt().round().clamp(1, image_height)  # [B, 1]
    width = (pixels / aspect).sqrt().round().clamp(1, image_width)
    first_row = (top * (image_height - height + 1)).floor()
    first_column = (left * (image_width - width + 1)).floor()
    row = torch.arange(image_height, device=area.device)  # [H]
    column = torch.arange(image_width, device=area.device)  # [W]
    rows = (row >= first_row) & (row < first_row + height)  # [B, H]
    columns = (column >= first_column) & (column < first_column + width)  # [B, W]
    return (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)
