"""torchvision's ImageNet weights under timm's names: ViT and EfficientNet-V2; ResNet and DenseNet timm reads itself.

Which weights go where follows from the two libraries' module names; the tests hold the features of both to each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ssl_zoo.encoders.entry import IMAGENET_MEAN, IMAGENET_STD, Weights

VIT = (
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.ln\.", "norm."),
    (r"^encoder\.layers\.encoder_layer_", "blocks."),
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(?:linear_1|0)\.", ".mlp.fc1."),
    (r"\.mlp\.(?:linear_2|3)\.", ".mlp.fc2."),
    (r"^heads\.head\.", "head."),
)
EFFICIENTNET_HEAD = {"classifier.1.weight": "classifier.weight", "classifier.1.bias": "classifier.bias"}
# by a block's layers: 1 one convolution, 2 fused (expand, project), 4 inverted residual (expand, depthwise, squeeze,
# project)
CONVOLUTIONS = {1: ("conv",), 2: ("conv_exp", "conv_pwl"), 4: ("conv_pw", "conv_dw", "", "conv_pwl")}
NORMS = {1: ("bn1",), 2: ("bn1", "bn2"), 4: ("bn1", "bn2", "", "bn3")}
LARGE_STEM = 32  # channels of the first convolution of EfficientNet-V2-L; S and M have 24
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class TimmWeights:
    """Weights under timm's names, with the mean and standard deviation (of colours scaled to 0..1) that they want."""

    weights: Weights
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    arguments: dict[str, Any] = field(default_factory=dict)  # for timm's model: the epsilon of torchvision's norms


def from_torchvision(weights: Weights) -> TimmWeights | None:
    """`weights` under timm's names, where theirs are torchvision's and not timm's; None otherwise.

    torchvision normalises them by its own numbers, which are not always those of timm's weights for the same network.
    """
    if "conv_proj.weight" in weights:
        return TimmWeights({_by_rules(key): value for key, value in weights.items()})
    if "features.0.0.weight" in weights and "features.0.1.running_mean" in weights:
        large = len(weights["features.0.0.weight"]) == LARGE_STEM
        mean, std = (HALF, HALF) if large else (IMAGENET_MEAN, IMAGENET_STD)
        return TimmWeights(_efficientnet(weights), mean, std, {"bn_eps": 1e-3})
    return None


def _by_rules(key: str) -> str:
    for rule, replacement in VIT:
        key = re.sub(rule, replacement, key)
    return key


def _efficientnet(weights: Weights) -> Weights:
    """EfficientNet-V2: `features.<stage>.<block>.block.<layer>.<0 conv, 1 norm>`; the last stage is one convolution."""
    stages = {int(found[1]) for key in weights if (found := re.match(r"features\.(\d+)\.", key))}
    last = max(stages)
    return {_efficientnet_name(key, weights, last): value for key, value in weights.items()}


def _efficientnet_name(key: str, weights: Weights, last: int) -> str:
    if key in EFFICIENTNET_HEAD:
        return EFFICIENTNET_HEAD[key]
    plain = re.match(r"features\.(\d+)\.([01])\.(\w+)$", key)
    if plain and int(plain[1]) in (0, last):
        first = plain[1] == "0"
        names = ("conv_stem", "bn1") if first else ("conv_head", "bn2")
        return f"{names[int(plain[2])]}.{plain[3]}"
    found = re.match(r"features\.(\d+)\.(\d+)\.block\.(\d+)\.(\w+)\.(.+)$", key)
    if not found:
        return key
    stage, block, layer, part, rest = found.groups()
    stem = f"features.{stage}.{block}.block."
    layers = len({key.removeprefix(stem).split(".")[0] for key in weights if key.startswith(stem)})
    if layers not in CONVOLUTIONS:
        return key  # of an EfficientNet that is no V2
    name = f"blocks.{int(stage) - 1}.{block}."
    if part in ("fc1", "fc2"):
        return f"{name}se.{'conv_reduce' if part == 'fc1' else 'conv_expand'}.{rest}"
    return f"{name}{(CONVOLUTIONS if part == '0' else NORMS)[layers][int(layer)]}.{rest}"
