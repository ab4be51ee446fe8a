"""What the maps of each classifier are worth: means with intervals over patients, and what to doubt."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from ssl_zoo.analysis.explain.cams import TECHNIQUES
from ssl_zoo.analysis.looks import Starts
from ssl_zoo.analysis.style import mode_label, number
from ssl_zoo.analysis.tables import Table

KEYS = ["init", "backbone", "mode", "cell", "technique"]
MEASURES = ["empty", "correlation", "deletion", "deletion_random", "gain", "probability"]
ON_TARGET = [
    "area",
    "energy",
    "pointing",
    "energy_middle",
    "pointing_middle",
    "energy_shuffled",
    "pointing_shuffled",
]
REPLICATES, LEVEL = 2000, 0.95
SURVIVES = 0.5  # rank correlation with the map of randomised weights from which on a map is doubted


def summarise(measures: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """One row per classifier and technique: the mean of every measure over images, with `_low` and `_high`.

    Intervals are percentiles of a bootstrap over patients; images without a value (an empty map has no energy) are
    left out of their measure's mean. `n_images` and `n_patients` are what the row rests on.
    """
    names = [name for name in (*MEASURES, *ON_TARGET) if name in measures]
    rows = []
    for key, group in measures.groupby(KEYS, sort=False):
        row: dict[str, Any] = dict(zip(KEYS, cast(tuple[str, ...], key), strict=True))
        row |= {"n_images": len(group), "n_patients": int(group["patient_id"].nunique())}
        weights = _weights(row["n_patients"], seed)
        for name in names:
            mean, low, high = _mean_over_patients(group, name, weights)
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        row["accuracy"] = float((group["label"] == group["predicted"]).mean())
        row["doubt"] = _doubt(row)
        rows.append(row)
    return pd.DataFrame(rows)


def maps_table(summary: pd.DataFrame, looks: Starts) -> Table:
    """The summary for people. Energy and pointing stand there only where the truth is known."""
    known = "energy" in summary
    columns = ["init", "backbone", "mode", "technique", "images", "accuracy", "deletion gain", "shuffled weights"]
    columns += ["area", "energy", "energy / area", "pointing", "blob: energy", "blob: pointing"] if known else []
    rows = []
    for row in summary.to_dict("records"):
        cells = [looks[row["init"], row["backbone"]].name, row["backbone"], mode_label(row["mode"])]
        cells += [TECHNIQUES[row["technique"]], str(row["n_images"]), number(row["accuracy"])]
        cells += [_spread(row, "gain"), _spread(row, "correlation")]
        if known:
            cells += [number(row["area"]), _spread(row, "energy"), number(row["energy"] / row["area"])]
            cells += [_spread(row, "pointing"), number(row["energy_middle"]), number(row["pointing_middle"])]
        rows.append([*cells, row["doubt"]])
    return Table([*columns, "doubt"], rows, numeric=4)


def _doubt(row: dict[str, Any]) -> str:
    """Why the maps of a classifier may mean nothing; empty where nothing speaks against them."""
    doubts = []
    if not row["gain_low"] > 0:
        doubts.append("no better than a random order")
    if row["correlation"] >= SURVIVES:
        doubts.append("nearly the same with shuffled weights")
    if row["empty"] > 0.2:
        doubts.append(f"{100 * row['empty']:.0f}\u00a0% are empty")
    return "; ".join(doubts)


def _mean_over_patients(group: pd.DataFrame, name: str, weights: np.ndarray) -> tuple[float, float, float]:
    values = group[name].to_numpy(dtype=float)
    patients = np.unique(group["patient_id"].to_numpy(dtype=str), return_inverse=True)[1]
    there = np.isfinite(values)
    if not there.any():
        return float("nan"), float("nan"), float("nan")
    totals = np.bincount(patients, weights=np.where(there, values, 0), minlength=weights.shape[1])
    counts = np.bincount(patients, weights=there, minlength=weights.shape[1])
    with np.errstate(invalid="ignore"):  # a replicate may draw only patients without a value
        samples = (weights @ totals) / (weights @ counts)
    low, high = np.nanquantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(values[there].mean()), float(low), float(high)


def _weights(patients: int, seed: int) -> np.ndarray:
    """How often each patient is drawn in each replicate: `[REPLICATES, patients]`."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(patients, np.full(patients, 1 / patients), size=REPLICATES).astype(float)


def _spread(row: dict[Any, Any], name: str) -> str:
    if not np.isfinite(row[name]):
        return "–"
    return f"{number(row[name])} ({number(row[f'{name}_low'])} to {number(row[f'{name}_high'])})"
