"""Encoders on disk: `backbone.safetensors` with plain timm keys, and `encoder.json` that says what it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.fitting import Fit, check_fitting, fit_batch
from ssl_zoo.encoders.matching import account_for
from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint, fingerprint_file, read_json, replacing, write_json

WEIGHTS, CARD = "backbone.safetensors", "encoder.json"


@dataclass(frozen=True)
class Card:
    """What an encoder is, how it wants its images, and where it comes from.

    `mean` and `std` (one value per channel) belong to images scaled to 0..1. `patients` are those whose
    scans were seen in pre-training, or whose labelled planes in fine-tuning; the audit compares them with the test
    patients.
    """

    backbone: str
    size: int  # pixels, square
    channels: int  # 1 grey, 3 colour
    mean: list[float]
    std: list[float]
    pooling: str = "timm"  # the pooling that the timm model has by default
    init: str = "random"
    method: str = ""  # empty where no self-supervised method was used
    role: str = "student"  # "teacher" where the method exports its averaged copy
    seed: int = 0
    config_fingerprint: str = ""
    data_fingerprint: str = ""
    patients: list[str] = field(default_factory=list)
    arguments: dict[str, Any] = field(default_factory=dict)  # for `build_backbone`, beside size and channels
    fitting: str = "letterbox"  # how images become squares, one of `fitting.FITTINGS`
    resampling: str = "area"  # what scales them, one of `fitting.RESAMPLINGS`
    finetuned: list[str] = field(default_factory=list)  # sources of planes that it was then trained on with labels

    @property
    def fit(self) -> Fit:
        """The square images that the encoder is fed with."""
        return Fit(self.size, self.fitting, self.resampling)


class Encoder(nn.Module):
    """A backbone with its preprocessing: image batches in, features `[B, D]` out."""

    def __init__(self, backbone: nn.Module, card: Card) -> None:
        super().__init__()
        self.backbone = backbone
        self.card = card
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(card.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(1, -1, 1, 1), persistent=False)

    @property
    def num_features(self) -> int:
        """D, the length of a feature vector."""
        if outputs := getattr(self.backbone, "num_classes", 0):  # a projection that belongs to the encoder (CLIP)
            return int(cast(int, outputs))
        # timm's name for it where layers stand behind the pooling (MobileNetV3, VGG); else it is num_features
        return int(cast(int, getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 or 0..1 float images `[B, H, W]` or `[B, C, H, W]` to the network's input `[B, C, size, size]`.

        Images of another size are fitted as the card says.
        """
        if images.ndim == 3:
            images = images.unsqueeze(1)  # [B, 1, H, W]
        if images.dtype == torch.uint8:
            images = images.float() / 255
        if images.shape[1] != self.card.channels:
            if images.shape[1] == 1:
                images = images.expand(-1, self.card.channels, -1, -1)
            elif self.card.channels == 1:
                images = images.mean(1, keepdim=True)
            else:
                raise UserError(f"images have {images.shape[1]} channels, the encoder takes {self.card.channels}")
        images = fit_batch(images, self.card.fit)
        return (images - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(self.normalise(images))  # [B, D]

    def fingerprint(self) -> str:
        """Changes when a weight or the preprocessing changes."""
        weights = {
            name: [list(value.shape), float(value.double().sum()), float(value.double().square().sum())]
            for name, value in self.backbone.state_dict().items()
        }
        return fingerprint([dataclasses.asdict(self.card), weights])


def save_encoder(folder: Path, backbone: nn.Module, card: Card, extras: Mapping[str, str] | None = None) -> None:
    """Write an encoder folder, whole or not at all; `extras` are further text files beside it, by name."""
    with replacing(Path(folder)) as part:
        part.mkdir()
        weights = {name: value.detach().cpu().contiguous() for name, value in backbone.state_dict().items()}
        save_file(weights, part / WEIGHTS)
        write_json(part / CARD, dataclasses.asdict(card))
        for name, text in (extras or {}).items():
            (part / name).write_text(text, encoding="utf-8")


def read_card(folder: Path) -> Card:
    """The card of an encoder folder."""
    path = Path(folder) / CARD
    try:
        return Card(**read_json(path))
    except TypeError as error:
        raise UserError(f"{path}: not an encoder's card ({error})") from None


def load_encoder(folder: Path | str) -> Encoder:
    """Load an encoder folder, in evaluation mode, on the CPU. No code from the file is run.

    Raises UserError when the folder, a file in it or a single weight is missing, broken or too many.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such encoder folder (it holds {WEIGHTS} and {CARD})")
    card = read_card(folder)
    check_fitting(card.fitting, card.resampling)
    backbone = build_backbone(card.backbone, channels=card.channels, size=card.size, **card.arguments)
    load_strict(backbone, _read_weights(folder / WEIGHTS), str(folder / WEIGHTS))
    return Encoder(backbone, card).eval()


def load_strict(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load `weights` into `model`; anything but a full match of names and shapes is a UserError that tells them."""
    account = account_for(weights, {name: value.shape for name, value in model.state_dict().items()})
    if not account.complete:
        raise UserError(f"{source}: the weights do not fit the backbone: {account.sentence()}")
    model.load_state_dict(weights, strict=True)


def encoder_file_fingerprint(folder: Path) -> str:
    """Fingerprint of an encoder folder without building the network."""
    return fingerprint([read_json(Path(folder) / CARD), fingerprint_file(Path(folder) / WEIGHTS)])


def _read_weights(path: Path) -> dict[str, Any]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from None
