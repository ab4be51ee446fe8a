"""SimCLR: find each image's other view among all the other images of the batch.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, arXiv
2002.05709.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn

from ssl_zoo.methods.base import Method, Output, in_float32, same_scan
from ssl_zoo.methods.processes import gather, gather_constant
from ssl_zoo.methods.recipe import Recipe


class SimCLR(Method):
    """NT-Xent: a softmax over the cosine similarities of 2B views, where each view's partner is the right
    answer.

    `hidden_dim` None means as wide as the features, as in the paper. The temperature 0.5 is the paper's for
    small data sets (appendix B.9); it is 0.1 on ImageNet. A sharp softmax punishes near-duplicates most, and
    frames of one scan are near-duplicates.
    """

    family: ClassVar[str] = "contrastive"
    views: ClassVar[str] = "two_view"
    recipe: ClassVar[Recipe] = Recipe(
        optimizer="lars",
        base_lr=0.3,  # linear rule; for small batches the paper has 0.075 * sqrt(B): lr_rule "sqrt", lr_per 1
        weight_decay=1e-6,
        warmup=0.1,  # 10 epochs of 100
    )
    scope: ClassVar = "batch"
    negatives: ClassVar[bool] = True
    heads: ClassVar[str] = "MLP d-{hidden_dim}-{projector_dim}, BatchNorm"
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
        self.temperature = temperature
        self.criterion = NTXentLoss(temperature=temperature)

    def forward(self, views: list[Tensor], scans: Tensor | None = None) -> Output:
        batch = len(views[0])
        self.check_batch(views[0])
        features = self.backbone(torch.cat(views))  # [2B, D]: both views share one pass and its BatchNorm statistics
        embeddings = self.projector(features)  # [2B, E]
        first, second = embeddings.split(batch)  # each [B, E]

        criterion = self.criterion
        if scans is not None:
            criterion = partial(nt_xent_between_scans, scans=gather_constant(scans), temperature=self.temperature)
        loss = in_float32(criterion, gather(first), gather(second))
        return Output(loss, features[:batch].detach(), first.detach())


def nt_xent_between_scans(first: Tensor, second: Tensor, scans: Tensor, temperature: float) -> Tensor:
    """NT-Xent (equation 1) without the negatives from the anchor's own scan.

    Embeddings `[B, E]` of the two views, scans `[B]`. An image whose scan fills the batch has no negative left, and a
    loss of zero.
    """
    embeddings = nn.functional.normalize(torch.cat([first, second]), dim=1)  # [2B, E]
    places = torch.arange(len(embeddings), device=first.device)
    partners = places.roll(len(first))  # of view i of an image, the place of its other view
    left_out = same_scan(scans, scans).repeat(2, 2)  # [2B, 2B]
    left_out[places, partners] = False
    left_out.fill_diagonal_(True)  # also where the scan is not known
    logits = (embeddings @ embeddings.T / temperature).masked_fill(left_out, -torch.inf)
    return nn.functional.cross_entropy(logits, partners)
