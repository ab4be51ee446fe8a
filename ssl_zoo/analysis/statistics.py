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
class Gap:
    """Macro-F1 of one point less that of another, on the folds and seeds that both have; NaN where they share none.

    `samples` [R]: the same under every resample of patients; `n_patients`: how many these cells test.
    """

    difference: float
    samples: Floats
    n_patients: int


@dataclass(frozen=True)
class Estimates:
    """Macro-F1 per (init, backbone, mode, fraction, cohort) with intervals, and the resamples behind them.

    `table`: POINT columns, `method`, `n_cells`, `n_missing` (cells of the setting that it lacks), `n_train_patients`,
    `n_test_patients` (that its cells test), `pooled` (whether folds made one confusion matrix), `f1_macro`, `low`,
    `high`, and against the baseline of the same backbone `difference`, `difference_low`, `difference_high`, `p_value`,
    `p_holm` (NaN for the baseline itself, and wherever predictions or the baseline are missing).
    `samples` [rows of table, R]: the resampled macro-F1; `differences` [rows, R]: the resampled differences.
    `pairs`: PAIR_COLUMNS, `p_holm` corrected over all pairs of a mode, fraction and cohort: each two inits of a
    setting on the cells that both have, `difference` being that of `init` less that of `other`.
    `uneven`: the gaps of those row numbers, the smaller first, of which one lacks a cell that the other has.
    """

    table: pd.DataFrame
    samples: Floats
    differences: Floats
    pairs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=PAIR_COLUMNS))
    uneven: dict[tuple[int, int], Gap] = field(default_factory=dict)

    def rows(self, **where: object) -> NDArray[np.int64]:
        """Row numbers whose columns equal the given values, for example `rows(mode="linear", fraction=1.0)`."""
        return pick(self.table, **where).index.to_numpy(np.int64)

    def gap(self, first: int, second: int) -> Gap:
        """The gap of two points of one setting, by row number; paired by patient, on the cells that both have."""
        known = self.uneven.get((min(first, second), max(first, second)))
        if known is not None:
            return known if first < second else Gap(-known.difference, -known.samples, known.n_patients)
        scores, patients = self.table["f1_macro"], self.table["n_test_patients"].iloc[[first, second]]
        difference = float(scores.iloc[first] - scores.iloc[second])
        return Gap(difference, self.samples[first] - self.samples[second], int(patients.min()))


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
    uneven: dict[tuple[int, int], Gap] = {}
    for cells in cells_by_setting(results, predictions, replicates=replicates, seed=seed):
        compared, gaps = _pairs(cells, len(rows))
        _holm_column(compared)
        pairs += compared
        uneven |= gaps
        found = _points(cells, baseline)
        _holm_column([row for row, _, _ in found])
        for row, sample, difference in found:
            rows.append(row)
            samples.append(sample)
            differences.append(difference)
    empty = np.zeros((0, replicates))
    return Estimates(
        pd.DataFrame(rows),
        np.array(samples) if rows else empty,
        np.array(differences) if rows else empty,
        pd.DataFrame(pairs, columns=PAIR_COLUMNS),
        uneven,
    )


def _points(cells: SettingCells, baseline: str) -> list[tuple[dict[str, object], Floats, Floats]]:
    """One (row, samples, differences) per init and backbone of one (mode, fraction, cohort)."""
    found = []
    group = cells.rows
    places = len(group[["fold", "seed"]].drop_duplicates())
    for key, own in group.groupby(START, sort=True).indices.items():
        init, backbone = key  # type: ignore[misc]
        base = np.flatnonzero((group["init"] == baseline) & (group["backbone"] == backbone))
        score, n_patients = cells.f1(own), cells.n_patients(own)
        gap = _gap(cells, *cells.shared(own.tolist(), base.tolist() if init != baseline else []))
        low, high = interval(score[1:], n_patients)
        gap_low, gap_high = interval(gap.samples, gap.n_patients)
        first = group.iloc[own[0]]
        networks = group["pretrain_seed"].iloc[own].nunique(dropna=False) if "pretrain_seed" in group else 1
        row = {
            **{name: first[name] for name in POINT},
            "method": first.get("method", ""),
            "n_cells": len(own),
            "n_missing": networks * places - len(own),
            "n_test_patients": n_patients,
            "n_train_patients": float(group["n_train_patients"].iloc[own].mean()),
            "pooled": cells.pooled,
            "f1_macro": float(score[0]),
            "low": low,
            "high": high,
            "difference": gap.difference,
            "difference_low": gap_low,
            "difference_high": gap_high,
            "p_value": bootstrap_p(gap.samples, gap.n_patients),
        }
        found.append((row, score[1:], gap.samples))
    return found


def _gap(cells: SettingCells, ours: list[int], theirs: list[int]) -> Gap:
    """The gap of some cells to others of the same folds and seeds."""
    if not ours:
        return Gap(float("nan"), np.full(cells.replicates, np.nan), 0)
    gap = cells.f1(ours) - cells.f1(theirs)
    return Gap(float(gap[0]), gap[1:], min(cells.n_patients(ours), cells.n_patients(theirs)))


def _pairs(cells: SettingCells, first_row: int) -> tuple[list[dict[str, object]], dict[tuple[int, int], Gap]]:
    """Each two inits of a setting, in the order of the alphabet, and `Estimates.uneven` of them.

    `first_row`: that of the setting's first init in the table.
    """
    setting = {name: cells.rows[name].iloc[0] for name in ("mode", "fraction", "cohort")}
    rows, uneven = [], {}
    starts = enumerate(cells.rows.groupby(START, sort=True).indices.items(), first_row)
    for (i, (one, own)), (j, (two, other)) in itertools.combinations(starts, 2):
        ours, theirs = cells.shared(own.tolist(), other.tolist())
        gap = _gap(cells, ours, theirs)
        if len(ours) < len(own) or len(theirs) < len(other):
            uneven[i, j] = gap
        if np.isnan(gap.difference):
            continue
        low, high = interval(gap.samples, gap.n_patients)
        names = dict(zip((*START, "other", "other_backbone"), (*one, *two), strict=True))  # type: ignore[misc]
        rows.append(
            {**setting, **names, "n_cells": len(ours), "difference": gap.difference, "low": low, "high": high}
            | {"p_value": tail_p(gap.samples, gap.n_patients)}
        )
    return rows, uneven


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
