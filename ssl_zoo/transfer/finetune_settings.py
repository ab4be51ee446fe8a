"""What fine-tuning is told: steps, rates, views; and each step's rate, each layer's and each view, which follow."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]
from torch import nn

from ssl_zoo.errors import UserError
from ssl_zoo.training.view_recipes import MILD, PRESETS, ViewRecipe
from ssl_zoo.training.view_settings import ViewSettings

# A strength alone would silently do nothing where the recipe leaves its operation out.
STRENGTHS = {"gain": "jitter", "contrast": "jitter", "gamma": "jitter", "blur_sigma": "blur", "speckle": "noise"}
STRENGTHS |= {"grain": "noise"}


@dataclass(frozen=True)
class FinetuneSettings:
    """What fine-tuning is told. A cell's key holds all of it."""

    steps: int = 300
    batch_size: int = 32
    lr: float = 1e-3  # of the head; arXiv 2407.21738 fine-tunes with AdamW and 1e-3
    lr_choices: tuple[float, ...] | None = None  # choose among these by patient within the subset, see `choose_lr`
    layer_decay: float = 0.75  # factor on the learning rate per layer below the head (MAE, arXiv 2111.06377, table 9)
    weight_decay: float = 0.05  # same table
    warmup: float = 0.1  # fraction of the steps
    final_lr: float = 0.0  # fraction of lr at the last step
    dropout: float = 0.0  # before the head
    head_batchnorm: bool = True  # standardise the features for the head while it learns, see `Classifier`
    label_smoothing: float = 0.0
    class_weights: bool = True  # every class of the subset counts the same in the loss, however many images it has
    clip_norm: float | None = 1.0
    precision: str = "auto"  # see training/precision.py
    views: ViewSettings = field(default_factory=ViewSettings)  # changes to the mild view of training/view_recipes.py

    def __post_init__(self) -> None:
        checks = {
            "steps": self.steps >= 1,
            "batch_size": self.batch_size >= 2,  # BatchNorm has no variance of one image
            "lr": 0 < self.lr < math.inf,
            "lr_choices": self.lr_choices is None
            or (
                len(set(self.lr_choices)) == len(self.lr_choices) > 0
                and all(0 < rate < math.inf for rate in self.lr_choices)
            ),
            "layer_decay": 0 < self.layer_decay <= 1,
            "weight_decay": 0 <= self.weight_decay < math.inf,
            "warmup": 0 <= self.warmup < 1,
            "final_lr": 0 <= self.final_lr <= 1,
            "dropout": 0 <= self.dropout < 1,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "clip_norm": self.clip_norm is None or self.clip_norm > 0,
        }
        for name, good in checks.items():
            if not good:
                value = getattr(self, name)
                raise UserError(f"fine-tuning: {name} cannot be {list(value) if isinstance(value, tuple) else value}")
        view_recipe(self.views)


def view_recipe(settings: ViewSettings) -> ViewRecipe:
    """The mild view with an experiment's changes; unlike in pre-training, every operation that is named is applied.

    Flips are allowed: the name of a plane does not depend on which side is which, and a fetus in breech shows the
    mirror image of one that lies head down. Where a label does (a left or a right kidney, the situs), set `flip: 0`.

    Raises UserError for a change that would change nothing.
    """
    changes: dict[str, Any] = PRESETS[settings.preset] | settings.given()
    for name in settings.given():
        if name.startswith("local_"):
            raise UserError(f"views: {name} changes nothing in fine-tuning, whose views have no local crops")
    known = {field.name for field in dataclasses.fields(ViewRecipe)}
    recipe = dataclasses.replace(MILD, **{name: value for name, value in changes.items() if name in known})
    for name, operation in STRENGTHS.items():
        if name in settings.given() and not getattr(recipe, operation):
            raise UserError(f"views: {name} changes nothing while {operation}, its probability, is not above 0")
    return recipe


def lr_factor(settings: FinetuneSettings, step: int) -> float:
    """Share of the peak learning rate at a step in 0..steps-1: linear warm-up, then half a cosine to `final_lr`."""
    warmup = round(settings.warmup * settings.steps)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, settings.steps - 1 - warmup)
    return settings.final_lr + (1 - settings.final_lr) * (1 + math.cos(math.pi * progress)) / 2


def parameter_groups(backbone: nn.Module, head: nn.Linear, settings: FinetuneSettings) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: `lr` is each group's peak. Biases, norms, tokens and position tables do not decay.

    timm's layer decay: the head learns at the full rate, and each layer below it at `layer_decay` times the rate of
    the one above, down to the stem. A last norm that feeds the head goes with it, as in MAE.
    """
    undecayed: Any = getattr(backbone, "no_weight_decay", tuple)  # tokens and position tables
    groups = param_groups_layer_decay(
        backbone,
        weight_decay=settings.weight_decay,
        no_weight_decay_list=tuple(undecayed()),
        layer_decay=settings.layer_decay,
    )
    # timm gives the full rate to the topmost layer that it is shown. The head is above it, unless it is but a norm.
    top = [parameter for group in groups if group["lr_scale"] == 1 for parameter in group["params"]]
    below = 1.0 if all(parameter.ndim <= 1 for parameter in top) else settings.layer_decay
    return [
        *({**group, "lr": settings.lr * below * group["lr_scale"]} for group in groups),
        {"params": [head.weight], "lr": settings.lr, "weight_decay": settings.weight_decay},
        {"params": [head.bias], "lr": settings.lr, "weight_decay": 0.0},
    ]
