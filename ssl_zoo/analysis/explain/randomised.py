"""The randomised-weights check: a map that does not change when the network forgets everything explains nothing.

After Adebayo et al. 2018 (Sanity checks for saliency maps, arXiv 1810.03292): the map is compared, by rank
correlation, with that of the same network whose weights are shuffled within each tensor. Shuffling keeps their
distribution, works for every architecture, and leaves nothing of what was learned.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from scipy import stats

from ssl_zoo.transfer.classifier import Classifier


def with_shuffled_weights(classifier: Classifier, seed: int) -> Classifier:
    """A copy of the classifier with every weight tensor, BatchNorm's statistics and the head shuffled by `seed`.

    Channels keep their own pairs of statistics: BatchNorm's mean and variance are shuffled alike.
    """
    shuffled = copy.deepcopy(classifier)
    with torch.no_grad():
        for number, (name, tensor) in enumerate(shuffled.state_dict().items()):
            if not tensor.is_floating_point() or tensor.numel() < 2:
                continue
            same = name.rpartition(".")[0] if name.endswith(("running_mean", "running_var")) else number
            order = torch.randperm(tensor.numel(), generator=_generator(seed, same))
            tensor.copy_(tensor.flatten()[order.to(tensor.device)].view_as(tensor))
    return shuffled


def rank_correlation(found: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation of two maps, −1..1; NaN where one of them is the same everywhere."""
    if np.ptp(found) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(found.ravel()), stats.rankdata(other.ravel()))[0, 1])


def _generator(seed: int, name: int | str) -> torch.Generator:
    number = name if isinstance(name, int) else sum(ord(letter) * (k + 1) for k, letter in enumerate(name)) + 100_003
    return torch.Generator().manual_seed(1_000_003 * seed + number)
