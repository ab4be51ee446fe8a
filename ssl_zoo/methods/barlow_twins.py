"""Barlow Twins: make each embedding dimension agree between two views of an image and disagree with every
other dimension.

Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021, arXiv
2103.03230.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from lightly.loss import BarlowTwinsLoss
from lightly.models.modules import BarlowTwinsProjectionHead
from torch import Tensor, nn

from ssl_zoo.methods.base import Method, Output, in_float32
from ssl_zoo.methods.processes import gather
from ssl_zoo.methods.recipe import Recipe


class BarlowTwins(Method):
    """Cross-correlation of two views' embeddings, pulled toward the identity.

    `hidden_dim` and `projector_dim` are 8192 in the paper, four times the width of ResNet-50's features; the
    default is scaled to networks of 512 features. `redundancy_weight` is the paper's lambda.
    """

    family: ClassVar[str] = "redundancy reduction"
    views: ClassVar[str] = "asymmetric"
    recipe: ClassVar[Recipe] = Recipe(
        optimizer="lars",
        base_lr=0.2,  # weights; released code, --learning-rate-weights
        weight_decay=1.5e-6,  # paper, section 2.2
        warmup=0.1,  # 10 epochs, of 100 in the shortest published run
        final_lr=0.001,  # paper: "reduce the learning rate by a factor of 1000"
        bias_lr_scale=0.0048 / 0.2,  # biases and norms; paper, section 2.2
    )
    scope: ClassVar = "batch"
    heads: ClassVar[str] = "MLP d-{hidden_dim}-{hidden_dim}-{projector_dim}, BatchNorm"
    paper: ClassVar[str] = "2103.03230"

    def __init__(
        self,
        backbone: nn.Module,
        *,
        hidden_dim: int = 1024,
        projector_dim: int = 1024,
        redundancy_weight: float = 0.0051,  # paper, section 2.2: lambda = 5.1e-3
    ) -> None:
        super().__init__(backbone)
        self.redundancy_weight = redundancy_weight
        self.projector = BarlowTwinsProjectionHead(self.width, hidden_dim, projector_dim)
        self.criterion = BarlowTwinsLoss(lambda_param=redundancy_weight)

    def forward(self, views: list[Tensor], scans: Tensor | None = None) -> Output:
        first, second = views  # each [B, C, H, W]
        self.check_batch(first)
        features = self.backbone(first)  # [B, D]
        embeddings = self.projector(features)  # [B, E]
        twins = self.projector(self.backbone(second))  # [B, E]

        # The loss normalises over the batch. lightly's own gathering would normalise each rank by itself and
        # so give another loss than one process on the whole batch; the whole batch comes together first
        # instead.
        left, right = gather(embeddings), gather(twins)  # [ranks * B, E]
        loss = in_float32(self.criterion, left, right)
        invariance = in_float32(invariance_term, left.detach(), right.detach())
        parts = {
            "invariance": invariance,
            "redundancy": (loss.detach() - invariance) / max(self.redundancy_weight, 1e-12),
        }
        return Output(loss, features.detach(), embeddings.detach(), parts)


def invariance_term(left: Tensor, right: Tensor) -> Tensor:
    """Sum over dimensions of (1 - C_ii)^2, with C the cross-correlation over the batch; both `[B, E]`."""
    left, right = (nn.functional.batch_norm(z, None, None, training=True) for z in (left, right))
    diagonal = (left * right).mean(0)  # [E]
    return torch.square(1 - diagonal).sum()
