"""Area under the label-efficiency curve: one number for a whole curve of macro-F1 over label fractions.

The area lies under straight lines between the points, over the *logarithm* of the fraction (so that 1 to 10 % counts as
much as 10 to 100 %), divided by the width of that axis. It is a weighted mean of the scores, between 0 and 1,
and linear in them: intervals and paired differences come from the same resamples of patients.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ssl_zoo.analysis.bootstrap import bootstrap_p, holm, interval, tail_p
from ssl_zoo.analysis.counts import Floats
from ssl_zoo.analysis.statistics import BASELINE, START, Estimates, Gap, pick

COLUMNS = [*START, "method", "mode", "cohort", "n_fractions", "smallest", "largest", "area", "low", "high"]
COLUMNS += ["difference", "difference_low", "difference_high", "p_value", "p_holm"]
PAIR_COLUMNS = ["mode", "cohort", *START, "other", "other_backbone", "difference", "low", "high", "p_value", "p_holm"]


@dataclass(frozen=True)
class Areas:
    """`table`: COLUMNS, one row per init with a whole curve; `difference` is to the untrained network of its backbone,
    NaN without one. `pairs`: PAIR_COLUMNS, each two inits of one mode and cohort; Holm's correction is over these.
    `left_out`: (init, backbone, mode, cohort) whose curve lacks a fraction that others have.
    """

    table: pd.DataFrame
    pairs: pd.DataFrame
    left_out: list[tuple[str, str, str, str]]


def area_weights(fractions: ArrayLike) -> Floats:
    """The weight of each of `F` ascending fractions in the area; they sum to 1. ValueError for fewer than two."""
    x = np.log(np.asarray(fractions, float))
    if len(x) < 2 or not (np.diff(x) > 0).all():
        raise ValueError(f"an area needs at least two ascending fractions, not {fractions}")
    steps = np.diff(x)
    return (np.append(steps, 0) + np.append(0, steps)) / 2 / (x[-1] - x[0])


def label_areas(estimates: Estimates) -> Areas:
    """The areas of every mode and cohort with at least two fractions; all inits of one over the same fractions."""
    table = estimates.table
    rows: list[dict[str, object]] = []
    pairs: list[dict[str, object]] = []
    left_out: list[tuple[str, str, str, str]] = []
    for setting, group in table.groupby(["mode", "cohort"], sort=False):
        mode, cohort = setting  # type: ignore[misc]
        fractions = np.array(sorted(set(group["fraction"])), float)
        if len(fractions) < 2:
            continue
        weights = area_weights(fractions)
        curves: dict[tuple[str, str], np.ndarray] = {}  # row numbers by fraction
        for key, own in group.groupby(START, sort=True):
            init, backbone = key  # type: ignore[misc]
            if len(own) < len(fractions):
                left_out.append((str(init), str(backbone), str(mode), str(cohort)))
            else:
                curves[str(init), str(backbone)] = own.sort_values("fraction").index.to_numpy()
        own_rows, own_pairs = [], []
        for (init, backbone), index in curves.items():
            patients = int(table["n_test_patients"].iloc[index].min())
            low, high = interval(weights @ estimates.samples[index], patients)
            base = curves.get((BASELINE, backbone)) if init != BASELINE else None
            gap = _gap(estimates, weights, index, base)
            gap_low, gap_high = interval(gap.samples, gap.n_patients)
            method = table["method"].iloc[index[0]]
            own_rows.append(
                {"init": init, "backbone": backbone, "method": method, "mode": mode, "cohort": cohort}
                | {"n_fractions": len(fractions), "smallest": fractions[0], "largest": fractions[-1]}
                | {"area": float(weights @ table["f1_macro"].to_numpy(float)[index]), "low": low, "high": high}
                | {"difference": gap.difference, "difference_low": gap_low, "difference_high": gap_high}
                | {"p_value": bootstrap_p(gap.samples, gap.n_patients)}
            )
        rows += _corrected(own_rows)
        for (one, first), (two, second) in itertools.combinations(curves.items(), 2):
            gap = _gap(estimates, weights, first, second)
            low, high = interval(gap.samples, gap.n_patients)
            own_pairs.append(
                {"mode": mode, "cohort": cohort, "init": one[0], "backbone": one[1]}
                | {"other": two[0], "other_backbone": two[1], "low": low, "high": high}
                | {"difference": gap.difference, "p_value": tail_p(gap.samples, gap.n_patients)}
            )
        pairs += _corrected(own_pairs)
    return Areas(pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(pairs, columns=PAIR_COLUMNS), left_out)


def _gap(estimates: Estimates, weights: Floats, curve: np.ndarray, other: np.ndarray | None) -> Gap:
    """The area of a curve (row numbers by fraction) less that of another, each fraction on the cells that both have."""
    if other is None:
        return Gap(float("nan"), np.full(estimates.samples.shape[1], np.nan), 0)
    gaps = [estimates.gap(int(first), int(second)) for first, second in zip(curve, other, strict=True)]
    difference = float(weights @ np.array([gap.difference for gap in gaps]))
    return Gap(difference, weights @ np.stack([gap.samples for gap in gaps]), min(gap.n_patients for gap in gaps))


def not_below_the_best(areas: Areas, mode: str, cohort: str) -> list[tuple[str, str]]:
    """The inits whose area is not significantly (p < 0.05, Holm) below the largest one; that one first."""
    own = pick(areas.table, mode=mode, cohort=cohort).sort_values("area", ascending=False, kind="stable")
    starts = [(str(init), str(backbone)) for init, backbone in own[START].itertuples(index=False, name=None)]
    tied = starts[:1]
    compared = pick(areas.pairs, mode=mode, cohort=cohort)
    for row in compared.to_dict("records"):
        both = [(row["init"], row["backbone"]), (row["other"], row["other_backbone"])]
        if starts[0] in both:
            place = both.index(starts[0])
            ahead = row["difference"] > 0 if place == 0 else row["difference"] < 0  # unless cells are missing
            if not (row["p_holm"] < 0.05 and ahead):
                tied.append(both[1 - place])
    return [start for start in starts if start in tied]


def _corrected(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    values = holm([float(row["p_value"]) for row in rows])  # type: ignore[arg-type]
    return [row | {"p_holm": float(p)} for row, p in zip(rows, values, strict=True)]
