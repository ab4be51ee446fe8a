"""Patient-level statistics: bootstrap intervals, paired differences to the untrained baseline, labels saved.

Patients, not images, are independent, so patients are what is resampled. A resample is a vector of weights (how
often each patient was drawn), and macro-F1 needs only three counts per patient and class; thousands of
resamples are therefore one matrix product. All inits of a cohort share the same resamples, which pairs them.

The intervals say how the result would vary with other test *patients*. They hold the trained networks fixed;
the spread over seeds and folds is averaged, not added.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ssl_zoo.errors import UserError

START = ["init", "backbone"]  # what a downstream run starts from; baselines are compared within a backbone
POINT = [*START, "mode", "fraction", "cohort"]
BASELINE = "random"
LEVEL = 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimates:
    """Macro-F1 per (init, backbone, mode, fraction, cohort) with intervals, and the resamples behind them.

    `table`: POINT columns, `method`, `n_cells`, `n_train_patients`, `n_test_patients`, `f1_macro`, `low`, `high`,
    and against the baseline of the same backbone `difference`, `difference_low`, `difference_high`, `p_value`,
    `p_holm` (NaN for the baseline itself, and wherever predictions or the baseline are missing).
    `samples` [rows of table, R]: the resampled macro-F1; `differences` [rows, R]: the resampled differences.
    """

    table: pd.DataFrame
    samples: Floats
    differences: Floats

    def rows(self, **where: object) -> NDArray[np.int64]:
        """Row numbers whose columns equal the given values, for example `rows(mode="linear", fraction=1.0)`."""
        return pick(self.table, **where).index.to_numpy(np.int64)


def class_names(predictions: pd.DataFrame) -> list[str]:
    """The classes, in the order of the probability columns `p_<class>`."""
    return [str(name)[2:] for name in predictions.columns if str(name).startswith("p_")]


def class_codes(values: pd.Series, classes: list[str]) -> NDArray[np.int64]:
    """Class names (or integer class numbers) as numbers into `classes`; an unknown name is a UserError."""
    if pd.api.types.is_integer_dtype(values):
        codes = values.to_numpy(np.int64)
    else:
        codes = pd.Index(classes).get_indexer(pd.Index(values.astype(str)))
    if len(codes) and (codes.min() < 0 or codes.max() >= len(classes)):
        wrong = values.to_numpy()[(codes < 0) | (codes >= len(classes))][0]
        raise UserError(f"predictions, column '{values.name}': '{wrong}' is none of the classes {', '.join(classes)}")
    return codes


def count_cells(predictions: pd.DataFrame, cells: list[str], patients: list[str], classes: list[str]) -> Floats:
    """Counts `[cells, patients, 3, K]`: images of class k that were hit, that are k, and that were called k."""
    cell = pd.Index(cells).get_indexer(pd.Index(predictions["cell"]))
    patient = pd.Index(patients).get_indexer(pd.Index(predictions["patient_id"].astype(str)))
    label = class_codes(predictions["label"], classes)
    predicted = class_codes(predictions["predicted"], classes)
    known = (cell >= 0) & (patient >= 0)
    shape = (len(cells), len(patients), 3, len(classes))
    counts = np.zeros(shape)
    for kind, chosen, where in ((0, label, known & (label == predicted)), (1, label, known), (2, predicted, known)):
        flat = (cell[where] * len(patients) + patient[where]) * len(classes) + chosen[where]
        counts[:, :, kind] = np.bincount(flat, minlength=counts[:, :, kind].size).reshape(shape[0], shape[1], -1)
    return counts


def f1_of_counts(counts: Floats) -> Floats:
    """Macro-F1 from counts `[..., 3, K]` (hit, true, called): the mean over classes that occur, NaN if none does.

    A class without a true image is left out of the mean; images that were called so by mistake still cost the
    class they belong to.
    """
    hit, true, called = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    present = true > 0
    score = np.where(present, 2 * hit / np.maximum(true + called, 1e-12), 0.0)
    n_present = present.sum(-1)
    return np.where(n_present > 0, score.sum(-1) / np.maximum(n_present, 1), np.nan)


def patient_weights(n_patients: int, replicates: int, seed: int, cohort: str = "") -> Floats:
    """Weights `[1 + replicates, n_patients]`: how often each patient is drawn; row 0 is the sample itself, all ones."""
    generator = np.random.default_rng([seed, zlib.crc32(cohort.encode())])
    drawn = generator.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=replicates)
    return np.concatenate([np.ones((1, n_patients)), drawn.astype(np.float64)])


def estimate(
    results: pd.DataFrame,
    predictions: pd.DataFrame | None,
    *,
    baseline: str = BASELINE,
    replicates: int = 2000,
    seed: int = 0,
) -> Estimates:
    """Macro-F1 with 95 % patient-bootstrap intervals, and the paired difference to `baseline` of the same backbone.

    `results`: one row per cell and cohort. `predictions`: one row per test image and cell; where a cell's are
    missing, its point comes from `results` and the interval is NaN. A point is the mean over the cells (seeds,
    folds). Differences pair the same patients and the same (fold, seed) cells; p-values are two-sided and
    Holm-corrected over the inits of one (mode, fraction, cohort).
    """
    rows: list[dict[str, object]] = []
    samples: list[Floats] = []
    differences: list[Floats] = []
    for cohort, in_cohort in results.groupby("cohort", sort=False):
        tested, weights, patients = None, None, []
        if predictions is not None:
            tested = pick(predictions, cohort=cohort)
            cell_rows = tested.groupby("cell", sort=False).indices
            patients = sorted(tested["patient_id"].astype(str).unique())
            if patients:
                weights = patient_weights(len(patients), replicates, seed, str(cohort))
        for _, group in in_cohort.groupby(["mode", "fraction"], sort=True):
            scores = np.full((len(group), 1 + replicates), np.nan)
            scores[:, 0] = group["f1_macro"]
            if tested is not None and weights is not None:
                cells = [cell for cell in group["cell"] if cell in cell_rows]
                if cells:
                    images = tested.iloc[np.concatenate([cell_rows[cell] for cell in cells])]
                    counts = count_cells(images, cells, patients, class_names(predictions))  # type: ignore[arg-type]
                    where = np.flatnonzero(group["cell"].isin(cells))
                    scores[where] = _resample(counts, weights)
            found = _points(group.reset_index(drop=True), scores, baseline, len(patients))
            _holm_column([row for row, _, _ in found])
            for row, sample, difference in found:
                rows.append(row)
                samples.append(sample)
                differences.append(difference)
    empty = np.zeros((0, replicates))
    return Estimates(pd.DataFrame(rows), np.array(samples) if rows else empty, np.array(differences) if rows else empty)


def _resample(counts: Floats, weights: Floats) -> Floats:
    """Macro-F1 `[cells, 1 + R]` of every cell under every weighting of the patients."""
    n_cells, n_patients, _, n_classes = counts.shape
    out = np.empty((n_cells, len(weights)))
    for index in range(n_cells):  # one cell at a time keeps memory at R x 3K
        totals = weights @ counts[index].reshape(n_patients, -1)  # [1 + R, 3K]
        out[index] = f1_of_counts(totals.reshape(-1, 3, n_classes))
    return out


def _mean(scores: Floats) -> Floats:
    """Mean over cells, [cells, 1 + R] -> [1 + R], without folds none of whose patients was drawn in that resample."""
    if np.isnan(scores[:, 1:]).all(1).any():  # a cell without predictions: no honest interval for the mean
        return np.concatenate([[scores[:, 0].mean()], np.full(scores.shape[1] - 1, np.nan)])
    scored = ~np.isnan(scores)
    total = np.where(scored, scores, 0).sum(0)
    return np.where(scored.any(0), total / np.maximum(scored.sum(0), 1), np.nan)


def _points(
    group: pd.DataFrame, scores: Floats, baseline: str, n_patients: int
) -> list[tuple[dict[str, object], Floats, Floats]]:
    """One (row, samples, differences) per init and backbone of one (mode, fraction, cohort)."""
    found = []
    units = group[["fold", "seed"]].apply(tuple, axis=1)
    for key, rows in group.groupby(START, sort=True).indices.items():
        init, backbone = key  # type: ignore[misc]
        base = np.flatnonzero((group["init"] == baseline) & (group["backbone"] == backbone))
        shared = set(units.iloc[rows]) & set(units.iloc[base]) if init != baseline else set()
        mean = _mean(scores[rows])
        gap = np.full(scores.shape[1], np.nan)
        if shared:
            ours = [row for row in rows if units[row] in shared]
            theirs = [row for row in base if units[row] in shared]
            gap = _mean(scores[ours]) - _mean(scores[theirs])
        low, high = interval(mean[1:])
        gap_low, gap_high = interval(gap[1:])
        first = group.iloc[rows[0]]
        row = {
            **{name: first[name] for name in POINT},
            "method": first.get("method", ""),
            "n_cells": len(rows),
            "n_test_patients": n_patients,
            "n_train_patients": float(group["n_train_patients"].iloc[rows].mean()),
            "f1_macro": float(mean[0]),
            "low": low,
            "high": high,
            "difference": float(gap[0]),
            "difference_low": gap_low,
            "difference_high": gap_high,
            "p_value": bootstrap_p(gap[1:], n_patients),
        }
        found.append((row, mean[1:], gap[1:]))
    return found


def _holm_column(rows: list[dict[str, object]]) -> None:
    corrected = holm([float(row["p_value"]) for row in rows])  # type: ignore[arg-type]
    for row, value in zip(rows, corrected, strict=True):
        row["p_holm"] = float(value)


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


def crossing(fractions: ArrayLike, scores: ArrayLike, target: ArrayLike) -> Floats:
    """The label fraction at which `scores` first reach `target`, NaN where they do not.

    `fractions` [F] ascending, `scores` [R, F], `target` [R]. Between two fractions the score is taken as linear in
    the logarithm of the fraction. Reached at the smallest fraction already: that fraction.
    """
    x, y, goal = np.log(np.asarray(fractions, float)), np.atleast_2d(scores), np.atleast_1d(target).astype(float)
    reached = y >= goal[:, None]  # NaN compares false
    first = reached.argmax(1)
    row = np.arange(len(y))
    before = np.maximum(first - 1, 0)
    rise = y[row, first] - y[row, before]
    share = np.where(rise > 0, (goal - y[row, before]) / np.where(rise > 0, rise, 1), 1.0)
    at = np.where(first == 0, x[0], x[before] + share * (x[first] - x[before]))
    return np.where(reached.any(1), np.exp(at), np.nan)


def labels_saved(estimates: Estimates, *, baseline: str = BASELINE) -> pd.DataFrame:
    """Per (init, backbone, mode, cohort): the fraction at which it reaches the full-label F1 of its untrained backbone.

    Columns: init, backbone, method, mode, cohort, target (that F1), target_fraction (the baseline's largest), fraction
    (None where it is not reached), smallest (fraction tried), low and high (95 % over patient resamples; infinity where
    not reached), reached (share of resamples in which it is). The search covers the fractions up to target_fraction.
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
        fractions, index = curve["fraction"].to_numpy(), curve.index.to_numpy()
        point = float(crossing(fractions, curve["f1_macro"].to_numpy()[None], goal)[0])
        low = high = share = float("nan")
        samples, goals = estimates.samples[index].T, estimates.samples[full]
        if not (np.isnan(samples).any() or np.isnan(goals).any()):
            at = crossing(fractions, samples, goals)
            share = float((~np.isnan(at)).mean())
            # "lower" keeps infinity and a finite neighbour from being averaged
            tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
            low, high = np.quantile(np.where(np.isnan(at), np.inf, at), tails, method="lower")
        rows.append(
            {"init": init, "backbone": backbone, "method": curve["method"].iloc[0], "mode": mode, "cohort": cohort}
            | {"target": goal, "target_fraction": goal_fraction, "fraction": None if np.isnan(point) else point}
            | {"smallest": float(fractions[0]), "low": float(low), "high": float(high), "reached": share}
        )
    columns = [*START, "method", "mode", "cohort", "target", "target_fraction", "fraction", "smallest", "low", "high"]
    found = pd.DataFrame(rows, columns=[*columns, "reached"])
    found["fraction"] = pd.Series([row["fraction"] for row in rows], dtype=object)  # keeps None
    return found


def pick(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The rows of a table that equal the given values in the given columns, with their row labels."""
    keep = np.ones(len(table), bool)
    for column, value in where.items():
        keep &= (table[column] == value).to_numpy()
    return table.loc[keep]
