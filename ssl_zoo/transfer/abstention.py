"""When to say "none of these": frames unlike the planes that a classifier has learnt.

A scan mostly shows no standard plane, while a classifier has only ever seen such planes, and names one for whatever it
is shown. A frame is set aside when the classifier is less sure of it, or when its features lie farther from every
class, than all but a few of the validation planes. Distances are Mahalanobis distances to the nearest class mean under
a covariance that the classes share (Lee et al., NeurIPS 2018, arXiv 1807.03888), shrunk as Ledoit and Wolf (2004) do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.covariance import ledoit_wolf

MOST_COMPONENTS = 64  # directions of the features that distances are taken in: those of the largest variance


@dataclass(frozen=True, eq=False)
class Abstainer:
    """Thresholds on confidence and distance, and what the distance is measured with.

    `centres` `[C, P]` are the class means and `whiten` `[D, P]` maps features, less `mean` `[D]`, to where the shared
    covariance is the identity. `kept`: the share of the validation images that both thresholds keep.
    """

    least_confidence: float
    most_distance: float
    kept: float
    mean: np.ndarray
    whiten: np.ndarray
    centres: np.ndarray

    def distances(self, features: np.ndarray) -> np.ndarray:
        """To the nearest class, `[N]` of features `[N, D]`."""
        at = (features - self.mean) @ self.whiten  # [N, P]
        return np.sqrt(((at[:, None] - self.centres) ** 2).sum(2)).min(1)

    def accepts(self, features: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        """Which images show one of the planes, bool `[N]`; `confidence` `[N]` is the largest probability."""
        return self.accepts_at(self.distances(features), confidence)

    def accepts_at(self, distances: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        """The same for distances `[N]` that are known already."""
        return (confidence >= self.least_confidence) & (distances <= self.most_distance)


def fit_abstainer(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    validation: np.ndarray,
    confidence: np.ndarray,
    keep: float = 0.95,
) -> Abstainer:
    """Learn where the classes lie from training features, and the thresholds from validation images.

    `features` `[N, D]` and `labels` `[N]` are of the classifier's own training images; `validation` `[V, D]` features
    and `confidence` `[V]` of images of other patients. Each threshold alone sets aside (1 - keep) / 2 of the validation
    images, so that at least `keep` of them stay.
    """
    if not len(validation):
        raise ValueError("thresholds are set on at least one validation image")
    classes = np.unique(labels)
    means = np.stack([features[labels == k].mean(0) for k in classes])  # [C, D]
    mean = features.mean(0)
    within = features - means[np.searchsorted(classes, labels)]
    _, singular, directions = np.linalg.svd(features - mean, full_matrices=False)
    rank = int((singular > 1e-6 * max(singular.max(), 1e-12)).sum())
    basis = directions[: max(1, min(MOST_COMPONENTS, rank))].T  # [D, P]
    covariance, _ = ledoit_wolf(within @ basis, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    whiten = basis @ (vectors / np.sqrt(np.maximum(values, 1e-12)))
    fitted = Abstainer(0.0, np.inf, 1.0, mean, whiten, (means - mean) @ whiten)
    distances, aside = fitted.distances(validation), (1 - keep) / 2
    least = float(np.quantile(confidence, aside, method="lower"))
    most = float(np.quantile(distances, 1 - aside, method="higher"))
    kept = float(((confidence >= least) & (distances <= most)).mean())
    return Abstainer(least, most, kept, mean, whiten, fitted.centres)
