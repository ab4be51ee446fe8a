"""DINO: sort an image's small and large crops into the same prototypes as a slow copy of the network sorts
the large ones.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, arXiv 2104.14294.
"""

from __future__ import annotations

import warnings
from typing import ClassVar

import torch
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from timm.layers.format import Format
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ssl_zoo.methods.base import Method, Output, cosine, follow, frozen_copy, in_float32
from ssl_zoo.methods.recipe import Recipe


class DINO(Method):
    """Cross-entropy from a centred and sharpened teacher to a student that sees other crops of the image.

    The first two views are large and seen by both networks, all others only by the student; views of one size
    share a pass (and its BatchNorm statistics), as in the authors' code. The teacher runs in training mode,
    and is exported.

    Paper: `hidden_dim` 2048, `bottleneck_dim` 256, `n_prototypes` 65,536, `ema_start` 0.996, for runs of 10^5
    steps; the defaults suit some hundred to some thousand steps. `teacher_temperature` rises linearly from
    `warmup_teacher_temperature` over `temperature_warmup` of the run (30 of 100 epochs). The last layer stays
    as it is for the first `freeze_last_layer` of the run (1 of 100 epochs). The recipe is that for a ViT, on
    a ResNet too; features after a ReLU have a large common part, on which the head collapses easily, and
    `head_batchnorm` (an option of the released code, off there) takes it out.
    """

    family: ClassVar[str] = "self-distillation"
    views: ClassVar[str] = "multi_crop"
    recipe: ClassVar[Recipe] = Recipe(
        optimizer="adamw",
        base_lr=5e-4,
        weight_decay=0.04,
        weight_decay_end=0.4,
        warmup=0.1,  # 10 epochs of 100
        final_lr=0.002,  # 1e-6 of 5e-4
        clip_norm=3.0,  # released code; it clips each parameter by itself
    )
    scope: ClassVar = "batch"  # the centre is a mean over the batch
    role: ClassVar = "teacher"
    heads: ClassVar[str] = (
        "MLP d-{hidden_dim}-{hidden_dim}-{bottleneck_dim}, no BatchNorm, and {n_prototypes} prototypes of length one"
    )
    paper: ClassVar[str] = "2104.14294"

    progress: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        hidden_dim: int = 512,
        bottleneck_dim: int = 128,
        n_prototypes: int = 1024,
        student_temperature: float = 0.1,
        warmup_teacher_temperature: float = 0.04,
        teacher_temperature: float = 0.07,
        temperature_warmup: float = 0.3,
        center_momentum: float = 0.9,
        ema_start: float = 0.99,
        ema_end: float = 1.0,
        freeze_last_layer: float = 0.01,
        head_batchnorm: bool = False,
    ) -> None:
        super().__init__(backbone)
        self.ema_start, self.ema_end = ema_start, ema_end
        self.warmup_teacher_temperature = warmup_teacher_temperature
        self.teacher_temperature = teacher_temperature
        self.temperature_warmup = temperature_warmup
        self.freeze_last_layer = freeze_last_layer
        if isinstance(backbone, VisionTransformer):
            accept_any_size(backbone)

        sizes = (self.width, hidden_dim, bottleneck_dim, n_prototypes)
        self.head = build_head(*sizes, head_batchnorm)
        # A head with weight norm cannot be deep-copied: a second one takes over the weights.
        self.teacher_head = build_head(*sizes, head_batchnorm).requires_grad_(False)
        self.teacher_head.load_state_dict(self.head.state_dict())
        self.teacher = frozen_copy(backbone)
        self.criterion = DINOLoss(n_prototypes, student_temp=student_temperature, center_momentum=center_momentum)
        self.register_buffer("progress", torch.zeros(()))  # a buffer, so that a resumed run has the same temperature

    def forward(self, views: list[Tensor], scans: Tensor | None = None) -> Output:
        batch = len(views[0])
        self.check_batch(views[0])
        large, small = torch.cat(views[:2]), views[2:]  # [2B, C, H, W]
        features = self.backbone(large)  # [2B, D]
        student = self.head(features)  # [2B, K]
        if small:
            student = torch.cat([student, self.head(self.backbone(self.fitted(torch.cat(small))))])  # [views * B, K]
        with torch.no_grad():
            teacher = self.teacher_head(self.teacher(large))  # [2B, K]

        loss = in_float32(self.cross_entropy, teacher.view(2, batch, -1), student.view(len(views), batch, -1))
        return Output(loss, features[:batch].detach(), student[:batch].detach())

    def cross_entropy(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Mean over all pairs of a teacher's view and another view of the student; moves the centre in training.

        Logits of the teacher `[2, B, K]` and of the student `[views, B, K]`.
        """
        temperature = self.teacher_temperature_at(float(self.progress))
        center = self.criterion.center.clone()
        loss = self.criterion(list(teacher), list(student), teacher_temp=temperature)
        if not self.training:  # lightly moves the centre in evaluation mode too
            self.criterion.center.copy_(center)
        return loss

    def teacher_temperature_at(self, progress: float) -> float:
        """Linear from the warm-up temperature to the final one, then constant."""
        share = min(progress / self.temperature_warmup, 1.0) if self.temperature_warmup > 0 else 1.0
        return self.warmup_teacher_temperature + share * (self.teacher_temperature - self.warmup_teacher_temperature)

    def fitted(self, images: Tensor) -> Tensor:
        """Images that a ViT can cut into whole patches: scaled to the nearest multiple where they are not."""
        if not isinstance(self.backbone, VisionTransformer):
            return images
        patch, size = self.backbone.patch_embed.patch_size[0], images.shape[-1]
        multiple = max(1, round(size / patch)) * patch
        if multiple == size:
            return images
        return nn.functional.interpolate(images, (multiple, multiple), mode="bilinear", antialias=True)

    def cancel_gradients(self, progress: float) -> None:
        if progress < self.freeze_last_layer:
            for parameter in self.head.last_layer.parameters():
                parameter.grad = None

    def after_step(self, progress: float) -> None:
        momentum = cosine(self.ema_start, self.ema_end, progress)
        follow(self.teacher, self.backbone, momentum)
        follow(self.teacher_head, self.head, momentum)
        self.progress.fill_(progress)

    def encoder(self) -> nn.Module:
        return self.teacher


def build_head(
    width: int, hidden_dim: int, bottleneck_dim: int, n_prototypes: int, batchnorm: bool
) -> DINOProjectionHead:
    """lightly's head, whose last layer has rows of length one, without the warning about torch's older weight norm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return DINOProjectionHead(width, hidden_dim, bottleneck_dim, n_prototypes, batch_norm=batchnorm)


def accept_any_size(backbone: VisionTransformer) -> None:
    """Let a ViT take images of any multiple of its patch size, by interpolating its table of positions.

    This is what `timm.create_model(..., dynamic_img_size=True)` sets. At the size it was built for, the
    network's output and its weights stay as they were.
    """
    if not backbone.dynamic_img_size:
        backbone.dynamic_img_size = True
        backbone.patch_embed.strict_img_size = False
        backbone.patch_embed.flatten = False
        backbone.patch_embed.output_fmt = Format.NHWC
