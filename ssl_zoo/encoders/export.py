"""Encoders for other programs, with timm's keys, torchvision's keys or as ONNX, and for our own, as a folder.

A file is written only when the network that a reader would build from it gives the encoder's own features.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_zoo.encoders.backbones import OWN, SMALL, is_transformer
from ssl_zoo.encoders.files import Encoder, load_encoder, save_encoder
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.files import replacing

# Networks that are the same in timm and torchvision: the same names, keys and shapes but for the classifier.
TORCHVISION = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
)
TOLERANCE = 1e-4  # largest difference of a feature, against the largest feature where that is above 1
PROBES, PROBE_SEED = 3, 0  # images on which a file is checked; 3 also shows that the batch size is free
OPSET = 17  # of ONNX: the first with LayerNormalization, and old enough for every runtime in use


@dataclass(frozen=True)
class Exported:
    """A written file, the largest difference to the encoder's features, and how to use it, as Markdown."""

    path: Path
    format: str
    difference: float
    usage: str


def export_encoder(encoder: Encoder, out: Path, format: str) -> Exported:
    """Write `encoder` to the file or folder `out`, whole or not at all, in one of FORMATS.

    timm: safetensors with the keys of the timm model without classifier. torchvision: safetensors with torchvision's
    keys, without `fc` or `classifier`; a grey encoder's first layer is spread over three equal channels, as torchvision
    takes. onnx: images 0..1 `[B, C, size, size]` to features `[B, D]`, normalisation included. folder: an encoder
    folder, for any encoder.

    Raises UserError for a format or suffix that is not known, a folder that is there, a network that the format does
    not have, a package that is missing, and where the file's features differ from the encoder's by more than TOLERANCE.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    write, suffix = FORMATS[format]
    out = Path(out)
    if suffix and out.suffix.lower() != suffix:
        raise UserError(f"{out}: the format {format} is written as {suffix}; name the file so")
    if out.is_dir():
        raise UserError(f"{out}: is a folder; --out names {'a file' if suffix else 'a new one'}")
    encoder = encoder.eval().cpu()
    with replacing(out) as part, torch.no_grad():
        features, usage = write(encoder, part)
        wanted = encoder(_probes(encoder))  # [B, D]
        scale = max(1.0, float(wanted.abs().max()))
        difference = float((features - wanted).abs().max()) / scale
        if not difference <= TOLERANCE:
            raise UserError(
                f"{out}: not written, because its features differ from the encoder's by {difference:.1e} "
                f"(at most {TOLERANCE:.0e}): {encoder.card.backbone} is not the same network in {format}"
            )
    return Exported(out, format, difference, usage.replace("FILE", out.name))


def timm_arguments(encoder: Encoder) -> tuple[str, dict[str, Any]]:
    """The name and arguments with which `timm.create_model` builds the encoder's backbone."""
    card = encoder.card
    if card.backbone in OWN:
        raise UserError(
            f"export: '{card.backbone}' is a network of ssl_zoo's own that timm does not have; "
            "--format onnx writes it for any runtime, --format folder for ssl_zoo"
        )
    name, arguments = SMALL.get(card.backbone, (card.backbone, {}))
    arguments = {"num_classes": 0, **arguments, **card.arguments, "in_chans": card.channels}
    return name, arguments | ({"img_size": card.size} if is_transformer(card.backbone) else {})


def _write_timm(encoder: Encoder, path: Path) -> tuple[Tensor, str]:
    name, arguments = timm_arguments(encoder)
    weights = {key: value.detach().contiguous() for key, value in encoder.backbone.state_dict().items()}
    about = {"architecture": name, "arguments": json.dumps(arguments), "mean": json.dumps(encoder.card.mean)}
    save_file(weights, path, metadata={"format": "pt", **about, "std": json.dumps(encoder.card.std)})
    model = timm.create_model(name, **arguments).eval()
    model.load_state_dict(load_file(path), strict=True)
    code = f"""```python
import timm
from safetensors.torch import load_file

model = timm.create_model({name!r}, **{arguments!r}).eval()
model.load_state_dict(load_file("FILE"))
features = model(images)  # normalised images [B, {encoder.card.channels}, {encoder.card.size}, {encoder.card.size}]
```"""
    return model(encoder.normalise(_probes(encoder))), code


def _write_torchvision(encoder: Encoder, path: Path) -> tuple[Tensor, str]:
    card = encoder.card
    name = card.backbone.split(".")[0]
    if name not in TORCHVISION:
        raise UserError(
            f"export: torchvision has no '{card.backbone}' with the same weights (it has: {', '.join(TORCHVISION)}); "
            "write --format timm or onnx"
        )
    import torchvision

    model = torchvision.models.get_model(name, weights=None).eval()
    head = "fc" if hasattr(model, "fc") else "classifier"
    setattr(model, head, nn.Identity())
    weights = {key: value.detach().contiguous() for key, value in encoder.backbone.state_dict().items()}
    first = next(key for key in ("conv1.weight", "features.conv0.weight") if key in weights)
    if card.channels == 1:  # three equal channels, each with a third of the weight, see the same grey image
        weights[first] = weights[first].expand(-1, 3, -1, -1).contiguous() / 3
    save_file(weights, path, metadata={"format": "pt", "architecture": f"torchvision {name}"})
    model.load_state_dict(load_file(path), strict=True)
    code = f"""```python
import torch, torchvision
from safetensors.torch import load_file

model = torchvision.models.{name}()
model.{head} = torch.nn.Identity()
model.load_state_dict(load_file("FILE"))
model.eval()
features = model(images)  # normalised images [B, 3, {card.size}, {card.size}]{_grey_note(encoder)}
```"""
    images = encoder.normalise(_probes(encoder))
    return model(images.expand(-1, 3, -1, -1)), code


def _write_onnx(encoder: Encoder, path: Path) -> tuple[Tensor, str]:
    for package in ("onnx", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise UserError(
                f"export: the format onnx needs {package} ({error}); install it with: pip install 'ssl_zoo[export]'"
            ) from None
    import onnxruntime

    probes = _probes(encoder)
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["features"]}
    with warnings.catch_warnings():  # of the tracer, about branches on shapes that a fixed size decides
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _FromPixels(encoder).eval(),
            (probes[:2],),
            str(path),
            dynamic_axes={"images": {0: "batch"}, "features": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,  # the other exporter needs one more package, and gives the same network
            **names,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, torch.get_num_threads())
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    features = session.run(None, {"images": probes.numpy()})[0]
    code = f"""```python
import onnxruntime

session = onnxruntime.InferenceSession("FILE")
# float32 images [B, {encoder.card.channels}, {encoder.card.size}, {encoder.card.size}] in 0..1, not normalised
(features,) = session.run(None, {{"images": images}})
```"""
    return torch.from_numpy(np.asarray(features)), code


def _write_folder(encoder: Encoder, path: Path) -> tuple[Tensor, str]:
    save_encoder(path, encoder.backbone, encoder.card)
    code = """```python
import ssl_zoo

encoder = ssl_zoo.load_encoder("FILE")  # or as an entry of transfer.inits
features = encoder(images)  # uint8 or 0..1, [B, H, W] or [B, C, H, W], not normalised
```"""
    return load_encoder(path)(_probes(encoder)), code


class _FromPixels(nn.Module):
    """An encoder for images 0..1 of its own size: normalisation and backbone, without a branch on shapes."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.backbone = encoder.backbone
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", encoder.mean.clone())
        self.register_buffer("std", encoder.std.clone())

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone((images - self.mean) / self.std)


def _probes(encoder: Encoder) -> Tensor:
    """Images 0..1 `[PROBES, C, size, size]` with structure at every scale, the same ones each time."""
    card, generator = encoder.card, torch.Generator().manual_seed(PROBE_SEED)
    images = torch.zeros(PROBES, card.channels, card.size, card.size)
    for side in (4, 16, card.size):
        noise = torch.rand(PROBES, card.channels, side, side, generator=generator)
        images += nn.functional.interpolate(noise, (card.size, card.size), mode="bilinear") / 3
    return images


def _grey_note(encoder: Encoder) -> str:
    if encoder.card.channels == 3:
        return ""
    return f", a grey image three times: (image - {encoder.card.mean[0]:.6g}) / {encoder.card.std[0]:.6g}"


FORMATS: dict[str, tuple[Callable[[Encoder, Path], tuple[Tensor, str]], str]] = {
    "timm": (_write_timm, ".safetensors"),
    "torchvision": (_write_torchvision, ".safetensors"),
    "onnx": (_write_onnx, ".onnx"),
    "folder": (_write_folder, ""),
}
