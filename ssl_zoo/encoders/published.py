"""The registry of published encoders: foundation models from weights that the user has, loaded strictly.

`usf_mae:/path/file.pt` is USF-MAE from that file, `ultrasam@224:/path/file.pth` UltraSam for images of 224 pixels.
Weights are never shipped nor fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.entry import Entry, Weights
from ssl_zoo.encoders.files import Card, Encoder, load_strict
from ssl_zoo.encoders.matching import Accounting, match, say, say_once
from ssl_zoo.encoders.overlaps import known_overlap
from ssl_zoo.encoders.resampling import resample_positions
from ssl_zoo.encoders.weight_files import mark, read_weights
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.files import fingerprint, fingerprint_file

__all__ = [
    "PUBLISHED",
    "check_published",
    "known_overlap",
    "load_published",
    "parse_published",
    "published_fingerprint",
]

VERSION = 1  # raised when a change here or in an entry changes what is loaded from the same file


@dataclass(frozen=True)
class PublishedSpec:
    """`name[@size]:/path/file`, taken apart."""

    entry: Entry
    size: int  # pixels
    path: Path

    @property
    def name(self) -> str:
        """The entry's name, with the size where it is not the entry's own: "ultrasam@224"."""
        return self.entry.name if self.size == self.entry.size else f"{self.entry.name}@{self.size}"


def parse_published(spec: str) -> PublishedSpec | None:
    """What `name[@size]:/path/file` says; None where `spec` names no published encoder.

    Raises UserError where it does, but without a file, or with a size that is none or that the encoder cannot take.
    """
    head, _, path = spec.partition(":")
    name, at, size = head.partition("@")
    if name not in PUBLISHED:
        return None
    entry = PUBLISHED[name]
    if not path:
        raise UserError(
            f"'{spec}': the weights of {name} are not shipped; get them ({entry.weights}) and write '{head}:/path/file'"
        )
    if at and not (size.isascii() and size.isdigit() and 16 <= int(size) <= 2048):
        raise UserError(f"'{spec}': '{size}' is no input size (16 to 2048 pixels), as in '{name}@{entry.size}:{path}'")
    pixels = int(size) if at else entry.size
    if pixels != entry.size and not entry.other_sizes:
        raise UserError(f"'{spec}': {name} takes images of {entry.size} pixels only")
    return PublishedSpec(entry, pixels, Path(path).expanduser())


def load_published(spec: str, *, tell: Callable[[str], None] | None = None) -> Encoder:
    """The encoder `name[@size]:/path/file`, in evaluation mode, on the CPU; colour images in, grey ones are repeated.

    `tell` is given one sentence with the matched, missing and unexpected keys (default: it is printed to stderr).

    Raises UserError where a file is missing, not whole, not this encoder's, or does not match to the last key.
    """
    found = _parsed(spec)
    entry = found.entry
    weights, account = _matched(entry, found.path)
    (tell or say)(f"{found.name}: {found.path}: {account.sentence()}")
    backbone = build_backbone(entry.backbone, channels=3, size=found.size, **entry.arguments)
    if found.size != entry.size:
        weights = resample_positions(weights, backbone)
    load_strict(backbone, weights, str(found.path))
    card = Card(
        backbone=entry.backbone,
        size=found.size,
        channels=3,
        mean=list(entry.mean),
        std=list(entry.std),
        pooling=entry.pooling,
        init=found.name,
        arguments=dict(entry.arguments),
        fitting=entry.fitting,
        resampling=entry.resampling,
    )
    return Encoder(backbone, card).eval()


def check_published(spec: str, *, tell: bool = False) -> Accounting:
    """The account of a file's keys, without building the network; raises as `load_published` does.

    A file that has not changed is read once in each process, and with `tell` its account is printed once.
    """
    found = _parsed(spec)
    account = _checked(found.entry.name, found.size, *mark(found.path))
    if tell:
        say_once(f"{found.name}: {found.path}: {account.sentence()}")
    return account


def published_fingerprint(spec: str) -> str:
    """Changes with the file's contents, the input size and fitting, and with how this entry loads a file."""
    found = _parsed(spec)
    entry = found.entry
    how = [entry.backbone, dict(entry.arguments), entry.mean, entry.std, entry.fitting, entry.resampling]
    return fingerprint(["published", VERSION, entry.name, found.size, how, _contents(*mark(found.path))])


def _parsed(spec: str) -> PublishedSpec:
    found = parse_published(spec)
    if found is None:
        raise unknown("published encoder", spec.partition(":")[0].partition("@")[0], PUBLISHED)
    return found


def _matched(entry: Entry, path: Path) -> tuple[Weights, Accounting]:
    """The file's weights under the network's keys, at the published size; refused unless every key matches."""
    weights, account = match(entry, read_weights(path, entry.unwrap), _shapes(entry, entry.size))
    if not account.complete:
        raise UserError(f"{path}: not the weights of {entry.name} ({entry.title}): {account.sentence()}")
    return weights, account


def _shapes(entry: Entry, size: int) -> dict[str, torch.Size]:
    """The network's keys and shapes for an input size; no memory is taken for its weights."""
    with torch.device("meta"):
        model = build_backbone(entry.backbone, channels=3, size=size, **entry.arguments)
    return {name: value.shape for name, value in model.state_dict().items()}


@lru_cache(maxsize=32)
def _checked(name: str, pixels: int, path: str, size: int, changed: int) -> Accounting:
    del size, changed
    _shapes(PUBLISHED[name], pixels)  # refuses a size that the network cannot take
    return _matched(PUBLISHED[name], Path(path))[1]


@lru_cache(maxsize=32)
def _contents(path: str, size: int, changed: int) -> str:
    del size, changed
    return fingerprint_file(Path(path))
