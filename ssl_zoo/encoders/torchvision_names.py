"""torchvision's ImageNet weights under timm's names: ViT and EfficientNet-V2; ResNet and DenseNet timm reads itself.

Which weights go where follows from the two libraries' module names; the tests hold the features of both to each other.
"""

from __future__ import annotations

import re

from ssl_zoo.encoders.entry import Weights

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


def timm_names(weights: Weights) -> tuple[Weights, dict[str, float]]:
    """`weights` under timm's names, where they are torchvision's, and what the timm model must be told beside.

    Of an EfficientNet-V2 that is the epsilon of torchvision's batch norms.
    """
    if "conv_proj.weight" in weights:
        return {_by_rules(key): value for key, value in weights.items()}, {}
    if "features.0.0.weight" in weights and "features.0.1.running_mean" in weights:
        return _efficientnet(weights), {"bn_eps": 1e-3}
    return weights, {}


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
    name = f"blocks.{int(stage) - 1}.{block}."
    if part in ("fc1", "fc2"):
        return f"{name}se.{'conv_reduce' if part == 'fc1' else 'conv_expand'}.{rest}"
    # layers: 1 one convolution, 2 fused (expand, project), 4 inverted residual (expand, depthwise, squeeze, project)
    convolutions = {1: ("conv",), 2: ("conv_exp", "conv_pwl"), 4: ("conv_pw", "conv_dw", "", "conv_pwl")}[layers]
    norms = {1: ("bn1",), 2: ("bn1", "bn2"), 4: ("bn1", "bn2", "", "bn3")}[layers]
    return f"{name}{(convolutions if part == '0' else norms)[int(layer)]}.{rest}"
