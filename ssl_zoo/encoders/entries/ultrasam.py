"""UltraSam: SAM's ViT-B/16 fine-tuned to segment 43 open ultrasound data sets, of which the image encoder is kept."""

from __future__ import annotations

from ssl_zoo.encoders.entry import IMAGENET_MEAN, IMAGENET_STD, Entry

ULTRASAM = Entry(
    name="ultrasam",
    title="UltraSam, SAM's image encoder, ViT-B/16",
    paper="UltraSam: A Foundation Model for Ultrasound using Large Open-Access Segmentation Datasets (2411.16222)",
    licence="CC BY-NC-SA 4.0",
    weights="the link of github.com/CAMMA-public/UltraSam (s3.unistra.fr, UltraSam.pth)",
    backbone="samvit_mean",
    size=1024,
    fitting="pad",
    resampling="area",
    mean=IMAGENET_MEAN,  # 123.675, 116.28, 103.53 of 255
    std=IMAGENET_STD,
    pooling="mean of the last block's map, without neck and norm",
    features=768,
    prefix_tokens=0,
    pretraining="segmentation with masks, 43 open data sets (US-43d), from SAM",
    pretraining_data=("hc18", "fass", "fh_ps_aop", "acouslic", "echonet_dynamic", "echonet_pediatric", "camus"),
    with_labels=("hc18", "fass", "fh_ps_aop", "acouslic", "echonet_dynamic", "echonet_pediatric", "camus"),
    data_is_known=False,
    not_seen=("fetal_planes_db",),
    unwrap=("state_dict",),
    drop=(r"^(?!backbone\.)", r"^backbone\.channel_reduction\."),  # prompts, decoder, boxes; the neck
    rename=(
        (r"^backbone\.", ""),
        (r"^layers\.", "blocks."),
        (r"\.projection\.", ".proj."),
        (r"\.ln(\d)\.", r".norm\1."),
        (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
    ),
    inferred=(
        "that the padding is black before mean and standard deviation are taken off, as mmdetection's pipeline pads",
        "that layer norms have mmpretrain's epsilon of 1e-6 (timm's SAM has 1e-5)",
        "that the file holds records of mmengine beside its weights",
        "that the scaling averages areas: mmdetection resizes bilinearly, which skips pixels of larger images",
    ),
    unknown=(
        "which size arXiv 2605.27796 used: 1024 here, another one as `ultrasam@224:/path`, for which the tables of "
        "positions are resampled",
        "whether US-43d holds more of a plane source than those listed; FETAL_PLANES_DB is not in its list",
    ),
)
