"""USFM: a BEiT-like ViT-B/16, pre-trained by masked images on two million ultrasound images.

Public repositories load its file in three ways that exclude each other, all hidden by `strict=False`: one leaves out
the biases of queries and values and the blocks' position tables, one adds a random table of absolute positions. Here
the one table of relative positions becomes that of each block, as in its official fine-tuning, and every key counts.
"""

from __future__ import annotations

import re

from ssl_zoo.encoders.entry import IMAGENET_MEAN, IMAGENET_STD, Entry, Weights

SHARED, OWN = "rel_pos_bias.relative_position_bias_table", "blocks.{}.attn.relative_position_bias_table"


def _share_out(weights: Weights) -> Weights:
    """The shared table of relative positions as each block's own."""
    out = dict(weights)
    if SHARED not in out:
        return out
    table = out.pop(SHARED)
    blocks = {int(found[1]) for key in weights if (found := re.match(r"blocks\.(\d+)\.", key))}
    return {OWN.format(block): table.clone() for block in sorted(blocks)} | out


USFM = Entry(
    name="usfm",
    title="USFM, BEiT-like ViT-B/16",
    paper="USFM: A Universal Ultrasound Foundation Model (Medical Image Analysis 2024)",
    licence="CC BY-NC 4.0, by its README; no licence file",
    weights="the Google Drive link of github.com/openmedlab/USFM (USFM_latest.pth)",
    backbone="beit_base_patch16_224",  # one table of positions in each block, as in its official fine-tuning
    size=224,
    fitting="squash",
    resampling="bicubic",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    pooling="mean of the patch tokens, then a norm",
    features=768,
    prefix_tokens=1,
    pretraining="masked images, two million ultrasound images",
    pretraining_data=(),
    data_is_known=False,
    unwrap=("model", "state_dict"),
    drop=(r"relative_position_index$", r"^mask_token$", r"^head\.", r"^lm_head\.", r"^norm\."),
    adapt=_share_out,
    fill={"fc_norm.weight": 1.0, "fc_norm.bias": 0.0},
    inferred=(
        "that the file has no `fc_norm`: the official model then starts with a plain one, and so do we; "
        "a `norm` of the pre-training is left out, as there",
        "that images are squashed to 224: its fine-tuning resizes so",
        "the wrappers `model` and `state_dict`: its own loader takes a flat file",
    ),
    unknown=(
        "which data sets its two million images come from, so overlaps cannot be ruled out",
        "whether the file holds `norm` or `fc_norm`",
    ),
)
