"""Does the number of pre-training frames matter, or their diversity? A regression over encoders of one study.

Every encoder (method, store of frames, seed) gives one point: its mean macro-F1. The points are regressed on the
logarithm of the number of frames and of their effective number (`scans.diversity`), each alone and both together, with
an intercept for every method:

    macro-F1 = a(method) + b · log2(number of frames) + c · log2(effective number) + error

so a slope is what a doubling brings. Encoders of one store share its frames, so stores are what is resampled for the
intervals: 95 % percentile bootstrap over stores, expanded for few stores (`bootstrap.tails`), every encoder of a drawn
store coming along. Stores that draw their scans with one `frames.seed` hold nested sets of them, one draw for each
number of scans, and are taken for independent here, so that no interval says what another draw would bring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssl_zoo.analysis.bootstrap import interval
from ssl_zoo.analysis.pooling import pooled_scores

SIZE, DIVERSITY = "log2_frames", "log2_effective"
MODELS: dict[str, tuple[str, ...]] = {
    "size alone": (SIZE,),
    "diversity alone": (DIVERSITY,),
    "both": (SIZE, DIVERSITY),
}
REPLICATES = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StoreFacts:
    """How many frames a store has, and how many different ones they amount to."""

    frames: int
    effective: float  # effective number of frames, 1..frames
    scans: int


def encoder_points(
    results: pd.DataFrame,
    stores: Mapping[str, StoreFacts],
    store_of: Mapping[str, str],
    predictions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row for each encoder: `init, method, seed, store, frames, effective, scans, log2_frames, log2_effective, f1`.

    `results` are the cells of one mode and cohort; `stores` the facts of each store by its name, `store_of` the store
    of each init. `f1` is the mean over the fractions of the encoder's macro-F1, with folds pooled and label seeds
    averaged as in every figure (`pooling`); without predictions the cells of a fraction are averaged.
    """
    own = results.loc[results["init"].isin(list(store_of)).to_numpy()]
    keys = ["init", "backbone", "method", "pretrain_seed"]
    by_encoder = pooled_scores(own, predictions, keys).groupby(keys, sort=False, dropna=False, as_index=False)
    points = pd.DataFrame(by_encoder["f1_macro"].mean()).drop(columns="backbone")
    points = points.rename(columns={"pretrain_seed": "seed", "f1_macro": "f1"})
    points["store"] = [store_of[init] for init in points["init"]]
    facts = [stores[store] for store in points["store"]]
    points["frames"] = [fact.frames for fact in facts]
    points["effective"] = [fact.effective for fact in facts]
    points["scans"] = [fact.scans for fact in facts]
    points[SIZE] = np.log2(points["frames"].to_numpy(float))
    points[DIVERSITY] = np.log2(points["effective"].to_numpy(float))
    return points


def regress(points: pd.DataFrame, *, replicates: int = REPLICATES, seed: int = 0) -> pd.DataFrame:
    """The three regressions: rows `model, predictor, slope, low, high, r2, stores, encoders`.

    `r2` is the share of the variance within methods that the model explains. A predictor that does not vary, or that
    the other one determines, has no slope (NaN).
    """
    draws = _store_draws(points["store"].to_numpy(), replicates, seed)
    f1, n_stores = points["f1"].to_numpy(float), points["store"].nunique()
    rows = []
    for model, names in MODELS.items():
        predictors = points[list(names)].to_numpy(float)
        slopes, r2 = _fit(predictors, f1, points["method"].to_numpy())
        samples = np.array([_fit(predictors[rows], f1[rows], points["method"].to_numpy()[rows])[0] for rows in draws])
        for place, name in enumerate(names):
            found = samples[:, place]
            known = np.isfinite(slopes[place])
            low, high = interval(found[np.isfinite(found)], n_stores) if known else (np.nan, np.nan)
            rows.append((model, name, slopes[place], low, high, r2, n_stores, len(points)))
    return pd.DataFrame(rows, columns=["model", "predictor", "slope", "low", "high", "r2", "stores", "encoders"])


def line(points: pd.DataFrame, predictor: str, grid: Floats, *, replicates: int = REPLICATES, seed: int = 0) -> Floats:
    """The fitted mean over methods along `grid` `[G]` of one predictor with its 95 % band: float `[3, G]`."""

    def at(rows: NDArray[np.int64]) -> Floats:
        part = points.iloc[rows]
        predictors = part[[predictor]].to_numpy(float)
        slope = _fit(predictors, part["f1"].to_numpy(float), part["method"].to_numpy())[0][0]
        return part["f1"].mean() + slope * (grid - predictors.mean())

    samples = np.array([at(rows) for rows in _store_draws(points["store"].to_numpy(), replicates, seed)])
    bounds = [interval(column[np.isfinite(column)], points["store"].nunique()) for column in samples.T]
    return np.vstack([at(np.arange(len(points))), np.array(bounds).T])


def _fit(predictors: Floats, f1: Floats, methods: Sequence[str] | NDArray) -> tuple[Floats, float]:
    """Slopes `[P]` and the explained share of the variance, by least squares within methods."""
    codes = pd.factorize(np.asarray(methods))[0]
    inside = _within(predictors, codes)
    left = _within(f1[:, None], codes)[:, 0]
    if np.linalg.matrix_rank(inside, tol=1e-8 * max(1.0, float(np.abs(inside).max(initial=0.0)))) < inside.shape[1]:
        return np.full(inside.shape[1], np.nan), np.nan
    slopes = np.linalg.lstsq(inside, left, rcond=None)[0]
    total = float(left @ left)
    rest = left - inside @ slopes
    return slopes.astype(np.float64), 1 - float(rest @ rest) / total if total > 0 else np.nan


def _within(values: Floats, codes: NDArray[np.int64]) -> Floats:
    """Values `[N, P]` less the mean of their method."""
    counts = np.bincount(codes)
    means = np.stack([np.bincount(codes, column) / counts for column in values.T], axis=1)
    return values - means[codes]


def _store_draws(stores: NDArray, replicates: int, seed: int) -> list[NDArray[np.int64]]:
    """Row numbers of the encoders of as many stores as there are, drawn with replacement; `replicates` times."""
    codes = pd.factorize(stores)[0]
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    rng = np.random.default_rng(seed)
    return [
        np.concatenate([members[k] for k in draw])
        for draw in rng.integers(len(members), size=(replicates, len(members)))
    ]
