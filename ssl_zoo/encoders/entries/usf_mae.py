"""USF-MAE: a masked autoencoder on 46 open ultrasound data sets, of which its encoder is kept."""

from __future__ import annotations

from ssl_zoo.encoders.entry import IMAGENET_MEAN, IMAGENET_STD, Entry

OPEN_US_46 = (  # the table of its README; its authors count three of the table as held out
    "105us", "abdomen_us", "acouslic", "aul", "covid_blues", "bp", "brachial_plexus", "breast", "bus_dataset_b",
    "bus_uc", "bus_ucml", "cactus", "camus", "cardiac_udc", "ccaui", "dfhi", "echocp", "echonet_dynamic",
    "echonet_pediatric", "fallmud", "fass", "fast_u_net", "feft", "fetal_planes_db", "fh_ps_aop", "hc18", "jnu_ifm",
    "open_kidney", "luss_phantom", "microseg", "mmotu_3d", "pocus", "porcine", "psfhs", "regpro", "s1", "segthy",
    "stmus_nda", "stu_hospital", "thyroid_dataset", "stanford_thyroid", "ultrasound_fetus_dataset", "upbd",
)  # fmt: skip

USF_MAE = Entry(
    name="usf_mae",
    title="USF-MAE, masked autoencoder, ViT-B/16",
    paper="USF-MAE: Ultrasound Self-Supervised Foundation Model with Masked Autoencoding (2025)",
    licence="MIT (repository); starts from MAE's ImageNet weights, which are CC BY-NC 4.0",
    weights="the Google Drive link of github.com/Yusufii9/USF-MAE (USF-MAE_full_pretrain_43dataset_100epochs.pt)",
    backbone="vit_base_patch16_224",
    # The file's `norm` acts on every token, as it did in pre-training, and the patches' mean is taken behind it.
    arguments={"global_pool": "avg", "fc_norm": False},
    size=224,
    fitting="squash",
    resampling="nearest",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    pooling="mean of the normalised patch tokens",
    features=768,
    prefix_tokens=1,
    pretraining="masked autoencoding, 370,000 images of 43 open data sets (OpenUS-46 less three), from MAE on ImageNet",
    pretraining_data=OPEN_US_46,
    not_seen=("bus_bra", "mmotu", "gist514_db"),
    unwrap=("model", "state_dict"),
    drop=(r"^decoder_", r"^mask_token$"),
    inferred=(
        "the wrappers `model` and `state_dict`: its own script saves a flat state_dict",
        "that `BLUES` of its table is COVID-BLUES, `kidneyUS` Open Kidney, `Pocus` the POCUS set of UltraBench, "
        "`Thyroid US Cineclip` Stanford's thyroid clips, `HC` HC18",
    ),
    unknown=(
        "whether MMOTU-3D, which it has seen, shows patients of MMOTU-2D, which was held out",
        "how its authors pool for classification: we take the mean, as a third party's code does",
    ),
)
