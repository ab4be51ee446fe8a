"""Optimisers and their schedule, from a method's recipe and the batch size; a resumed run needs only its step
number.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from lightly.utils.lars import LARS
from timm.optim import param_groups_weight_decay  # pyright: ignore[reportPrivateImportUsage]
from torch import nn
from torch.optim import Optimizer

from ssl_zoo.errors import unknown

# Tokens and tables of transformers, and the lengths of weight-normed rows: parameters of two and more
# dimensions that are no weight matrices.
NEVER_DECAYED = ("cls_token", "reg_token", "dist_token", "mask_token", "pos_embed", "weight_g")

# lightly's LARS adapts the step of a group only where its weight decay is not zero. This one is nothing in
# float32.
NO_DECAY_BUT_ADAPT = 1e-30


class OptimRecipe(Protocol):
    """The fields of a recipe that an optimiser and its schedule need; see methods.Recipe for their
    meaning.
    """

    @property
    def optimizer(self) -> str: ...
    @property
    def base_lr(self) -> float: ...
    @property
    def lr_rule(self) -> str: ...
    @property
    def lr_per(self) -> int: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def momentum(self) -> float: ...
    @property
    def betas(self) -> tuple[float, float]: ...
    @property
    def warmup(self) -> float: ...
    @property
    def schedule(self) -> str: ...
    @property
    def final_lr(self) -> float: ...
    @property
    def step_factor(self) -> float: ...
    @property
    def step_every(self) -> float: ...
    @property
    def bias_lr_scale(self) -> float | None: ...
    @property
    def weight_decay_end(self) -> float | None: ...


def build_optimizer(model: nn.Module, recipe: OptimRecipe, *, batch_size: int) -> Optimizer:
    """The recipe's optimiser over the trainable parameters of `model`, in two groups, at the peak learning
    rate.

    Group "weights" decays and, under LARS, adapts its step to the ratio of norms. Group "biases" (biases,
    norms, all 1-D parameters, tokens and position tables) does neither, and has `bias_lr_scale` times the
    learning rate. `batch_size` is the number of images per optimiser step over all processes, see `peak_lr`.
    """
    groups = parameter_groups(model)
    peak = peak_lr(recipe, batch_size)
    for group in groups:
        scale = recipe.bias_lr_scale if group["name"] == "biases" else None
        group["peak_lr"] = group["lr"] = peak * (1.0 if scale is None else scale)
        group["weight_decay"] = _decay(group, recipe, recipe.weight_decay)
    if recipe.optimizer == "lars":
        return LARS(groups, lr=peak, momentum=recipe.momentum)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=peak, momentum=recipe.momentum)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=peak, betas=recipe.betas)
    raise unknown("optimizer", recipe.optimizer, ["lars", "sgd", "adamw"])


def peak_lr(recipe: OptimRecipe, batch_size: int) -> float:
    """The highest learning rate, of the weights, at a batch size over all processes."""
    if recipe.lr_rule == "linear":
        return recipe.base_lr * batch_size / recipe.lr_per
    if recipe.lr_rule == "sqrt":
        return recipe.base_lr * math.sqrt(batch_size / recipe.lr_per)
    if recipe.lr_rule == "fixed":
        return recipe.base_lr
    raise unknown("lr_rule", recipe.lr_rule, ["linear", "sqrt", "fixed"])


def parameter_groups(model: nn.Module) -> list[dict]:
    """Two groups named "weights" and "biases" that hold each trainable parameter once; an empty one is left
    out.
    """
    tokens = [name for name, _ in model.named_parameters() if name.rsplit(".", 1)[-1] in NEVER_DECAYED]
    # timm puts everything into one group when the decay is zero, so it is asked with one that is not.
    found = param_groups_weight_decay(model, weight_decay=1.0, no_weight_decay_list=tokens)
    return [{"name": "weights" if group["weight_decay"] else "biases", "params": group["params"]} for group in found]


def set_schedule(optimizer: Optimizer, recipe: OptimRecipe, step: int, total_steps: int) -> None:
    """Set learning rate and weight decay of every group for the step about to be taken, `step` in
    0..total_steps-1.
    """
    factor = lr_factor(recipe, step, total_steps)
    decay = weight_decay_at(recipe, step, total_steps)
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
        group["weight_decay"] = _decay(group, recipe, decay)


def lr_factor(recipe: OptimRecipe, step: int, total_steps: int) -> float:
    """Share of the peak learning rate: linear from 1/w over the first w steps, then what `schedule` says.

    "cosine" falls to `final_lr` at the last step; "step" multiplies by `step_factor` after each `step_every` of the
    run, at least a step long, counted from the end of the warm-up.
    """
    warmup = round(recipe.warmup * total_steps)
    if step < warmup:
        return (step + 1) / warmup
    if recipe.schedule == "cosine":
        return _cosine(1.0, recipe.final_lr, step - warmup, total_steps - warmup)
    if recipe.schedule == "step":
        period = max(1, round(recipe.step_every * total_steps))
        return recipe.step_factor ** ((step - warmup) // period)
    raise unknown("schedule", recipe.schedule, ["cosine", "step"])


def weight_decay_at(recipe: OptimRecipe, step: int, total_steps: int) -> float:
    """Constant, or a cosine from `weight_decay` to `weight_decay_end` over the whole run."""
    if recipe.weight_decay_end is None:
        return recipe.weight_decay
    return _cosine(recipe.weight_decay, recipe.weight_decay_end, step, total_steps)


def _cosine(start: float, end: float, step: int, steps: int) -> float:
    """Half a cosine: `start` at step 0, `end` at the last step, steps - 1."""
    progress = min(step / (steps - 1), 1.0) if steps > 1 else 0.0
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def _decay(group: dict, recipe: OptimRecipe, weight_decay: float) -> float:
    if group["name"] == "biases":
        return 0.0
    return max(weight_decay, NO_DECAY_BUT_ADAPT) if recipe.optimizer == "lars" else weight_decay
