"""MoCo v2: find each image's other view among a queue of past images, whose keys a slow copy of the network
makes.

He et al., "Momentum Contrast", CVPR 2020, arXiv 1911.05722; Chen et al., "Improved Baselines with Momentum
Contrastive Learning" (v2), arXiv 2003.04297.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from lightly.models.modules import MoCoProjectionHead
from lightly.utils import dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_zoo.methods.base import Method, Output, follow, frozen_copy, in_float32, same_scan
from ssl_zoo.methods.processes import copy_from_first, gather_constant, own_rows, sum_over_processes
from ssl_zoo.methods.recipe import Recipe

SMALLEST_CHUNK = 8  # images that may share BatchNorm statistics in the teacher


class MoCo(Method):
    """InfoNCE of a query against its own key and a queue of older keys.

    `queue_size` is 65,536 in the paper, a twentieth of ImageNet. Keep it well below the number of frames, or
    an image meets its own key of the last epoch as a negative; the default suits stores of some thousand
    frames. `ema` is 0.999 in the paper, over 10^5 steps and more; a run of hundreds of steps needs a faster
    teacher.

    *Shuffled BatchNorm.* The teacher runs in training mode. When a query and its key share batch statistics,
    those give the pair away. The paper shuffles keys across GPUs; here the whole batch is shuffled and passes
    the teacher in `key_chunks` parts with statistics of their own, shared out among the processes (a number of
    parts that the processes divide keeps all of them busy). Backbones without BatchNorm take one pass.

    The queue is written here and not taken from lightly, whose memory bank is neither saved with the model
    nor keeps the keys that overrun its end.
    """

    family: ClassVar[str] = "contrastive"
    views: ClassVar[str] = "two_view"
    recipe: ClassVar[Recipe] = Recipe(optimizer="sgd", base_lr=0.03, weight_decay=1e-4, momentum=0.9, warmup=0.0)
    scope: ClassVar = "sample"
    negatives: ClassVar[bool] = True
    heads: ClassVar[str] = "MLP d-{hidden_dim}-{projector_dim}, no BatchNorm"
    paper: ClassVar[str] = "2003.04297"
    own_batchnorm: ClassVar[tuple[str, ...]] = ("teacher",)

    queue: Tensor
    queue_scans: Tensor
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
        self.key_chunks = key_chunks
        self.shuffles = any(isinstance(module, _BatchNorm) for module in self.teacher.modules())
        self.register_buffer("queue", nn.functional.normalize(torch.randn(queue_size, projector_dim), dim=1))
        self.register_buffer("queue_end", torch.zeros((), dtype=torch.long))
        self.register_buffer("queue_scans", torch.full((queue_size,), -1))  # of each key; -1: not known
        # The keys of this optimiser step, and their scans: not yet in the queue.
        self._new_keys: list[tuple[Tensor, Tensor | None]] = []

    def forward(self, views: list[Tensor], scans: Tensor | None = None) -> Output:
        first, second = views  # each [B, C, H, W]
        self.check_batch(first)
        features = self.backbone(first)  # [B, D]
        queries = self.projector(features)  # [B, E]
        keys = self.make_keys(second)  # [B, E], no gradient

        left_out = None if scans is None else same_scan(scans, self.queue_scans)  # [B, K]
        loss = in_float32(partial(self.contrast, left_out=left_out), queries, keys, self.queue)
        if self.training:
            self._new_keys.append((gather_constant(keys), None if scans is None else gather_constant(scans)))
        return Output(loss, features.detach(), queries.detach())

    def contrast(self, queries: Tensor, keys: Tensor, queue: Tensor, left_out: Tensor | None = None) -> Tensor:
        """InfoNCE (equation 1 of v1): queries and keys `[B, E]`, queue `[K, E]`; the key of a query is class 0.

        `left_out`, bool `[B, K]`, says which old keys are no negatives of a query.
        """
        queries, keys = nn.functional.normalize(queries, dim=1), nn.functional.normalize(keys, dim=1)
        positives = (queries * keys).sum(1, keepdim=True)  # [B, 1]
        negatives = queries @ queue.clone().T  # [B, K]; a clone, for the queue changes before a late backward
        if left_out is not None:
            negatives = negatives.masked_fill(left_out, -torch.inf)
        logits = torch.cat([positives, negatives], dim=1) / self.temperature  # [B, 1 + K]
        return nn.functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))

    @torch.no_grad()
    def make_keys(self, images: Tensor) -> Tensor:
        """Unit keys `[B, E]` of the teacher, with BatchNorm statistics that no query shares."""
        whole_batch = dist.world_size() * len(images)
        chunks = max(1, min(self.key_chunks, whole_batch // SMALLEST_CHUNK))
        if not (self.training and self.shuffles) or (whole_batch == len(images) and chunks == 1):
            keys = self.teacher(images)
        else:
            keys = own_rows(self.make_shuffled_keys(gather_constant(images), chunks))
        return in_float32(lambda z: nn.functional.normalize(z, dim=1), keys)

    def make_shuffled_keys(self, images: Tensor, chunks: int) -> Tensor:
        """Keys `[N, E]`, not yet of length one, of the whole batch `[N, C, H, W]`, which every process holds; a chunk
        is one process's work.
        """
        order = torch.arange(len(images), device=images.device)
        if chunks > 1:
            order = torch.randperm(len(images), device=images.device)
            copy_from_first([order])
        keys = torch.zeros(len(images), self.queue.shape[1], device=images.device)
        for number, places in enumerate(order.tensor_split(chunks)):
            if number % dist.world_size() == dist.rank():
                keys[places] = self.teacher(images[places]).float()
        copy_from_first(self.teacher.buffers())  # running statistics, which only an evaluation reads
        return sum_over_processes(keys)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        follow(self.teacher, nn.Sequential(self.backbone, self.projector), self.ema)
        for keys, scans in self._new_keys:
            self.enqueue(keys, scans)
        self._new_keys.clear()

    def enqueue(self, keys: Tensor, scans: Tensor | None = None) -> None:
        """Overwrite the oldest keys of the ring by keys `[N, E]` of the scans `[N]`, None where they are not known.

        A batch may wrap around the ring's end or be larger than the queue.
        """
        size = len(self.queue)
        keys = keys[-size:]
        places = (self.queue_end + torch.arange(len(keys), device=keys.device)) % size
        self.queue[places] = keys
        self.queue_scans[places] = scans[-size:] if scans is not None else self.queue_scans.new_tensor(-1)
        self.queue_end.copy_((self.queue_end + len(keys)) % size)
