"""Temperature scaling: one number, fitted on validation images, that makes a classifier's confidence mean what it says.

Guo et al., ICML 2017 (arXiv 1706.04599). Dividing all logits by a temperature changes no prediction, only how sure the
classifier says it is.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import fminbound
from scipy.special import log_softmax, softmax

TINY = 1e-12  # the least probability whose logarithm is taken
RANGE = (0.05, 20.0)  # temperatures that are looked at; beyond, probabilities are all equal or all 0 and 1


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the least mean negative log-likelihood, within `RANGE`.

    `probabilities` `[N, K]`, `labels` int `[N]` in 0..K-1, both of images that the classifier was not fitted on.
    """
    if not len(labels):
        raise ValueError("a temperature is fitted on at least one image")
    logits = np.log(np.maximum(probabilities, TINY))  # [N, K], up to a constant of each row

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(labels)), labels].mean())

    low, high = np.log(RANGE)
    return float(np.exp(fminbound(loss, low, high)))


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities `[N, K]` that the same logits give at a temperature (1: as they are)."""
    return softmax(np.log(np.maximum(probabilities, TINY)) / temperature, axis=1)
