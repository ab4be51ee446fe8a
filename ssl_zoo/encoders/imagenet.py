"""ImageNet weights of timm models, from a file of timm's or torchvision's or, said aloud, from the Hugging Face hub.

`imagenet` stands for the backbones of the run, `imagenet@densenet169` for one of its own; `:/path/file` may follow.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm

from ssl_zoo.encoders.backbones import SMALL, build_backbone
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.encoders.torchvision_names import timm_names
from ssl_zoo.encoders.weight_files import read_weights
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.files import fingerprint, fingerprint_file

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # under which training scripts save weights


@dataclass(frozen=True)
class ImageNetSpec:
    """`imagenet[@backbone][:/path/file]`, taken apart; "" for what is not given."""

    backbone: str
    file: str


def parse_imagenet(spec: str) -> ImageNetSpec | None:
    """What `imagenet[@backbone][:/path/file]` says; None where `spec` is something else."""
    head, _, file = spec.partition(":")
    name, at, backbone = head.partition("@")
    if name != "imagenet":
        return None
    if at and not timm.is_model(backbone.split(".")[0]):
        known = [*timm.list_models(f"{backbone[:4]}*")[:20], "resnet50"] if backbone else ["resnet50"]
        raise unknown("backbone", backbone, known)
    return ImageNetSpec(backbone, str(Path(file).expanduser()) if file else "")


def imagenet_fingerprint(backbone: str, file: str = "") -> str:
    """Changes with the weights: the file's contents, or the tag under which timm knows them."""
    if file:
        if not Path(file).is_file():
            raise UserError(f"imagenet: {file}: no such file")
        return fingerprint(["imagenet", backbone, fingerprint_file(Path(file))])
    return fingerprint(["imagenet", backbone, str(_config(backbone).get("hf_hub_id"))])


def imagenet_encoder(backbone: str, *, size: int, channels: int, file: str | None = None) -> Encoder:
    """timm's ImageNet weights in a backbone for `channels` channels (the first layer is summed over colours for grey).

    With `file` (safetensors, or a torch file that holds tensors only; timm's names or torchvision's) nothing is
    fetched. Without, timm takes them
    from its local cache or downloads them, which is announced. Raises UserError when they cannot be had.
    """
    config = _config(backbone, file or "")
    overlay: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    if file:
        weights, arguments = timm_names(read_weights(file, WRAPPERS))
        if arguments and backbone.startswith(
            "tf_"
        ):  # same shapes, but TensorFlow's padding: it would load and be wrong
            own = backbone.split(".")[0].removeprefix("tf_")
            raise UserError(f"imagenet: {file} is torchvision's, whose network is timm's '{own}', not '{backbone}'")
        overlay = {"pretrained_cfg_overlay": {"state_dict": weights, "file": None, "hf_hub_id": None, "url": ""}}
    else:
        print(f"imagenet: weights of {backbone} from the local cache or the Hugging Face hub", file=sys.stderr)
    try:
        model = build_backbone(backbone, channels=channels, size=size, pretrained=True, **overlay, **arguments)
    except Exception as error:  # the hub, the file system and torch fail in many ways; all mean: no weights
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"imagenet: the weights of '{backbone}' cannot be loaded ({type(error).__name__}: {reason}); without a "
            f"network, fetch them elsewhere (timm's name: {config['architecture']}.{config['tag']})"
            " and give the file as 'imagenet:/path/to/file.safetensors'"
        ) from error
    mean, std = list(config["mean"]), list(config["std"])
    if channels == 1:  # the summed first layer sees one grey value in place of three colours
        mean, std = [sum(mean) / 3], [sum(std) / 3]
    card = Card(
        backbone=backbone, size=size, channels=channels, mean=mean, std=std, init="imagenet", arguments=arguments
    )
    return Encoder(model, card).eval()


def _config(backbone: str, file: str = "") -> dict[str, Any]:
    """timm's settings of a model; UserError where there are no weights, neither timm's own nor a file."""
    if backbone in SMALL:
        raise UserError(
            f"imagenet: there are no ImageNet weights for '{backbone}', a smaller model than timm's; take 'imagenet' "
            "out of transfer.inits, or choose a timm model as pretrain.vit"
        )
    config = timm.get_pretrained_cfg(backbone)
    if config is None or not (file or config.hf_hub_id or config.url or config.file):
        raise UserError(f"imagenet: timm has no ImageNet weights for '{backbone}'")
    return config.to_dict() | {"mean": config.mean, "std": config.std}
