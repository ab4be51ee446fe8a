"""VICReg: bring two views' embeddings together while every dimension keeps its variance and none copies
another.

Bardes, Ponce, LeCun, "VICReg: Variance-Invariance-Covariance Regularization", ICLR 2022, arXiv 2105.04906.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from lightly.loss.vicreg_loss import covariance_loss, invariance_loss, variance_loss
from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor, nn

from ssl_zoo.methods.base import Method, Output, in_float32
from ssl_zoo.methods.processes import gather
from ssl_zoo.methods.recipe import Recipe


class VICReg(Method):
    """A mean squared distance between views, a hinge on each dimension's deviation, and squared covariances.

    The terms have the scale of the released code, which lightly shares, not of the paper's equations: the
    squared distance is a mean over dimensions too (equation 5 sums them), and the hinges of the two views are
    averaged (equation 6 adds them). The published weights 25, 25, 1 belong to that scale. `hidden_dim` and
    `projector_dim` are 8192 in the paper; the default is scaled to networks of 512 features.
    """

    family: ClassVar[str] = "redundancy reduction"
    views: ClassVar[str] = "two_view_solarised"
    recipe: ClassVar[Recipe] = Recipe(
        optimizer="lars",
        base_lr=0.5,  # at batch 256; 0.2 at 2048 (released README and section 4.2)
        weight_decay=1e-6,
        warmup=0.1,  # 10 epochs of 100
        final_lr=0.002,  # paper: "the final value is 0.002" (of the peak, released code)
    )
    scope: ClassVar = "batch"
    heads: ClassVar[str] = "MLP d-{hidden_dim}-{hidden_dim}-{projector_dim}, BatchNorm"
    paper: ClassVar[str] = "2105.04906"

    def __init__(
        self,
        backbone: nn.Module,
        *,
        hidden_dim: int = 1024,
        projector_dim: int = 1024,
        invariance_weight: float = 25.0,  # lambda, section 4.2
        variance_weight: float = 25.0,  # mu
        covariance_weight: float = 1.0,  # nu
    ) -> None:
        super().__init__(backbone)
        self.invariance_weight = invariance_weight
        self.variance_weight = variance_weight
        self.covariance_weight = covariance_weight
        self.projector = VICRegProjectionHead(self.width, hidden_dim, projector_dim, num_layers=3)

    def forward(self, views: list[Tensor], scans: Tensor | None = None) -> Output:
        first, second = views  # each [B, C, H, W]
        self.check_batch(first)
        features = self.backbone(first)  # [B, D]
        embeddings = self.projector(features)  # [B, E]
        others = self.projector(self.backbone(second))  # [B, E]

        terms = in_float32(vicreg_terms, gather(embeddings), gather(others))  # [3]
        invariance, variance, covariance = terms
        loss = (
            self.invariance_weight * invariance + self.variance_weight * variance + self.covariance_weight * covariance
        )
        names = ["invariance", "variance", "covariance"]
        parts: dict[str, Tensor] = dict(zip(names, terms.detach(), strict=True))
        return Output(loss, features.detach(), embeddings.detach(), parts)


def vicreg_terms(left: Tensor, right: Tensor) -> Tensor:
    """The three unweighted terms (invariance, variance, covariance), `[3]`, of two batches `[B, E]`."""
    return torch.stack(
        [
            invariance_loss(left, right),
            0.5 * (variance_loss(left) + variance_loss(right)),  # hinge at 1, epsilon 1e-4 under the root
            covariance_loss(left) + covariance_loss(right),
        ]
    )
