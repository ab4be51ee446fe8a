"""Where in a network a map can be read: a module whose output has a value for every place of a grid over the image.

Nothing is assumed about sizes: the network is run once on an empty image, and grid, channel axis and prefix tokens
(class, register and distillation tokens, which have no place in the image) are read off what comes out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.encoders.files import Encoder
from ssl_zoo.errors import UserError, unknown

FINEST = 7  # places along a side, as a ResNet has at 224 pixels: a coarser map says little about where


@dataclass(frozen=True)
class MapLayer:
    """A module, and how its output is brought into maps `[B, D, h, w]`."""

    name: str
    module: nn.Module
    grid: tuple[int, int]
    layout: str  # "channels first" | "channels last" | "tokens"
    prefix: int = 0  # tokens before those of the patches

    def maps(self, output: Tensor) -> Tensor:
        """The module's output, `[B, D, h, w]`, `[B, h, w, D]` or `[B, prefix + h w, D]`, as maps `[B, D, h, w]`."""
        if self.layout == "tokens":
            output = output[:, self.prefix :].unflatten(1, self.grid)  # [B, h, w, D]
        return output if self.layout == "channels first" else output.permute(0, 3, 1, 2)


def map_layers(encoder: Encoder) -> list[MapLayer]:
    """All modules of the backbone that give maps of at least 2 x 2 places, in the order in which they are done."""
    backbone, card = encoder.backbone, encoder.card
    done: list[tuple[str, nn.Module, tuple[int, ...]]] = []
    handles = [
        module.register_forward_hook(_noting(name, done))
        for name, module in backbone.named_modules()
        if name and not isinstance(module, (nn.Identity, nn.Dropout))
    ]
    device = next(backbone.parameters()).device
    modes = {module: module.training for module in backbone.modules()}
    try:
        with torch.no_grad():
            backbone.eval()(torch.zeros(1, card.channels, card.size, card.size, device=device))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    # Images are square, and so are maps; what is not is an attention matrix or a hidden layer of an MLP.
    widths = {int(info["num_chs"]) for info in getattr(backbone, "feature_info", [])} | {encoder.num_features}
    found = [_layer(backbone, name, module, shape, widths) for name, module, shape in done]
    return [layer for layer in found if layer is not None]


def choose_layer(encoder: Encoder, name: str | None = None) -> MapLayer:
    """The layer that maps are read from: `name`, or by the network's kind.

    ViTs: the first norm of the last block, since behind it only the class token may reach the head and patches have
    no gradient (pytorch-grad-cam's advice). Other networks: the last stage whose grid has `FINEST` places along a
    side, or the last one at all where images are too small for that. Raises UserError for an unknown name and for a
    network that keeps no grid.
    """
    layers = map_layers(encoder)
    if not layers:
        raise UserError(f"backbone '{encoder.card.backbone}': no layer keeps a grid over the image, so it has no maps")
    if name is not None:
        by_name = {layer.name: layer for layer in layers}
        if name not in by_name:
            raise unknown(f"layer of {encoder.card.backbone}", name, by_name)
        return by_name[name]
    blocks = [layer for layer in layers if layer.layout == "tokens" and layer.name.endswith("norm1")]
    if blocks and _has_prefix(encoder.backbone):
        return blocks[-1]
    stages = _stages(encoder.backbone, layers)
    fine = [layer for layer in stages if min(layer.grid) >= FINEST]
    return fine[-1] if fine else max(stages, key=lambda layer: (min(layer.grid), stages.index(layer)))


def _stages(backbone: nn.Module, layers: list[MapLayer]) -> list[MapLayer]:
    """The last module of each grid size: what timm calls a stage, in order."""
    last: dict[tuple[int, int], MapLayer] = {}
    for layer in layers:
        last[layer.grid] = layer
    return [layer for layer in layers if last[layer.grid] is layer]


def _noting(name: str, done: list[tuple[str, nn.Module, tuple[int, ...]]]) -> Any:
    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            done.append((name, module, tuple(output.shape)))

    return note


def _layer(
    backbone: nn.Module, name: str, module: nn.Module, shape: tuple[int, ...], widths: set[int]
) -> MapLayer | None:
    if shape[0] != 1:
        return None  # windows of one image, as Swin cuts them
    if len(shape) == 4:
        last = (shape[3] in widths and shape[1] not in widths) or getattr(backbone, "output_fmt", "") == "NHWC"
        grid = (shape[1], shape[2]) if last else (shape[2], shape[3])
        return MapLayer(name, module, grid, "channels last" if last else "channels first") if _is_map(grid) else None
    if len(shape) == 3:
        grid, prefix = _patch_grid(backbone, shape[1])
        return MapLayer(name, module, grid, "tokens", prefix) if _is_map(grid) else None
    return None


def _is_map(grid: tuple[int, int]) -> bool:
    return grid[0] == grid[1] > 1


def _has_prefix(backbone: nn.Module) -> bool:
    return hasattr(backbone, "num_prefix_tokens")


def _patch_grid(backbone: nn.Module, tokens: int) -> tuple[tuple[int, int], int]:
    """Grid and number of prefix tokens of a sequence; (0, 0) where it is no image."""
    prefix = int(getattr(backbone, "num_prefix_tokens", 0))
    embedding: Any = getattr(backbone, "patch_embed", None)
    grid = getattr(embedding, "grid_size", None)
    if grid is not None and grid[0] * grid[1] == tokens - prefix:
        return (int(grid[0]), int(grid[1])), prefix
    side = math.isqrt(max(0, tokens - prefix))
    return ((side, side), prefix) if side * side == tokens - prefix else ((0, 0), 0)
