"""ImageNet weights of timm models, from a file of timm's or torchvision's or, said aloud, from the Hugging Face hub.

`imagenet` stands for the backbones of the run, `imagenet@densenet169` for one of its own; `:/path/file` may follow.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from ssl_zoo.encoders.backbones import SMALL, build_backbone
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.encoders.matching import Accounting, account_for, say_once
from ssl_zoo.encoders.torchvision_names import TimmWeights, from_torchvision
from ssl_zoo.encoders.weight_files import mark, read_weights
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


def own_size(backbone: str) -> int:
    """The input size, in pixels, that timm's weights of a network were trained with."""
    config = timm.get_pretrained_cfg(backbone)
    return config.input_size[-1] if config is not None else 224


def imagenet_fingerprint(backbone: str, file: str = "") -> str:
    """Changes with the weights: the file's contents and whose they are, or the tag under which timm knows them."""
    if file:
        return fingerprint(["imagenet", backbone, *_contents(*mark(Path(file)))])
    return fingerprint(["imagenet", backbone, str(_config(backbone).get("hf_hub_id"))])


def imagenet_encoder(backbone: str, *, size: int, channels: int, file: str | None = None) -> Encoder:
    """timm's ImageNet weights in a backbone for `channels` channels (the first layer is summed over colours for grey).

    With `file` (safetensors, or a torch file that holds tensors only; timm's names or torchvision's) nothing is
    fetched, and what became of its keys is told once. Without, timm takes them from its local cache or downloads them,
    which is announced. Mean and standard deviation are those that the weights were trained with: torchvision's for a
    file of torchvision's, else timm's of `backbone`. Raises UserError when the weights cannot be had or do not match.
    """
    config = _config(backbone, file or "")
    if file:
        given = _read(backbone, Path(file))
        model = _load(backbone, given, Path(file), size=size, channels=channels)
        say_once(f"imagenet: {file}: {_account(config, given, model).sentence()}")
    else:
        given = TimmWeights({}, config["mean"], config["std"])
        model = _fetch(backbone, config, size=size, channels=channels)
    mean, std = list(given.mean), list(given.std)
    if channels == 1:  # the summed first layer sees one grey value in place of three colours
        mean, std = [sum(mean) / 3], [sum(std) / 3]
    card = Card(
        backbone=backbone,
        size=size,
        channels=channels,
        mean=mean,
        std=std,
        init="imagenet",
        arguments=dict(given.arguments),
    )
    return Encoder(model, card).eval()


def check_imagenet(backbone: str, file: str, *, size: int, channels: int, tell: bool = False) -> Accounting:
    """The account of a file's keys, without memory for the network; raises as `imagenet_encoder` does.

    A file that has not changed is read once in each process, and with `tell` its account is printed once.
    """
    _config(backbone, file)
    account = _checked(backbone, size, channels, *mark(Path(file)))
    if tell:
        say_once(f"imagenet: {file}: {account.sentence()}")
    return account


@lru_cache(maxsize=32)
def _checked(backbone: str, pixels: int, channels: int, path: str, size: int, changed: int) -> Accounting:
    del size, changed
    given = _read(backbone, Path(path))
    shapes = dataclasses.replace(given, weights={key: value.to("meta") for key, value in given.weights.items()})
    with torch.device("meta"):
        model = _load(backbone, shapes, Path(path), size=pixels, channels=channels)
    return _account(_config(backbone, path), given, model)


@lru_cache(maxsize=32)
def _contents(path: str, size: int, changed: int) -> list[Any]:
    """A file's fingerprint and, where it is torchvision's, its normalisation: timm's follows from the backbone."""
    del size, changed
    theirs = from_torchvision(read_weights(path, WRAPPERS))
    return [fingerprint_file(Path(path)), *([theirs.mean, theirs.std] if theirs is not None else [])]


def _read(backbone: str, file: Path) -> TimmWeights:
    weights, config = read_weights(file, WRAPPERS), _config(backbone, str(file))
    theirs = from_torchvision(weights)
    if theirs is None:
        return TimmWeights(weights, config["mean"], config["std"])
    if theirs.arguments and backbone.startswith("tf_"):  # same shapes, but TensorFlow's padding: it would be wrong
        own = backbone.split(".")[0].removeprefix("tf_")
        raise UserError(f"imagenet: {file} is torchvision's, whose network is timm's '{own}', not '{backbone}'")
    return theirs


def _load(backbone: str, given: TimmWeights, file: Path, *, size: int, channels: int) -> nn.Module:
    """The network with these weights, by timm, which demands every key; without its classifier."""
    overlay = {"state_dict": dict(given.weights), "file": None, "hf_hub_id": None, "url": ""}
    try:
        return build_backbone(
            backbone, channels=channels, size=size, pretrained=True, pretrained_cfg_overlay=overlay, **given.arguments
        )
    except UserError:
        raise
    except Exception as error:  # timm and torch fail in many ways; all mean: these are not the weights
        with torch.device("meta"):
            wanted = timm.create_model(backbone, **given.arguments).state_dict()
        account = account_for(given.weights, {key: value.shape for key, value in wanted.items()})
        why = _reason(error) if account.complete else account.sentence()
        raise UserError(f"imagenet: {file}: not the weights of '{backbone}': {why}") from error


def _account(config: dict[str, Any], given: TimmWeights, model: nn.Module) -> Accounting:
    """Of weights that timm has loaded: all of the network's keys, and the file's for the classifier."""
    heads = config.get("classifier") or ()
    heads = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    left_out = sorted(key for key in given.weights if key.startswith(heads))
    return Accounting(matched=sorted(model.state_dict()), missing=[], unexpected=[], left_out=left_out)


def _fetch(backbone: str, config: dict[str, Any], *, size: int, channels: int) -> nn.Module:
    """The network with the weights that timm has of it, from its cache or the hub."""
    print(f"imagenet: weights of {backbone} from the local cache or the Hugging Face hub", file=sys.stderr)
    try:
        return build_backbone(backbone, channels=channels, size=size, pretrained=True)
    except UserError:
        raise
    except Exception as error:  # the hub, the file system and torch fail in many ways; all mean: no weights
        raise UserError(
            f"imagenet: the weights of '{backbone}' cannot be loaded ({_reason(error)}); without a "
            f"network, fetch them elsewhere (timm's name: {config['architecture']}.{config['tag']})"
            " and give the file as 'imagenet:/path/to/file.safetensors'"
        ) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


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
