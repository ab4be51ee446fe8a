"""Who is best in one setting, and who cannot be told from the best: what every sentence about a winner rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ssl_zoo.analysis.bootstrap import bootstrap_p, holm
from ssl_zoo.analysis.statistics import BASELINE, Estimates, pick

FEW_LABELS = 0.05  # the fraction the answer speaks of, where the grid has it; fixed beforehand, not chosen by result
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Contest:
    """One (mode, fraction, cohort): the candidates, best first, and those that cannot be told from the best."""

    rows: pd.DataFrame  # candidates, best first
    baselines: pd.DataFrame
    above: pd.DataFrame  # the baselines, of whatever backbone, that score higher than the best candidate
    tied: list[int]  # row labels of candidates not significantly below the best
    has_intervals: bool


def headline_fraction(table: pd.DataFrame) -> float:
    """The label fraction the answer speaks of: 5 % if the pre-trained inits have it, else their smallest.

    Where there are only baselines, theirs.
    """
    candidates = table.loc[table["init"] != BASELINE]
    fractions = sorted(set((table if candidates.empty else candidates)["fraction"]))
    return next((f for f in fractions if np.isclose(f, FEW_LABELS)), fractions[0])


def contest_of(estimates: Estimates, mode: str, fraction: float, cohort: str) -> Contest:
    """The candidates of one setting, best first; who is tied with the best is judged by patient, Holm-corrected.

    Two inits are compared on the cells that both have. The best is the one with the highest score that no other beats
    on these; where each is beaten by some other, the one with the highest score.
    """
    rows = estimates.table.iloc[estimates.rows(mode=mode, fraction=fraction, cohort=cohort)]
    baselines = pick(rows, init=BASELINE)
    order = list(rows.loc[rows["init"] != BASELINE].sort_values("f1_macro", ascending=False, kind="stable").index)
    if not order:
        return Contest(rows.loc[order], baselines, baselines.iloc[:0], [], has_intervals=False)
    unbeaten = (one for one in order if not any(estimates.gap(one, other).difference < 0 for other in order))
    best = next(unbeaten, order[0])
    others = [other for other in order if other != best]
    gaps = [estimates.gap(best, other) for other in others]
    corrected = holm([bootstrap_p(gap.samples, gap.n_patients) for gap in gaps])
    tied = [
        other
        for other, gap, p in zip(others, gaps, corrected, strict=True)
        if not (p < SIGNIFICANT and gap.difference > 0)
    ]
    candidates = rows.loc[[best, *others]]
    above = baselines.loc[[estimates.gap(best, base).difference < 0 for base in baselines.index]]
    return Contest(candidates, baselines, above, tied, bool(candidates["low"].notna().all()))
