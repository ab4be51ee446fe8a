"""Labels saved: with how few labels an init reaches the score that its untrained backbone needs all of them for.

Scores of one init are made to rise with the labels before the goal is looked for: an isotonic (least-squares monotone)
fit over the fractions, since more labels cannot be worse but for noise. A running maximum would be simpler, but takes
the luckiest fraction for the truth, and the bootstrap would then be lucky in every resample. Between two fractions the
score is linear in the logarithm of the fraction.

Two answers are censored: the goal is reached at the smallest fraction already (it may take fewer labels still), or at
no fraction that the grid has up to the goal's own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ssl_zoo.analysis.bootstrap import tails
from ssl_zoo.analysis.counts import Floats
from ssl_zoo.analysis.statistics import BASELINE, START, Estimates, pick

REACHED, AT_SMALLEST, NOT_REACHED = "reached", "at the smallest fraction", "not reached"
COLUMNS = [*START, "method", "mode", "cohort", "target", "target_fraction", "state", "fraction", "smallest"]
COLUMNS += ["low", "high", "reached"]


def monotone(scores: ArrayLike) -> Floats:
    """The isotonic fit of scores `[R, F]` along the last axis: least squares among rows that never fall.

    By the min-max formula (Barlow et al. 1972): the largest over a <= i of the smallest over b >= i of mean(y[a..b]).
    """
    y = np.atleast_2d(np.asarray(scores, float))
    n = y.shape[1]
    total = np.concatenate([np.zeros((len(y), 1)), np.cumsum(y, 1)], axis=1)  # [R, F + 1]
    fit = np.empty_like(y)
    for i in range(n):
        starts, ends = np.arange(i + 1), np.arange(i + 1, n + 1)
        means = (total[:, None, ends] - total[:, starts, None]) / (ends[None] - starts[:, None])  # [R, a, b]
        fit[:, i] = means.min(2).max(1)
    return fit


def crossing(fractions: ArrayLike, scores: ArrayLike, target: ArrayLike) -> Floats:
    """The label fraction at which scores that never fall first reach `target`, NaN where they do not.

    `fractions` [F] ascending, `scores` [R, F], `target` [R]. Between two fractions the score is taken as linear in
    the logarithm of the fraction. Reached at the smallest fraction already: that fraction.
    """
    x, y, goal = np.log(np.asarray(fractions, float)), np.atleast_2d(scores), np.atleast_1d(target).astype(float)
    reached = y >= goal[:, None] - 1e-12  # NaN compares false
    first = reached.argmax(1)
    row = np.arange(len(y))
    before = np.maximum(first - 1, 0)
    rise = y[row, first] - y[row, before]
    share = np.where(rise > 0, (goal - y[row, before]) / np.where(rise > 0, rise, 1), 1.0)
    at = np.where(first == 0, x[0], x[before] + np.clip(share, 0, 1) * (x[first] - x[before]))
    return np.where(reached.any(1), np.exp(at), np.nan)


def labels_saved(estimates: Estimates, *, baseline: str = BASELINE) -> pd.DataFrame:
    """Per (init, backbone, mode, cohort): the fraction at which it reaches the full-label F1 of its untrained backbone.

    COLUMNS: target (that F1), target_fraction (the baseline's largest), state (REACHED, AT_SMALLEST, NOT_REACHED),
    fraction (None where not reached), smallest (fraction tried), low and high (95 % over patient resamples, in which
    the goal is resampled too; infinity where not reached, outward where the quantile falls between two resamples),
    reached (share of resamples in which it is). The search covers the fractions up to target_fraction.
    """
    rows = []
    table = estimates.table
    for key, group in table.groupby([*START, "mode", "cohort"], sort=False):
        init, backbone, mode, cohort = key  # type: ignore[misc]
        base = pick(table, init=baseline, backbone=backbone, mode=mode, cohort=cohort)
        if init == baseline or base.empty:
            continue
        full = int(base.index[base["fraction"].to_numpy().argmax()])
        goal, goal_fraction = float(table["f1_macro"].iloc[full]), float(table["fraction"].iloc[full])
        curve = group.loc[group["fraction"] <= goal_fraction].sort_values("fraction")
        if curve.empty or curve["fraction"].iloc[0] >= goal_fraction:  # no smaller fraction to save labels with
            continue
        fractions, index = curve["fraction"].to_numpy(float), curve.index.to_numpy()
        point = float(crossing(fractions, monotone(curve["f1_macro"]), goal)[0])
        low = high = share = float("nan")
        samples, goals = estimates.samples[index].T, estimates.samples[full]
        drawn = ~(np.isnan(samples).any(1) | np.isnan(goals))  # a resample may draw none of the patients tested here
        if drawn.any():
            at = crossing(fractions, monotone(samples[drawn]), goals[drawn])
            share = float((~np.isnan(at)).mean())
            at = np.where(np.isnan(at), np.inf, at)
            # never between two resamples: infinity and a finite neighbour have no mean
            ends = tails(int(table["n_test_patients"].iloc[[full, *index]].min()))
            low = float(np.quantile(at, ends[0], method="lower"))
            high = float(np.quantile(at, ends[1], method="higher"))
        state = NOT_REACHED if np.isnan(point) else AT_SMALLEST if is_smallest(point, fractions[0]) else REACHED
        rows.append(
            {"init": init, "backbone": backbone, "method": curve["method"].iloc[0], "mode": mode, "cohort": cohort}
            | {"target": goal, "target_fraction": goal_fraction, "state": state}
            | {"fraction": None if np.isnan(point) else point, "smallest": float(fractions[0])}
            | {"low": low, "high": high, "reached": share}
        )
    found = pd.DataFrame(rows, columns=COLUMNS)
    found["fraction"] = pd.Series([row["fraction"] for row in rows], dtype=object)  # keeps None
    return found


def is_smallest(fraction: float, smallest: float) -> bool:
    """Whether a crossing lies at the smallest fraction that was tried."""
    return fraction <= smallest * (1 + 1e-9)
