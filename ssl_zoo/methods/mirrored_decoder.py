"""A decoder that walks a convolutional network's stages backwards: from its last feature map to the image."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from ssl_zoo.errors import UserError


class MirroredDecoder(nn.Module):
    """Images `[B, C, H, W]`, of any height and width, from the feature map `[B, D, h, w]` before a backbone's pooling.

    For each halving of the resolution in the backbone there is a stage of `depth` 3x3 convolutions with BatchNorm and
    ReLU, as wide as the backbone is at the resolution that the stage leads to, and a doubling by nearest neighbours (a
    transposed convolution paints checkerboards, Odena et al., Distill 2016). Maps come out at ceil(H / stride), which
    is where a backbone of padded convolutions has them, so that no size of image is special.

    Some timm networks have weights behind the feature map, between pooling and features (MobileNetV3's last
    convolution, ConvNeXt's last norm). So that they train too, their features are added to each place of the map.

    Raises UserError when the backbone is no timm CNN.
    """

    def __init__(self, backbone: nn.Module, depth: int = 1) -> None:
        super().__init__()
        stages = stages_of(backbone)
        if depth < 1:
            raise UserError(f"decoder_depth must be at least 1, not {depth}")
        width, features, behind = probe(backbone, stages)
        self.from_features = nn.Linear(features, width, bias=False) if behind else None
        halvings = round(math.log2(stages[-1][1]))
        self.stages = nn.ModuleList()
        for step in reversed(range(halvings)):
            narrower = width_at(stages, 2**step)
            self.stages.append(convolutions(width, narrower, depth))
            width = narrower
        self.paint = nn.Conv2d(width, in_channels(backbone), kernel_size=3, padding=1)

    def forward(self, feature_map: Tensor, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Feature map `[B, D, h, w]`, the backbone's features `[B, F]` made from it, and the image's (H, W)."""
        painted = feature_map
        if self.from_features is not None:
            painted = painted + self.from_features(features)[:, :, None, None]
        for step, stage in zip(reversed(range(len(self.stages))), self.stages, strict=True):
            larger = [math.ceil(side / 2**step) for side in size]
            painted = nn.functional.interpolate(stage(painted), larger, mode="nearest")
        return self.paint(painted)  # [B, C, H, W]


def convolutions(width: int, narrower: int, depth: int) -> nn.Sequential:
    """3x3 convolutions with BatchNorm and ReLU; the last one changes the width."""
    layers: list[nn.Module] = []
    for number in range(depth):
        out = narrower if number == depth - 1 else width
        layers += [nn.Conv2d(width, out, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers)


def stages_of(backbone: nn.Module) -> list[tuple[int, int]]:
    """(channels, stride) of each stage, from the image inwards."""
    stages = getattr(backbone, "feature_info", None)
    if not stages or not hasattr(backbone, "forward_features"):
        raise UserError(f"an autoencoder needs a timm CNN as backbone, not {type(backbone).__name__}")
    return [(stage["num_chs"], stage["reduction"]) for stage in cast(Any, stages)]


def width_at(stages: list[tuple[int, int]], stride: int) -> int:
    """Channels of the backbone at a stride, or at the nearest larger one that it has."""
    return next(channels for channels, reduction in stages if reduction >= stride)


def in_channels(backbone: nn.Module) -> int:
    """Channels of the images that a network takes: those of its first convolution."""
    return next(module.in_channels for module in backbone.modules() if isinstance(module, nn.Conv2d))


def probe(backbone: nn.Module, stages: list[tuple[int, int]]) -> tuple[int, int, bool]:
    """Channels of the feature map, length of the features, and whether weights lie behind the map, by one small pass.

    The pass is in evaluation mode, draws no random number and leaves no gradient.
    """
    network = cast(Any, backbone)
    config = getattr(network, "pretrained_cfg", None) or {}
    size = config["input_size"][-1] if config.get("fixed_input_size") else 4 * stages[-1][1]
    parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    image = next(backbone.parameters()).new_zeros(1, in_channels(backbone), size, size)
    training = backbone.training
    backbone.eval()
    with torch.enable_grad():
        feature_map = network.forward_features(image)
        features = network.forward_head(feature_map)
        gradients = torch.autograd.grad(feature_map.sum(), parameters, allow_unused=True)
    backbone.train(training)
    if feature_map.ndim != 4 or feature_map.shape[1] != network.num_features:
        raise UserError(
            f"an autoencoder needs a feature map [B, D, h, w], and {type(backbone).__name__} gives "
            f"{list(feature_map.shape)}"
        )
    return feature_map.shape[1], features.shape[1], any(gradient is None for gradient in gradients)
