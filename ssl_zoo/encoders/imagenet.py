"""ImageNet weights of timm models, from a file or, said aloud, from the Hugging Face hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import timm

from ssl_zoo.encoders.backbones import SMALL, build_backbone
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint, fingerprint_file


def imagenet_fingerprint(backbone: str, file: str = "") -> str:
    """Changes with the weights: the file's contents, or the tag under which timm knows them."""
    if file:
        if not Path(file).is_file():
            raise UserError(f"imagenet: {file}: no such file")
        return fingerprint(["imagenet", backbone, fingerprint_file(Path(file))])
    return fingerprint(["imagenet", backbone, str(_config(backbone).get("hf_hub_id"))])


def imagenet_encoder(backbone: str, *, size: int, channels: int, file: str | None = None) -> Encoder:
    """timm's ImageNet weights in a backbone for `channels` channels (the first layer is summed over colours for grey).

    With `file` (safetensors, or a torch file that holds tensors only) nothing is fetched. Without, timm takes them
    from its local cache or downloads them, which is announced. Raises UserError when they cannot be had.
    """
    config = _config(backbone)
    overlay: dict[str, Any] = {}
    if file:
        overlay = {"pretrained_cfg_overlay": {"file": file, "hf_hub_id": None, "url": ""}}
    else:
        print(f"imagenet: weights of {backbone} from the local cache or the Hugging Face hub", file=sys.stderr)
    try:
        model = build_backbone(backbone, channels=channels, size=size, pretrained=True, **overlay)
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
    card = Card(backbone=backbone, size=size, channels=channels, mean=mean, std=std, init="imagenet")
    return Encoder(model, card).eval()


def _config(backbone: str) -> dict[str, Any]:
    if backbone in SMALL:
        raise UserError(
            f"imagenet: there are no ImageNet weights for '{backbone}', a smaller model than timm's; take 'imagenet' "
            "out of transfer.inits, or choose a timm model as pretrain.vit"
        )
    config = timm.get_pretrained_cfg(backbone)
    if config is None or not (config.hf_hub_id or config.url or config.file):
        raise UserError(f"imagenet: timm has no ImageNet weights for '{backbone}'")
    return config.to_dict() | {"mean": config.mean, "std": config.std}
