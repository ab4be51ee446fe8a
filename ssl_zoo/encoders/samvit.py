"""SAM's image encoder as UltraSam uses it for classification: the mean of the last block's map, no neck, no last norm.

Kirillov et al., Segment Anything, arXiv 2304.02643. timm builds it; two things differ here. Its layer norms take timm's
default epsilon of 1e-5, those of SAM and of mmpretrain (which UltraSam is trained with) have 1e-6; and where timm
leaves out the neck, it puts a layer norm in its place, for which no weights are published.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import timm
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import nn

from ssl_zoo.errors import UserError

PATCH = 16


def samvit_mean(*, img_size: int, in_chans: int, **arguments: Any) -> nn.Module:
    """Images `[B, in_chans, img_size, img_size]` to features `[B, D]`, D = 768; a multiple of 16 pixels."""
    if img_size % PATCH:
        raise UserError(f"SAM's encoder cuts images into {PATCH}-pixel patches, and size {img_size} is no multiple")
    model = timm.create_model(
        "samvit_base_patch16",
        num_classes=0,
        neck_chans=0,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        img_size=img_size,
        in_chans=in_chans,
        **arguments,
    )
    cast(Any, model).neck = nn.Identity()
    return model


def attention_floats(backbone: nn.Module) -> int:
    """The most floats that SAM's attention adds to one image, one for every two positions; 0 for other networks."""
    if not isinstance(backbone, VisionTransformerSAM):
        return 0
    layers = [layer for layer in backbone.modules() if hasattr(layer, "rel_pos_h")]
    sides = [(len(cast(Any, layer).rel_pos_h) + 1) // 2 for layer in layers]
    return max((cast(Any, layer).num_heads * side**4 for layer, side in zip(layers, sides, strict=True)), default=0)
