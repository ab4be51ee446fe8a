"""SimCLR: find each image's other view among all the other images of the batch.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, arXiv
2002.05709.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn

from ssl_zoo.methods.base import Method, Output, Recipe, gather, in_float32


class SimCLR(Method):
    """NT-Xent: a softmax over the cosine similarities of 2B views, where each view's partner is the right
    answer.

    `hidden_dim` None means as wide as the features, as in the paper. The temperature 0.5 is the paper's for
    small data sets (appendix B.9); it is 0.1 on ImageNet. A sharp softmax punishes near-duplicates most, and
    frames of one scan are near-duplicates.
    """

    views: ClassVar[str] = "two_view"
    recipe: ClassVar[Recipe] = Recipe(
        optimizer="lars",
        base_lr=0.3,  # linear rule; the paper's square-root rule 0.075 * sqrt(B) suits batches of 512 or less
        weight_decay=1e-6,
        warmup=0.1,  # 10 epochs of 100
    )
    scope: ClassVar = "batch"
    paper: ClassVar[str] = "2002.05709"

    def __init__(
        self,
        backbone: nn.Module,
        *,
        hidden_dim: int | None = None,
        projector_dim: int = 128,  # paper, section 2.1
        temperature: float = 0.5,
    ) -> None:
        super().__init__(backbone)
        self.projector = SimCLRProjectionHead(self.width, hidden_dim or self.width, projector_dim)
        self.criterion = NTXentLoss(temperature=temperature)

    def forward(self, views: list[Tensor]) -> Output:
        batch = len(views[0])
        features = self.backbone(torch.cat(views))  # [2B, D]: both views share one pass and its BatchNorm statistics
        embeddings = self.projector(features)  # [2B, E]
        first, second = embeddings.split(batch)  # each [B, E]

        loss = in_float32(self.criterion, gather(first), gather(second))
        return Output(loss, features[:batch].detach(), first.detach())
