"""DINOv3: self-distillation on 1.7 billion natural images, the ViT-B/16; the baseline that knows no ultrasound."""

from __future__ import annotations

from ssl_zoo.encoders.entry import IMAGENET_MEAN, IMAGENET_STD, Entry, Weights


def _split_biases(weights: Weights) -> Weights:
    """The joint bias of queries, keys and values as timm's two; upstream masks the keys' third, so it has no part."""
    out = dict(weights)
    for key in [key for key in weights if key.endswith("attn.qkv.bias")]:
        queries, _, values = out.pop(key).chunk(3)
        stem = key.removesuffix("qkv.bias")
        out[f"{stem}q_bias"], out[f"{stem}v_bias"] = queries.clone(), values.clone()
    return out


DINOV3 = Entry(
    name="dinov3",
    title="DINOv3, ViT-B/16",
    paper="DINOv3 (arXiv 2508.10104)",
    licence="DINOv3 License (not open source; the download asks for consent)",
    weights="the download form of github.com/facebookresearch/dinov3 (dinov3_vitb16_pretrain_lvd1689m-*.pth)",
    backbone="vit_base_patch16_dinov3_qkvb",  # timm's plain one leaves the biases of queries and values out
    arguments={"global_pool": "token"},  # timm's own default is the mean
    size=256,
    fitting="squash",
    resampling="bicubic",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    pooling="class token",
    features=768,
    prefix_tokens=5,
    pretraining="self-distillation, 1.7 billion natural images (LVD-1689M), no ultrasound by intent",
    pretraining_data=("lvd_1689m (private)",),
    data_is_known=False,
    unwrap=("teacher", "model"),
    drop=(r"^mask_token$", r"^rope_embed\.periods$", r"\.attn\.qkv\.bias_mask$"),
    rename=((r"^storage_tokens$", "reg_token"), (r"\.ls(\d)\.gamma$", r".gamma_\1")),
    adapt=_split_biases,
    inferred=(
        "the size of 256 and squashing: timm's settings for these weights",
        "the wrappers `teacher` and `model`: the published file is flat",
    ),
    unknown=("whether the web images of LVD-1689M hold figures of public ultrasound data sets",),
)
