"""Signs of health, read from a batch of features alone: cheap, and the same for every method."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def feature_health(features: Tensor) -> dict[str, float]:
    """How spread out a batch of features `[B, D]` is; all three fall towards their minimum in a collapse.

    - `feature_std`: see `spread`.
    - `rankme`: exp of the entropy of the normalised singular values, not centred, 1..min(B, D)
      (Garrido et al., arXiv 2210.02885, eq. 1).
    - `effective_rank`: the same of the centred features, so that one common direction does not hide a collapse
      (Roy & Vetterli 2007).
    """
    features = features.detach().float()
    return {
        "feature_std": spread(features),
        "rankme": _spectral_rank(features),
        "effective_rank": _spectral_rank(features - features.mean(0)),
    }


@torch.no_grad()
def spread(features: Tensor) -> float:
    """Mean over dimensions of the standard deviation of the l2-normalised features `[B, D]`, times sqrt(D).

    1 when they fill the sphere, 0 when all are equal (Chen & He, arXiv 2011.10566, figure 2).
    """
    unit = F.normalize(features.detach().float(), dim=1)
    return float(unit.std(0, correction=0).mean() * features.shape[1] ** 0.5)


@torch.no_grad()
def alignment_and_uniformity(first: Tensor, second: Tensor | None = None) -> dict[str, float]:
    """How near the features of two views of an image are, and how evenly all features fill the sphere; both `[B, D]`.

    - `alignment`: mean squared distance between the two l2-normalised features of a pair, 0 (equal) to 4; left out
      where there is no second view.
    - `uniformity`: log of the mean of exp(-2 distance^2) over all pairs of different images, -8 to 0 (all equal), the
      mean over the two views. An even spread over a sphere of many dimensions gives nearly -4.

    Wang & Isola, arXiv 2005.10242, equations 5 and 6 with alpha = 2 and t = 2. Smaller is better for both.
    """
    sides = [F.normalize(side.detach().float(), dim=1) for side in (first, second) if side is not None]
    found = {"uniformity": sum(_uniformity(side) for side in sides) / len(sides)}
    if len(sides) == 2:
        found["alignment"] = float((sides[0] - sides[1]).square().sum(1).mean())
    return found


def _uniformity(unit: Tensor) -> float:
    if len(unit) < 2:
        return 0.0
    cosine = unit @ unit.T  # [B, B]
    above = torch.triu_indices(len(unit), len(unit), offset=1, device=unit.device)
    distance = 2 - 2 * cosine[above[0], above[1]]  # squared; one for each pair of images
    return float(torch.logsumexp(-2 * distance, 0)) - math.log(distance.numel())


def _spectral_rank(features: Tensor) -> float:
    singular = torch.linalg.svdvals(features)
    total = singular.sum()
    if total <= 0:
        return 1.0
    share = singular / total
    return float(torch.exp(-torch.special.xlogy(share, share).sum()))
