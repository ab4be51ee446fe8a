"""Macro-F1 of every point of the grid: bootstrap intervals over patients, and paired differences.

A point is one init on one backbone in one mode with one label fraction on one test cohort. Its score is the mean over
seeds, with folds pooled or averaged as `pooling` says. Differences pair the same patients and the same cells.

The intervals say how the result would vary with other test *patients*. They hold the trained networks fixed;
the spread over seeds and folds is averaged, not added.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssl_zoo.analysis.bootstrap import bootstrap_p, holm, interval, tail_p
from ssl_zoo.analysis.counts import Floats
from ssl_zoo.analysis.pooling import SettingCells, cells_by_setting

START = ["init", "backbone"]  # what a downstream run starts from; baselines are compared within a backbone
POINT = [*START, "mode", "fraction", "cohort"]
BASELINE = "random"
PAIR_COLUMNS = ["mode", "fraction", "cohort", *START, "other", "other_backbone", "n_cells"]
PAIR_COLUMNS += ["difference", "low", "high", "p_value", "p_holm"]


@dataclass(frozen=True)
class Estimates:
    """Macro-F1 per (init, backbone, mode, fraction, cohort) with intervals, and the resamples behind them.

    `table`: POINT columns, `method`, `n_cells`, `n_train_patients`, `n_test_patients`, `pooled` (whether folds made one
    confusion matrix), `f1_macro`, `low`, `high`, and against the baseline of the same backbone `difference`,
    `difference_low`, `difference_high`, `p_value`, `p_holm` (NaN for the baseline itself, and wherever predictions or
    the baseline are missing).
    `samples` [rows of table, R]: the resampled macro-F1; `differences` [rows, R]: the resampled differences.
    `pairs`: PAIR_COLUMNS, `p_holm` corrected over all pairs of a mode, fraction and cohort: each two inits of a
    setting on the cells that both have, `difference` being that of `init` less that of `other`.
    """

    table: pd.DataFrame
    samples: Floats
    differences: Floats
    pairs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=PAIR_COLUMNS))

    def rows(self, **where: object) -> NDArray[np.int64]:
        """Row numbers whose columns equal the given values, for example `rows(mode="linear", fraction=1.0)`."""
        return pick(self.table, **where).index.to_numpy(np.int64)


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
    missing, its point comes from `results` and the interval is NaN. p-values are two-sided and Holm-corrected over the
    inits, or the pairs of inits, of one (mode, fraction, cohort).
    """
    rows: list[dict[str, object]] = []
    pairs: list[dict[str, object]] = []
    samples: list[Floats] = []
    differences: list[Floats] = []
    for cells in cells_by_setting(results, predictions, replicates=replicates, seed=seed):
        found = _points(cells, baseline)
        _holm_column([row for row, _, _ in found])
        for row, sample, difference in found:
            rows.append(row)
            samples.append(sample)
            differences.append(difference)
        compared = _pairs(cells)
        _holm_column(compared)
        pairs += compared
    empty = np.zeros((0, replicates))
    return Estimates(
        pd.DataFrame(rows),
        np.array(samples) if rows else empty,
        np.array(differences) if rows else empty,
        pd.DataFrame(pairs, columns=PAIR_COLUMNS),
    )


def _points(cells: SettingCells, baseline: str) -> list[tuple[dict[str, object], Floats, Floats]]:
    """One (row, samples, differences) per init and backbone of one (mode, fraction, cohort)."""
    found = []
    group = cells.rows
    for key, own in group.groupby(START, sort=True).indices.items():
        init, backbone = key  # type: ignore[misc]
        base = np.flatnonzero((group["init"] == baseline) & (group["backbone"] == backbone))
        score = cells.f1(own)
        gap = _gap(cells, own, base) if init != baseline else np.full(len(score), np.nan)
        low, high = interval(score[1:], cells.n_patients)
        gap_low, gap_high = interval(gap[1:], cells.n_patients)
        first = group.iloc[own[0]]
        row = {
            **{name: first[name] for name in POINT},
            "method": first.get("method", ""),
            "n_cells": len(own),
            "n_test_patients": cells.n_patients,
            "n_train_patients": float(group["n_train_patients"].iloc[own].mean()),
            "pooled": cells.pooled,
            "f1_macro": float(score[0]),
            "low": low,
            "high": high,
            "difference": float(gap[0]),
            "difference_low": gap_low,
            "difference_high": gap_high,
            "p_value": bootstrap_p(gap[1:], cells.n_patients),
        }
        found.append((row, score[1:], gap[1:]))
    return found


def _gap(cells: SettingCells, own: NDArray[np.int64], other: NDArray[np.int64]) -> Floats:
    """Macro-F1 of some cells less that of others `[1 + R]`, on the folds and seeds that both have; NaN without any."""
    ours, theirs = cells.shared(own.tolist(), other.tolist())
    return cells.f1(ours) - cells.f1(theirs) if ours else np.full(1 + cells.replicates, np.nan)


def _pairs(cells: SettingCells) -> list[dict[str, object]]:
    """Each two inits of a setting, in the order of the alphabet."""
    setting = {name: cells.rows[name].iloc[0] for name in ("mode", "fraction", "cohort")}
    rows = []
    for (one, own), (two, other) in itertools.combinations(cells.rows.groupby(START, sort=True).indices.items(), 2):
        gap = _gap(cells, own, other)
        if np.isnan(gap[0]):
            continue
        low, high = interval(gap[1:], cells.n_patients)
        names = dict(zip((*START, "other", "other_backbone"), (*one, *two), strict=True))  # type: ignore[misc]
        n_cells = len(cells.shared(own.tolist(), other.tolist())[0])
        rows.append(
            {**setting, **names, "n_cells": n_cells, "difference": float(gap[0]), "low": low, "high": high}
            | {"p_value": tail_p(gap[1:], cells.n_patients)}
        )
    return rows


def _holm_column(rows: list[dict[str, object]]) -> None:
    corrected = holm([float(row["p_value"]) for row in rows])  # type: ignore[arg-type]
    for row, value in zip(rows, corrected, strict=True):
        row["p_holm"] = float(value)


def pick(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The rows of a table that equal the given values in the given columns, with their row labels."""
    keep = np.ones(len(table), bool)
    for column, value in where.items():
        keep &= (table[column] == value).to_numpy()
    return table.loc[keep]
