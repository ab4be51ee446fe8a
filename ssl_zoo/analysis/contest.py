"""Who is best in one setting, and who cannot be told from the best: what every sentence about a winner rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ssl_zoo.analysis.bootstrap import bootstrap_p, holm, interval
from ssl_zoo.analysis.statistics import BASELINE, Estimates, pick

FEW_LABELS = 0.05  # the fraction the answer speaks of, where the grid has it; fixed beforehand, not chosen by result
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Contest:
    """One (mode, fraction, cohort): the candidates, best first, and those that cannot be told from the best."""

    rows: pd.DataFrame  # candidates, best first
    baselines: pd.DataFrame
    tied: list[int]  # row labels of candidates not significantly below the best
    has_intervals: bool


def headline_fraction(table: pd.DataFrame) -> float:
    """The label fraction the answer speaks of: 5 % if the grid has it, else the smallest."""
    fractions = sorted(set(table["fraction"]))
    return next((f for f in fractions if np.isclose(f, FEW_LABELS)), fractions[0])


def compare(estimates: Estimates, first: int, second: int) -> tuple[float, float, float, float]:
    """Row numbers of two points -> difference of macro-F1, its interval, its p-value; paired by patient."""
    scores = estimates.table["f1_macro"]
    samples = estimates.samples[first] - estimates.samples[second]
    patients = int(estimates.table["n_test_patients"].iloc[first])
    return float(scores.iloc[first] - scores.iloc[second]), *interval(samples, patients), bootstrap_p(samples, patients)


def contest_of(estimates: Estimates, mode: str, fraction: float, cohort: str) -> Contest:
    """The candidates of one setting, best first; who is tied with the best is judged by patient, Holm-corrected."""
    rows = estimates.table.iloc[estimates.rows(mode=mode, fraction=fraction, cohort=cohort)]
    candidates = rows.loc[rows["init"] != BASELINE].sort_values("f1_macro", ascending=False, kind="stable")
    others = list(candidates.index[1:])
    tied: list[int] = []
    if others:
        compared = [compare(estimates, candidates.index[0], other) for other in others]
        corrected = holm([p for *_, p in compared])
        tied = [other for other, p in zip(others, corrected, strict=True) if not p < SIGNIFICANT]
    return Contest(candidates, pick(rows, init=BASELINE), tied, bool(candidates["low"].notna().all()))
