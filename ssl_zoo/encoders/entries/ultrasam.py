"""UltraSam: SAM's ViT-B/16 fine-tuned to segment 43 open ultrasound data sets, of which the image encoder is kept."""

from __future__ import annotations

from ssl_zoo.encoders.entry import IMAGENET_MEAN, IMAGENET_STD, Entry

US_43D = (  # the table of its README
    "105us", "abdomen_us", "acouslic", "asus", "aul", "brachial_plexus", "breast", "buid", "bus_uc", "bus_ucml",
    "bus_bra", "bus_dataset_b", "busi", "camus", "cardiac_udc", "ccaui", "ddti", "echocp", "echonet_dynamic",
    "echonet_pediatric", "fallmud", "fass", "fast_u_net", "fh_ps_aop", "gist514_db", "hc18", "open_kidney",
    "luss_phantom", "microseg", "mmotu", "mmotu_3d", "mup", "regpro", "s1", "segthy", "stmus_nda", "stu_hospital",
    "tg3k", "stanford_thyroid", "tn3k", "tnscui", "upbd", "us_nerve_segmentation",
)  # fmt: skip

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
    pretraining_data=US_43D,
    with_labels=US_43D,
    tested_on=("bus_bra", "gist514_db", "mmotu"),
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
        "that a frozen encoder is fed as its configurations for classification feed it: padded with black before mean "
        "and standard deviation are taken off (its pre-training took them off first, and so padded with the mean)",
        "that layer norms have mmpretrain's epsilon of 1e-6 (timm's SAM has 1e-5)",
        "that the file holds records of mmengine beside its weights",
        "that the scaling averages areas: mmdetection resizes bilinearly, which skips pixels of larger images",
        "that `kidneyUS` of its table is Open Kidney, `Thyroid US Cineclip` Stanford's thyroid clips, `HC` HC18",
    ),
    unknown=(
        "which size arXiv 2605.27796 used: 1024 here, another one as `ultrasam@224:/path`, for which the tables of "
        "positions are resampled",
        "which images of each set it was trained on: its script draws 95 % of them by lot; of BUS-BRA, GIST514-DB and "
        "MMOTU-2D, which it is tested on, a test part may have been held out",
    ),
)
