"""The bootstrap over patients: weights of resamples, intervals, p-values and their correction for many comparisons.

Patients, not images, are independent, so patients are what is resampled. A resample is a vector of weights: how often
each patient was drawn. All inits of a cohort share the same resamples, which pairs them.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
LEVEL = 0.95
SEEN = 20  # resamples on the rarer side, from which on their share is trusted


def patient_weights(n_patients: int, replicates: int, seed: int, cohort: str = "") -> Floats:
    """Weights `[1 + replicates, n_patients]`: how often each patient is drawn; row 0 is the sample itself, all ones."""
    generator = np.random.default_rng([seed, zlib.crc32(cohort.encode())])
    drawn = generator.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=replicates)
    return np.concatenate([np.ones((1, n_patients)), drawn.astype(np.float64)])


def interval(samples: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of resamples; (NaN, NaN) where there are none."""
    samples = samples[~np.isnan(samples)]
    if not len(samples):
        return float("nan"), float("nan")
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_p(differences: Floats, n_patients: int) -> float:
    """Two-sided bootstrap p-value of a difference: twice the rarer sign's share of the resamples.

    Never below 2 / (R + 1), nor below 2 / 2^n_patients, the least that an exact sign-flip test could give: with
    five patients nothing is significant, however clear it looks.
    """
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return float("nan")
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, max(2 * (rarer + 1) / (len(differences) + 1), 2.0 ** (1 - n_patients))))


def tail_p(differences: Floats, n_patients: int) -> float:
    """As `bootstrap_p`, but not bounded by the number of resamples, for families too large for that bound.

    Where fewer than `SEEN` resamples lie on the rarer side, their share says little, and a p-value of 2 / (R + 1) times
    a hundred pairs could never be significant. The tail of the normal distribution with the mean and spread of the
    resamples then takes its place, never above the share. The bound by the number of patients stays.
    """
    differences = differences[~np.isnan(differences)]
    counted = bootstrap_p(differences, n_patients)
    if not len(differences) or min((differences <= 0).sum(), (differences >= 0).sum()) >= SEEN:
        return counted
    spread = float(differences.std())
    tail = 2 * float(stats.norm.sf(abs(float(differences.mean())) / spread)) if spread > 0 else 0.0
    return float(min(counted, max(tail, 2.0 ** (1 - n_patients))))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down correction (Holm 1979) for the given family of p-values; NaN stays NaN and does not count."""
    p = np.asarray(p_values, float)
    corrected = np.full_like(p, np.nan)
    order = [index for index in np.argsort(p, kind="stable") if not np.isnan(p[index])]
    worst = 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - rank) * p[index]))
        corrected[index] = worst
    return corrected
