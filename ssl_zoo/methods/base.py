"""What a method is: a module with two verbs (`forward`, `after_step`) and three facts (`views`, `recipe`,
`scope`).

A method knows no trainer, optimiser, logger, path or rank. It owns its backbone, its heads and, where it has
one, its teacher; whoever trains it calls `forward`, `cancel_gradients` and `after_step`, and exports
`encoder()`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeVar, cast

import torch
from lightly.models.utils import update_momentum
from lightly.utils import dist
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ssl_zoo.errors import UserError

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Recipe:
    """The optimiser and schedule of a method's paper, free of batch size and run length.

    The peak learning rate is `base_lr * batch / lr_per`; it is reached after `warmup` (a fraction of all
    steps) and falls by a cosine to `final_lr` (a fraction of the peak).
    """

    optimizer: Literal["lars", "sgd", "adamw"]
    base_lr: float
    weight_decay: float
    lr_per: int = 256
    momentum: float = 0.9  # sgd and lars
    betas: tuple[float, float] = (0.9, 0.999)  # adamw
    warmup: float = 0.1  # fraction of all steps
    final_lr: float = 0.0  # fraction of the peak
    bias_lr_scale: float | None = None  # learning rate of biases and norms, relative to that of the weights
    weight_decay_end: float | None = None  # cosine from weight_decay to this; None keeps it
    clip_norm: float | None = None  # largest gradient norm over all parameters


@dataclass
class Output:
    """What one forward pass gives: a loss to minimise, and detached tensors for the monitors."""

    loss: Tensor  # scalar, float32
    features: Tensor  # [B, D] the student backbone's features of the first view, detached
    embeddings: Tensor  # [B, E] what the loss compares (projector or decoder input), first view, detached
    parts: dict[str, Tensor] = field(default_factory=dict)  # named terms of the loss, detached scalars


class Method(nn.Module):
    """The contract of every method; see METHODS for the list.

    `backbone` is a timm model with `num_classes=0`, images `[B, C, H, W]` to features `[B, D]`. Randomness
    inside `forward` comes from torch's global state, which the trainer seeds.
    """

    views: ClassVar[str]  # the view recipe it eats, a key of training.views.VIEWS
    recipe: ClassVar[Recipe]
    scope: ClassVar[Literal["sample", "batch"]]  # "batch": the loss couples samples, so no gradient accumulation
    role: ClassVar[Literal["student", "teacher"]] = "student"  # which copy `encoder()` exports
    needs: ClassVar[Literal["any", "vit", "cnn"]] = "any"
    paper: ClassVar[str]  # arXiv number

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        is_vit = isinstance(backbone, VisionTransformer)
        if (self.needs == "vit" and not is_vit) or (self.needs == "cnn" and is_vit):
            wanted = "a timm vision transformer" if self.needs == "vit" else "a convolutional network"
            raise UserError(f"method {type(self).__name__} needs {wanted} as backbone, not {type(backbone).__name__}")
        self.backbone = backbone
        self.width = int(cast(int, backbone.num_features))  # D, the length of a feature vector

    def forward(self, views: list[Tensor]) -> Output:
        """The loss of one batch of views, each `[B, C, h, w]`, B >= 2."""
        raise NotImplementedError

    def cancel_gradients(self, progress: float) -> None:
        """Called after backward and before the optimiser's step; drops gradients that the paper withholds."""

    def after_step(self, progress: float) -> None:
        """Called once after every optimiser step; `progress` in [0, 1] is the share of all steps done."""

    def encoder(self) -> nn.Module:
        """The backbone to export: the student's, or the teacher's where `role` says so."""
        return self.backbone


def frozen_copy(module: Module) -> Module:
    """A deep copy that takes no gradient: the start of a teacher."""
    return copy.deepcopy(module).requires_grad_(False)


def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move a teacher's parameters toward the student's: teacher = momentum * teacher + (1 - momentum) *
    student.

    Buffers are not averaged: a teacher in training mode keeps BatchNorm statistics of its own batches.
    """
    with torch.no_grad():
        update_momentum(student, teacher, momentum)


def cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine from `start` (progress 0) to `end` (progress 1), as BYOL's and DINO's teacher
    momentum.
    """
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def gather(embeddings: Tensor) -> Tensor:
    """The embeddings of all processes, `[B, E]` to `[ranks * B, E]`, with gradient; unchanged in one process.

    A loss over the gathered batch is the loss of one process on the whole batch. Backward sums the ranks'
    equal gradients and averaging them over ranks (as DDP does) then gives exactly the whole batch's gradient.
    """
    return torch.cat(dist.gather(embeddings), dim=0) if dist.world_size() > 1 else embeddings


def in_float32(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """`function` of the tensors as float32, whatever autocast the caller runs under."""
    with torch.autocast(tensors[0].device.type, enabled=False):
        return function(*(tensor.float() for tensor in tensors))
