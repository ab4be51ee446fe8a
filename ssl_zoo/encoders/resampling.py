"""Position tables of a published encoder for another input size than its own."""

from __future__ import annotations

import torch
from timm.layers.pos_embed import resample_abs_pos_embed, resample_abs_pos_embed_nhwc
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table
from torch import Tensor, nn

from ssl_zoo.encoders.entry import Weights


def resample_positions(weights: Weights, model: nn.Module) -> Weights:
    """`weights` with every position table that has another length than in `model` resampled to the model's.

    Absolute tables bicubically (timm's way), BEiT's relative ones bicubically on BEiT's geometric grid, SAM's relative
    ones linearly (SAM's way). What is no position table is left as it is.
    """
    out = dict(weights)
    for key, wanted in model.state_dict().items():
        found = weights.get(key)
        if found is None or found.shape == wanted.shape:
            continue
        name = key.rsplit(".", 1)[-1]
        if name == "pos_embed" and found.ndim == 4:  # [1, rows, columns, D]
            out[key] = resample_abs_pos_embed_nhwc(found, list(wanted.shape[1:3]))
        elif name == "pos_embed":  # [1, prefix tokens + patches, D]
            out[key] = resample_abs_pos_embed(found, list(_grid(model)), num_prefix_tokens=_prefix(model))
        elif name in ("rel_pos_h", "rel_pos_w"):  # [2 rows - 1, D of a head]
            out[key] = _linear(found, len(wanted))
        elif name == "relative_position_bias_table":
            out[key] = resize_rel_pos_bias_table(found, new_window_size=_grid(model), new_bias_shape=wanted.shape)
    return out


def _linear(table: Tensor, length: int) -> Tensor:
    """A table `[L, D]` stretched to `[length, D]`."""
    columns = table.T.unsqueeze(0)  # [1, D, L]
    return torch.nn.functional.interpolate(columns, size=length, mode="linear")[0].T


def _grid(model: nn.Module) -> tuple[int, int]:
    return tuple(model.patch_embed.grid_size)  # pyright: ignore


def _prefix(model: nn.Module) -> int:
    return int(getattr(model, "num_prefix_tokens", 0))
