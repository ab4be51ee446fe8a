"""FetalCLIP: CLIP's ViT-L/14 trained on fetal ultrasound images and captions, of which the image tower is kept."""

from __future__ import annotations

from ssl_zoo.encoders.entry import Entry, Weights


def _as_timm_has_it(weights: Weights) -> Weights:
    """The class token `[D]`, the positions `[N, D]` and the projection `[D, E]` in timm's shapes."""
    out = dict(weights)
    if "cls_token" in out and out["cls_token"].ndim == 1:
        out["cls_token"] = out["cls_token"].view(1, 1, -1)
    if "pos_embed" in out and out["pos_embed"].ndim == 2:
        out["pos_embed"] = out["pos_embed"].unsqueeze(0)
    if "head.weight" in out and out["head.weight"].ndim == 2:
        out["head.weight"] = out["head.weight"].T.contiguous()
    return out


FETALCLIP = Entry(
    name="fetalclip",
    title="FetalCLIP, image tower, ViT-L/14",
    paper="FetalCLIP: A Visual-Language Foundation Model for Fetal Ultrasound Image Analysis (arXiv 2502.14807)",
    licence="CC BY-NC 4.0",
    weights="huggingface.co/numansaeed/fetalclip-model (FetalCLIP_weights.pt)",
    backbone="vit_large_patch14_clip_224",
    arguments={"num_classes": 768},  # CLIP's projection, as in its own linear probe
    size=224,
    fitting="letterbox",
    resampling="bicubic",
    mean=(0.48145466, 0.4578275, 0.40821073),  # OpenAI's CLIP
    std=(0.26862954, 0.26130258, 0.27577711),
    pooling="class token, projected to 768 dimensions (`encode_image`)",
    features=768,
    prefix_tokens=1,
    pretraining="images with captions, 210,035 private images (Corniche Hospital) and figures of a book, from CLIP",
    pretraining_data=("corniche_hospital (private)", "figures of a book"),
    not_seen=("fetal_planes_db",),
    unwrap=("state_dict",),
    drop=(r"^(?!visual\.)",),  # the text tower
    rename=(
        (r"^visual\.", ""),
        (r"^class_embedding$", "cls_token"),
        (r"^positional_embedding$", "pos_embed"),
        (r"^conv1\.", "patch_embed.proj."),
        (r"^ln_pre\.", "norm_pre."),
        (r"^ln_post\.", "norm."),
        (r"^transformer\.resblocks\.", "blocks."),
        (r"\.ln_(\d)\.", r".norm\1."),
        (r"\.attn\.in_proj_", ".attn.qkv."),
        (r"\.attn\.out_proj\.", ".attn.proj."),
        (r"\.mlp\.c_fc\.", ".mlp.fc1."),
        (r"\.mlp\.c_proj\.", ".mlp.fc2."),
        (r"^proj$", "head.weight"),
    ),
    adapt=_as_timm_has_it,
    fill={"head.bias": 0.0},  # CLIP's projection has none
    inferred=("that black is added on both sides alike: its scripts pad to a square with zeros",),
)
