"""Stand-ins for the published encoders: random networks under the published key names and wrappers.

The names are written down here a second time, from the publications; nothing of the registry's rules is used.
"""

from __future__ import annotations

import dataclasses
import re

import torch
from torch import nn

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.entry import Entry

# Networks of the same make as the published ones, small enough for a test.
VIT = {"depth": 2, "embed_dim": 24, "num_heads": 2}
TINY: dict[str, tuple[int, int, dict]] = {  # input size, features, arguments
    "usf_mae": (64, 24, VIT),
    "usfm": (64, 24, VIT),
    "mofo": (64, 64, {"width": 8, "depths": (1, 1, 2, 1), "splits": (1, 2, 2, 2), "heads": (2, 2, 4, 4)}),
    "ultrasam": (256, 24, {**VIT, "global_attn_indexes": (1,)}),
    "fetalclip": (56, 10, {**VIT, "num_classes": 10}),
    "dinov3": (64, 24, VIT),
}


def tiny_entry(name: str) -> Entry:
    """An entry whose network is tiny, and all else as published."""
    size, features, arguments = TINY[name]
    entry = PUBLISHED[name]
    return dataclasses.replace(entry, size=size, features=features, arguments={**entry.arguments, **arguments})


def network(entry: Entry, *, seed: int = 1, **arguments) -> nn.Module:
    """A network of the entry's make in which no weight has a default value, so that each one counts."""
    model = build_backbone(entry.backbone, channels=3, size=entry.size, seed=seed, **{**entry.arguments, **arguments})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn(value.shape, generator=generator) * 0.2)
    return model.eval()


def published_weights(name: str, model: nn.Module) -> dict[str, torch.Tensor]:
    """The network's weights under the published names, beside what else the published file holds."""
    return WRITERS[name]({key: value.clone() for key, value in model.state_dict().items()})


def write_published(name: str, path, *, entry: Entry | None = None, seed: int = 1) -> nn.Module:
    """Write a stand-in's file in the published wrapper; returns the network that it should give."""
    entry = entry or PUBLISHED[name]
    model = network(entry, seed=seed)
    with torch.no_grad():
        if name == "usfm":
            for block in list(model.blocks)[1:]:
                block.attn.relative_position_bias_table.copy_(model.blocks[0].attn.relative_position_bias_table)
            nn.init.ones_(model.fc_norm.weight)
            nn.init.zeros_(model.fc_norm.bias)
        if name == "fetalclip":
            nn.init.zeros_(model.head.bias)
    torch.save(wrapped(name, published_weights(name, model)), path)
    return model


def wrapped(name: str, weights: dict[str, torch.Tensor]) -> dict:
    if name == "ultrasam":  # mmengine
        return {"meta": {"epoch": 12, "dataset_meta": {"classes": ("object",)}}, "state_dict": weights}
    return weights


def _usf_mae(weights):
    width = weights["norm.weight"].shape[0]
    return weights | {
        "mask_token": torch.randn(1, 1, 16),
        "decoder_embed.weight": torch.randn(16, width),
        "decoder_embed.bias": torch.randn(16),
        "decoder_pos_embed": torch.randn(1, 17, 16),
        "decoder_blocks.0.norm1.weight": torch.randn(16),
        "decoder_norm.weight": torch.randn(16),
        "decoder_pred.weight": torch.randn(768, 16),
    }


def _usfm(weights):
    table = weights["blocks.0.attn.relative_position_bias_table"]
    out = {key: value for key, value in weights.items() if "relative_position_bias" not in key and "fc_norm" not in key}
    side = int(len(table) ** 0.5) // 2 + 1
    return out | {
        "rel_pos_bias.relative_position_bias_table": table,
        "rel_pos_bias.relative_position_index": torch.zeros(side**2 + 1, side**2 + 1, dtype=torch.long),
        "mask_token": torch.randn_like(weights["cls_token"]),
        "norm.weight": torch.randn(weights["cls_token"].shape[-1]),
        "norm.bias": torch.randn(weights["cls_token"].shape[-1]),
    }


def _mofo(weights):
    out = {}
    for key, value in weights.items():
        key = re.sub(r"^stem", "stage0_conv_embed", key)
        key = re.sub(r"^merges\.", "merge", key)
        key = re.sub(r"^stages\.(\d)", lambda found: f"stage{int(found[1]) + 1}", key)
        key = key.replace("attentions.", "attns.").replace(".position.", ".get_v.")
        out[f"_backbone_encoder.{key}"] = value
    return out | {
        "_backbone_encoder.norm.weight": torch.randn(512),
        "_backbone_encoder.head.weight": torch.randn(1000, 512),
        "_backbone_decoder.up.weight": torch.randn(4),
        "_prompt_decoder_1.weight": torch.randn(4),
        "_classifier_main.weight": torch.randn(4),
        "controller.weight": torch.randn(4),
        "precls_conv.0.weight": torch.randn(4),
        "organ_embedding": torch.randn(10, 512),
        "text_to_vision.weight": torch.randn(4),
        "pos_embed": torch.randn(1, 49, 512),
    }


def _ultrasam(weights):
    names = {"blocks.": "layers.", ".norm": ".ln", ".mlp.fc1.": ".ffn.layers.0.0.", ".mlp.fc2.": ".ffn.layers.1."}
    out = {}
    for key, value in weights.items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        out["backbone." + key.replace("patch_embed.proj.", "patch_embed.projection.")] = value
    return out | {
        "backbone.channel_reduction.0.weight": torch.randn(8, 24, 1, 1),
        "backbone.channel_reduction.1.weight": torch.randn(8),
        "prompt_encoder.label_encoder.weight": torch.randn(4, 8),
        "decoder.layers.0.norms.0.weight": torch.randn(8),
        "bbox_head.cls_branches.0.weight": torch.randn(2, 8),
    }


def _fetalclip(weights):
    out = {}
    for key, value in weights.items():
        if key == "head.bias":
            continue
        key = re.sub(r"^blocks\.", "transformer.resblocks.", key)
        key = re.sub(r"\.norm(\d)\.", r".ln_\1.", key)
        for ours, theirs in {
            "norm_pre.": "ln_pre.",
            "attn.qkv.": "attn.in_proj_",
            "attn.proj.": "attn.out_proj.",
            "mlp.fc1.": "mlp.c_fc.",
            "mlp.fc2.": "mlp.c_proj.",
            "patch_embed.proj.": "conv1.",
        }.items():
            key = key.replace(ours, theirs)
        key = re.sub(r"^norm\.", "ln_post.", key)
        if key == "cls_token":
            key, value = "class_embedding", value[0, 0]
        elif key == "pos_embed":
            key, value = "positional_embedding", value[0]
        elif key == "head.weight":
            key, value = "proj", value.T
        out[f"visual.{key}"] = value.contiguous()
    return out | {
        "positional_embedding": torch.randn(117, 8),
        "text_projection": torch.randn(8, 8),
        "logit_scale": torch.tensor(4.6),
        "token_embedding.weight": torch.randn(20, 8),
        "transformer.resblocks.0.ln_1.weight": torch.randn(8),
        "ln_final.weight": torch.randn(8),
    }


def _dinov3(weights):
    out = {}
    for key, value in weights.items():
        if key.endswith("v_bias"):
            continue
        if key.endswith("q_bias"):
            third = torch.randn_like(value)  # masked upstream: it must have no part
            key, value = key.replace("q_bias", "qkv.bias"), torch.cat([value, third, weights[key.replace("q_", "v_")]])
            out[key.replace("bias", "bias_mask")] = torch.tensor([1.0, 0.0, 1.0]).repeat_interleave(len(third))
        key = re.sub(r"gamma_(\d)", r"ls\1.gamma", key).replace("reg_token", "storage_tokens")
        out[key] = value
    return out | {
        "mask_token": torch.randn(1, weights["cls_token"].shape[-1]),
        "rope_embed.periods": torch.randn(3),
    }


WRITERS = {
    "usf_mae": _usf_mae,
    "usfm": _usfm,
    "mofo": _mofo,
    "ultrasam": _ultrasam,
    "fetalclip": _fetalclip,
    "dinov3": _dinov3,
}
