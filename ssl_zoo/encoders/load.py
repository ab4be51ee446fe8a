"""One door to every encoder: a folder of one's own, a published one's file, ImageNet's weights."""

from __future__ import annotations

from pathlib import Path

from ssl_zoo.encoders import files
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.files import Encoder
from ssl_zoo.encoders.imagenet import imagenet_encoder, own_size, parse_imagenet
from ssl_zoo.encoders.published import load_published, parse_published
from ssl_zoo.errors import UserError, unknown


def load_encoder(path_or_spec: Path | str) -> Encoder:
    """An encoder in evaluation mode, on the CPU: calling it maps an image batch to features `[B, D]`.

    `path_or_spec`: an encoder folder; a published encoder as `usf_mae:/path/file.pt` or `ultrasam@224:/path/file.pth`
    (what matched is told on stderr); ImageNet's weights for colour images of timm's own size, as `imagenet@resnet50`,
    fetched by timm, or `imagenet@resnet50:/path/file`, told likewise. No code from a file is run.

    Raises UserError for a name that is none of these, and where a file is missing, not whole, or does not match to the
    last weight.
    """
    spec = str(path_or_spec)
    if isinstance(path_or_spec, str) and not Path(spec).is_dir():
        if parse_published(spec) is not None:
            return load_published(spec)
        if (imagenet := parse_imagenet(spec)) is not None:
            if not imagenet.backbone:
                raise UserError(f"'{spec}': which network? Write 'imagenet@resnet50' or another model of timm")
            size = own_size(imagenet.backbone)
            return imagenet_encoder(imagenet.backbone, size=size, channels=3, file=imagenet.file or None)
        if _is_name(spec):
            hint = "an encoder of your own is a folder that holds backbone.safetensors and encoder.json"
            raise UserError(f"{unknown('encoder', spec.partition(':')[0].partition('@')[0], KNOWN)}; {hint}")
    return files.load_encoder(path_or_spec)


KNOWN = [*PUBLISHED, "imagenet"]


def _is_name(spec: str) -> bool:
    """Whether a user meant a name, and no folder: "byol", "usf_mea:/path/file.pt", but not "C:/encoder"."""
    head, colon, _ = spec.partition(":")
    return "/" not in head and "\\" not in head and (not colon or len(head) > 1) and bool(head)
