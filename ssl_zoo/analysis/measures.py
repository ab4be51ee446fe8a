"""All measures of every point of the grid, with folds pooled or averaged as `pooling` says, and F1 class by class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ssl_zoo.analysis.bootstrap import interval
from ssl_zoo.analysis.counts import Codes, Floats, Tested, f1_by_class, measures_of_counts
from ssl_zoo.analysis.pooling import SettingCells, cells_by_setting
from ssl_zoo.analysis.statistics import POINT, START
from ssl_zoo.transfer.metrics import ECE_BINS, confidence_bins

COUNTED = ["accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro"]
COUNTED += ["precision_weighted", "recall_weighted", "f1_weighted"]
MEASURES = [*COUNTED, "auroc_macro", "ece"]
ABSENT = "; "  # between the classes that a cohort lacks


def measure_points(
    results: pd.DataFrame, predictions: pd.DataFrame | None, *, replicates: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """One row per point: POINT, `n_cells`, `pooled` (folds), `classes_missing`, MEASURES, and `f1[<class>]` (NaN where
    it is absent).

    Those that come from counts have `<name>_low` and `<name>_high`, 95 % over patients. ECE has none: it is a sum of
    absolute gaps, which resampling makes larger, so that its percentile interval would lie too high; the reliability
    diagram shows its parts with intervals. AUROC is the mean over cells, without those whose test set has one class.
    Without predictions all are means over the cells of the results.
    """
    rows = []
    for cells in cells_by_setting(results, predictions, replicates=replicates, seed=seed):
        for _, own in cells.rows.groupby(START, sort=True).indices.items():
            first, part = cells.rows.iloc[own[0]], cells.rows.iloc[own]
            row: dict[str, object] = {**{name: first[name] for name in POINT}, "n_cells": len(own)}
            row["pooled"] = cells.pooled
            row |= {name: float(part[name].mean()) if name in part else float("nan") for name in [*MEASURES, "seconds"]}
            row["classes_missing"] = ""
            if cells.tested is not None and cells.predicted[own].all():
                row |= _of_predictions(cells, cells.tested, own)
            rows.append(row)
    return pd.DataFrame(rows)


def _of_predictions(cells: SettingCells, tested: Tested, own: Codes) -> dict[str, object]:
    units, n_patients = cells.units(own), cells.n_patients(own)
    totals = [cells.totals(unit) for unit in units]  # each [1 + R, 3, K]
    found: dict[str, object] = {}
    for name, values in measures_of_counts(np.stack(totals)).items():  # [units, 1 + R]
        found |= _with_limits(name, _mean(values), n_patients)
    by_class = _mean(np.stack([f1_by_class(total) for total in totals]))  # [1 + R, K]
    for place, name in enumerate(tested.classes):
        found |= _with_limits(f"f1[{name}]", by_class[:, place], n_patients)
    found["classes_missing"] = ABSENT.join(missing_classes(tested))
    names = cells.rows["cell"].astype(str)
    found["ece"] = float(np.mean([calibration_error(tested, [names[cell] for cell in unit]) for unit in units]))
    return found


def missing_classes(tested: Tested) -> list[str]:
    """The classes of which a cohort holds no test image."""
    there = np.bincount(tested.label, minlength=len(tested.classes)) > 0
    return [name for name, present in zip(tested.classes, there, strict=True) if not present]


def calibration_error(tested: Tested, cells: list[str]) -> float:
    """Expected calibration error of some cells together, as `metrics.expected_calibration_error`."""
    rows, _ = tested.rows(cells)
    confidence, right = tested.confidence[rows], tested.label[rows] == tested.predicted[rows]
    gap = np.bincount(confidence_bins(confidence, ECE_BINS), weights=right - confidence, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(rows))


def _mean(values: Floats) -> Floats:
    """Mean over the first axis without NaN; NaN where all are."""
    scored = ~np.isnan(values)
    return np.where(scored.any(0), np.where(scored, values, 0).sum(0) / np.maximum(scored.sum(0), 1), np.nan)


def _with_limits(name: str, values: Floats, n_patients: int) -> dict[str, object]:
    low, high = interval(values[1:], n_patients)
    return {name: float(values[0]), f"{name}_low": low, f"{name}_high": high}
