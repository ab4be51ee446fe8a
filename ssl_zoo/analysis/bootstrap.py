"""The bootstrap over patients: weights of resamples, intervals, p-values and their correction for many comparisons.

Patients, not images, are independent, so patients are what is resampled. A resample is a vector of weights: how often
each patient was drawn. All inits of a cohort share the same resamples, which pairs them.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]
LEVEL = 0.95
SEEN = 20  # resamples on the rarer side, from which on their share is trusted


def patient_weights(n_patients: int, replicates: int, seed: int, cohort: str = "") -> Floats:
    """Weights `[1 + replicates, n_patients]`: how often each patient is drawn; row 0 is the sample itself, all ones."""
    generator = np.random.default_rng([seed, zlib.crc32(cohort.encode())])
    drawn = generator.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=replicates)
    return np.concatenate([np.ones((1, n_patients)), drawn.astype(np.float64)])


def interval(samples: Floats, n_patients: int | None = None, *, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of resamples, expanded for few patients (see `tails`); (NaN, NaN) where there are none.

    Without `n_patients` it is not expanded: for what is no estimate from a sample of independent units.
    """
    samples = samples[~np.isnan(samples)]
    if not len(samples):
        return float("nan"), float("nan")
    low, high = np.quantile(samples, tails(n_patients, level))
    return float(low), float(high)


def tails(n_patients: int | None, level: float = LEVEL) -> tuple[float, float]:
    """The two quantiles of the resamples between which an interval lies: 0.025 and 0.975 for very many patients.

    With n patients a plain percentile interval is too short twice: resamples vary by (n - 1) / n of the variance that
    an unbiased estimate has, and it takes the normal distribution's quantiles where Student's are due. The expanded
    percentile interval mends both and keeps its asymmetry: the lower quantile is that of the normal distribution at
    -sqrt(n / (n - 1)) t, t being Student's for n - 1 degrees of freedom (Hesterberg 2015, "What teachers should know
    about the bootstrap", The American Statistician 69; arXiv 1411.5279).
    """
    low = (1 - level) / 2
    if n_patients is not None:
        wide = _expansion(n_patients) * special.stdtrit(n_patients - 1, low) if n_patients > 1 else -np.inf
        low = float(special.ndtr(wide))
    return low, 1 - low


def bootstrap_p(differences: Floats, n_patients: int) -> float:
    """Two-sided bootstrap p-value of a difference: from the rarer sign's share of the resamples.

    Twice that share, never below 2 / (R + 1), is brought from the normal distribution to Student's as `tails` does, so
    that p < 0.05 where the 95 % interval leaves 0 aside. Never below 2 / 2^n_patients, the least that an exact
    sign-flip test could give: with five patients nothing is significant, however clear it looks.
    """
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return float("nan")
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    return _student_p(-special.ndtri(min(0.5, (rarer + 1) / (len(differences) + 1))), n_patients)


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
    return min(counted, _student_p(abs(float(differences.mean())) / spread if spread > 0 else np.inf, n_patients))


def _student_p(z: float, n_patients: int) -> float:
    """Two-sided p-value of a distance of `z` >= 0 spreads of the resamples from no difference."""
    least = min(1.0, 2.0 ** (1 - n_patients))
    if n_patients < 2:
        return least
    return float(min(1.0, max(2 * special.stdtr(n_patients - 1, -z / _expansion(n_patients)), least)))


def _expansion(n_patients: int) -> float:
    """How much larger the spread of an estimate from n patients is than that of its resamples."""
    return float(np.sqrt(n_patients / (n_patients - 1)))


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
