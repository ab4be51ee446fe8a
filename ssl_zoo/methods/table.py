"""The table of the methods, read off their classes so that it says what the code does."""

from __future__ import annotations

import inspect
from string import Formatter
from typing import Any

from ssl_zoo.methods import METHODS
from ssl_zoo.methods.base import Method
from ssl_zoo.methods.recipe import Recipe

NAMES = {"lars": "LARS", "sgd": "SGD", "adamw": "AdamW"}
BACKBONES = {"any": "any", "vit": "ViT", "cnn": "CNN"}


def method_table() -> list[dict[str, str]]:
    """One row per method, in the order of METHODS.

    Keys: method, family, backbone, views, optimiser, learning rate, schedule, head, constants, paper. `d` is the length
    of the backbone's features; batch is the number of images per optimiser step.
    """
    return [row(name, method) for name, method in METHODS.items()]


def row(name: str, method: type[Method]) -> dict[str, str]:
    """The facts of one method as text."""
    arguments = constructor_defaults(method)
    shown = {field for _, field, _, _ in Formatter().parse(method.heads) if field}
    return {
        "method": name,
        "family": method.family,
        "backbone": BACKBONES[method.needs],
        "views": method.views,
        "optimiser": optimiser_text(method.recipe),
        "learning rate": learning_rate_text(method.recipe),
        "schedule": schedule_text(method.recipe),
        "head": method.heads.format(**{key: "d" if value is None else value for key, value in arguments.items()}),
        "constants": ", ".join(f"{key} {text(value)}" for key, value in arguments.items() if key not in shown),
        "paper": f"arXiv {method.paper}",
    }


def constructor_defaults(method: type[Method]) -> dict[str, Any]:
    """The arguments of a method beside its backbone, with their defaults."""
    parameters = inspect.signature(method.__init__).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def optimiser_text(recipe: Recipe) -> str:
    """Optimiser, momentum or betas, weight decay, and the limit of the gradient."""
    moments = f"betas {text(recipe.betas)}" if recipe.optimizer == "adamw" else f"momentum {recipe.momentum:g}"
    decay = f"{recipe.weight_decay:g}"
    if recipe.weight_decay_end is not None:
        decay += f" to {recipe.weight_decay_end:g} by a cosine"
    parts = [NAMES[recipe.optimizer], moments, f"weight decay {decay}"]
    if recipe.clip_norm is not None:
        parts.append(f"gradient clipped to {recipe.clip_norm:g}")
    return ", ".join(parts)


def learning_rate_text(recipe: Recipe) -> str:
    """The peak learning rate as a rule of the batch size."""
    share = "batch" if recipe.lr_per == 1 else f"batch / {recipe.lr_per}"
    rules = {
        "linear": f"{recipe.base_lr:g} * {share}",
        "sqrt": f"{recipe.base_lr:g} * sqrt({share})",
        "fixed": f"{recipe.base_lr:g}",
    }
    rule = rules[recipe.lr_rule]
    if recipe.bias_lr_scale is not None:
        rule += f", {recipe.bias_lr_scale:g} of it for biases and norms"
    return rule


def schedule_text(recipe: Recipe) -> str:
    """How the learning rate moves over a run."""
    falls = {
        "cosine": f"cosine to {recipe.final_lr:g}",
        "step": f"times {recipe.step_factor:g} every {recipe.step_every:.3g} of the run",
    }
    warmup = f"warm-up {recipe.warmup:.3g} of the run, " if recipe.warmup else ""
    return warmup + falls[recipe.schedule]


def text(value: object) -> str:
    """A constant as it is read aloud: numbers short, pairs with a dash."""
    if isinstance(value, tuple):
        return "-".join(text(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
