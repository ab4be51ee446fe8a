"""Signs of collapse, read from a batch of features alone: cheap, and the same for every method."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def feature_health(features: Tensor) -> dict[str, float]:
    """How spread out a batch of features `[B, D]` is; all three fall towards their minimum in a collapse.

    - `feature_std`: mean over dimensions of the standard deviation of the l2-normalised features, times sqrt(D);
      1 when they fill the sphere, 0 when all are equal (Chen & He, arXiv 2011.10566, figure 2).
    - `rankme`: exp of the entropy of the normalised singular values, not centred, 1..min(B, D)
      (Garrido et al., arXiv 2210.02885, eq. 1).
    - `effective_rank`: the same of the centred features, so that one common direction does not hide a collapse
      (Roy & Vetterli 2007).
    """
    features = features.detach().float()
    unit = torch.nn.functional.normalize(features, dim=1)
    return {
        "feature_std": float(unit.std(0, correction=0).mean() * features.shape[1] ** 0.5),
        "rankme": _spectral_rank(features),
        "effective_rank": _spectral_rank(features - features.mean(0)),
    }


def _spectral_rank(features: Tensor) -> float:
    singular = torch.linalg.svdvals(features)
    total = singular.sum()
    if total <= 0:
        return 1.0
    share = singular / total
    return float(torch.exp(-torch.special.xlogy(share, share).sum()))
