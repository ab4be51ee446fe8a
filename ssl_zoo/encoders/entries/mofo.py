"""MOFO: a segmentation network for ten organs, of which the CSWin encoder is kept."""

from __future__ import annotations

from ssl_zoo.encoders.entry import Entry

MOFO = Entry(
    name="mofo",
    title="MOFO, encoder of a multi-organ segmentation network, CSWin-S",
    paper="Multi-Organ Foundation Model for Universal Ultrasound Image Segmentation with Task Prompt and Anatomical "
    "Prior (IEEE TMI 2024)",
    licence="GPL-3.0 (repository); our network is written from the CSWin paper and holds none of its code",
    weights="the Google Drive folder of github.com/Git-HB-CHEN/MOFO (mofo_weights/mofo_weight_sel.pth)",
    backbone="mofo_cswin",
    size=224,
    fitting="squash",
    resampling="bicubic",
    mean=(0.0, 0.0, 0.0),  # colours stay in 0..1
    std=(1.0, 1.0, 1.0),
    pooling="mean of the last map, 7 x 7",
    features=512,
    prefix_tokens=0,
    pretraining="segmentation of ten organs with masks, 7,039 images, from CSWin-S on ImageNet",
    pretraining_data=("busi", "hc18", "fallmud", "ddti", "six private sets"),
    with_labels=("busi", "hc18", "fallmud", "ddti", "six private sets"),
    unwrap=("model", "state_dict"),
    drop=(r"^(?!_backbone_encoder\.)", r"^_backbone_encoder\.(norm|head)\."),  # decoder, prompts; two unused layers
    rename=(
        (r"^_backbone_encoder\.", ""),
        (r"^stage0_conv_embed\.", "stem."),
        (r"^merge(\d)\.", r"merges.\1."),
        (r"^stage1\.", "stages.0."),
        (r"^stage2\.", "stages.1."),
        (r"^stage3\.", "stages.2."),
        (r"^stage4\.", "stages.3."),
        (r"\.attns\.(\d)\.get_v\.", r".attentions.\1.position."),
    ),
    other_sizes=False,
    inferred=(
        "strides and widths of the two first convolutions (2 and 1, 32 channels), their instance norms without weights "
        "and leaky ReLU 0.01: from a public network of the same layer names, and from the width of 64 that follows",
        "that a norm after each halving is a layer norm, and that the last stage has one attention over its whole map: "
        "as in CSWin",
        "that features are the mean of the last map of 512 x 7 x 7",
        "the wrappers `model` and `state_dict`: its own loader takes a flat file",
    ),
    unknown=("what arXiv 2605.27796 pooled: we take the mean of the last map",),
)
