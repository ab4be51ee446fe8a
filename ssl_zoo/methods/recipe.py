"""The optimiser and schedule of a paper, free of batch size and run length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from ssl_zoo.errors import UserError, unknown

Optimizer = Literal["lars", "sgd", "adamw"]
LrRule = Literal["linear", "sqrt", "fixed"]
Schedule = Literal["cosine", "step"]


@dataclass(frozen=True)
class Recipe:
    """How a method is optimised; read by `training.optim`.

    The peak learning rate follows `lr_rule`: "linear" is `base_lr * batch / lr_per`, "sqrt" is `base_lr * sqrt(batch /
    lr_per)`, "fixed" is `base_lr`. It is reached after `warmup`; from there "cosine" falls to `final_lr` at the end,
    and "step" multiplies by `step_factor` after every `step_every`.

    Raises UserError for a name that is not among the choices and a schedule outside its range.
    """

    optimizer: Optimizer
    base_lr: float
    weight_decay: float
    lr_rule: LrRule = "linear"
    lr_per: int = 256
    momentum: float = 0.9  # sgd and lars
    betas: tuple[float, float] = (0.9, 0.999)  # adamw
    warmup: float = 0.1  # fraction of all steps
    schedule: Schedule = "cosine"
    final_lr: float = 0.0  # cosine: fraction of the peak
    step_factor: float = 0.1  # step: in 0..1
    step_every: float = 0.1  # step: fraction of all steps
    bias_lr_scale: float | None = None  # learning rate of biases and norms, relative to that of the weights
    weight_decay_end: float | None = None  # cosine from weight_decay to this; None keeps it
    clip_norm: float | None = None  # largest gradient norm over all parameters

    def __post_init__(self) -> None:
        choices = {
            "optimizer": (self.optimizer, Optimizer),
            "lr_rule": (self.lr_rule, LrRule),
            "schedule": (self.schedule, Schedule),
        }
        for field, (value, known) in choices.items():
            if value not in get_args(known):
                raise unknown(field, value, get_args(known))
        for field in ("step_factor", "step_every"):
            if not 0 < getattr(self, field) <= 1:
                raise UserError(f"{field} must be above 0 and at most 1, not {getattr(self, field)}")
        if not 0 <= self.warmup < 1:
            raise UserError(f"warmup is a share of the steps, 0 or more and less than 1, not {self.warmup}")
        if not 0 < self.base_lr < math.inf:
            raise UserError(f"base_lr must be a positive number, not {self.base_lr}")
        for field in ("weight_decay", "final_lr"):
            if not 0 <= getattr(self, field) < math.inf:
                raise UserError(f"{field} must not be negative, and finite, not {getattr(self, field)}")
