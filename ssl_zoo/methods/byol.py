"""BYOL: predict what a slow copy of the network says of the other view, without any negative examples.

Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, arXiv 2006.07733.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from torch import Tensor, nn

from ssl_zoo.methods.base import Method, Output, cosine, follow, frozen_copy, in_float32
from ssl_zoo.methods.recipe import Recipe


class BYOL(Method):
    """The squared distance of unit vectors, 2 - 2 cos, between prediction and teacher, summed over both
    directions.

    `hidden_dim` is 4096 in the paper. `ema_start` is 0.996 in the paper's long runs and 0.99 in its short
    ones (appendix, 300 epochs); it rises to `ema_end` by a cosine over the steps. The teacher runs in
    training mode, on statistics of its own batches, as in the authors' code.
    """

    family: ClassVar[str] = "self-distillation"
    views: ClassVar[str] = "asymmetric"
    recipe: ClassVar[Recipe] = Recipe(
        optimizer="lars",
        base_lr=0.45,  # the paper's for short runs of 100 to 300 epochs; 0.2 for 1000
        weight_decay=1.5e-6,  # section 3.2
        warmup=0.1,  # 10 epochs of 100
    )
    scope: ClassVar = "sample"
    heads: ClassVar[str] = (
        "projector d-{hidden_dim}-{projector_dim} and predictor {projector_dim}-{hidden_dim}-{projector_dim}, BatchNorm"
    )
    paper: ClassVar[str] = "2006.07733"

    def __init__(
        self,
        backbone: nn.Module,
        *,
        hidden_dim: int = 1024,
        projector_dim: int = 256,
        ema_start: float = 0.99,
        ema_end: float = 1.0,
    ) -> None:
        super().__init__(backbone)
        self.ema_start, self.ema_end = ema_start, ema_end
        self.projector = BYOLProjectionHead(self.width, hidden_dim, projector_dim)
        self.predictor = BYOLPredictionHead(projector_dim, hidden_dim, projector_dim)
        self.teacher = frozen_copy(nn.Sequential(self.backbone, self.projector))
        self.negative_cosine = NegativeCosineSimilarity()

    def forward(self, views: list[Tensor], scans: Tensor | None = None) -> Output:
        first, second = views  # each [B, C, H, W]
        self.check_batch(first)
        features = self.backbone(first)  # [B, D]
        embeddings = self.projector(features)  # [B, E]
        others = self.projector(self.backbone(second))  # [B, E]
        with torch.no_grad():
            target_first, target_second = self.teacher(first), self.teacher(second)  # [B, E]

        forth = in_float32(self.distance, self.predictor(embeddings), target_second)
        back = in_float32(self.distance, self.predictor(others), target_first)
        return Output(forth + back, features.detach(), embeddings.detach())

    def distance(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Equation 2: 2 - 2 cos, mean over the batch, in [0, 4]."""
        return 2 + 2 * self.negative_cosine(predictions, targets)

    def after_step(self, progress: float) -> None:
        momentum = cosine(self.ema_start, self.ema_end, progress)  # section 3.2
        follow(self.teacher, nn.Sequential(self.backbone, self.projector), momentum)
