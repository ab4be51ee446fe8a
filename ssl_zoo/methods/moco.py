"""MoCo v2: find each image's other view among a queue of past images, whose keys a slow copy of the network
makes.

He et al., "Momentum Contrast", CVPR 2020, arXiv 1911.05722; Chen et al., "Improved Baselines with Momentum
Contrastive Learning" (v2), arXiv 2003.04297.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from lightly.models.modules import MoCoProjectionHead
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_zoo.methods.base import Method, Output, Recipe, follow, frozen_copy, gather, in_float32

SMALLEST_CHUNK = 8  # images that may share BatchNorm statistics in the teacher


class MoCo(Method):
    """InfoNCE of a query against its own key and a queue of older keys.

    `queue_size` is 65,536 in the paper, a twentieth of ImageNet. Keep it well below the number of frames, or
    an image meets its own key of the last epoch as a negative; the default suits stores of some thousand
    frames. `ema` is 0.999 in the paper, over 10^5 steps and more; a run of hundreds of steps needs a faster
    teacher.

    *Shuffled BatchNorm.* The teacher runs in training mode. When a query and its key share batch statistics,
    those give the pair away. The paper shuffles keys across GPUs; here, in one process, the shuffled keys
    pass the teacher in `key_chunks` parts with statistics of their own. Backbones without BatchNorm take one
    pass.

    The queue is written here and not taken from lightly, whose memory bank is neither saved with the model
    nor keeps the keys that overrun its end.
    """

    views: ClassVar[str] = "two_view"
    recipe: ClassVar[Recipe] = Recipe(optimizer="sgd", base_lr=0.03, weight_decay=1e-4, momentum=0.9, warmup=0.0)
    scope: ClassVar = "sample"
    paper: ClassVar[str] = "2003.04297"

    queue: Tensor
    queue_end: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        hidden_dim: int | None = None,  # as wide as the features: 2048 in the paper
        projector_dim: int = 128,
        temperature: float = 0.2,  # v2, table 1
        queue_size: int = 1024,
        ema: float = 0.99,
        key_chunks: int = 4,
    ) -> None:
        super().__init__(backbone)
        self.temperature = temperature
        self.ema = ema
        self.projector = MoCoProjectionHead(self.width, hidden_dim or self.width, projector_dim)
        self.teacher = frozen_copy(nn.Sequential(self.backbone, self.projector))
        has_batchnorm = any(isinstance(module, _BatchNorm) for module in self.teacher.modules())
        self.key_chunks = key_chunks if has_batchnorm else 1
        self.register_buffer("queue", nn.functional.normalize(torch.randn(queue_size, projector_dim), dim=1))
        self.register_buffer("queue_end", torch.zeros((), dtype=torch.long))
        self._new_keys: list[Tensor] = []  # of this optimiser step, not yet in the queue

    def forward(self, views: list[Tensor]) -> Output:
        first, second = views  # each [B, C, H, W]
        features = self.backbone(first)  # [B, D]
        queries = self.projector(features)  # [B, E]
        keys = self.make_keys(second)  # [B, E], no gradient

        loss = in_float32(self.contrast, queries, keys, self.queue)
        if self.training:
            self._new_keys.append(gather(keys))
        return Output(loss, features.detach(), queries.detach())

    def contrast(self, queries: Tensor, keys: Tensor, queue: Tensor) -> Tensor:
        """InfoNCE (equation 1 of v1): queries and keys `[B, E]`, queue `[K, E]`; the key of a query is class
        0.
        """
        queries, keys = nn.functional.normalize(queries, dim=1), nn.functional.normalize(keys, dim=1)
        positives = (queries * keys).sum(1, keepdim=True)  # [B, 1]
        negatives = queries @ queue.clone().T  # [B, K]; a clone, for the queue changes before a late backward
        logits = torch.cat([positives, negatives], dim=1) / self.temperature  # [B, 1 + K]
        return nn.functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))

    @torch.no_grad()
    def make_keys(self, images: Tensor) -> Tensor:
        """Unit keys `[B, E]` of the teacher, with BatchNorm statistics that no query shares."""
        chunks = max(1, min(self.key_chunks, len(images) // SMALLEST_CHUNK))
        if chunks == 1 or not self.training:
            keys = self.teacher(images)
        else:
            order = torch.randperm(len(images), device=images.device)
            keys = torch.cat([self.teacher(part) for part in images[order].tensor_split(chunks)])
            keys = keys[torch.argsort(order)]
        return in_float32(lambda z: nn.functional.normalize(z, dim=1), keys)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        follow(self.teacher, nn.Sequential(self.backbone, self.projector), self.ema)
        for keys in self._new_keys:
            self.enqueue(keys)
        self._new_keys.clear()

    def enqueue(self, keys: Tensor) -> None:
        """Overwrite the oldest keys of the ring; a batch may wrap around its end or be larger than the
        queue.
        """
        size = len(self.queue)
        keys = keys[-size:]
        places = (self.queue_end + torch.arange(len(keys), device=keys.device)) % size
        self.queue[places] = keys
        self.queue_end.copy_((self.queue_end + len(keys)) % size)
