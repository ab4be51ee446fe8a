"""Monitors that run the encoder as it would be exported, in evaluation mode; the training shows no trace of them.

No random number is drawn, no running statistic moves, and every module has its mode back afterwards: the weights that
come out are the same to the bit with these monitors and without.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.errors import UserError

NEIGHBOURS = (
    20  # and the temperature: Wu et al., arXiv 1805.01978; Caron et al., arXiv 2104.14294, appendix F.2 take 20
)
TEMPERATURE = 0.07
CHUNK = 256  # images, and rows of the distance table, at a time


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Labelled images of *training* patients, to watch an encoder by while it trains.

    `images`: uint8 `[N, H, W]` or `[N, H, W, 3]`; `labels`: int `[N]`; `patients`: `[N]`, of two or more patients. The
    caller answers for it that no patient of a validation or test set is among them. Some hundred to some thousand
    images are enough; they pass the encoder about ten times in a run.
    """

    images: np.ndarray
    labels: np.ndarray
    patients: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.patients):
            raise UserError(
                f"labelled images: {len(self.images)} images, {len(self.labels)} labels and {len(self.patients)} "
                "patients; there must be one of each for every image"
            )
        if self.images.dtype != np.uint8:
            raise UserError(f"labelled images: their type is {self.images.dtype}, not uint8")
        if len(set(self.patients.tolist())) < 2:
            raise UserError("labelled images: two patients at least are needed, to leave one out")


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradient within the block; afterwards every part of the module has its own mode again."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def view_features(encoder: nn.Module, views: list[Tensor]) -> list[Tensor]:
    """Features `[B, D]` of the first view and, where there is one, of the second, each `[B, C, h, w]`, normalised."""
    with evaluating(encoder):
        return [encoder(view).float() for view in views[:2]]


def neighbour_accuracy(encoder: nn.Module, card: Card, labelled: LabelledImages, device: torch.device) -> float:
    """Share of images whose label their nearest neighbours of *other* patients name, 0..1.

    The 20 nearest by cosine vote with weight exp(cosine / 0.07).
    """
    features = image_features(encoder, card, labelled.images, device)  # [N, D]
    labels = torch.as_tensor(np.unique(labelled.labels, return_inverse=True)[1], device=device)  # [N], 0..K-1
    patients = torch.as_tensor(np.unique(labelled.patients, return_inverse=True)[1], device=device)
    classes = F.one_hot(labels).float()  # [N, K]
    unit = F.normalize(features, dim=1)
    right = 0
    for start in range(0, len(unit), CHUNK):
        own = slice(start, start + CHUNK)
        cosine = unit[own] @ unit.T  # [b, N]
        cosine.masked_fill_(patients[own, None] == patients, -torch.inf)
        nearest, place = cosine.topk(min(NEIGHBOURS, len(unit)), dim=1)  # [b, k]
        votes = (nearest / TEMPERATURE).exp()[:, :, None] * classes[place]  # [b, k, K]; a masked one has weight 0
        right += int((votes.sum(1).argmax(1) == labels[own]).sum())
    return right / len(unit)


def image_features(encoder: nn.Module, card: Card, images: np.ndarray, device: torch.device) -> Tensor:
    """Features `[N, D]` of uint8 images `[N, H, W]` or `[N, H, W, 3]`, prepared as the encoder's card says."""
    whole = Encoder(encoder, card).to(device)
    found = []
    with evaluating(whole):
        for start in range(0, len(images), CHUNK):
            batch = torch.from_numpy(np.ascontiguousarray(images[start : start + CHUNK])).to(device)
            if batch.ndim == 4:
                batch = batch.permute(0, 3, 1, 2)  # [b, 3, H, W]
            found.append(whole(batch).float())
    return torch.cat(found)
