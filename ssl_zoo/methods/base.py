"""What a method is: a module with two verbs (`forward`, `after_step`) and facts (`views`, `recipe`, `scope`, others).

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
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_zoo.errors import UserError
from ssl_zoo.methods.recipe import Recipe

Module = TypeVar("Module", bound=nn.Module)


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

    A batch may be spread over processes (torch.distributed): each holds an equal part of it, in the order of the
    processes, and starts `forward` from the same random state. With BatchNorm synchronised everywhere but in
    `own_batchnorm`, the mean over processes of the losses and of the gradients is then that of one process.
    """

    family: ClassVar[str]  # the idea it belongs to, in a word or two
    views: ClassVar[str]  # the view recipe it eats, a key of training.views.VIEWS
    recipe: ClassVar[Recipe]
    scope: ClassVar[Literal["sample", "batch"]]  # "batch": the loss couples samples, so no gradient accumulation
    negatives: ClassVar[bool] = False  # whether other images are pushed away, and `scans` changes the loss
    role: ClassVar[Literal["student", "teacher"]] = "student"  # which copy `encoder()` exports
    needs: ClassVar[Literal["any", "vit", "cnn"]] = "any"
    heads: ClassVar[str]  # what stands behind the backbone; {name} is an argument of the constructor
    paper: ClassVar[str]  # arXiv number
    own_batchnorm: ClassVar[tuple[str, ...]] = ()  # parts whose BatchNorm must not be synchronised

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        is_vit = isinstance(backbone, VisionTransformer)
        if (self.needs == "vit" and not is_vit) or (self.needs == "cnn" and is_vit):
            wanted = "a timm vision transformer" if self.needs == "vit" else "a convolutional network"
            raise UserError(f"method {type(self).__name__} needs {wanted} as backbone, not {type(backbone).__name__}")
        self.backbone = backbone
        # D, the length of a feature vector; some timm models (MobileNetV3) have layers behind their `num_features`.
        self.width = int(cast(int, getattr(backbone, "head_hidden_size", None) or backbone.num_features))

    def forward(self, views: list[Tensor], scans: Tensor | None = None) -> Output:
        """The loss of one batch of views, each `[B, C, h, w]`.

        `scans`, int64 `[B]`, numbers the scan that each image is a frame of, -1 where that is not known. A method with
        `negatives` then pushes no image away from another of its own scan; the others ignore it. Raises UserError for
        a batch of one image where `coupling` needs two.
        """
        raise NotImplementedError

    def coupling(self) -> str | None:
        """What makes an image's loss depend on the rest of its batch, or None where nothing does.

        With None, the mean over parts of a batch (gradient accumulation) equals the whole batch; otherwise it does not.
        """
        if self.scope == "batch":
            return "its loss couples the images of a batch"
        if any(isinstance(module, _BatchNorm) and module.training for module in self.modules()):
            return "its BatchNorm takes statistics over a batch"
        return None

    def check_batch(self, images: Tensor) -> None:
        """Raises UserError when a whole batch is one image `[1, ...]` and that leaves nothing to compare it with."""
        if len(images) * dist.world_size() < 2 and (reason := self.coupling()):
            raise UserError(f"method {type(self).__name__} needs two images or more in a batch, for {reason}")

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


def same_scan(scans: Tensor, others: Tensor) -> Tensor:
    """Which images of `scans` `[B]` and `others` `[N]` are known to be of one scan, bool `[B, N]`; -1 is not known."""
    return (scans.unsqueeze(1) == others) & (scans >= 0).unsqueeze(1)


def in_float32(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """`function` of the tensors as float32, whatever autocast the caller runs under."""
    with torch.autocast(tensors[0].device.type, enabled=False):
        return function(*(tensor.float() for tensor in tensors))
