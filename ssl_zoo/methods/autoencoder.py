"""Autoencoder: squeeze an image through the backbone and paint it back.

One of the seven methods of Benjamin et al., "Leveraging Self-Supervised Learning for Fetal Cardiac Planes
Classification using Ultrasound Scan Videos", arXiv 2407.21738.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

from torch import Tensor, nn

from ssl_zoo.methods.base import Method, Output, in_float32
from ssl_zoo.methods.mirrored_decoder import MirroredDecoder
from ssl_zoo.methods.recipe import Recipe

RECONSTRUCTION = Recipe(  # of both autoencoders; released code of arXiv 2407.21738
    optimizer="adamw",
    base_lr=1e-3,
    lr_rule="fixed",  # batches of 2048 there; Adam's steps do not shrink with the batch
    weight_decay=1e-6,
    warmup=0.0,
    schedule="step",
    step_factor=0.5624,  # a tenth every four steps
    step_every=0.05,  # 50 epochs of 1000
)


class Autoencoder(Method):
    """Mean squared error of the painted image.

    The image is the view itself, after its augmentation. The code is the feature map before pooling, as in the study:
    a decoder from pooled features alone has no places to paint.
    """

    family: ClassVar[str] = "reconstruction"
    views: ClassVar[str] = "autoencoder"
    recipe: ClassVar[Recipe] = RECONSTRUCTION
    scope: ClassVar = "sample"
    needs: ClassVar = "cnn"
    heads: ClassVar[str] = "mirrored decoder, {decoder_depth} convolution(s) a stage"
    paper: ClassVar[str] = "2407.21738"

    def __init__(self, backbone: nn.Module, *, decoder_depth: int = 1) -> None:
        super().__init__(backbone)
        self.decoder = MirroredDecoder(backbone, decoder_depth)

    def forward(self, views: list[Tensor], scans: Tensor | None = None) -> Output:
        images = views[0]  # [B, C, H, W]
        self.check_batch(images)
        backbone = cast(Any, self.backbone)
        feature_map = backbone.forward_features(images)  # [B, D, h, w]
        features = backbone.forward_head(feature_map)  # [B, D]
        painted = self.decoder(feature_map, features, images.shape[-2:])  # [B, C, H, W]

        loss = in_float32(nn.functional.mse_loss, painted, images)
        return Output(loss, features.detach(), features.detach())
