"""Backbones by name: any timm model without its classifier, plus a few small ones that a laptop can train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import timm
import torch
from torch import nn

from ssl_zoo.encoders.cswin import CSWin
from ssl_zoo.encoders.samvit import samvit_mean
from ssl_zoo.errors import UserError, unknown

# Short names for timm models with other sizes than their default: (timm name, its arguments).
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    # Patches are averaged: they are what MAE trains, while its loss hardly reaches the class token.
    "vit_micro_patch8": ("vit_tiny_patch16_224", {"patch_size": 8, "depth": 6, "global_pool": "avg"}),
    "vit_tiny_patch8": ("vit_tiny_patch16_224", {"patch_size": 8, "global_pool": "avg"}),
}

# Transformers of published encoders that timm does not build as they are: called with img_size and in_chans.
OWN: dict[str, Callable[..., nn.Module]] = {"mofo_cswin": CSWin, "samvit_mean": samvit_mean}


def build_backbone(name: str, *, channels: int, size: int, seed: int = 0, **kwargs: Any) -> nn.Module:
    """A timm model without classifier, or one of OWN: images `[B, channels, size, size]` to features `[B, D]`.

    D is its `num_features` (see `Encoder.num_features` for the exceptions). Weights are drawn from `seed` alone: the
    same seed gives the same weights whatever ran before, and the global random state is left as it was. Further
    arguments go to `timm.create_model`.

    Raises UserError for a name that timm does not know or a size that the model cannot take.
    """
    if name in OWN:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return OWN[name](img_size=size, in_chans=channels, **kwargs)
    timm_name, arguments = SMALL.get(name, (name, {}))
    if not timm.is_model(timm_name.split(".")[0]):
        raise unknown("backbone", name, [*SMALL, *_near(timm_name), *OWN])
    arguments = {**arguments, **kwargs, "in_chans": channels}
    if is_transformer(name):
        patch = arguments.get("patch_size", _default_patch(timm_name))
        if patch and size % patch:
            raise UserError(f"backbone '{name}' cuts images into {patch}-pixel patches, and size {size} is no multiple")
        arguments["img_size"] = size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not arguments.get("pretrained"):
            return timm.create_model(timm_name, **{"num_classes": 0, **arguments})
        model = timm.create_model(timm_name, **arguments)  # with its classifier: timm loads strictly only then
        cast(Any, model).reset_classifier(0)
        return model


def is_transformer(name: str) -> bool:
    """Whether a backbone is a ViT, whose position table fixes the input size."""
    timm_name, _ = SMALL.get(name, (name, {}))
    return name in OWN or timm_name.startswith(("vit_", "deit", "beit", "eva"))


def _default_patch(timm_name: str) -> int | None:
    parts = [part for part in timm_name.split(".")[0].split("_") if part.startswith("patch")]
    return int(parts[0].removeprefix("patch")) if parts else None


def _near(name: str) -> list[str]:
    """The timm names that share a family with `name`, to keep the error's list short."""
    return timm.list_models(f"{name[:4]}*")[:20]
